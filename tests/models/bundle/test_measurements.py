"""Accuracies measured elsewhere: a predictor from a file, and what such a file may not say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle.bundle import BundleRegistry
from models.bundle.card import PREDICTOR
from models.bundle.measured import read_measurements
from models.errors import InputError, NotFound
from models.spaces.files import published_spaces
from search.predictors.files import predictor_provenance
from service.catalog.supernets.predictor_fit import MIN_FIT, fit_predictor_to
from tests.fakes import LinearAccuracy
from tests.spaces import DEBUG


def content(space, count: int = 30) -> dict:
    genes = np.unique(space.sample(count, np.random.default_rng(0)), axis=0)
    return {
        "arch": [arch.to_json() for arch in space.decode(genes)],
        "top1": LinearAccuracy(space).predict(genes).tolist(),
        "source": "a test",
        "target": "made-up accuracies",
    }


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.mark.slow
def test_a_predictor_is_fitted_where_it_was_measured(tmp_path):
    space = published_spaces()["ofa-mbv3-w1.2"].at([192])
    path = write(tmp_path / "m.json", content(space, 200))
    empty = BundleRegistry(tmp_path).get("ofa-mbv3-w1.2")
    bundle = fit_predictor_to(empty, tmp_path, path)
    provenance = predictor_provenance(bundle.path / PREDICTOR)
    assert provenance.resolutions == (192,)
    assert provenance.target == "made-up accuracies (a test)"
    assert (provenance.count, bundle.card["predictor"]["unseen"]["count"]) == (175, 25)
    assert BundleRegistry(tmp_path).get("ofa-mbv3-w1.2").has("measured.jsonl.gz")


@pytest.mark.parametrize(
    ("count", "fitted", "unseen"), [(50, 50, 0), (152, 152, 0), (153, 133, 20)]
)
def test_networks_are_held_out_where_they_are_enough_to_judge_by(tmp_path, count, fitted, unseen):
    path = write(tmp_path / "m.json", content(DEBUG, 800))
    value = json.loads(path.read_text())
    write(path, value | {name: value[name][:count] for name in ("arch", "top1")})
    splits = [row.split for row in read_measurements(path, DEBUG).rows]
    assert (splits.count("fit"), splits.count("test")) == (fitted, unseen)


def test_as_many_as_are_asked_for_are_enough(tmp_path):
    """An eighth was held out of them, so that too few were left."""
    space = published_spaces()["ofa-mbv3-w1.2"].at([192])
    empty = BundleRegistry(tmp_path).get("ofa-mbv3-w1.2")
    bundle = fit_predictor_to(empty, tmp_path, write(tmp_path / "m.json", content(space, MIN_FIT)))
    report = bundle.card["predictor"]
    assert (report["count"], report["unseen"]) == (MIN_FIT, None)
    few = write(tmp_path / "few.json", content(space, MIN_FIT - 1))
    with pytest.raises(InputError, match="at least 50 networks, got 49: measure 1 more"):
        fit_predictor_to(empty, tmp_path, few)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.pop("source"), "source"),
        (lambda v: v["top1"].pop(), r"measurements.top1: expected one a network, "),
        (lambda v: v["top1"].__setitem__(2, 101), r"top1\[2\]: .*from 0 to 100, got 101"),
        (lambda v: v["top1"].__setitem__(2, float("nan")), "expected finite numbers, got NaN"),
        (lambda v: v["top1"].__setitem__(2, "80"), r"line 1: measurements.top1\[2\]: .*got '80'"),
        (lambda v: v["arch"].__setitem__(3, v["arch"][1]), "same network as measurements.arch.1."),
        (lambda v: v["arch"][4].update(resolution=9), r"measurements.arch\[4\].resolution: "),
        (lambda v: v["arch"].__setitem__(4, 7), r"measurements.arch\[4\]: .* object, got 7"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, change, words):
    value = content(DEBUG)
    change(value)
    with pytest.raises(InputError, match=words):
        read_measurements(write(tmp_path / "m.json", value), DEBUG)


def test_files_that_are_none(tmp_path):
    with pytest.raises(NotFound, match="m.json: expected a JSON file, found none"):
        read_measurements(tmp_path / "m.json", DEBUG)
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match="m.json: expected a JSON file: "):
        read_measurements(tmp_path / "m.json", DEBUG)
    empty = BundleRegistry(tmp_path).get("ofa-mbv3-w1.2")
    few = content(empty.space, 20)
    with pytest.raises(InputError, match="expected at least 50 networks, got 20: measure 30 more"):
        fit_predictor_to(empty, tmp_path, write(tmp_path / "m.json", few))
    assert not (tmp_path / "supernets").exists()
