"""Whether whole networks, as a table predicts them, can be right: their speed, their times from one
input size to the next, and the bounds of their times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from latency_tables.table.findings import Finding
from latency_tables.table.table import LatencyTable
from models.spaces import SearchSpace, layer_plan

SLOW_GMACS_A_THREAD = 0.1
"""Billion operations a second of the larger networks. Telephones of 2016 have 2; int8 on a
microcontroller comes near, and is warned about in vain."""
FAST_GMACS_A_THREAD, FAST_GMACS, FAST_GMACS_BATCHED = 300.0, 1_500.0, 30_000.0
"""The same from above: with stated threads, without at batch 1, and with batches. The published
table of a V100 at batch 64 has 2,100."""
SLOWER_SMALL, WRONG_SMALL = 1.5, 3.0
"""How many times as long as a larger image a smaller one may take, without a warning and without
an error."""
WIDE_BOUND, WRONG_BOUND = 1.5, 5.0
"""The same of an upper bound and the prediction that it bounds."""


def check_networks(table: LatencyTable, part: SearchSpace) -> Iterator[Finding]:
    """The smallest and the largest network at each resolution.

    Args:
        part: what the table covers, without gaps.
    """
    yield from _speed(table, part)
    for which in ("smallest", "largest"):
        times_ms = {
            size: table.network_ms(layer_plan(part, getattr(part.at([size]), which)))
            for size in sorted(part.resolutions)
        }
        ratios = {
            (small, large): times_ms[small] / times_ms[large]
            for small, large in itertools.combinations(times_ms, 2)
        }
        if ratios and max(ratios.values()) > SLOWER_SMALL:
            (small, large), ratio = max(ratios.items(), key=lambda item: item[1])
            text = (
                f"the {which} network takes {ratio:.3g} times as long on images of {small} x "
                f"{small} pixels ({times_ms[small]:.4g} ms) as on {large} x {large} "
                f"({times_ms[large]:.4g} ms): are sizes mixed up, or one of them in another unit? "
                "Measure both again"
            )
            yield Finding("order", ratio > WRONG_SMALL, text)


def _speed(table: LatencyTable, part: SearchSpace) -> Iterator[Finding]:
    """Warns of a speed that another unit would explain better; `linting` refuses the impossible."""
    plan = layer_plan(part, part.largest)
    threads, batch = table.conditions.threads, table.conditions.batch
    gmacs = sum(layer.macs for layer in plan) * batch / 1e6 / table.network_ms(plan)
    fast = FAST_GMACS if batch == 1 else FAST_GMACS_BATCHED
    if threads is not None:
        fast = FAST_GMACS_A_THREAD * threads
    text = f"the largest network would run at {gmacs:.2g} billion operations a second"
    if gmacs < SLOW_GMACS_A_THREAD * (threads or 1):
        text += ", slower than any telephone: are the times microseconds, not milliseconds? Then"
        yield Finding("unit", False, f"{text} divide them by 1000")
    elif gmacs > fast:
        text += ", faster than any known device: are the times seconds, not milliseconds? Then"
        yield Finding("unit", False, f"{text} multiply them by 1000")


def check_bound(table: LatencyTable) -> Iterator[Finding]:
    """The usual upper bound, which is of no use far above the prediction."""
    confidence = table.usual_confidence
    if confidence is None or (factor := table.upper_factor(confidence)) <= WIDE_BOUND:
        return
    text = (
        f"at a nominal {confidence:.0%} a network takes at most {factor:.3g} times what "
        "is predicted: some of the networks timed are that far off; time more of them again, on an "
        "idle device"
    )
    yield Finding("bound", factor > WRONG_BOUND, text)
