"""What searches end with is measured, once, and the predictor is fitted to that as well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models.bundle.measure_accuracy
import models.onnx.export
from models.bundle.bundle import Bundle, add_to_bundle
from models.bundle.card import PREDICTOR
from models.bundle.measured import Measured, compress, read_measured
from models.data.datasets import load_dataset
from models.errors import Conflict
from models.spaces.arch import Arch
from models.spaces.plan import macs
from models.training.recipe import load_recipe
from search.predictors.files import load_predictor
from search.predictors.metrics import MIN_FOUND
from service.catalog.supernets import predictor_fit
from service.catalog.supernets.measure_accuracy import found_by_searches, measure_subnets
from service.catalog.supernets.predictor_fit import fit_predictor
from tests.service.conftest import SUPERNET, catalog_of
from tests.spaces import DEBUG

CLASSES, FOUND = 10, 5


@pytest.fixture
def bundle(home: Path, tmp_path: Path) -> Bundle:
    """The tiny supernet with a folder of photos for its data, and made-up accuracies so far."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in range(CLASSES):
            folder = tmp_path / "photos" / split / f"{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (12, 12), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    recipe = {**load_recipe("debug").to_json(), "dataset": str(tmp_path / "photos"), "holdout": 20}
    sha256 = load_dataset(recipe["dataset"], DEBUG).sha256
    card = {
        "recipe": recipe,
        "energy": {},
        "data": {
            "name": "photos",
            "held_out_images": recipe["holdout"],
            "images_sha256": sha256,
        },
    }
    genes = np.unique(DEBUG.sample(60, rng), axis=0)
    rows = [Measured(arch, made_up_top1(arch), "fit") for arch in DEBUG.decode(genes)]
    plain = catalog_of(home).supernets.get(SUPERNET)
    return fit_predictor(add_to_bundle(plain, card, {"measured.jsonl.gz": compress(rows)}))


@pytest.fixture
def measured_archs(monkeypatch) -> list:
    """The networks that were really measured, one entry a time."""
    done = []
    real = models.onnx.export.calibrated_subnet

    def counted(supernet, arch, calibration, threads):
        done.append(arch)
        return real(supernet, arch, calibration, threads)

    monkeypatch.setattr(models.bundle.measure_accuracy, "calibrated_subnet", counted)
    return done


def rows_of(bundle: Bundle) -> list[Measured]:
    return read_measured(bundle.path / "measured.jsonl.gz")


@pytest.mark.slow
def test_found_networks_are_measured_once_and_fitted_to(bundle, home, measured_archs):
    before, found = rows_of(bundle), found_by_searches(bundle, FOUND)
    assert 1 < len(found) == len(set(found)) <= FOUND
    assert found == found_by_searches(bundle, FOUND)
    new = [arch for arch in found if arch not in {row.arch for row in before}]
    assert new, "nothing to measure: the test shows nothing"

    # Cut short after the first, it goes on with the second.
    class Cut(Exception):
        pass

    def cut(done, total):
        assert total == len(found)
        if measured_archs:
            raise Cut

    with pytest.raises(Cut):
        measure_subnets(bundle, home, found_count=FOUND, on_measured=cut)
    assert measured_archs == new[:1]
    assert rows_of(bundle) == before, "a bundle changed under way"
    collected = measure_subnets(bundle, home, found_count=FOUND)
    assert measured_archs == new
    rows = rows_of(collected)
    assert rows[: len(before)] == before
    added = rows[len(before) :]
    assert [row.arch for row in added] == new
    for row in added:
        assert row.split == "fit"
        assert 0 <= row.top1 <= 100
        assert row.test_images_top1 is not None
    again = measure_subnets(collected, home, found_count=FOUND)
    assert measured_archs == new
    assert rows_of(again) == rows

    # Guessing ten classes, they score far below what was made up; the predictor learns that.
    old = load_predictor(bundle.path / PREDICTOR, DEBUG).predict(DEBUG.encode(new))
    fitted = fit_predictor(again)
    assert fitted.card["predictor"]["count"] == len(before) + len(new)
    shift = fitted.card["predictor"]["shift_to_test_images"]
    assert shift["subnets"] == len(new)
    truth = np.array([row.top1 for row in added]) + shift["points"]
    now = load_predictor(fitted.path / PREDICTOR, DEBUG).predict(DEBUG.encode(new))
    assert np.abs(now - truth).mean() < np.abs(old + shift["points"] - truth).mean()


