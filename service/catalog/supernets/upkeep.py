"""What a trained supernet needs before it is searched: measured subnets, a predictor fitted to
them, and the comparison with networks trained alone."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.bundle import (
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
from models.spaces import Arch, SearchSpace
from search.evolution import search_subnet

if TYPE_CHECKING:
    from models.training import Recipe

MIN_FIT, MIN_TEST = 50, 20
FIT_SUBNETS, TEST_SUBNETS = 1100, 200

OnCount = Callable[[int, int], None]
OnShare = Callable[[float, str], None]


def collect_measured(
    bundle: Bundle,
    home: Path,
    *,
    fit_count: int = FIT_SUBNETS,
    test_count: int = TEST_SUBNETS,
    found_count: int | None = None,
    threads: int = 1,
    on_measured: OnCount = lambda done, total: None,
) -> Bundle:
    """Measure subnets on the images held out of training and keep the table in the bundle.

    Resumable: rows already measured with the same weights, in `home` or in the bundle, are kept
    and not repeated.

    Args:
        found_count: measure instead so many networks that searches find (`found_by_searches`),
            the first on the test images too.

    Raises:
        NotFound: if the data set is not on this machine.
        InputError: if networks are to be found, and there is no predictor to find them with.
    """
    from models.bundle import collect, subnets_to_measure
    from models.data import hold_out, load_dataset
    from models.machine import EnergyMeter, added

    recipe = bundle.card["recipe"]
    data = load_dataset(recipe["dataset"], bundle.space)
    _, held = hold_out(data.train, recipe["holdout"], recipe["seed"])
    table = home / "collected" / f"{bundle.name}-{bundle.sha256[:12]}.jsonl"
    _carry_over(bundle, table)
    if found_count is None:
        jobs = subnets_to_measure(bundle.space, fit_count, test_count, recipe["seed"])
    else:
        jobs = [(arch, "fit") for arch in found_by_searches(bundle, found_count)]
    with EnergyMeter(recipe["country"]) as meter:
        rows = collect(
            bundle, held, data.test, table, jobs, threads=threads, on_measured=on_measured
        )
        spent = added(bundle.card["energy"].get("predictor_data"), meter)
    energy = {**bundle.card["energy"], "predictor_data": spent}
    return add_to_bundle(bundle, {"energy": energy}, {"measured.jsonl.gz": compress(rows)})


def found_by_searches(bundle: Bundle, count: int) -> list[Arch]:
    """Different networks that the bundle's predictor likes best, each within another budget of
    multiply-accumulates, from just above the least to the most.

    A search ends where its predictor errs upwards more often than not. Measured and fitted to,
    those errors are gone; fitting may make others, so that a second round can find more.

    Raises:
        InputError: if there is no predictor.
    """
    from service.catalog.deployment_context import DeploymentContext

    context = DeploymentContext.open(bundle, None)
    predictor, space = context.require_predictor(), context.space
    macs = context.costs["macs"]
    most = float(
        max(macs.evaluate(space.encode([space.at([r]).largest]))[0] for r in space.resolutions)
    )
    found: dict[Arch, None] = {}
    for seed, budget in enumerate(np.geomspace(1.05 * macs.floor(), most, count).tolist()):
        result = search_subnet(space, predictor, context.costs, {"macs": budget}, seed)
        found.setdefault(result.arch)
    return list(found)


def _carry_over(bundle: Bundle, table: Path) -> None:
    """Start `table` with what the bundle has measured already, perhaps on another machine."""
    if table.exists() or not bundle.has("measured.jsonl.gz"):
        return
    bundle.check("measured.jsonl.gz")
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(gzip.decompress((bundle.path / "measured.jsonl.gz").read_bytes()))


def fit_predictor(bundle: Bundle, on_share: Callable[[float], None] = lambda _: None) -> Bundle:
    """Fit the accuracy predictor to the bundle's measured subnets; the card tells its error.

    Raises:
        InputError: if too few subnets were measured.
    """
    if not bundle.has("measured.jsonl.gz"):
        raise InputError(
            f"supernet {bundle.name!r} has no measured subnets: run `subnet-search supernets "
            f"collect {bundle.name}`, or name a file with --measurements"
        )
    bundle.check("measured.jsonl.gz")
    rows = read_measured(bundle.path / "measured.jsonl.gz")
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

    Every eighth network, drawn by a fixed seed, is kept out to judge the fit by.

    Args:
        measurements: JSON `{"arch": [...], "top1": [percent, ...], "source": text, "target":
            text}`, the last two saying who measured, and what.

    Raises:
        InputError: if the file is not that, names a network twice or one outside the space, or
            has too few.
    """
    given = read_measurements(measurements, bundle.space)
    files = {name: (bundle.path / name).read_bytes() for name in bundle.card["files"]}
    files["predictor.safetensors"], report = _fitted(
        bundle, given.rows, f"{given.target} ({given.source})", on_share
    )
    files["measured.jsonl.gz"] = compress(given.rows)
    card = {**bundle.card, "predictor": report}
    return write_bundle(home / "supernets" / bundle.name, card, files, replace=True)


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
    if len(top1) < MIN_FIT:
        raise InputError(
            f"supernet {bundle.name!r}: expected at least {MIN_FIT} measured subnets, got "
            f"{len(top1)}; measure more (`subnet-search supernets collect {bundle.name}`)"
        )
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
    if len(top1) < MIN_TEST:
        return None
    return {
        **asdict(prediction_agreement(predictor.predict(genes), top1)),
        "provenance": "measured",
    }


def compare_with_alone(
    bundle: Bundle, home: Path, *, threads: int = 1, on_step: OnShare = lambda share, word: None
) -> list[dict[str, Any]]:
    """Train five networks alone and compare them with the supernet's; the card keeps the table.

    Resumable network by network.

    Raises:
        NotFound: if the data set is not on this machine.
    """
    import torch

    from models.training import compare, parse_recipe, reference_archs, training_folder

    torch.set_num_threads(threads)
    recipe = parse_recipe({**bundle.card["recipe"], "space": bundle.card["space"]})
    archs = reference_archs(recipe.space)
    kept = training_folder(recipe, home) / "full.safetensors"

    def report(index: int, step: int, steps: int) -> None:
        share = (index + step / steps) / len(archs)
        on_step(share, f"network {index + 1}/{len(archs)} step {step}/{steps}")

    rows = compare(
        bundle,
        recipe,
        home / "alone" / f"{bundle.name}-{_alone_key(recipe)}",
        archs,
        threads=threads,
        full_weights=kept if kept.exists() else None,
        on_step=report,
    )
    mean_gap = round(sum(row["gap"] for row in rows) / len(rows), 3)
    sharing = {
        "networks": rows,
        "mean_gap": mean_gap,
        "provenance": "measured",
        "alone": f"{recipe.phases[0].epochs} epochs, the recipe's first phase",
    }
    add_to_bundle(bundle, {"metrics": {**bundle.card["metrics"], "sharing": sharing}}, {})
    return rows


def _alone_key(recipe: Recipe) -> str:
    """Of all that a training alone depends on: the recipe up to its first phase."""
    content = {**recipe.to_json(), "phases": recipe.to_json()["phases"][:1]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
