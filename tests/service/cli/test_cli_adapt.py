"""`supernets adapt`: from a trained supernet and a folder to one that is searched and delivered."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import onnx
import pytest
from typer.testing import CliRunner

import models.bundle.measure_accuracy
from models.bundle.bundle import Bundle, BundleRegistry
from models.data.inspection import scan_folder
from models.training.recipe import load_recipe
from models.training.stopping import TrainingStopped
from models.training.transfer import adaptation
from search.predictors.files import load_predictor
from service.catalog.supernets import predictor_fit
from service.cli import app as cli
from tests.models.training.test_transfer import CLASSES, step_s, write_classes
from tests.service.catalog.test_measure_accuracy import best_within_budgets
from tests.service.conftest import SUPERNET, keep, make_table


@pytest.fixture
def adapted_home(home, tmp_path, monkeypatch):
    """A home with a base, and a folder of three classes; steps take a made-up time."""
    monkeypatch.setenv("SUBNET_HOME", str(home))
    monkeypatch.setattr(adaptation, "time_step", step_s)
    write_classes(tmp_path / "photos")
    return home


def invoke(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.fixture
def half_as_good(adapted_home, monkeypatch):
    """Accuracies of subnets are made up: half of what the base's predictor says, plus 40."""
    base = BundleRegistry(adapted_home).get(SUPERNET)
    with base.pinned("predictor.safetensors") as path:
        predictor = load_predictor(path, base.space)
    measuring = models.bundle.measure_accuracy

    def top1(model, arch, *_):
        return 40 + 0.5 * float(predictor.predict(base.space.encode([arch]))[0])

    monkeypatch.setattr(measuring, "onnx_top1", top1)
    monkeypatch.setattr(measuring, "calibrated_subnet", lambda *_: None)
    monkeypatch.setattr(measuring, "subnet_onnx", lambda *_: b"")
    monkeypatch.setattr(predictor_fit, "search_budgets", best_within_budgets)
    return predictor


@pytest.mark.slow
def test_adapted_searched_and_delivered(adapted_home, half_as_good, tmp_path):
    given = ("--images", tmp_path / "photos", "--name", "pets", "--minutes", 0.1)
    done = invoke("supernets", "adapt", SUPERNET, *given)
    assert done.exit_code == 0, done.output
    bundle = Bundle.open(adapted_home / "supernets" / "pets")
    assert bundle.class_names == CLASSES
    base = bundle.card["base"]
    assert (base["name"], base["licence"]) == (SUPERNET, "none")
    found = bundle.card["metrics"]["adaptation"]
    assert found["head_only"].keys() == found["adapted"].keys() == found["archs"].keys()
    assert found["from_scratch"] is None
    assert "from scratch " in done.stdout
    assert "--compare-scratch MINUTES` does it" in done.stdout
    report = bundle.card["predictor"]
    assert report["count"] < predictor_fit.MIN_FIT, "few are enough, since the base's is moved"
    assert f"the predictor of {bundle.space.name}" not in report["method"]
    assert "times 0.500" in report["method"]

    keep(adapted_home, make_table(of=bundle.space))
    limits = ("--supernet", "pets", "--device", "debug-device", "--latency-ms", 1000)
    answer = json.loads(invoke("search", *limits, "--json").stdout)
    expected = 40 + 0.5 * float(
        half_as_good.predict(half_as_good.space.encode([bundle.space.largest]))[0]
    )
    assert answer["top1"] == pytest.approx(expected, abs=2.0)
    (tmp_path / "arch.json").write_text(json.dumps(bundle.space.smallest.to_json()))
    out = tmp_path / "pets.onnx"
    exported = invoke("export", "--supernet", "pets", "--arch", tmp_path / "arch.json", "-o", out)
    assert exported.exit_code == 0, exported.output
    stated = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert json.loads(stated["subnet_search.classes"]) == list(CLASSES)

    compared = invoke(
        "supernets",
        "adapt",
        SUPERNET,
        "--name",
        "pets",
        "--resume",
        "--compare-scratch",
        0.05,
        "--json",
    )
    assert compared.exit_code == 0, compared.output
    scratch = json.loads(compared.stdout)["adaptation"]["from_scratch"]
    assert scratch.keys() - found["archs"].keys() == {"training_s"}
    gap = invoke("supernets", "compare", "pets")
    assert (gap.exit_code, "which networks trained alone do not have" in gap.stderr) == (2, True)


@pytest.mark.slow
def test_stopped_it_says_how_to_go_on(adapted_home, tmp_path, monkeypatch):
    given = ("--images", tmp_path / "photos", "--name", "pets", "--no-predictor")

    def stopped(trainer, *_, **__):
        trainer.step = 1
        trainer._save()
        raise TrainingStopped("1 step is kept", 2)

    with monkeypatch.context() as patch:
        patch.setattr("models.training.trainer.Trainer.run", stopped)
        cut = invoke("supernets", "adapt", SUPERNET, *given, "--minutes", 0.1)
    assert cut.exit_code == 130
    again = f"supernets adapt {SUPERNET} --name pets --resume"
    assert f"go on with `subnet-search {again}`" in cut.stderr
    shutil.rmtree(adapted_home / "supernets" / SUPERNET)  # it is not needed any more
    assert invoke(*again.split(), "--no-predictor").exit_code == 0
    assert (adapted_home / "supernets" / "pets" / "card.json").exists()


def test_init_writes_the_same_as_a_recipe(adapted_home, tmp_path):
    path, given = tmp_path / "pets.toml", ("--minutes", 0.2, "--base", SUPERNET)
    written = invoke("supernets", "init", tmp_path / "photos", *given, "--output", path)
    assert written.exit_code == 0, written.output
    recipe = load_recipe(path)
    base = BundleRegistry(adapted_home).get(SUPERNET)
    report = scan_folder(tmp_path / "photos")
    planned = adaptation.plan_adaptation(report, base, name="pets", minutes=0.2, timer=step_s)
    assert recipe == replace(planned.recipe, name="photos", space=recipe.space)
    both = invoke(
        "supernets", "init", tmp_path / "photos", "--macs", 1e6, *given, "-o", path, "--force"
    )
    assert (both.exit_code, "--macs: the space is that of --base" in both.stderr) == (2, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "debug-nte"}, "did you mean 'debug-net'"),
        ({"base": "ofa-mbv3-w1.0"}, "has no weights here: add them with `subnet-search supernets "),
        ({"name": SUPERNET}, "--name: a supernet 'debug-net' exists: take another name"),
        ({"name": "../pets"}, "--name: expected"),
        ({"images": "nowhere"}, "nowhere"),
        ({"images": None}, "--images: name the folder of the images"),
        ({"images": None, "resume": True}, "there is no checkpoint in"),
    ],
)
def test_what_is_refused_leaves_nothing(adapted_home, tmp_path, changes, message):
    before = sorted(adapted_home.rglob("*"))
    given = {"base": SUPERNET, "images": tmp_path / "photos", "name": "pets", **changes}
    args = [given["base"], "--name", given["name"], *(["--resume"] if "resume" in given else [])]
    if given["images"] is not None:
        args += ["--images", given["images"]]
    refused = invoke("supernets", "adapt", *args)
    assert refused.exit_code == 2, refused.output
    assert message in " ".join(refused.stderr.split())
    assert sorted(adapted_home.rglob("*")) == before
