"""The one loop of evolution: ask for networks, evaluate them, tell their accuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from models.spaces import GeneMatrix
from search.costs import Floats
from search.evolution.evolution import Offspring


class AskTell(Protocol):
    """An algorithm that the loop drives."""

    def ask(self) -> Offspring | None:
        """The networks to evaluate next, possibly none this time; None ends the loop."""
        ...

    def tell(self, offspring: Offspring, top1: Floats, /) -> None:
        """Take the accuracies of the networks that `ask` gave, percent, (N,)."""
        ...


def generations(algorithm: AskTell, evaluate: Callable[[GeneMatrix], Floats]) -> Iterator[None]:
    """Run one generation a step, until the algorithm has nothing left to try."""
    while (offspring := algorithm.ask()) is not None:
        if len(offspring.genes):
            algorithm.tell(offspring, evaluate(offspring.genes))
        yield
