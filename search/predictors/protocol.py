"""What a search needs of an accuracy predictor, and what it uses where a predictor offers more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a predictor comes from and how far it can be trusted."""

    kind: str
    """Selects the reader of its file (`search.predictors.files`)."""
    space: str
    resolutions: tuple[int, ...]
    """Input sizes, pixels, that it was fitted on; it is valid at no other."""
    target: str
    """What it predicts: the data, the number of images, the weights."""
    count: int | None
    """Measured networks it was fitted on; None: not known."""
    rmse: float | None
    """Expected error, percentage points: root mean square; None: not known."""
    spearman: float | None
    kendall: float | None
    method: str
    """How the three figures above were obtained."""
    found: Mapping[str, Any] | None = None
    """The same for networks that searches found, as `search.predictors.metrics.FoundAgreement` has
    it: the bias is subtracted from predictions. None: no such network was measured."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Provenance:
        """The inverse of `to_json`."""
        return cls(**{**value, "resolutions": tuple(value["resolutions"])})

    def to_json(self) -> dict[str, Any]:
        """Plain data; without `found` where that is not known."""
        fields = asdict(self)
        if self.found is None:
            del fields["found"]
        return fields


class AccuracyPredictor(Protocol):
    """Predicts the accuracy of every network of one space."""

    @property
    def provenance(self) -> Provenance:
        """Where it comes from, for cards, answers and the page."""
        ...

    def predict(self, genes: GeneMatrix) -> Floats:
        """Top-1 accuracy in percent of each row of a canonical gene matrix, (N,).

        Raises:
            InputError: if a row has a resolution outside `provenance.resolutions`.
        """
        ...


@runtime_checkable
class Sloped(Protocol):
    """A predictor that also gives its slope by every gene."""

    def slopes(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """Approximate accuracy that each choice of each gene adds near each row, percentage
        points, (N, G, K), where K is the largest number of choices of a gene. Only differences
        within a gene have a meaning, or to 0 for a gene that is not active."""
        ...


@runtime_checkable
class Explored(Protocol):
    """A predictor that was explored beforehand (`search.evolution.warm_start_pool`)."""

    @property
    def warm_start_pool(self) -> GeneMatrix:
        """Networks found then, (E, G), canonical; may be empty."""
        ...


def slopes_of(
    predictor: AccuracyPredictor,
) -> Callable[[GeneMatrix], npt.NDArray[np.float32]] | None:
    """Its slopes (`Sloped.slopes`); None if it has none.

    Not by isinstance, which does not see what a predictor passes on from another.
    """
    return getattr(predictor, "slopes", None)


def warm_start_pool_of(predictor: AccuracyPredictor, space: SearchSpace) -> GeneMatrix:
    """Its warm-start pool, (E, G); empty if it was not explored. Found as `slopes_of` does it."""
    pool: GeneMatrix | None = getattr(predictor, "warm_start_pool", None)
    return space.encode([]) if pool is None else pool
