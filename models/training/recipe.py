"""A training recipe as data: the space, the images, and the phases of progressive shrinking."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, NotFound
from models.machine import check_country
from models.spaces import GeneName, SearchSpace, read_space

RECIPES = Path(__file__).with_name("recipes")
OPEN: Mapping[str, GeneName] = {
    "resolutions": "resolution",
    "kernels": "kernel",
    "expands": "expand",
    "depths": "depth",
}
"""Fields of a phase that open choices, and the kind of gene that each is about."""
CORNERS = ("largest", "smallest", "smallest-drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase: its open choices, length and learning rate."""

    name: str
    epochs: int
    learning_rate: float
    """Peak learning rate for the whole batch; cosine decay to zero."""
    warmup_epochs: float = 0.0
    weight_decay: float | None = None
    """None: the recipe's. A step that sums the gradients of n subnets needs n times the decay for
    the same effect."""
    subnets_per_step: int = 1
    """Random subnets whose gradients are summed before a step."""
    always: tuple[str, ...] = ()
    """Subnets trained in every step besides the random ones: "largest" of the space, "smallest" of
    the phase (the sandwich rule of BigNAS, arXiv 2003.11142), and "smallest-drawn": the smallest at
    a random resolution, the lowest in half of the steps. Without it, kernel transformations would
    be trained on small images only."""
    resolutions: tuple[int, ...] = ()
    """Open choices; empty: the largest only."""
    kernels: tuple[int, ...] = ()
    expands: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    sort_channels: bool = False
    """Sort channels by importance before the phase."""
    distill: float = 0.0
    """Weight of the teacher's soft labels against 1 for the true label."""
    teacher: str = "full"
    """"full": the frozen network of the first phase, whose logits are looked up (OFA).
    "largest": the largest subnet in its present state, which must be in `always` (BigNAS)."""

    def space(self, whole: SearchSpace) -> SearchSpace:
        """The part of `whole` that is open in this phase."""
        return whole.narrowed({gene: getattr(self, name) for name, gene in OPEN.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the result of a training depends on."""

    name: str
    dataset: str
    """"fashion-mnist", or a folder of images (`models.data.datasets`)."""
    seed: int
    holdout: int
    """Training images held out of training, for the predictor and for choosing networks."""
    batch_size: int
    """Images a step, over all processes."""
    weight_decay: float
    """Not applied to norms, biases and kernel transformations."""
    momentum: float
    label_smoothing: float
    shift: int
    """Largest random translation, pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    country: str
    """Three-letter ISO code of the country whose electricity turns energy into CO2e."""
    space: SearchSpace
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.space.channels:
                raise InputError(
                    f"recipe.{name}: expected {self.space.channels} numbers, one a channel of the "
                    f"space, got {len(getattr(self, name))}"
                )
        if not self.phases:
            raise InputError("recipe.phases: expected at least one phase, got none")
        for phase in self.phases:
            for name in ("resolutions", "kernels", "expands"):
                wanted, known = getattr(phase, name), self.space.choices_of(OPEN[name])
                if not set(wanted) <= set(known):
                    raise InputError(
                        f"recipe phase {phase.name!r}: {name} {wanted} are not all in the "
                        f"space's {known}"
                    )
            if phase.epochs < 1 or not 0 < phase.learning_rate < 10:
                raise InputError(
                    f"recipe phase {phase.name!r}: epochs or learning_rate out of range"
                )
            if not set(phase.always) <= set(CORNERS):
                raise InputError(
                    f"recipe phase {phase.name!r}: always may hold {', '.join(CORNERS)}, "
                    f"got {phase.always}"
                )
            if phase.teacher not in ("full", "largest"):
                raise InputError(
                    f"recipe phase {phase.name!r}: teacher may be 'full' or 'largest', "
                    f"got {phase.teacher!r}"
                )
            if phase.teacher == "largest" and "largest" not in phase.always:
                raise InputError(
                    f"recipe phase {phase.name!r}: the teacher 'largest' must be trained in every "
                    "step: put 'largest' into always"
                )
        first = self.phases[0].space(self.space)
        if self.phases[0].distill or first.largest != first.smallest:
            raise InputError(
                "recipe.phases[0]: the first phase trains the largest network alone (it becomes "
                "the teacher), so it opens no choices and distils nothing"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the card."""
        return asdict(self)


def load_recipe(name: str | Path) -> Recipe:
    """A shipped recipe by name, or one from a TOML file.

    Raises:
        NotFound: if there is neither.
        InputError: if the file is not a recipe, naming the field.
    """
    shipped = sorted(RECIPES.glob("*.toml"))
    path = next((p for p in shipped if p.stem == str(name)), Path(name))
    if not path.is_file():
        raise NotFound.named("recipe", str(name), [p.stem for p in shipped])
    try:
        recipe = parse_recipe(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {path.name}: not valid TOML: {error}") from error
    # Not of every recipe: the cards of older supernets may hold another.
    check_country(recipe.country, f"recipe {path.name}: country")
    return recipe


def parse_recipe(value: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data.

    Raises:
        InputError: naming the missing, unknown or impossible field.
    """
    try:
        phases = tuple(Phase(**_tuples(phase)) for phase in value["phases"])
        space = read_space(value["space"])
        return Recipe(**{**_tuples(value), "space": space, "phases": phases})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"recipe: {error}; compare with {RECIPES.name}/fashion-mbv3.toml"
        ) from error


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
