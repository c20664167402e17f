"""A file that is far less accurate than predicted is not delivered, unless that is allowed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from models.bundle.bundle import add_to_bundle
from service.catalog.deployment_context import DeploymentContext
from service.contracts.searches import SearchRequest
from service.delivery.accuracy_check import Unverified, accuracy_warnings, check_accuracy, far_below
from service.delivery.delivery import MemoryBlobs, deliver
from service.delivery.model_builder import ModelBuilder
from service.jobs.submission import submit
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, make_table
from tests.spaces import DEBUG

CARD = {"predictor": {"target": "held-out images", "unseen": None}}


@pytest.fixture
def bundle(home):
    """Its accuracies are made up, 55 % and more; its ten classes are guessed."""
    return add_to_bundle(catalog_of(home).supernets.get(SUPERNET), CARD, {})


def measured(value: float, error: float = 0.5):
    conditions = {"runtime": "onnxruntime", "precision": "fp32"}
    return {"value": value, "expected_error": error, "images": 2000, "conditions": conditions}


def test_far_is_four_expected_errors_of_both_numbers(bundle):
    context = DeploymentContext.open(bundle, make_table())
    (row,) = context.predict([DEBUG.largest])
    allowed = max(2.0, 4 * np.hypot(context.top1_error or 0.0, 0.5))
    near, far = measured(row["top1"] - 0.99 * allowed), measured(row["top1"] - 1.01 * allowed)
    assert far_below(context, DEBUG.largest, near) is None
    assert "far below the predicted one" in (far_below(context, DEBUG.largest, far) or "")
    with pytest.raises(Unverified, match="--allow-low-top1"):
        check_accuracy(context, DEBUG.largest, far)
    assert accuracy_warnings(context, DEBUG.largest, near) == []


def test_predictions_for_test_images_are_moved_back_to_the_images_measured(home, bundle):
    shift = {"shift_to_test_images": {"points": -5.0}}
    moved = add_to_bundle(bundle, {"predictor": {**CARD["predictor"], **shift}}, {})
    context = DeploymentContext.open(moved, make_table())
    (row,) = context.predict([DEBUG.largest])
    assert far_below(context, DEBUG.largest, measured(row["top1"] + 4.9)) is None
    assert far_below(context, DEBUG.largest, measured(row["top1"])) is not None


@pytest.mark.slow
def test_a_delivery_fails_unless_a_low_accuracy_is_allowed(bundle):
    context, builder = DeploymentContext.open(bundle, make_table()), ModelBuilder(bundle)
    args = (context, lambda: builder, {"latency_ms": 0.8}, 0)
    blobs = MemoryBlobs()
    with pytest.raises(Unverified, match="measured on 100 held-out images"):
        deliver(*args, artifacts=blobs)
    allowed = deliver(*args, artifacts=blobs, allow_low_top1=True)
    assert allowed["verified"]["top1"]["value"] < 30
    assert any("far below" in warning for warning in allowed["warnings"])
    assert blobs.get(allowed["sha256"])


@pytest.mark.slow
def test_without_held_out_images_the_answer_says_that_nothing_was_measured(bundle):
    files = {name: sha for name, sha in bundle.card["files"].items() if "validation" not in name}
    card = {**bundle.card, "files": files}
    (bundle.path / "validation.npz").unlink()
    (bundle.path / "card.json").write_text(json.dumps(card))
    bare = type(bundle).open(bundle.path)
    context, builder = DeploymentContext.open(bare, make_table()), ModelBuilder(bare)
    result = deliver(context, lambda: builder, {"latency_ms": 0.8}, 0, artifacts=MemoryBlobs())
    assert result["verified"]["top1"] is None
    assert any("was not measured" in warning for warning in result["warnings"])


@pytest.mark.slow
def test_export_and_verify_with_poor_calibration_end_with_1(home, bundle, run, tmp_path):
    folder = tmp_path / "photos" / "only-class"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(np.full((12, 12), 60 * number, np.uint8)).save(folder / f"{number}.png")
    arch, out = tmp_path / "arch.json", tmp_path / "x.onnx"
    arch.write_text(json.dumps(DEBUG.largest.to_json()))
    args = ("export", "--supernet", SUPERNET, "--arch", arch, "-o", out)
    calibrated = ("--calibration", folder.parent)
    failed = run(*args, *calibrated, code=1)
    assert "far below the predicted one" in failed.stderr
    assert not out.exists()
    done = run(*args, *calibrated, "--allow-low-top1", "--json")
    warnings = json.loads(done.stdout)["warnings"]
    assert any("4 images" in warning for warning in warnings)
    assert any("1 of 10 classes" in warning for warning in warnings)
    assert all(f"warning: {warning}" in done.stderr for warning in warnings)
    verified = run("verify", out, *calibrated, code=1)
    assert "top1 failed" in verified.stderr
    assert "4 images" in verified.stderr
    run("verify", out, *calibrated, "--allow-low-top1")


def test_a_request_may_allow_it_and_is_another_request_then(home, store):
    asked = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}
    plain, allowed = (
        submit(store, catalog_of(home), SearchRequest.model_validate({**asked, **extra}))
        for extra in ({}, {"allow_low_top1": True})
    )
    assert plain.id != allowed.id
    assert "allow_low_top1" not in plain.request
    assert allowed.request["allow_low_top1"] is True
