"""What holds for every table, device and document, not only for the examples."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.benchmark.measure import measure_space
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.fitting.profiles import parse_profile
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import MAX_COUNT, MAX_MS, PRECISIONS, Conditions
from latency_tables.table.table import (
    ORIGINS,
    LatencyTable,
    LayerLatency,
    space_layers,
    table_to_json,
)
from models.errors import InputError
from models.spaces.plan import layer_plan
from tests.fake_stopwatch import CONDITIONS, FakeStopwatch
from tests.spaces import DEBUG

KEYS = list(space_layers(DEBUG))

names = st.text("abcxyz0189", min_size=1, max_size=8)
lines = st.text('aZ09-_ é"\\{}鋼', min_size=1, max_size=12).map(lambda text: f"x{text}")
positive_ms = st.floats(0, MAX_MS, exclude_min=True)
counts = st.integers(1, MAX_COUNT)
latencies = st.builds(
    LayerLatency,
    p50_ms=positive_ms,
    mean_ms=positive_ms,
    std_ms=st.floats(0, MAX_MS),
    count=counts,
)
conditions = st.builds(
    Conditions,
    runtime=lines,
    precision=st.sampled_from(PRECISIONS),
    batch=counts,
    runtime_version=st.none() | lines,
    provider=st.none() | lines,
    threads=st.none() | counts,
    processor=st.none() | lines,
    measured_at=st.none() | st.datetimes().map(lambda t: t.isoformat()),
)
tables = st.builds(
    LatencyTable,
    device=names,
    space=names,
    origin=st.sampled_from(ORIGINS),
    source=lines,
    conditions=conditions,
    entries=st.dictionaries(lines, latencies, min_size=1, max_size=5),
    network_overhead_ms=st.floats(0, MAX_MS),
    expected_error=st.none() | st.floats(0, 10),
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
archs = st.integers(0, 2**32 - 1).map(
    lambda seed: DEBUG.decode(DEBUG.sample(1, np.random.default_rng(seed)))[0]
)


@pytest.mark.slow
@given(tables)
def test_files_keep_every_bit(table) -> None:
    assert table_from_json(table_to_json(table)) == table


@given(tables, st.data())
@pytest.mark.slow
def test_no_document_does_more_than_be_refused(table, data) -> None:
    """Any value anywhere in a file: a table, or an InputError; never another exception."""
    document = json.loads(table_to_json(table))
    target, path = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(target[path], dict) and data.draw(st.booleans()):
        target = target[path]
        path = data.draw(st.sampled_from(sorted(target)))
    target[path] = data.draw(documents)
    with contextlib.suppress(InputError):
        assert isinstance(table_from_json(json.dumps(document)), LatencyTable)


@pytest.mark.slow
@given(documents, documents, documents)
def test_no_profile_does_more_than_be_refused(anything, table, posted_conditions) -> None:
    profile = {
        "name": "board",
        "runtime": "ort",
        "precision": "fp32",
        "batch": 1,
        "conditions": posted_conditions,
        "space": "debug",
        "table": table,
    }
    for value in (anything, profile):
        with contextlib.suppress(InputError):
            assert isinstance(parse_profile(value), LatencyTable)


@pytest.mark.slow
@given(st.lists(positive_ms, min_size=len(KEYS), max_size=len(KEYS)), st.floats(0, 10), archs)
def test_a_network_is_the_sum_of_its_layers(times_ms, overhead_ms, arch) -> None:
    by_key = dict(zip(KEYS, times_ms, strict=True))
    table = LatencyTable(
        device="d",
        space="debug",
        origin="estimated",
        source="drawn",
        conditions=CONDITIONS,
        entries={
            key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0, count=1)
            for key, ms in by_key.items()
        },
        network_overhead_ms=overhead_ms,
    )
    plan = layer_plan(DEBUG, arch)
    expected = math.fsum([overhead_ms, *(by_key[layer.key] for layer in plan)])
    assert table.network_ms(plan) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=10)
@given(
    times_ms=st.lists(st.floats(0.05, 1), min_size=len(KEYS), max_size=len(KEYS)),
    start_ms=st.floats(0, 0.1),
    conversion_ms=st.floats(0, 1e-6),
    arch=archs,
)
def test_differences_of_chains_recover_any_additive_device(
    times_ms, start_ms, conversion_ms, arch
) -> None:
    """Whatever starts and conversions cost, they cancel along a network."""
    by_key = dict(zip(KEYS, times_ms, strict=True))
    device = FakeStopwatch(
        layer_ms=lambda layer: by_key.get(layer.key, 0.03),  # leads are not in the space
        start_ms=start_ms,
        conversion_ms=conversion_ms,
    )
    options = MeasureOptions(target_s=0, min_rounds=1, runs=1, warmup=0, networks=6)
    table = measure_space(DEBUG, options=options, stopwatch=device)
    plan = layer_plan(DEBUG, arch)
    assert table.network_ms(plan) == pytest.approx(device.chain_ms(plan), rel=1e-4)
