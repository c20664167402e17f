"""From measured subnets to a fitted predictor on the bundle's card."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.bundle.bundle import add_to_bundle, write_bundle
from models.bundle.card import PREDICTOR
from models.bundle.measured import Measured, compress, read_measured
from models.errors import InputError
from models.spaces.plan import macs
from search.predictors.files import load_predictor
from service.catalog.supernets.measure_accuracy import _carry_over
from service.catalog.supernets.predictor_fit import fit_predictor
from tests.spaces import DEBUG


def bundle_with(path, rows):
    card = {
        "name": path.name,
        "space": DEBUG.to_json(),
        "preprocess": {"mean": [0.286], "std": [0.353]},
        "data": {"name": "toy images", "held_out_images": 100},
    }
    files = {"weights.safetensors": b"not needed here", "measured.jsonl.gz": compress(rows)}
    return write_bundle(path, card, files)


def measured(count: int, shift: float | None = None, spread: float = 0.0) -> list[Measured]:
    """Subnets whose accuracy grows with the logarithm of their MACs."""
    drawn = DEBUG.sample(4 * count, np.random.default_rng(0))
    _, first = np.unique(drawn, axis=0, return_index=True)
    genes = drawn[np.sort(first)][:count]
    rows = []
    for index, arch in enumerate(DEBUG.decode(genes)):
        top1 = 60 + 5 * np.log10(macs(DEBUG, arch))
        apart = spread if index % 2 else -spread
        on_test = None if shift is None or index >= 10 else top1 + shift + apart
        rows.append(Measured(arch, top1, "test" if index % 4 == 3 else "fit", on_test))
    return rows


def test_card_tells_the_error_on_unseen_subnets(tmp_path):
    bundle = fit_predictor(bundle_with(tmp_path / "toy", measured(160)))
    report = json.loads((bundle.path / "card.json").read_text())["predictor"]
    assert report["count"] == 120
    assert report["unseen"]["count"] == 40
    assert report["unseen"]["rmse"] < 0.2
    assert report["unseen"]["spearman"] > 0.95
    assert report["shift_to_test_images"]["subnets"] == 0
    bundle.check("predictor.safetensors")


@pytest.mark.slow
def test_predictions_move_to_the_test_images(tmp_path):
    genes = DEBUG.encode([DEBUG.largest, DEBUG.smallest])
    plain, moved = (
        fit_predictor(bundle_with(tmp_path / name, measured(160, shift)))
        for name, shift in (("plain", None), ("moved", -0.8))
    )
    ours, theirs = (
        load_predictor(b.path / PREDICTOR, DEBUG).predict(genes) for b in (moved, plain)
    )
    assert ours == pytest.approx(theirs - 0.8, abs=0.01)
    assert moved.card["predictor"]["shift_to_test_images"]["points"] == pytest.approx(-0.8)
    assert "moved by -0.80 points" in moved.card["predictor"]["target"]


def test_the_expected_error_counts_how_much_single_subnets_move(tmp_path):
    even, uneven = (
        fit_predictor(bundle_with(tmp_path / f"toy{spread}", measured(160, -0.8, spread)))
        for spread in (0.0, 0.3)
    )
    alone, both = (b.card["predictor"]["rmse"] for b in (even, uneven))
    assert both == pytest.approx(np.hypot(alone, 0.3 * np.sqrt(10 / 9)))
    assert load_predictor(uneven.path / PREDICTOR, DEBUG).provenance.rmse == both


def test_too_few_subnets_say_what_to_do(tmp_path):
    bundle = bundle_with(tmp_path / "toy", measured(20))
    with pytest.raises(
        InputError, match="at least 50 .*, got 15: it was not trained here; measure"
    ):
        fit_predictor(bundle)
    bundle = add_to_bundle(bundle, {"recipe": {"dataset": "photos"}}, {})
    with pytest.raises(InputError, match="got 15: run `subnet-search supernets collect toy`"):
        fit_predictor(bundle)


def test_measuring_goes_on_from_what_the_bundle_brings(tmp_path):
    rows = measured(12)
    bundle = bundle_with(tmp_path / "toy", rows)
    table = tmp_path / "collected" / "toy.jsonl"
    _carry_over(bundle, table)
    assert read_measured(table) == rows
    table.write_text(rows[0].to_json() + "\n")
    _carry_over(bundle, table)
    assert read_measured(table) == rows[:1], "a table under way was overwritten"
