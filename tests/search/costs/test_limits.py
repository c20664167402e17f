"""The registered limits: each cost model against its definition, network by network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latency_tables.table.conditions import Conditions
from models.layers import tensor_shapes
from models.onnx.builder import build_onnx
from models.spaces.plan import layer_plan, macs, params
from search.costs.limits import CLASS_NAMES_BYTES, METADATA_BYTES, CostInputs, registered_limits
from service.delivery.stated import stated_classes
from tests.service.conftest import make_table
from tests.spaces import DEBUG

LIMITS = registered_limits()
ARCHS = [DEBUG.smallest, DEBUG.largest, *DEBUG.decode(DEBUG.sample(4, np.random.default_rng(0)))]
GENES = DEBUG.encode(ARCHS)
POWER_W, BATCH = 5.0, 4


def table_of(power_w: float | None = POWER_W, **changes):
    conditions = Conditions(runtime="fake", precision="fp32", batch=BATCH, power_w=power_w)
    return make_table(conditions=conditions, **changes)


def costs_of(name: str, table=None) -> list[float]:
    cost = LIMITS[name].make_cost(CostInputs(DEBUG, table))
    assert cost is not None
    return cost.evaluate(GENES).tolist()


def test_macs_params_and_memory_need_no_device():
    plans = [layer_plan(DEBUG, arch) for arch in ARCHS]
    assert costs_of("macs") == [macs(DEBUG, arch) for arch in ARCHS]
    assert costs_of("params") == [params(DEBUG, arch) for arch in ARCHS]
    assert costs_of("peak_memory_bytes") == [
        4 * max(layer.live_values for layer in plan) for plan in plans
    ]


def test_the_size_of_a_file_leaves_room_for_its_metadata():
    """To a few bytes a layer, as names and lengths are written with more or fewer digits."""
    for arch, counted in zip(ARCHS, costs_of("model_bytes"), strict=True):
        plan = layer_plan(DEBUG, arch)
        zeros = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(plan).items()}
        size = len(build_onnx(plan, zeros, {}))
        assert abs(counted - METADATA_BYTES - size) <= 40 * len(plan)


def test_names_of_many_classes_are_counted_in_the_size_of_a_file():
    """A thousand of them take twenty kilobytes of its metadata."""
    names = stated_classes([f"class number {number}" for number in range(1000)])
    (text,) = names.values()
    plan = layer_plan(DEBUG, ARCHS[0])
    zeros = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(plan).items()}
    growth = len(build_onnx(plan, zeros, names)) - len(build_onnx(plan, zeros, {}))
    counted = LIMITS["model_bytes"].make_cost(CostInputs(DEBUG, None, len(text)))
    assert counted is not None
    more = counted.evaluate(GENES)[0] - costs_of("model_bytes")[0]
    assert more == pytest.approx(growth - CLASS_NAMES_BYTES, abs=64)


def test_latency_is_the_sum_over_the_table():
    table = table_of()
    expected = [table.network_ms(layer_plan(DEBUG, arch)) for arch in ARCHS]
    assert costs_of("latency_ms", table) == pytest.approx(expected, rel=1e-12)


def test_energy_is_watts_times_milliseconds_of_one_image():
    table = table_of()
    expected = [table.network_ms(layer_plan(DEBUG, arch)) * POWER_W / BATCH for arch in ARCHS]
    assert costs_of("energy_mj", table) == pytest.approx(expected, rel=1e-12)


def test_what_the_table_does_not_say_is_unknown():
    for name in ("latency_ms", "energy_mj"):
        assert LIMITS[name].make_cost(CostInputs(DEBUG, None)) is None
    assert LIMITS["energy_mj"].make_cost(CostInputs(DEBUG, table_of(None))) is None
    assert CostInputs(DEBUG, None).covered == DEBUG


def test_latency_and_energy_hold_at_the_resolutions_of_the_table():
    whole = table_of()
    at_8 = {layer.key for arch in DEBUG.at([8]).covering() for layer in layer_plan(DEBUG, arch)}
    part = replace(whole, entries={k: e for k, e in whole.entries.items() if k in at_8})
    inputs = CostInputs(DEBUG, part)
    assert inputs.covered == DEBUG.at([8])
    for name in ("latency_ms", "energy_mj"):
        cost = LIMITS[name].make_cost(inputs)
        assert cost is not None
        assert cost.space.resolutions == (8,)
    macs_cost = LIMITS["macs"].make_cost(inputs)
    assert macs_cost is not None
    assert macs_cost.space == DEBUG, "it needs no table"


def test_an_answer_says_how_energy_and_memory_were_estimated():
    table = table_of(expected_error=0.04)
    energy = LIMITS["energy_mj"].provenance(table)
    assert energy["method"] == "latency of one image x 5 W"
    assert energy["expected_error"] == 0.04, "that of the latency, as the power is taken as given"
    assert energy["expected_error_unit"].startswith("fraction of the energy")
    memory = LIMITS["peak_memory_bytes"].provenance(None)
    assert memory["expected_error"] is None
    assert "float32" in memory["method"]
    assert LIMITS["macs"].provenance(table) == {}


def test_every_limit_says_what_people_read():
    """Counts are whole numbers, of a noun; a quantity with a unit has it in its name."""
    by_unit = {name: limit.unit for name, limit in LIMITS.items()}
    assert by_unit == {
        "latency_ms": "ms", "macs": "", "params": "", "model_bytes": "B",
        "peak_memory_bytes": "B", "energy_mj": "mJ",
    }  # fmt: skip
    for name, limit in LIMITS.items():
        assert limit.name == name
        assert limit.option == "--max-" + name.replace("_", "-")
        counted = limit.unit in ("", "B")
        assert limit.is_integer == limit.in_millions == counted, name
        assert bool(limit.noun) == counted, name
        assert limit.in_file == (name == "model_bytes")
    origins = {name: limit.origin for name, limit in LIMITS.items()}
    assert {name for name, origin in origins.items() if origin == "exact"} == {"macs", "params"}
    assert origins["latency_ms"] == "predicted"
