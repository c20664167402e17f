"""A training recipe as data: the space, the images, and the phases of progressive shrinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval, Len

from models.data import Augmentation
from models.errors import InvalidDocument, NotFound
from models.machine import check_country
from models.schema import STRICT, Name, ReadBy, Text, read_toml, validate
from models.spaces import GeneName, SearchSpace, read_space

if TYPE_CHECKING:
    from models.data import LabelledImages

RECIPES = Path(__file__).with_name("recipes")
OPEN: Mapping[str, GeneName] = {
    "resolutions": "resolution",
    "kernels": "kernel",
    "expands": "expand",
    "depths": "depth",
}
"""Fields of a phase that open choices, and the kind of gene that each is about."""
MOST_EPOCHS = 100_000
WeightDecay = Annotated[float, Interval(ge=0, le=10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase: its open choices, length and learning rate."""

    __pydantic_config__ = STRICT

    name: Text
    """Shown while it trains."""
    epochs: Annotated[int, Interval(ge=1, le=MOST_EPOCHS)]
    """Passes over the training images."""
    most_steps: Annotated[int, Interval(ge=1, le=1_000_000_000)] | None = None
    """Steps after which the phase ends within an epoch; not set: it takes whole epochs."""
    learning_rate: Annotated[float, Interval(gt=0, lt=10)]
    """Peak learning rate for the whole batch; cosine decay to zero."""
    body_rate: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Learning rate of all layers but the classifier, as a share of `learning_rate`. 0: they keep
    their weights, and only the classifier is trained."""
    warmup_epochs: Annotated[float, Interval(ge=0, le=100_000)] = 0.0
    """Epochs in which the rate rises from zero to its peak."""
    weight_decay: WeightDecay | None = None
    """Not set: the recipe's. A step that sums the gradients of n subnets needs n times the decay
    for the same effect."""
    subnets_per_step: Annotated[int, Interval(ge=0, le=64)] = 1
    """Random subnets whose gradients are summed before a step."""
    always: tuple[Literal["largest", "smallest", "smallest-drawn"], ...] = ()
    """Subnets trained in every step besides the random ones: "largest" of the space, "smallest" of
    the phase (the sandwich rule of BigNAS, arXiv 2003.11142), and "smallest-drawn": the smallest at
    a random resolution, the lowest in half of the steps. Without it, kernel transformations would
    be trained on small images only."""
    resolutions: tuple[int, ...] = ()
    """Input sizes that subnets of the phase are drawn from; empty: the largest alone."""
    kernels: tuple[int, ...] = ()
    """As `resolutions`."""
    expands: tuple[int, ...] = ()
    """As `resolutions`."""
    depths: tuple[int, ...] = ()
    """As `resolutions`."""
    sort_channels: bool = False
    """Sort channels by importance before the phase."""
    distill: Annotated[float, Interval(ge=0, le=1000)] = 0.0
    """Weight of the teacher's soft labels against 1 for the true label."""
    teacher: Literal["full", "largest"] = "full"
    """"full": the frozen network of the first phase, whose logits are looked up (OFA).
    "largest": the largest subnet in its present state, which must be in `always` (BigNAS)."""

    def space(self, whole: SearchSpace) -> SearchSpace:
        """The part of `whole` that is open in this phase."""
        return whole.narrowed({gene: getattr(self, name) for name, gene in OPEN.items()})

    def steps(self, per_epoch: int) -> int:
        """How many it takes."""
        steps = self.epochs * per_epoch
        return steps if self.most_steps is None else min(steps, self.most_steps)

    def check(self, whole: SearchSpace) -> None:
        """Check that the phase can train a part of `whole`.

        Raises:
            InvalidDocument: naming the field.
        """
        for name, gene in OPEN.items():
            open_choices, known = getattr(self, name), whole.choices_of(gene)
            if not set(open_choices) <= set(known):
                text = f"{list(open_choices)} are not all in the space's {list(known)}"
                raise InvalidDocument.at("phase", (name,), text)
            if list(open_choices) != sorted(set(open_choices)):
                text = f"expected ascending numbers, got {list(open_choices)}"
                raise InvalidDocument.at("phase", (name,), text)
        if self.warmup_epochs > self.epochs:
            most = f"the {self.epochs} epochs of the phase"
            text = f"expected at most {most}, got {self.warmup_epochs:g}"
            raise InvalidDocument.at("phase", ("warmup_epochs",), text)
        if self.teacher == "largest" and "largest" not in self.always:
            text = "the teacher 'largest' must be trained in every step: put 'largest' into always"
            raise InvalidDocument.at("phase", ("teacher",), text)
        if not self.subnets_per_step and not self.always:
            text = "expected at least 1 where `always` is empty: nothing would be trained"
            raise InvalidDocument.at("phase", ("subnets_per_step",), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the result of a training depends on."""

    __pydantic_config__ = STRICT

    name: Name
    """Of the supernet that comes out."""
    dataset: Text
    """"fashion-mnist", or a folder of images (`models.data.datasets`)."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]
    """Of all that is drawn: the same seed gives the same weights."""
    holdout: Annotated[int, Interval(ge=1, le=100_000_000)]
    """Training images held out of training, for the predictor and for choosing networks."""
    batch_size: Annotated[int, Interval(ge=2, le=65_536)]
    """Images a step, over all processes. A batch norm needs two."""
    weight_decay: WeightDecay
    """Not applied to norms, biases and kernel transformations."""
    momentum: Annotated[float, Interval(ge=0, lt=1)]
    """Of stochastic gradient descent, as Nesterov's."""
    label_smoothing: Annotated[float, Interval(ge=0, lt=1)]
    """Share of the label that is spread over all classes."""
    shift: Annotated[int, Interval(ge=0, le=4096)]
    """Largest random translation, pixels."""
    mean: tuple[Annotated[float, Interval(ge=0, le=1)], ...]
    """Of each channel of the training images, on the scale from 0 to 1."""
    std: tuple[Annotated[float, Interval(ge=1e-6, le=10)], ...]
    """Standard deviation of each channel, on the same scale."""
    country: Text
    """Three-letter ISO code of the country whose electricity turns energy into CO2e."""
    space: Annotated[SearchSpace, ReadBy(read_space)]
    """What can be chosen, and the fixed parts around it: the table `[space]`."""
    phases: Annotated[tuple[Phase, ...], Len(1, 100)]
    """First to last: the tables `[[phases]]`."""
    augmentation: Augmentation = Augmentation()
    """What is done to training images: the table `[augmentation]`."""
    holdout_by_class: bool = False
    """Hold out the same share of each class; otherwise images are drawn from all, and a small
    class may be left without any."""
    base: Name | None = None
    """The supernet whose weights the training starts from, of the same space but for the classes;
    not set: from random ones."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.space.channels:
                text = (
                    f"expected {self.space.channels} numbers, one a channel of the space, "
                    f"got {len(getattr(self, name))}"
                )
                raise InvalidDocument.at("recipe", (name,), text)
        for index, phase in enumerate(self.phases):
            try:
                phase.check(self.space)
            except InvalidDocument as error:
                raise error.within("recipe", "phases", index) from error
            if self.augmentation.changes_images and phase.distill and phase.teacher == "full":
                text = (
                    "the teacher 'full' knows images and their mirror images alone; with "
                    "augmentation, take the teacher 'largest'"
                )
                raise InvalidDocument.at("recipe", ("phases", index, "teacher"), text)
        first = self.phases[0].space(self.space)
        becomes_teacher = any(phase.distill and phase.teacher == "full" for phase in self.phases)
        is_alone = not self.phases[0].distill and first.largest == first.smallest
        if not is_alone and (self.base is None or becomes_teacher):
            text = (
                "the first phase trains the largest network alone (it becomes the teacher), so it "
                "opens no choices and distils nothing"
            )
            raise InvalidDocument.at("recipe", ("phases", 0), text)

    def hold_out(self, data: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
        """The training images to train on, and those held out.

        Raises:
            InputError: if there are too few.
        """
        from models.data import hold_out  # needs torch

        return hold_out(data, self.holdout, self.seed, by_class=self.holdout_by_class)

    def check_images(self, count: int) -> None:
        """Check that there are images enough for the batch, and steps for every warm-up.

        Args:
            count: images to train on.

        Raises:
            InvalidDocument: naming the field.
        """
        if count < self.batch_size:
            text = f"expected at most the {count} training images, got {self.batch_size}"
            raise InvalidDocument.at("recipe", ("batch_size",), text)
        per_epoch = count // self.batch_size
        for index, phase in enumerate(self.phases):
            warmup, steps = phase.warmup_epochs * per_epoch, phase.steps(per_epoch)
            if warmup > steps:
                text = f"expected at most the {steps} steps of the phase, got {warmup:g} steps"
                place = ("phases", index, "warmup_epochs")
                raise InvalidDocument.at("recipe", place, text)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the card; later fields are left out where they have their defaults, so
        that trainings and cards of earlier versions are those of the same recipe."""
        plain = asdict(self)
        defaults = {"augmentation": Augmentation(), "base": None, "holdout_by_class": False}
        for name in [name for name, value in defaults.items() if getattr(self, name) == value]:
            del plain[name]
        for phase in plain["phases"]:
            for name, default in (("most_steps", None), ("body_rate", 1.0)):
                if phase[name] == default:
                    del phase[name]
        return plain


def load_recipe(name: str | Path) -> Recipe:
    """A shipped recipe by name, or one from a TOML file.

    Raises:
        NotFound: if there is neither.
        InputError: if the file is not a recipe, naming line and field.
    """
    shipped = sorted(RECIPES.glob("*.toml"))
    path = next((p for p in shipped if p.stem == str(name)), Path(name))
    if not path.is_file():
        raise NotFound.named("recipe", str(name), [p.stem for p in shipped])
    return read_toml(path).read(_parse_new)


def _parse_new(value: object) -> Recipe:
    """A recipe that is to be trained by: the cards of older ones may hold another country."""
    recipe = parse_recipe(value)
    try:
        check_country(recipe.country, "country")
    except InvalidDocument as error:
        raise error.within("recipe", "country") from error
    return recipe


def parse_recipe(value: object) -> Recipe:
    """A recipe from plain data.

    Raises:
        InvalidDocument: naming each missing, unknown or impossible field.
    """
    return validate(Recipe, value, "recipe")
