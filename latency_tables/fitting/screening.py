"""What is odd about measured whole networks, before a table is fitted to them.

Nothing here relies on the fit, which a single bad value can spoil. The times are compared with what
is known without them: those of a donor, else the multiply-accumulates.

Shapes: N networks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from latency_tables.fitting.layer_costs import Floats
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.table import Note, change_in_words, steady_change
from models.errors import InputError

ODD_FACTOR, WRONG_FACTOR = 3.0, 10.0
"""By so much must a time be off to be named, and to be refused."""
ODD_DEVIATIONS = 6.0
"""And by so many standard deviations of the others, which are estimated robustly."""
UNLIKE_DONOR, OTHER_UNIT = 30.0, 300.0
"""How many times a donor's times a device's may be, without a warning, and without an error."""
STEADY_CHANGE = 1.1
"""Growth of the times over the order of measurement that is named."""
MOST_COMPARED = 400
"""Networks that are compared with one another in pairs."""
LISTED = 3


def screen(
    measured: WholeNetworks,
    macs_N: Floats,
    *,
    donor: str | None = None,
    donor_ms_N: Floats | None = None,
) -> tuple[Note, ...]:
    """What is odd about the measured times, and what was ignored of the architectures.

    Args:
        macs_N: multiply-accumulates of each network, for one image.
        donor, donor_ms_N: name of a similar device, and what it takes for each network.

    Raises:
        InputError: the unit must be wrong, or a time is off by `WRONG_FACTOR` or more; names
            entries and networks.
    """
    notes = [Note("import", f"measurements: {text}") for text in measured.ignored]
    if donor_ms_N is not None:
        notes += _unit(measured, donor_ms_N, donor)
    excess_N = _excess(measured.latency_ms_N, macs_N, donor_ms_N)
    spread = 1.4826 * float(np.median(np.abs(excess_N)))
    limit = max(np.log(ODD_FACTOR), ODD_DEVIATIONS * spread)
    odd = [int(n) for n in np.argsort(-np.abs(excess_N)) if abs(excess_N[n]) > limit]
    texts = [_outlier(measured, n, float(np.exp(excess_N[n]))) for n in odd[:LISTED]]
    texts += measured.unequal[:LISTED]
    if texts:
        more = f"; {len(odd) - LISTED} more" if len(odd) > LISTED else ""
        text = f"{'; '.join(texts)}{more}: measure it again, or leave it out"
        if odd and abs(excess_N[odd[0]]) > np.log(WRONG_FACTOR):
            raise InputError(f"measurements: {text}")
        notes.append(Note("outlier", text))
    if not odd and (pair := _pair(measured, macs_N)):
        notes.append(Note("order", pair))
    return tuple(notes)


def trend(ratios_N: Floats) -> tuple[Note, ...]:
    """A change of the device's speed over the order of the list.

    Args:
        ratios_N: measured over predicted time of each network, in the order of the list.
    """
    change = steady_change(ratios_N)
    if change is None or 1 / STEADY_CHANGE < change < STEADY_CHANGE:
        return ()
    return (Note("trend", change_in_words(change, "in the order of the list")),)


def _unit(measured: WholeNetworks, donor_ms_N: Floats, donor: str | None) -> Iterator[Note]:
    """Without a donor, the speed of the finished table is judged (`latency_tables.table`)."""
    factor = float(np.median(measured.latency_ms_N / donor_ms_N))
    if 1 / UNLIKE_DONOR < factor < UNLIKE_DONOR:
        return
    unit, remedy = ("microseconds", "divide") if factor > 1 else ("seconds", "multiply")
    text = (
        f"the times are {factor:.3g} times those of donor {donor!r}: are they {unit}? Then "
        f"{remedy} them by 1000; else name a donor that is like the device, or none"
    )
    if not 1 / OTHER_UNIT < factor < OTHER_UNIT:
        raise InputError(f"measurements: latency_ms: {text}")
    yield Note("unit", text)


def _excess(latency_ms_N: Floats, macs_N: Floats, donor_ms_N: Floats | None) -> Floats:
    """Logarithm of each time over what is usual: a multiple of the donor's time, else of a power of
    the multiply-accumulates, (N,)."""
    log_ms_N = np.log(latency_ms_N)
    if donor_ms_N is not None:
        excess_N = log_ms_N - np.log(donor_ms_N)
    else:
        log_macs_N = np.log(np.maximum(macs_N, 1.0))
        excess_N = log_ms_N - _slope(log_macs_N, log_ms_N) * log_macs_N
    return np.asarray(excess_N - np.median(excess_N))


def _slope(x_N: Floats, y_N: Floats) -> float:
    """The median slope between two points (Theil 1950), which no 29 % of bad values can spoil; from
    0 to 1.5."""
    few = np.random.default_rng(0).permutation(len(x_N))[:MOST_COMPARED]
    pairs = np.triu_indices(len(few), 1)
    run_P = (x_N[few] - x_N[few, None])[pairs]
    rise_P = (y_N[few] - y_N[few, None])[pairs]
    apart_P = np.abs(run_P) > 1e-6
    slope = float(np.median(rise_P[apart_P] / run_P[apart_P])) if apart_P.any() else 0.0
    return min(max(slope, 0.0), 1.5)


def _outlier(measured: WholeNetworks, n: int, factor: float) -> str:
    times, more = (factor, "more") if factor > 1 else (1 / factor, "less")
    return (
        f"entry {measured.entry(n)} ({json.dumps(measured.archs[n].to_json())}): "
        f"{measured.latency_ms_N[n]:g} ms is {times:.3g} times {more} than the others suggest"
    )


def _pair(measured: WholeNetworks, macs_N: Floats) -> str | None:
    """The two networks of which the smaller one takes longest beyond the larger one: larger in
    its image and in its multiply-accumulates, and not less deep."""
    few = np.arange(len(measured.archs))[:MOST_COMPARED]
    size = np.array(
        [
            (arch.resolution, macs, sum(arch.depth))
            for arch, macs in zip(measured.archs, macs_N, strict=True)
        ],
        np.float64,
    )[few]
    smaller_NN = (size[:, None] <= size[None]).all(axis=2) & (size[:, None] < size[None]).any(
        axis=2
    )
    ratio_NN = np.where(
        smaller_NN, measured.latency_ms_N[few, None] / measured.latency_ms_N[few], 0
    )
    small, large = (int(n) for n in np.unravel_index(int(ratio_NN.argmax()), ratio_NN.shape))
    if (ratio := float(ratio_NN[small, large])) < ODD_FACTOR:
        return None
    names = [
        f"entry {measured.entry(n)} ({measured.archs[n].resolution} x "
        f"{measured.archs[n].resolution} pixels, {macs_N[n]:.3g} MACs, "
        f"{measured.latency_ms_N[n]:g} ms)"
        for n in (small, large)
    ]
    return (
        f"{names[0]} takes {ratio:.3g} times as long as {names[1]}, which is larger: are entries "
        "mixed up, or was the device disturbed? Measure both again"
    )
