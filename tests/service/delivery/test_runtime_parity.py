"""A file for a device with OpenVINO is compared, timed and verified under OpenVINO."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from latency_tables.benchmark import answers
from latency_tables.benchmark.measure import host_conditions
from latency_tables.runtimes import find_runtime
from latency_tables.runtimes.openvino import CompiledModel
from service.catalog.deployment_context import DeploymentContext
from service.delivery import timing
from service.delivery.accuracy_check import Unverified
from service.delivery.model_builder import ModelBuilder
from service.delivery.verification import verify_file
from tests.service.conftest import SUPERNET, catalog_of, make_table
from tests.spaces import DEBUG

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="the extra `openvino` is not installed"
)


@pytest.fixture
def catalog(home, monkeypatch):
    """Every file is timed in one visit of each opening."""
    monkeypatch.setattr(timing, "MAX_S", 0.0)
    return catalog_of(home)


def make(catalog, precision="fp32", **changes):
    """The smallest network for this machine by OpenVINO."""
    bundle = catalog.supernets.get(SUPERNET)
    here = host_conditions("openvino")
    conditions = replace(here, precision=precision, **changes)
    context = DeploymentContext.open(bundle, make_table("host", conditions=conditions))
    builder = ModelBuilder(bundle)
    return builder.make(context, DEBUG.smallest, precision=precision)


def metadata_of(model):
    entries = onnx.load_from_string(model).metadata_props
    return {e.key.removeprefix("subnet_search."): e.value for e in entries}


def forget(monkeypatch):
    """As without the package."""

    def missing(self, provider, threads):
        raise ValueError("openvino cannot be imported")

    monkeypatch.setattr(type(find_runtime("openvino")), "conditions", missing)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "batch"), [("fp32", 4), ("int8", 1)])
def test_a_file_is_compared_timed_and_verified_under_the_runtime_of_its_device(
    catalog, precision, batch, monkeypatch
):
    made = make(catalog, precision, batch=batch)
    parity = made.findings["runtime_parity"]
    assert (parity["runtime"], parity["passed"]) == ("openvino", True)
    assert parity["provider"].startswith("CPU:INFERENCE_PRECISION_HINT=f32")
    assert made.findings["latency_ms"]["conditions"]["runtime"] == "openvino"
    assert made.latency_ms > 0
    stated = metadata_of(made.model)
    assert json.loads(stated["predicted"])["runtime"] == "openvino"
    assert json.loads(stated["verified"])["runtime_parity"] == parity
    checks = {c.name: c for c in verify_file(made.model, catalog, threads=1)}
    assert checks["runtime_parity"].passed
    assert checks["runtime_parity"].detail.endswith(f"at {precision}, under openvino")
    assert " under openvino, " in checks["latency"].detail

    forget(monkeypatch)
    checks = {c.name: c for c in verify_file(made.model, catalog, threads=1)}
    assert (checks["runtime_parity"].passed, checks["latency"].passed) == (None, None)
    assert checks["runtime_parity"].detail == "openvino is not here"
    assert " here under onnxruntime, " in checks["latency"].detail
    assert checks["latency"].detail.endswith("under openvino, which is not here")


def test_without_the_runtime_a_file_is_delivered_with_a_warning(catalog, monkeypatch):
    here = host_conditions("openvino")
    forget(monkeypatch)
    bundle = catalog.supernets.get(SUPERNET)
    context = DeploymentContext.open(bundle, make_table("host", conditions=here))
    made = ModelBuilder(bundle).make(context, DEBUG.smallest)
    assert "runtime_parity" not in made.findings
    assert made.latency_ms is None
    assert "the file was not tried under openvino, which is not here" in made.warnings


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_answers_under_the_runtime_are_not_delivered(catalog, precision, monkeypatch):
    monkeypatch.setattr(CompiledModel, "infer", lambda model, images: spoiled(images))
    with pytest.raises(Unverified, match="logits under openvino differ from the subnet's"):
        make(catalog, precision)


def spoiled(images):
    return np.full((len(images), DEBUG.classes), np.nan, np.float32)


def test_a_file_that_the_runtime_cannot_run_is_not_delivered(catalog, monkeypatch):
    def broken(self, model, **how):
        raise ValueError("no such operator")

    monkeypatch.setattr(type(find_runtime("openvino")), "open", broken)
    with pytest.raises(Unverified, match="does not run under openvino: no such operator"):
        make(catalog)


@pytest.mark.slow
def test_the_last_images_fill_a_batch(catalog):
    """And are answered once."""
    model = make(catalog).model
    images = np.random.default_rng(0).standard_normal((5, 1, 8, 8), np.float32)
    here = host_conditions("openvino")
    one = answers.runtime_logits(model, images, here)
    three = answers.runtime_logits(model, images, replace(here, batch=3))
    assert one is not None
    assert three is not None
    assert one.shape == (5, DEBUG.classes)
    np.testing.assert_allclose(three, one, atol=1e-5)
