"""A file's batch is fixed where a phone's runtime needs it; what it computes stays the same."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import pytest
from pydantic import ValidationError

from latency_tables.runtimes import find_runtime
from latency_tables.table.conditions import Conditions
from models.errors import InputError
from models.onnx.export import run_onnx
from service.catalog.deployment_context import DeploymentContext
from service.contracts import SearchRequest, providers_in_words
from service.delivery.delivery import MemoryBlobs, deliver
from service.delivery.file_batch import deliverable_batch
from service.delivery.model_builder import ModelBuilder
from service.delivery.verification import verify_file
from service.jobs.submission import submit
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, make_table, template  # noqa: F401
from tests.spaces import DEBUG

NNAPI = Conditions(
    runtime="onnxruntime", precision="fp32", batch=4, provider="NnapiExecutionProvider:flags=1"
)


def table_of(**changes: Any):
    return make_table("phone", conditions=dataclasses.replace(NNAPI, **changes))


@pytest.mark.parametrize(
    ("asked", "provider", "batch"),
    [
        (None, "NnapiExecutionProvider", 4),
        (None, "CPUExecutionProvider", None),
        (None, "CUDAExecutionProvider", None),
        (None, None, None),
        ("dynamic", "NnapiExecutionProvider", None),
        (4, "CPUExecutionProvider", 4),
    ],
)
def test_the_batch_is_what_was_asked_for_or_what_the_provider_needs(asked, provider, batch):
    assert deliverable_batch(asked, table_of(provider=provider)) == batch


def test_a_batch_that_the_table_says_nothing_of_is_refused():
    with pytest.raises(InputError, match="batch: expected 4, for which .* 'phone' are, .* got 1"):
        deliverable_batch(1, table_of())
    assert deliverable_batch(1, None) == 1
    assert deliverable_batch(None, None) is None


@pytest.fixture(scope="module")
def builder(template):  # noqa: F811
    return ModelBuilder(catalog_of(template).supernets.get(SUPERNET))


def delivered(builder, batch, table=None):
    context = DeploymentContext.open(builder.bundle, table or table_of())
    files = MemoryBlobs()
    found = deliver(context, lambda: builder, {"latency_ms": 0.8}, 0, artifacts=files, batch=batch)
    return found, files.get(found["sha256"])


@pytest.mark.slow
def test_a_fixed_file_computes_what_the_free_one_does(builder, template):  # noqa: F811
    fixed_answer, fixed = delivered(builder, None)
    free_answer, free = delivered(builder, "dynamic")
    assert fixed_answer["arch"] == free_answer["arch"]
    shapes = [
        [
            (d.dim_value or d.dim_param)
            for d in onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim
        ]
        for model in (fixed, free)
    ]
    assert [shape[0] for shape in shapes] == [4, "batch"]
    size = fixed_answer["arch"]["resolution"]
    images = np.random.default_rng(0).standard_normal((6, DEBUG.channels, size, size), np.float32)
    expected = run_onnx(free, images)
    allowed = 1e-5 * np.abs(expected).max()
    assert np.abs(run_onnx(fixed, images) - expected).max() <= allowed
    if find_spec("openvino") is not None:
        opened: Any = find_runtime("openvino").open(fixed, provider=None, threads=1, batch=4)
        assert np.abs(opened.infer(images[:4]) - expected[:4]).max() <= allowed

    about = fixed_answer["file"]
    assert (about["batch"], free_answer["file"]["batch"]) == (4, "dynamic")
    assert fixed_answer["verified"]["top1"] == free_answer["verified"]["top1"]
    (coreml,) = [each for each in about["providers"] if each["provider"] == "CoreML MLProgram"]
    assert coreml["nodes_taken"] >= 0.9 * coreml["nodes"]
    assert "for a batch of 4, estimated: NNAPI" in str(providers_in_words(about))
    free_words = str(providers_in_words(free_answer["file"]))
    assert "take no node of it: its batch is not fixed" in free_words
    checks = verify_file(fixed, catalog_of(template), threads=1)
    assert {check.name: check.passed for check in checks if check.passed is not None} == {
        name: True for name in ("structure", "architecture", "supernet", "parity", "top1")
    }


@pytest.mark.slow
def test_a_free_file_is_the_one_of_earlier_versions(builder):
    """Whatever is said of providers in the answer is no part of the file."""
    _, free = delivered(builder, None, table_of(provider=None))
    (verified,) = [
        entry.value
        for entry in onnx.load_from_string(free).metadata_props
        if entry.key == "subnet_search.verified"
    ]
    assert "providers" not in verified


def test_nothing_is_said_of_providers_that_nobody_checked():
    assert providers_in_words({"providers": [], "batch": 1}) is None


def test_the_batch_is_a_part_of_a_request_that_names_it(home, store):
    asked = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}
    plain, free, fixed = (
        submit(store, catalog_of(home), SearchRequest.model_validate({**asked, **extra}))
        for extra in ({}, {"batch": "dynamic"}, {"batch": 1})
    )
    assert len({plain.id, free.id, fixed.id}) == 3
    assert "batch" not in plain.request
    assert (free.request["batch"], fixed.request["batch"]) == ("dynamic", 1)
    with pytest.raises(InputError, match="batch: expected 1, for which the latencies"):
        submit(store, catalog_of(home), SearchRequest.model_validate({**asked, "batch": 2}))
    for wrong in (0, 1025, "all", True, 1.5, "1"):
        with pytest.raises(ValidationError):
            SearchRequest.model_validate({**asked, "batch": wrong})
