"""Fit a supernet's accuracy predictor to measured subnets."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from models.bundle import (
    MIN_UNSEEN,
    Bundle,
    Measured,
    Shift,
    add_to_bundle,
    as_arrays,
    compress,
    read_measured,
    read_measurements,
    shift_to_test_images,
    write_bundle,
)
from models.errors import InputError
from models.spaces import SearchSpace

MIN_FIT = 50


def fit_predictor(bundle: Bundle, on_share: Callable[[float], None] = lambda _: None) -> Bundle:
    """Fit the accuracy predictor to the bundle's measured subnets; the card tells its error.

    Raises:
        InputError: if too few subnets were measured.
    """
    if not bundle.has("measured.jsonl.gz"):
        raise InputError(
            f"supernet {bundle.name!r} has no measured subnets: {_how_to_measure(bundle)}"
        )
    bundle.check("measured.jsonl.gz")
    rows = read_measured(bundle.file("measured.jsonl.gz"))
    if (count := sum(row.split == "fit" for row in rows)) < MIN_FIT:
        raise InputError(
            f"supernet {bundle.name!r}: expected at least {MIN_FIT} measured subnets to fit to, "
            f"got {count}: {_how_to_measure(bundle)}"
        )
    shift = shift_to_test_images(rows)
    target = _target(bundle)
    if shift.subnets:
        target += (
            f"; moved by {shift.points:+.2f} points to the test images, as measured on "
            f"{shift.subnets} subnets (spread {shift.spread:.2f})"
        )
    rows = [replace(row, top1=row.top1 + shift.points) for row in rows]
    content, report = _fitted(bundle, rows, target, on_share, shift)
    report["shift_to_test_images"] = {**asdict(shift), "provenance": "measured"}
    return add_to_bundle(bundle, {"predictor": report}, {"predictor.safetensors": content})


def fit_predictor_to(
    bundle: Bundle,
    home: Path,
    measurements: Path,
    on_share: Callable[[float], None] = lambda _: None,
) -> Bundle:
    """Fit the accuracy predictor to accuracies that were measured elsewhere.

    Every eighth network, drawn by a fixed seed, is kept out to judge the fit by, where that is
    enough to judge by: of 153 networks or more.

    Args:
        measurements: JSON `{"arch": [...], "top1": [percent, ...], "source": text, "target":
            text}`, the last two saying who measured, and what.

    Raises:
        InputError: if the file is not that, names a network twice or one outside the space, or
            has too few.
    """
    given = read_measurements(measurements, bundle.space)
    if len(given.rows) < MIN_FIT:
        raise InputError(
            f"{measurements}: measurements.arch: expected at least {MIN_FIT} networks, got "
            f"{len(given.rows)}: measure {MIN_FIT - len(given.rows)} more and add them"
        )
    files = {name: bundle.file(name).read_bytes() for name in bundle.card["files"]}
    files["predictor.safetensors"], report = _fitted(
        bundle, given.rows, f"{given.target} ({given.source})", on_share
    )
    files["measured.jsonl.gz"] = compress(given.rows)
    card = {**bundle.card, "predictor": report}
    return write_bundle(home / "supernets" / bundle.name, card, files, replace=True)


def _how_to_measure(bundle: Bundle) -> str:
    if "recipe" not in bundle.card:
        return "it was not trained here; measure subnets, and name the file with --measurements"
    return (
        f"run `subnet-search supernets collect {bundle.name}`, or name a file with --measurements"
    )


def _target(bundle: Bundle) -> str:
    data = bundle.card["data"]
    if "held_out_images" not in data:
        return str(bundle.card["predictor"]["target"])
    return (
        f"top-1 on {data['held_out_images']} held-out training images of {data['name']}, "
        f"after recalibration, weights {bundle.sha256[:12]}"
    )


def _fitted(
    bundle: Bundle,
    rows: list[Measured],
    target: str,
    on_share: Callable[[float], None],
    shift: Shift | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """The predictor file, and what the card says of it.

    Args:
        shift: what `rows` were moved by. Its spread is then part of the expected error, as if both
            erred on their own: a little too much, since the held-out images' luck is in both.
    """
    from search.predictors import fit_gaussian_process  # scipy takes half a second to load

    space = bundle.space.at({row.arch.resolution for row in rows})
    genes, top1 = as_arrays(space, rows, "fit")
    predictor = fit_gaussian_process(space, genes, top1, seed=0, target=target, on_share=on_share)
    if shift is not None and shift.spread > 0:
        origin = predictor.provenance
        moved = replace(
            origin,
            rmse=math.hypot(origin.rmse or 0.0, shift.spread),
            method=f"{origin.method}, with the spread between held-out and test images",
        )
        predictor = replace(predictor, provenance=moved)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictor.safetensors"
        predictor.save(path)
        content = path.read_bytes()
    report = {
        **predictor.provenance.to_json(),
        "unseen": unseen(space, predictor, rows),
        "provenance": "fitted",
    }
    return content, report


def unseen(space: SearchSpace, predictor: Any, rows: list[Measured]) -> dict[str, Any] | None:
    """Agreement on the "test" subnets, which were never fitted to; None if there are few."""
    from search.predictors import prediction_agreement

    genes, top1 = as_arrays(space, rows, "test")
    if len(top1) < MIN_UNSEEN:
        return None
    return {
        **asdict(prediction_agreement(predictor.predict(genes), top1)),
        "provenance": "measured",
    }
