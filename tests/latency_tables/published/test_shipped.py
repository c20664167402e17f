"""The published devices: all there, as published, and made by the command that says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from latency_tables.fitting.fit import Costs
from latency_tables.fitting.layer_costs import as_vector
from latency_tables.published import publish
from latency_tables.published.builtin import BUILTIN, BuiltinDevices
from latency_tables.published.ofa_yaml import import_ofa_lut
from latency_tables.published.publish import read_zoo
from latency_tables.published.records import shipped_tables
from latency_tables.published.shipped import (
    measured_file,
    shipped_table,
    table_of_costs,
)
from latency_tables.table.table import at_resolution, table_to_json
from models.spaces.files import published_spaces
from models.spaces.mobile import MobileSpace
from models.spaces.plan import layer_plan
from search.costs.costs import latency_costs

TEN = [
    "samsung-note8", "samsung-note10", "samsung-s7-edge", "lg-g8", "google-pixel",
    "google-pixel-2", "intel-xeon", "gtx-1080ti", "jetson-tx2", "v100",
]  # fmt: skip
MOBILE = ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-proxyless-w1.3"]
REFERENCE = Path(os.environ.get("SUBNET_REFERENCE", "nowhere"))
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="needs SUBNET_REFERENCE")


@pytest.fixture(scope="module")
def builtin():
    return BuiltinDevices()


@pytest.mark.slow
@pytest.mark.parametrize("device", TEN)
def test_each_device_serves_every_published_mobile_space(builtin, device):
    found = builtin.get(device)
    assert sorted(space for space, _ in found.tables) == MOBILE
    for space in MOBILE:
        table = found.table(space)
        whole = published_spaces()[space]
        assert not table.missing(whole)
        assert table.covered(whole).resolutions == whole.resolutions
        assert 0 < table.expected_error <= 0.04
        assert len(table.source) > 40
        assert table.conditions.batch == {"gtx-1080ti": 64, "v100": 64, "jetson-tx2": 16}.get(
            device, 1
        )


@pytest.mark.slow
def test_origins(builtin):
    origins = {
        (device, space): builtin.table(device, (space, "fp32")).origin
        for device in TEN
        for space in MOBILE
    }
    assert origins.pop(("samsung-note10", "ofa-mbv3-w1.2")) == "measured"
    assert origins.pop(("v100", "ofa-mbv3-w1.2")) == "fitted"
    assert set(origins.values()) == {"estimated"}


@pytest.mark.slow
def test_bounds_are_promised_only_where_networks_were_measured(builtin):
    """In the space that they were of, and never more than so many can promise."""
    pixel = {space: builtin.table("google-pixel", (space, "fp32")) for space in MOBILE}
    assert [t.usual_confidence for t in pixel.values()] == [6 / 7, 6 / 7, None]
    assert builtin.table("lg-g8", ("ofa-mbv3-w1.0", "fp32")).usual_confidence == 0.75
    assert builtin.table("v100", ("ofa-mbv3-w1.2", "fp32")).usual_confidence == 0.9


def test_times_grow_with_the_resolution_also_where_they_were_not_measured(builtin):
    table = builtin.table("samsung-note10", ("ofa-mbv3-w1.2", "fp32"))
    space = published_spaces()["ofa-mbv3-w1.2"]
    assert isinstance(space, MobileSpace)
    times = [
        table.network_ms(layer_plan(space, space.uniform(r, 1, 5, 4))) for r in space.resolutions
    ]
    steps = np.diff(times) / times[:-1]
    assert steps.min() > -0.02
    assert steps.max() < 0.16  # from 128 to 132 every later size goes up by one
    assert table.estimated_resolutions == tuple(r for r in space.resolutions if not 160 <= r <= 224)


def test_a_layer_that_was_not_measured_is_scaled_from_the_nearest_resolution(builtin):
    key = ("samsung-note10", "ofa-mbv3-w1.2")
    space = published_spaces()[key[1]]
    assert isinstance(space, MobileSpace)
    table = builtin.table(key[0], (key[1], "fp32"))
    costs = table_of_costs(table, Costs(as_vector(shipped_tables(BUILTIN)[key]["unit_ms"])))
    for near, far in ((160, 128), (224, 260)):
        plans = [layer_plan(space, space.uniform(r, -1, 5, 6)) for r in (near, far)]
        for close, layer in zip(*plans, strict=True):
            ratio = costs.entries[layer.key].p50_ms / costs.entries[close.key].p50_ms
            expected = table.entries[at_resolution(close)].p50_ms * ratio
            assert table.entries[at_resolution(layer)].p50_ms == pytest.approx(expected)


def test_compiling_is_the_same_every_time():
    shipped_table.cache_clear()
    first = table_to_json(shipped_table(BUILTIN, "lg-g8", "ofa-mbv3-w1.0"))
    shipped_table.cache_clear()
    assert table_to_json(shipped_table(BUILTIN, "lg-g8", "ofa-mbv3-w1.0")) == first


@needs_reference
def test_shipped_figures_are_made_from_the_published_ones(tmp_path):
    """What is in `data/` is what the command writes; last digits may depend on the machine."""
    publish.publish(REFERENCE, tmp_path)
    made, kept = (json.loads((f / "shipped.json").read_text()) for f in (tmp_path, BUILTIN))
    assert len(made["tables"]) == len(kept["tables"])
    for ours, theirs in zip(made["tables"], kept["tables"], strict=True):
        texts = ("device", "spaces", "origin", "source", "conditions")
        assert {k: ours[k] for k in texts} == {k: theirs[k] for k in texts}
        assert ours["residual_ratios"] == pytest.approx(theirs["residual_ratios"], abs=1e-3)
        assert ours["expected_error"] == pytest.approx(theirs["expected_error"], abs=1e-3)
    layers = measured_file("samsung-note10", "ofa-mbv3-w1.2")
    assert (tmp_path / layers).read_bytes() == (BUILTIN / layers).read_bytes()


@needs_reference
def test_note10_gives_the_sums_of_the_published_files(builtin):
    space = published_spaces()["ofa-mbv3-w1.2"]
    imported = import_ofa_lut(REFERENCE / "note10_lut", space, device="n", source="files")
    shipped = builtin.table("samsung-note10", ("ofa-mbv3-w1.2", "fp32"))
    part = imported.covered(space)
    genes = part.sample(1000, np.random.default_rng(0))
    sums = [latency_costs(part, table).evaluate(genes) for table in (imported, shipped)]
    assert (sums[0] == sums[1]).all()


@needs_reference
def test_published_networks_take_what_was_published(builtin):
    """All of them took part; what is predicted of one left out is in `expected_error`."""
    errors: dict[str, list[float]] = {}
    for point in read_zoo(REFERENCE / "zoo_points.json"):
        table = builtin.table(point.device, (point.space, "fp32"))
        plan = layer_plan(published_spaces()[point.space], point.arch)
        assert table.conditions.batch == point.batch
        error = abs(table.network_ms(plan) / point.latency_ms - 1)
        errors.setdefault(point.device, []).append(error)
    assert sorted(errors) == sorted(TEN)
    assert max(np.mean(e) for e in errors.values()) < 0.04
