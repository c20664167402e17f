"""Every way in which a table can be wrong is found, and a good table has nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from latency_tables.published.builtin import BuiltinDevices
from latency_tables.table.conditions import Conditions
from latency_tables.table.linting import BadTable, check, lint
from latency_tables.table.table import LatencyTable, LayerLatency, Note, space_layers
from models.bundle.bundle import BundleRegistry
from models.errors import InputError
from tests.spaces import FASHION_LIKE

CPU = Conditions(runtime="a test", precision="fp32", batch=1, threads=1)
SMALL = FASHION_LIKE.resolutions[0]
GMACS, OPERATOR_MS = 10.0, 0.002
"""Of a made-up processor: billions of operations a second, and what starting a layer takes."""


def table_of(change=lambda layer, ms: ms, spread=0.02, **fields):
    layers = space_layers(FASHION_LIKE)
    times = {
        key: change(layer, OPERATOR_MS + layer.macs / 1e6 / GMACS) for key, layer in layers.items()
    }
    entries = {
        key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=spread * ms, count=10)
        for key, ms in times.items()
    }
    values = {
        "device": "bench",
        "space": FASHION_LIKE.name,
        "origin": "measured",
        "source": "a test",
        "conditions": CPU,
        "entries": entries,
        "expected_error": 0.02,
    }
    return LatencyTable(**{**values, **fields})


def swapped_kernels(layer, ms):
    """As if the columns of the kernels had been exchanged."""
    return ms * {3: 7, 7: 1 / 7}.get(layer.kernel, 1) if layer.kind == "mbconv" else ms


def one_corrupt(layer, ms):
    return ms * 50 if (layer.name, layer.kernel) == ("stage3_block1", 5) else ms


def gaps():
    entries = dict(list(table_of().entries.items())[:-3])
    return table_of(entries=entries)


def ran_on(provider):
    return dataclasses.replace(CPU, runtime="onnxruntime", provider="GPU:id=1", ran_on=provider)


SLOW = dataclasses.replace(CPU, threads=None)
BAD = [
    ("missing", gaps(), r"3 layers of the space are missing, first \w+"),
    ("unit", table_of(lambda _, ms: ms * 1e3), "are the times microseconds"),
    ("unit", table_of(lambda _, ms: ms / 1e3), "are the times seconds"),
    ("unit", table_of(lambda _, ms: ms / 1e3, conditions=SLOW), "are the times seconds"),
    ("order", table_of(swapped_kernels), "a larger kernel is faster .* mixed up"),
    (
        "order",
        table_of(lambda layer, ms: ms / layer.mid_channels**2 if layer.mid_channels else ms),
        "a larger expansion is faster",
    ),
    ("order", table_of(one_corrupt), "times by a factor of 3, first mbconv"),
    ("spread", table_of(spread=4.0), "vary by 400% between repetitions"),
    ("additivity", table_of(expected_error=0.4), "40% off on average, more than 25%"),
    (
        "order",
        table_of(lambda layer, ms: ms * (20 if layer.resolution == SMALL else 1)),
        f"times as long on images of {SMALL} x {SMALL} pixels",
    ),
    (
        "order",
        table_of(lambda layer, ms: ms * (20 if layer.resolution == SMALL else 1)),
        "a larger input size is faster",
    ),
    ("bound", table_of(residual_ratios=(*[1.0] * 9, 100.0)), "at most 100 times"),
    ("provider", table_of(conditions=ran_on("CPU")), "GPU was asked .* CPU ran them or a part"),
]


def test_a_good_table_has_nothing():
    assert lint(table_of(), FASHION_LIKE) == ()
    assert check(table_of(), FASHION_LIKE) == ()
    assert check(table_of(conditions=ran_on("GPU")), FASHION_LIKE) == ()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "table", "words"), BAD)
def test_each_kind_of_error_is_refused_with_its_reason(kind, table, words):
    errors = [finding for finding in lint(table, FASHION_LIKE) if finding.is_error]
    assert kind in {finding.kind for finding in errors}
    with pytest.raises(BadTable, match=words) as caught:
        check(table, FASHION_LIKE)
    assert isinstance(caught.value, InputError)
    assert caught.value.findings == tuple(errors)


def test_all_errors_are_named_together():
    table = table_of(lambda _, ms: ms * 1e3, spread=4.0, expected_error=0.4)
    with pytest.raises(BadTable) as caught:
        check(table, FASHION_LIKE)
    assert {finding.kind for finding in caught.value.findings} == {"unit", "spread", "additivity"}


@pytest.mark.parametrize(
    ("kind", "table", "words"),
    [
        ("spread", table_of(spread=0.3), "vary by more than 25%"),
        ("additivity", table_of(expected_error=0.15), "15% off"),
        ("additivity", table_of(expected_error=None), "no whole network was timed"),
        ("bound", table_of(residual_ratios=(*[1.0] * 9, 2.0)), "at most 2 times what is predicted"),
        ("unit", table_of(lambda _, ms: 120 * ms), "are the times microseconds"),
        ("unit", table_of(lambda _, ms: ms / 40), "are the times seconds"),
        ("trend", table_of(notes=(Note("trend", "it slowed down"),)), "it slowed down"),
        ("provider", table_of(conditions=ran_on(None)), "nothing says that GPU ran the networks"),
        (
            "missing",
            table_of(entries={**table_of().entries, "odd": table_of().entries[next(iter(
                table_of().entries))]}),
            "1 entries are of no layer of the space, first odd",
        ),
        (
            "order",
            table_of(lambda layer, ms: 0.9 * ms if layer.name == "stage2_block1" else ms),
            "",
        ),
    ],
)  # fmt: skip
def test_what_is_odd_is_a_warning(kind, table, words):
    found = check(table, FASHION_LIKE)
    if words:
        assert any(f.kind == kind and words in f.text for f in found)
    assert not any(f.is_error for f in found)


def test_without_its_space_less_can_be_said():
    (finding,) = lint(table_of(), None)
    assert (finding.kind, finding.is_error) == ("space", False)
    assert {f.kind for f in lint(table_of(spread=4.0), None)} == {"space", "spread"}


@pytest.mark.parametrize("factor", [0.02, 0.1, 1, 10, 30])
@pytest.mark.parametrize("batch", [1, 64])
def test_processors_from_slow_to_fast_are_no_slips(factor, batch):
    conditions = Conditions(runtime="a test", precision="fp32", batch=batch)
    table = table_of(lambda _, ms: ms / factor * batch**0.5, conditions=conditions)
    assert not [f for f in lint(table, FASHION_LIKE) if f.kind == "unit"]


def test_noise_within_its_spread_is_not_out_of_order():
    rng = np.random.default_rng(0)
    noisy = table_of(lambda _, ms: ms * rng.uniform(0.97, 1.03), spread=0.06)
    assert lint(noisy, FASHION_LIKE) == ()


@pytest.mark.slow
def test_the_tables_that_come_with_the_program_have_no_errors(tmp_path):
    registry = BundleRegistry(tmp_path)
    spaces = {bundle.space.name: bundle.space for bundle in map(registry.get, registry.names())}
    builtin = BuiltinDevices()
    for name in builtin.names():
        for table in builtin.get(name).tables.values():
            check(table, spaces[table.space])
