"""Accuracies measured elsewhere: a predictor from a file, and what such a file may not say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle.bundle import BundleRegistry
from models.bundle.measured import read_measurements
from models.errors import InputError, NotFound
from models.spaces.files import published_spaces
from search.predictors.files import predictor_provenance
from service.catalog.supernets.predictor_fit import fit_predictor_to
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
    provenance = predictor_provenance(bundle.predictor_path)
    assert provenance.resolutions == (192,)
    assert provenance.target == "made-up accuracies (a test)"
    assert (provenance.count, bundle.card["predictor"]["unseen"]["count"]) == (175, 25)
    assert BundleRegistry(tmp_path).get("ofa-mbv3-w1.2").has("measured.jsonl.gz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.pop("source"), "source"),
        (lambda v: v["top1"].pop(), "of one length"),
        (lambda v: v["top1"].__setitem__(2, 101), "top1 2: expected percent, got 101"),
        (lambda v: v["top1"].__setitem__(2, float("nan")), "top1 2: expected percent, got nan"),
        (lambda v: v["top1"].__setitem__(2, "80"), "top1 2: expected percent"),
        (lambda v: v["arch"].__setitem__(3, v["arch"][1]), "entries 1 and 3 are the same network"),
        (lambda v: v["arch"][4].update(resolution=9), "entry 4: arch.resolution"),
        (lambda v: v["arch"].__setitem__(4, 7), "entry 4: arch: expected an object"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, change, words):
    value = content(DEBUG)
    change(value)
    with pytest.raises(InputError, match=words):
        read_measurements(write(tmp_path / "m.json", value), DEBUG)


def test_files_that_are_none(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        read_measurements(tmp_path / "m.json", DEBUG)
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        read_measurements(tmp_path / "m.json", DEBUG)
    empty = BundleRegistry(tmp_path).get("ofa-mbv3-w1.2")
    few = content(empty.space, 20)
    with pytest.raises(InputError, match="expected at least 50"):
        fit_predictor_to(empty, tmp_path, write(tmp_path / "m.json", few))
    assert not (tmp_path / "supernets").exists()
