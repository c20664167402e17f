"""`supernets train` ends with a supernet that can be searched, and goes on where it was stopped."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from typer.testing import CliRunner

import models.bundle.measure_accuracy
from models.bundle.bundle import Bundle
from models.spaces.plan import macs
from models.training.recipe import load_recipe
from models.training.training_log import read_training
from service.catalog.supernets import predictor_fit, searchable
from service.catalog.supernets.searchable import MIN_BOUND, bound_of, why_stop
from service.cli import app as cli
from tests.service.catalog.test_measure_accuracy import best_within_budgets
from tests.trainings import write_photos, write_recipe

SIZES, STOP_AFTER, NAME = (60, 90, 120), 30, "photos-net"


@pytest.fixture
def recipe_file(tmp_path, monkeypatch):
    """Of a training in an empty home."""
    monkeypatch.setenv("SUBNET_HOME", str(tmp_path / "home"))
    return write_recipe(tmp_path / f"{NAME}.toml", write_photos(tmp_path / "photos"))


@pytest.fixture
def measured_archs(recipe_file, monkeypatch) -> list:
    """The subnets that were measured, in order; their accuracies are made up. In the middle comes
    a Ctrl-C."""
    done: list = []
    space, measuring = load_recipe(recipe_file).space, models.bundle.measure_accuracy

    def top1(model, arch, *_):
        if not done or done[-1] != arch:  # the first ones are measured on the test images, too
            done.append(arch)
            if len(done) == STOP_AFTER:
                signal.raise_signal(signal.SIGINT)
        return 60 + 5 * float(np.log10(macs(space, arch)))

    monkeypatch.setattr(measuring, "onnx_top1", top1)
    monkeypatch.setattr(measuring, "calibrated_subnet", lambda *_: None)
    monkeypatch.setattr(measuring, "subnet_onnx", lambda *_: b"")
    monkeypatch.setattr(predictor_fit, "search_budgets", best_within_budgets)
    monkeypatch.setattr(searchable, "SIZES", SIZES)
    return done


def invoke(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.mark.slow
def test_a_training_ends_with_a_supernet_that_can_be_searched(
    recipe_file, tmp_path, measured_archs
):
    home = tmp_path / "home"
    stopped = invoke("supernets", "train", recipe_file)
    assert stopped.exit_code == 130, stopped.output
    assert "all subnets measured so far are kept; go on with" in stopped.stderr
    assert (home / "supernets" / NAME / "card.json").exists(), "it is trained"
    now = read_training(home, NAME)
    assert (now.state, now.status.phase) == ("stopped", "predictor")

    done = invoke("supernets", "train", recipe_file, "--resume")
    assert done.exit_code == 0, done.output
    assert len(measured_archs) == len(set(measured_archs)), "none was measured twice"
    bundle = Bundle.open(home / "supernets" / NAME)
    assert bundle.capabilities["search"]
    report = bundle.card["predictor"]
    sizes = [int(size) for size in report["measured_until"]["error_points"]]
    assert sizes == list(SIZES[: len(sizes)])
    assert f"fitted to {report['count']} measured subnets: expected error" in done.stdout
    assert f"devices measure host --supernet {NAME}" in done.stdout
    assert read_training(home, NAME).state == "finished"

    again = invoke("supernets", "train", recipe_file, "--resume")
    assert (again.exit_code, "exists" in again.stderr) == (2, True)
    shown = invoke("supernets", "preview", NAME, "--networks", 3, "--json")
    assert {"top1", "top1_at_end", "macs"} <= json.loads(shown.stdout)["subnets"][0].keys()
    assert invoke("supernets", "preview", "other").exit_code == 2


def test_when_enough_subnets_are_measured():
    assert why_stop([0.9], 0.5) is None
    assert why_stop([0.9, 0.7], 0.5) is None, "it falls"
    assert "little" in (why_stop([0.9, 0.85], 0.5) or "")
    assert "little" in (why_stop([0.9, 1.1], 0.5) or ""), "it rises"
    assert "small" in (why_stop([0.4], 0.5) or "")
    # Half the standard error of a mean of so many coin flips.
    flips = np.random.default_rng(0).random((4000, 400)) < 0.8
    assert bound_of(80.0, 400) == pytest.approx(100 * flips.mean(1).std() / 2, rel=0.05)
    assert bound_of(94.0, 10_000_000) == bound_of(100.0, 100) == MIN_BOUND
