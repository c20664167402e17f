"""Tables add up, say what they lack, and refuse what is impossible."""

import dataclasses

import numpy as np
import pytest

from latency_tables.table.conditions import Conditions
from latency_tables.table.table import LatencyTable, LayerLatency, space_layers
from models.errors import InputError, NotFound
from models.spaces.plan import layer_plan
from tests.fake_stopwatch import CONDITIONS, macs_ms
from tests.spaces import DEBUG

ENTRY = LayerLatency(p50_ms=0.5, mean_ms=0.6, std_ms=0.1, count=10)


def table_of(space, layer_ms=macs_ms, /, **fields):
    entries = {
        key: LayerLatency(p50_ms=layer_ms(layer), mean_ms=1.0, std_ms=0.0, count=1)
        for key, layer in space_layers(space).items()
    }
    values = {
        "device": "bench",
        "space": space.name,
        "origin": "measured",
        "source": "a test",
        "conditions": CONDITIONS,
        "entries": entries,
    }
    return LatencyTable(**{**values, **fields})


def every_arch(space):
    """All architectures of a small space, by counting through its gene matrix."""
    counts = np.indices(tuple(space.n_choices)).reshape(len(space.genes), -1).T
    return space.decode(np.unique(space.canonical(counts.astype(np.uint8)), axis=0))


# -- the table ----------------------------------------------------------------------------


def test_space_layers_are_those_of_every_architecture() -> None:
    archs = every_arch(DEBUG)
    assert len(archs) == DEBUG.cardinality
    assert set(space_layers(DEBUG)) == {
        layer.key for arch in archs for layer in layer_plan(DEBUG, arch)
    }


def test_network_is_overhead_and_sum_of_layers() -> None:
    table = table_of(DEBUG, network_overhead_ms=0.25)
    for arch in (DEBUG.smallest, DEBUG.largest):
        plan = layer_plan(DEBUG, arch)
        assert table.network_ms(plan) == pytest.approx(0.25 + sum(map(macs_ms, plan)))


def test_missing_layer_is_named_with_its_neighbours() -> None:
    full = table_of(DEBUG)
    stem, *_, classifier = layer_plan(DEBUG, DEBUG.largest)
    entries = {key: entry for key, entry in full.entries.items() if key != classifier.key}
    table = dataclasses.replace(full, entries=entries)
    assert table.missing(DEBUG) == [classifier.key]
    assert full.missing(DEBUG) == []
    assert table.layer_ms(stem) == full.layer_ms(stem)
    with pytest.raises(NotFound, match="'bench' .* 'classifier' .*nearest are") as caught:
        table.network_ms(layer_plan(DEBUG, DEBUG.largest))
    assert classifier.key in str(caught.value)


def test_entries_cannot_be_changed() -> None:
    given = {"key": ENTRY}
    table = table_of(DEBUG, entries=given)
    given["other"] = ENTRY
    assert list(table.entries) == ["key"]
    with pytest.raises(TypeError):
        table.entries["other"] = ENTRY


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("p50_ms", 0.0, "p50_ms: expected a finite number above 0"),
        ("p50_ms", float("nan"), "p50_ms: .*got nan"),
        ("p50_ms", float("inf"), "p50_ms: .*got inf"),
        ("mean_ms", -1.0, "mean_ms: .*got -1"),
        ("mean_ms", 1e7, r"mean_ms: .*up to 1e\+06"),
        ("std_ms", -0.1, "std_ms: expected a finite number from 0"),
        ("count", 0, "count: .*above 0"),
    ],
)
def test_layer_latency_refuses(field, value, message) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(ENTRY, **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("runtime", "", "runtime: expected one line"),
        ("runtime", "a\nb", "runtime: expected one line"),
        ("precision", "fp8", "precision: expected one of"),
        ("batch", 0, "batch: "),
        ("threads", 0, "threads: "),
        ("threads", 10**400, "threads: .* up to 1e.09, got an integer of 1329 bits"),
        ("processor", "x" * 501, "processor: expected one line"),
        ("measured_at", "yesterday", "measured_at: expected ISO 8601"),
    ],
)
def test_conditions_refuse(field, value, message) -> None:
    with pytest.raises(InputError, match=message):
        Conditions(**{"runtime": "ort", "precision": "fp32", "batch": 1, field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("device", "../etc", "device: expected 1 to 64 of a-z"),
        ("device", "Pixel", "device: expected 1 to 64 of a-z"),
        ("space", "a@b", "space: expected 1 to 64"),
        ("source", " ", "source: expected one line"),
        ("origin", "guessed", "origin: expected one of"),
        ("entries", {}, "entries: expected 1 to 50000 layers, got 0"),
        ("entries", {"": ENTRY}, "entries: key: expected one line"),
        ("network_overhead_ms", -0.1, "network_overhead_ms: "),
        ("expected_error", float("nan"), "expected_error: "),
    ],
)
def test_table_refuses(field, value, message) -> None:
    with pytest.raises(InputError, match=message):
        table_of(DEBUG, **{field: value})


# -- measuring ----------------------------------------------------------------------------
