"""`supernets init`: a folder is looked at, and a recipe written that trains; and the third command,
`search --measure -o`, from a machine without a table to a file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from latency_tables.benchmark import measure
from models.training.planning import plan
from models.training.recipe import load_recipe
from service.cli.devices import measuring
from service.delivery.timing import HostTimer
from tests.fake_stopwatch import CONDITIONS, FakeStopwatch
from tests.service.conftest import SUPERNET, catalog_of

ON = ("--supernet", SUPERNET, "--device", "host")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two classes of 15 images, in the folder where the command runs; steps take a millisecond."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "time_step", lambda recipe, phase: 1e-3)
    rng = np.random.default_rng(0)
    for name in ('the "one"', "más"):
        place = tmp_path / "My photos" / name
        place.mkdir(parents=True)
        for number in range(15):
            pixels = rng.integers(0, 256, (8, 9, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "My photos"


def test_a_recipe_is_written_once_and_says_what_is_next(run, run_json, photos, tmp_path):
    said = run("supernets", "init", photos)
    assert "30 images of 2 classes" in said.stdout
    assert "wrote my-photos.toml" in said.stdout
    assert "next: `subnet-search supernets train my-photos.toml`" in said.stdout
    assert "--supernet my-photos --device host --measure -o my-photos.onnx" in said.stdout
    assert "images for training are few" in said.stderr
    text = (tmp_path / "my-photos.toml").read_text(encoding="utf-8")
    assert '# For 30 images of 2 classes: más, the "one".' in text
    recipe = load_recipe(tmp_path / "my-photos.toml")
    assert recipe.dataset == str(photos)

    assert "--force" in run("supernets", "init", photos, code=2).stderr
    assert (tmp_path / "my-photos.toml").read_text(encoding="utf-8") == text
    found = run_json("supernets", "init", photos, "--force", "--minutes", 5, "--seed", 7)
    assert found["recipe"]["seed"] == 7
    assert found["images"]["classes"] == ["más", 'the "one"']
    assert 0 < found["estimated_s"]["training"] < found["estimated_s"]["all"] <= 300
    assert load_recipe(tmp_path / found["path"]).seed == 7


def test_names_that_are_taken(run, run_json, home, photos, tmp_path):
    (home / "training" / "my-photos").mkdir(parents=True)
    assert run_json("supernets", "init", photos)["path"] == "my-photos-2.toml"
    for taken in ("my-photos", SUPERNET, "fashion-mbv3", "ofa-mbv3-w1.0"):
        assert (
            "take another name" in run("supernets", "init", photos, "--name", taken, code=2).stderr
        )
    assert (
        "--name: expected 1 to 64"
        in run("supernets", "init", photos, "--name", "A b", code=2).stderr
    )
    assert [path.name for path in tmp_path.glob("*.toml")] == ["my-photos-2.toml"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "más").rename(folder.parent / "away"), "one class"),
        (lambda folder: folder.rename(folder.parent / "elsewhere"), "no such folder"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_and_nothing_written(run, photos, change, words):
    change(photos)
    assert words in " ".join(run("supernets", "init", photos, code=2).stderr.split())
    assert not list(photos.parent.glob("*.toml"))


@pytest.mark.parametrize(("load", "is_said"), [(0.5, False), (99.0, True)])
def test_a_busy_machine_is_said(run, photos, monkeypatch, load, is_said):
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    said = run("supernets", "init", photos).stderr
    assert ("99 processes want its" in said) == is_said


def test_minutes_too_few_are_refused_with_the_least(run, photos):
    said = run("supernets", "init", photos, "--minutes", 0.1, code=2).stderr
    assert "--minutes: expected at least" in " ".join(said.split())
    assert not list(photos.parent.glob("*.toml"))


@pytest.mark.slow
def test_what_is_written_trains(run, run_json, photos, monkeypatch):
    monkeypatch.setattr(plan, "GOOD_STEPS", 1)
    monkeypatch.setattr(plan, "GOOD_PASSES", 1)  # so that an epoch suffices
    run("supernets", "init", photos, "--macs", 4e6, "--name", "tiny")
    assert [phase.epochs for phase in load_recipe(photos.parent / "tiny.toml").phases] == [1, 1]
    trained = run_json("supernets", "train", "tiny.toml", "--no-predictor")
    assert trained["path"].endswith("tiny")
    assert "exists: take another name" in " ".join(
        run("supernets", "init", photos, "--name", "tiny", code=2).stderr.split()
    )


@pytest.mark.slow
def test_one_command_measures_searches_and_writes_the_file(
    run, run_json, home, tmp_path, monkeypatch
):
    monkeypatch.setattr(measure, "RuntimeStopwatch", lambda *_: FakeStopwatch())
    monkeypatch.setattr(measuring, "QUICK_S", 0.0)
    out = tmp_path / "found.onnx"
    asked = ("search", *ON, "-o", out)
    assert "unknown device 'host'" in run(*asked, code=2).stderr
    assert not out.exists()
    answer = json.loads((said := run(*asked, "--measure", "--allow-low-top1", "--json")).stdout)
    assert "measuring this machine" in said.stderr
    assert catalog_of(home).devices.keys()["host"] == [("debug", "fp32")]
    assert answer["limits"] == {}
    assert answer["export"]["path"] == str(out)
    onnx.checker.check_model(out)
    # The file is timed and judged as a service does, and stepped down from.
    slowness, budget = [1.2], answer["latency_ms"]

    def times_ms(timer, model, conditions):
        props = {p.key: p.value for p in onnx.load_from_string(model).metadata_props}
        ms = json.loads(props["subnet_search.predicted"])["latency_ms"]
        return np.full((2, 3), ms * (slowness.pop() if slowness else 1.0))

    monkeypatch.setattr(HostTimer, "conditions", lambda *_: CONDITIONS)
    monkeypatch.setattr(HostTimer, "times_ms", times_ms)
    timed = (*asked, "--measure", "--allow-low-top1", "--latency-ms", budget)
    shown = run(*timed)
    assert "measuring this machine" not in shown.stderr  # it has a table
    assert f"{out}: " in shown.stdout
    assert shown.stdout.count(f"; budget of {budget:g} ms: met") == 1
    assert "1 network predicted to meet the budget missed it when timed" in shown.stdout
    slowness += [1.0, 1.2]
    stepped = run_json(*timed)
    (missed,) = stepped["verified"]["stepped_down"]
    assert stepped["export"]["verified"] == stepped["verified"]
    assert missed["arch"] == answer["arch"] != stepped["arch"]
    assert stepped["latency_ms"] == stepped["export"]["predicted"]["latency_ms"] < budget
    out.unlink()
    slowness += [50.0]
    slow = run(*timed, code=1).stderr
    assert f"the network predicted to meet {budget:g} ms missed it" in " ".join(slow.split())
    assert not out.exists()
    refused = run("search", *ON, "--measure", "--server", "http://127.0.0.1:9", code=2).stderr
    assert "--measure is of this machine" in refused
