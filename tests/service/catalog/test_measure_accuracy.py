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
from models.spaces.plan import macs
from models.training.recipe import load_recipe
from search.predictors.files import load_predictor
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
    card = {
        "recipe": recipe,
        "energy": {},
        "data": {"name": "photos", "held_out_images": recipe["holdout"]},
    }
    genes = np.unique(DEBUG.sample(60, rng), axis=0)
    rows = [Measured(a, 60 + 5 * np.log10(macs(DEBUG, a)), "fit") for a in DEBUG.decode(genes)]
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
