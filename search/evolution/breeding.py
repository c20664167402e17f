"""The one loop of breeding, which searches, fronts and explorations share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from models.spaces import GeneMatrix
from search.costs import Floats
from search.evolution.effort import Work
from search.evolution.niches import Niches

LAST_SLACK = 0.1
"""Of the first."""
LEAST = 1 / 2
"""Of a batch: what a generation counts as at least, as it takes about as long as a full one."""
FEW = 1 / 16
"""A round ends when less than this share of a batch is new."""


def breed(
    niches: Niches, evaluate: Callable[[GeneMatrix], Floats], work: Work, spread: float
) -> Iterator[float]:
    """Breed one generation a step; yields the share of the work that is done.

    In each round the slack shrinks from its first to its last value. The next round starts from
    where that one ended and evaluates no network again, so it goes elsewhere. It ends early where
    almost nothing is new.

    Args:
        spread: standard deviation of the accuracies of random networks, percentage points.
    """
    first, last = work.slack * spread, LAST_SLACK * work.slack * spread
    done = 0
    for number in range(work.rounds):
        start, end = done, work.evaluations * (number + 1) // work.rounds
        while done < end:
            slack = last + (first - last) * (end - done) / (end - start)
            genes = niches.ask(slack)
            if not len(genes):
                break
            niches.tell(genes, evaluate(genes), slack)
            done += max(len(genes), int(LEAST * work.batch))
            yield min(1.0, done / work.evaluations)
            if len(genes) < FEW * work.batch:
                break