def made_up_top1(arch: Arch) -> float:
    """What the bundle's networks are said to score."""
    return 60 + 5 * float(np.log10(macs(DEBUG, arch)))


def best_within_budgets(space, predictor, count, draw=0):
    """Dumb twin of `search_budgets`: every network of a tiny space is looked at."""
    every = space.decode(np.unique(space.sample(5000, np.random.default_rng(0)), axis=0))
    top1, costs = predictor.predict(space.encode(every)), np.array([macs(space, a) for a in every])
    budgets = np.random.default_rng(draw).uniform(1.05 * costs.min(), costs.max(), count)
    best = [int(np.where(costs <= budget, top1, 0).argmax()) for budget in budgets]
    return [every[index] for index in dict.fromkeys(best)]


@pytest.mark.slow
def test_the_fit_is_judged_by_networks_that_searches_find(bundle, home, monkeypatch):
    """They score 0.7 points less than all others say, and differ by 0.3."""
    told, offs = [], np.random.default_rng(0).normal(-0.7, 0.3, 100_000)
    truth = lambda arch: made_up_top1(arch) + offs[hash(arch) % len(offs)]  # noqa: E731
    measuring = models.bundle.measure_accuracy
    monkeypatch.setattr(measuring, "onnx_top1", lambda model, arch, *_: truth(arch))
    monkeypatch.setattr(measuring, "calibrated_subnet", lambda *_: None)
    monkeypatch.setattr(measuring, "subnet_onnx", lambda *_: b"")
    monkeypatch.setattr(predictor_fit, "search_budgets", best_within_budgets)
    fitted = fit_predictor(bundle, home, found_count=16, on_share=lambda *now: told.append(now))
    rows, found = rows_of(fitted), fitted.card["predictor"]["found"]
    archs = [row.arch for row in rows if row.split == "found"]
    assert 0 < len(archs) <= found["networks"], "some may be among those fitted to"
    assert MIN_FOUND <= found["networks"] <= 16
    assert len(rows) > 60 + len(archs), "those of the first round were fitted to"
    # Networks for other budgets are as far off as is stated.
    predictor = load_predictor(fitted.path / PREDICTOR, DEBUG)
    later = best_within_budgets(DEBUG, predictor, 200, draw=99)
    errors = predictor.predict(DEBUG.encode(later)) - [truth(arch) for arch in later]
    assert abs(errors.mean()) < found["rmse"] < 0.6, "0.7 is subtracted or learned"
    assert np.mean(np.abs(errors) <= found["interval"]) > 0.8
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert f"{found['networks']}/{found['networks']}" in told[-1][1]


@pytest.mark.slow
def test_two_that_measure_at_once_lose_no_rows_of_each_other(bundle, home):
    refused = []

    def again(done, total):
        with pytest.raises(Conflict, match="another process measures subnets"):
            measure_subnets(bundle, home, fit_count=1, test_count=1)
        refused.append(done)

    bundle = measure_subnets(bundle, home, fit_count=1, test_count=1, on_measured=again)
    assert refused == [1, 2]
    assert len(read_measured(bundle.path / "measured.jsonl.gz")) > 2
    measure_subnets(bundle, home, fit_count=1, test_count=1)  # the lock went with its holder


@pytest.mark.slow
def test_the_command_goes_on_too(bundle, run, measured_archs):
    for _ in range(2):
        told = run("supernets", "collect", SUPERNET, "--found", 2, "--json").stdout
    assert json.loads(told)
    assert 0 < len(measured_archs) == len(set(measured_archs)) <= 2


def test_without_a_predictor_nothing_can_be_found(bundle, home, run):
    names = {name: sha for name, sha in bundle.card["files"].items() if "predictor" not in name}
    bare = replace(bundle, card={**bundle.card, "files": names})
    (bundle.path / "card.json").write_text(json.dumps(bare.card))
    done = run("supernets", "collect", SUPERNET, "--found", 2, code=2)
    assert "no accuracy predictor" in done.stderr
