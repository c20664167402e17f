"""int8: searched by the int8 table, built, compared with fp32, and honest where it is no gain."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from latency_tables.table.conditions import Conditions
from models.errors import InputError
from models.onnx.export import run_onnx
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from search.costs.limits import METADATA_BYTES
from service.catalog.deployment_context import DeploymentContext
from service.delivery.accuracy_check import Unverified
from service.delivery.delivery import MemoryBlobs, _check_size, deliver
from service.delivery.model_builder import ModelBuilder
from tests.service.conftest import (
    DEVICE,
    SUPERNET,
    busy_on,
    catalog_of,
    keep,
    make_profile,
    make_table,
)
from tests.spaces import DEBUG

HERE = Conditions(
    runtime="onnxruntime", precision="int8", batch=1, provider="fake", threads=1, processor="fake"
)


class FakeTimer:
    """Times by precision."""

    def __init__(self, **ms):
        self.ms = ms

    def conditions(self, runtime, provider, threads):
        return replace(HERE, precision="fp32")

    def times_ms(self, model, here):
        props = {p.key: p.value for p in onnx.load_from_string(model).metadata_props}
        return np.full((2, 2), self.ms[props["subnet_search.precision"]])


def int8_table(scale=1.0, device="host", conditions=HERE):
    table = make_table(device, conditions=conditions)
    entries = {key: replace(e, p50_ms=scale * e.p50_ms) for key, e in table.entries.items()}
    return replace(table, entries=entries)


@pytest.fixture
def bundle(home):
    return catalog_of(home).supernets.get(SUPERNET)


def deliver_int8(bundle, timer, float_table=None, artifacts=None, limits=None, table=None):
    context = DeploymentContext.open(bundle, table or int8_table(), float_table)
    builder = ModelBuilder(bundle, timer=timer)
    return deliver(
        context,
        lambda: builder,
        limits or {"latency_ms": 0.8},
        0,
        artifacts=artifacts or MemoryBlobs(),
    )


@pytest.mark.slow
def test_the_file_is_int8_and_compared_with_fp32(bundle):
    artifacts = MemoryBlobs()
    result = deliver_int8(bundle, FakeTimer(int8=0.5, fp32=0.7), artifacts=artifacts)
    model = artifacts.get(result["sha256"])
    props = {p.key: p.value for p in onnx.load_from_string(model).metadata_props}
    assert props["subnet_search.precision"] == "int8"
    verified = result["verified"]
    assert json.loads(props["subnet_search.verified"]) == verified
    lost = verified["quantization"]
    assert verified["top1"]["conditions"]["precision"] == "int8"
    assert lost["fp32_top1"]["conditions"]["precision"] == "fp32"
    assert lost["lost_points"] == pytest.approx(
        lost["fp32_top1"]["value"] - verified["top1"]["value"], abs=1e-4
    )
    made = ModelBuilder(bundle).make(
        DeploymentContext.open(bundle, None), Arch.from_json(result["arch"])
    )
    images = ModelBuilder(bundle).parity_images(Arch.from_json(result["arch"]))
    float_logits, logits = run_onnx(made.model, images), run_onnx(model, images)
    assert lost["same_answer"] == (float_logits.argmax(1) == logits.argmax(1)).mean()
    assert lost["mean_difference"] == pytest.approx(np.abs(logits - float_logits).mean(), rel=0.01)
    assert lost["fp32_latency_ms"]["conditions"]["precision"] == "fp32"
    assert verified["latency_ms"]["conditions"]["precision"] == "int8"


@pytest.mark.slow
def test_where_int8_is_not_faster_the_answer_says_so(bundle):
    quick = deliver_int8(bundle, FakeTimer(int8=0.5, fp32=0.7))["int8"]
    assert (quick["faster"], quick["measured"]["int8_ms"]) == (True, 0.5)
    slow = deliver_int8(bundle, FakeTimer(int8=0.7, fp32=0.5))["int8"]
    assert slow["faster"] is False
    assert "int8 is not faster than fp32 on host" in slow["in_words"]
    assert "0.7 ms against 0.5 ms; ask for fp32" in slow["in_words"]


@pytest.mark.slow
def test_elsewhere_the_tables_are_compared(bundle):
    there = replace(HERE, processor="other")
    result = deliver_int8(
        bundle,
        FakeTimer(),
        table=int8_table(0.5, conditions=there),
        float_table=make_table("host", conditions=replace(there, precision="fp32")),
    )
    found = result["int8"]
    plan = layer_plan(DEBUG, Arch.from_json(result["arch"]))
    assert found["predicted"]["int8_ms"] == result["latency_ms"]
    assert found["predicted"]["fp32_ms"] == pytest.approx(make_table().network_ms(plan))
    assert found["faster"] is True
    assert "measured" not in found
    alone = deliver_int8(bundle, FakeTimer(), table=int8_table(0.5, conditions=there))["int8"]
    assert alone["faster"] is None
    assert "not known" in alone["in_words"]


def test_the_search_goes_by_the_int8_table(home):
    keep(home, int8_table(0.5, DEVICE, conditions=replace(HERE, runtime="fake")))
    catalog = catalog_of(home)
    int8 = catalog.context(SUPERNET, DEVICE, "int8")
    fp32 = catalog.context(SUPERNET, DEVICE, "fp32")
    assert int8.float_table == fp32.table
    assert int8.provenance()["top1"]["of"].startswith("the network at fp32")
    genes = DEBUG.encode([DEBUG.largest])
    overhead = make_table().network_overhead_ms
    a, b = (p.costs["latency_ms"].evaluate(genes)[0] - overhead for p in (int8, fp32))
    assert a == pytest.approx(0.5 * b)


def test_another_runtime_is_no_comparison(home):
    keep(home, int8_table(0.5, DEVICE, conditions=replace(HERE, runtime="openvino")))
    catalog = catalog_of(home)
    assert catalog.context(SUPERNET, DEVICE, "fp32").runtime == "fake"
    assert catalog.context(SUPERNET, DEVICE, "int8").float_table is None


@pytest.mark.slow
def test_sizes_are_counted_at_int8(bundle):
    at_int8 = DeploymentContext.open(bundle, int8_table())
    at_fp32 = DeploymentContext.open(bundle, make_table("host"))
    floor, peak = (at_int8.costs[name].floor() for name in ("model_bytes", "peak_memory_bytes"))
    assert peak < at_fp32.costs["peak_memory_bytes"].floor()
    limits = {"latency_ms": 9.0, "model_bytes": floor}
    result = deliver_int8(bundle, FakeTimer(int8=0.1, fp32=0.1), limits=limits)
    assert result["model_bytes"] <= floor
    # The estimate allows for metadata, of which it does not know the length.
    assert floor - result["model_bytes"] < METADATA_BYTES
    assert "uint8" in at_int8.provenance()["peak_memory_bytes"]["method"]


def test_a_file_larger_than_asked_is_not_delivered():
    with pytest.raises(Unverified, match="the finished file has 11 bytes, expected at most 10"):
        _check_size({"model_bytes": 11}, {"model_bytes": 10.0})
    _check_size({"model_bytes": 11}, {"model_bytes": 11.0, "latency_ms": 1.0})


@pytest.mark.slow
def test_a_broken_quantization_is_not_delivered(bundle, monkeypatch):
    import models.onnx.quantize

    quantize = models.onnx.quantize.quantize_onnx

    def spoiled(model, batches, metadata):
        proto = onnx.load_from_string(quantize(model, batches, metadata))
        for tensor in proto.graph.initializer:
            if tensor.name == "classifier.weight_scale":
                scales = onnx.numpy_helper.to_array(tensor) * 9
                tensor.CopyFrom(onnx.numpy_helper.from_array(scales, tensor.name))
        return proto.SerializeToString()

    monkeypatch.setattr("models.onnx.quantize_onnx", spoiled)
    with pytest.raises(Unverified, match="of their spread"):
        deliver_int8(bundle, FakeTimer(int8=0.5, fp32=0.7))


def test_without_calibration_images_there_is_no_int8(bundle):
    files = {k: v for k, v in bundle.card["files"].items() if k != "calibration.npz"}
    bare = replace(bundle, card={**bundle.card, "files": files})
    with pytest.raises(InputError, match="from which int8 takes its ranges"):
        ModelBuilder(bare).make(
            DeploymentContext.open(bare, None), DEBUG.smallest, precision="int8", recalibrate=False
        )


@pytest.mark.slow
@pytest.mark.anyio
async def test_over_http(settings, home):
    request = {
        "supernet": SUPERNET,
        "device": DEVICE,
        "constraints": {"latency_ms": 0.8},
        "precision": "int8",
    }
    async with busy_on(settings) as client:
        refused = await client.post("/v1/searches", json=request)
        assert refused.status_code == 404
        assert "no latency table for space 'debug' at int8" in refused.json()["detail"]
        assert "devices measure" in refused.json()["detail"]
        profile = make_profile(DEVICE, precision="int8")
        assert (await client.post("/v1/devices", json=profile)).status_code == 201
        answer = await client.post("/v1/searches", json=request, headers={"Prefer": "wait=60"})
        result = answer.json()["result"]
        assert result["int8"]["faster"] is True
        assert result["int8"]["predicted"]["fp32_ms"] is not None
        assert "lost_points" in result["verified"]["quantization"]
        fp32 = await client.post("/v1/searches", json={**request, "precision": "fp32"})
        assert fp32.json()["id"] != answer.json()["id"]


@pytest.mark.slow
def test_commands(run, run_json, home, tmp_path):
    asked = ("search", "--supernet", SUPERNET, "--device", DEVICE, "--latency-ms", 0.8)
    result = run(*asked, "--precision", "int8", code=2)
    assert "no latency table for space 'debug' at int8" in result.stderr
    keep(home, int8_table(0.5, DEVICE, replace(HERE, runtime="fake")))
    answer = run_json(*asked, "--precision", "int8")
    assert answer["precision"] == "int8"
    assert answer["int8"]["faster"] is True
    (tmp_path / "arch.json").write_text(json.dumps(answer["arch"]))
    made = run_json(
        "export", "--supernet", SUPERNET, "--arch", tmp_path / "arch.json", "-o",
        tmp_path / "m.onnx", "--precision", "int8",
    )  # fmt: skip
    assert made["verified"]["quantization"]["images"] == 64
    assert "QuantizeLinear" in {n.op_type for n in onnx.load(tmp_path / "m.onnx").graph.node}
    wrong = run(*asked, "--precision", "int4", code=2)
    assert "expected fp32 or int8" in wrong.stderr
