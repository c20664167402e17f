"""Measured networks with one thing wrong are named by it; good ones are not named at all."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from latency_tables.fitting.fit import fit_table
from latency_tables.fitting.screening import screen
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import Conditions
from latency_tables.table.linting import BadTable, check
from latency_tables.table.table import Note, table_to_json
from models.errors import InputError
from models.spaces.plan import layer_plan
from tests.latency_tables.fitting.test_fit import measured_on, true_table
from tests.spaces import DEBUG, FASHION_LIKE

CPU = Conditions(runtime="made up", precision="fp32", batch=1)
UNIT_MS = {"pointwise_macs": 4e-8, "dense_macs": 5e-8, "blocks": 0.004} | {
    f"depthwise_k{kernel}_macs": 2e-7 for kernel in (3, 5, 7)
}
DEVICE = true_table(FASHION_LIKE, UNIT_MS, overhead_ms=0.02)
"""About 20 billion operations a second."""


def times(count=20, change=lambda n, arch, ms: ms, noise=0.01, seed=0):
    measured = measured_on(DEVICE, FASHION_LIKE, count, seed, noise)
    changed = [change(n, measured.archs[n], ms) for n, ms in enumerate(measured.latency_ms_N)]
    return replace(measured, latency_ms_N=np.array(changed))


def fit(measured, donor=None):
    return fit_table(FASHION_LIKE, measured, device="new", conditions=CPU, donor=donor)


def kinds(measured, donor=None):
    """What is said of the times, by kind; single layers of so small a fit may be odd."""
    table = fit(measured, donor)
    found = [f for f in check(table, FASHION_LIKE) if f.kind in ("unit", "bound")]
    return {finding.kind: finding.text for finding in (*table.notes, *found)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 40])
@pytest.mark.parametrize("donor", [None, DEVICE], ids=["alone", "donor"])
def test_good_measurements_have_nothing(count, donor):
    for seed in range(4):
        assert kinds(times(count, noise=0.02, seed=seed), donor) == {}


def test_one_time_a_hundred_times_off_is_refused_by_entry_and_network():
    measured = times(12, lambda n, arch, ms: 100 * ms if n == 7 else ms)
    with pytest.raises(InputError, match=r"entry 7 .* is \d{2,3}(\.\d)? times more") as caught:
        fit(measured)
    text = str(caught.value)
    assert json.dumps(measured.archs[7].to_json()) in text
    assert "measure it again, or leave it out" in text
    assert text.count("entry") == 1


@pytest.mark.parametrize("factor", [100, 20, 1 / 20, 1 / 100])
@pytest.mark.parametrize("donor", [None, DEVICE], ids=["alone", "donor"])
@pytest.mark.parametrize("at", [0, 5, 11])
def test_any_time_far_off_is_found(factor, donor, at):
    with pytest.raises(InputError, match=f"measurements: entry {at} "):
        fit(times(12, lambda n, arch, ms: factor * ms if n == at else ms, seed=at), donor)


def test_the_entry_is_that_of_the_document():
    """A network that is measured three times is one network, and those after it keep their
    entries."""
    measured = times(12)
    archs = [arch.to_json() for arch in measured.archs]
    latency_ms = [*measured.latency_ms_N[[0, 0]], *measured.latency_ms_N]

    def read(entry, factor):
        changed = [ms * (factor if n == entry else 1) for n, ms in enumerate(latency_ms)]
        document = {"arch": [archs[0], archs[0], *archs], "latency_ms": changed}
        return WholeNetworks.from_json(document, FASHION_LIKE)

    with pytest.raises(InputError, match="entry 9 "):
        fit(read(9, 50))
    (note,) = fit(read(1, 8)).notes
    assert note.kind == "outlier"
    assert note.text.startswith("entry 1: ")
    assert "where the same network takes" in note.text


def test_a_time_that_is_odd_is_a_warning():
    found = kinds(times(40, lambda n, arch, ms: 4.5 * ms if n == 3 else ms))
    assert "entry 3 " in found["outlier"]


def test_microseconds_are_named():
    """Of a device that is three times as fast; those of this one are no speed of any device."""
    found = kinds(times(20, lambda n, arch, ms: 1000 * ms / 3))
    assert "slower than any telephone: are the times microseconds" in found["unit"]
    with pytest.raises(BadTable, match="are the times microseconds"):
        kinds(times(20, lambda n, arch, ms: 1000 * ms))


@pytest.mark.parametrize(("factor", "unit"), [(1000, "microseconds"), (1 / 1000, "seconds")])
def test_another_unit_than_the_donors_is_refused(factor, unit):
    with pytest.raises(InputError, match=f"times those of donor 'truth': are they {unit}"):
        fit(times(4, lambda n, arch, ms: factor * ms), DEVICE)


def test_a_donor_that_is_not_alike_is_named():
    assert "name a donor that is like" in kinds(times(8, lambda n, a, ms: 50 * ms), DEVICE)["unit"]


def test_a_run_that_throttles_is_named():
    found = kinds(times(20, lambda n, arch, ms: ms * (1 + 0.5 * n / 19)))
    assert re.search(r"1\.[34]\d times as long .* slowed down", found["trend"])
    assert "became faster" in kinds(times(20, lambda n, a, ms: ms * (1 - 0.4 * n / 19)))["trend"]


def test_a_small_image_that_is_slower_than_a_large_one_is_named():
    """By the pair, where the half of all networks is slow and none of them stands out."""
    middle = FASHION_LIKE.resolutions[len(FASHION_LIKE.resolutions) // 2]
    measured = times(40, lambda n, arch, ms: 5 * ms if arch.resolution < middle else ms)
    macs_N = np.array(
        [sum(layer.macs for layer in layer_plan(FASHION_LIKE, arch)) for arch in measured.archs]
    )
    (note,) = screen(measured, macs_N.astype(float))
    assert note.kind in ("order", "outlier")
    with pytest.raises((BadTable, InputError)):
        check(fit(measured), FASHION_LIKE)


def test_notes_are_kept_with_the_table():
    table = replace(true_table(DEBUG), notes=(Note("trend", "it slowed down"),))
    assert table_from_json(table_to_json(table)).notes == table.notes
    assert "notes" not in table_to_json(true_table(DEBUG))
    for wrong in (("odd", "text"), ("trend", ""), ("trend", "two\nlines")):
        with pytest.raises(InputError):
            Note(*wrong)  # type: ignore[arg-type]
