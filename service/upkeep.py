"""What a trained supernet needs before it is searched: measured subnets, a predictor fitted to
them, and the comparison with networks trained alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from models.bundle import Bundle, add_to_bundle
from models.errors import InputError
from models.measured import Measured, as_arrays, compress, read_measured, shift_to_test_images
from search.agreement import agreement
from search.gaussian_process_fit import fit

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
    threads: int = 1,
    on_measured: OnCount = lambda done, total: None,
) -> Bundle:
    """Measure subnets on the images held out of training and keep the table in the bundle.

    Resumable: rows already measured with the same weights are in `home` and are not repeated.

    Raises:
        NotFound: if the data set is not on this machine.
    """
    from models.collect import collect, subnets_to_measure
    from models.images import hold_out, load_fashion_mnist

    recipe = bundle.card["recipe"]
    train, test = load_fashion_mnist()
    _, held = hold_out(train, recipe["holdout"], recipe["seed"])
    table = home / "collected" / f"{bundle.name}-{bundle.sha256[:12]}.jsonl"
    jobs = subnets_to_measure(bundle.space, fit_count, test_count, recipe["seed"])
    rows = collect(bundle, held, test, table, jobs, threads=threads, on_measured=on_measured)
    return add_to_bundle(bundle, {}, {"measured.jsonl.gz": compress(rows)})


def fit_predictor(bundle: Bundle) -> Bundle:
    """Fit the accuracy predictor to the bundle's measured subnets; the card tells its error.

    Raises:
        InputError: if too few subnets were measured.
    """
    bundle.check("measured.jsonl.gz")
    rows = read_measured(bundle.path / "measured.jsonl.gz")
    shift = shift_to_test_images(rows)
    rows = [replace(row, top1=row.top1 + shift.points) for row in rows]
    genes, top1 = as_arrays(bundle.space, rows, "fit")
    if len(top1) < MIN_FIT:
        raise InputError(
            f"supernet {bundle.name!r}: expected at least {MIN_FIT} measured subnets, got "
            f"{len(top1)}; run `subnet-search supernets collect {bundle.name}` first"
        )
    data = bundle.card["data"]
    target = (
        f"top-1 on {data['held_out_images']} held-out training images of {data['name']}, "
        f"after recalibration, weights {bundle.sha256[:12]}"
    )
    if shift.subnets:
        target += (
            f"; moved by {shift.points:+.2f} points to the test images, as measured on "
            f"{shift.subnets} subnets (spread {shift.spread:.2f})"
        )
    predictor = fit(bundle.space, genes, top1, seed=0, target=target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictor.safetensors"
        predictor.save(path)
        content = path.read_bytes()
    card = {
        "predictor": {
            **predictor.provenance.to_json(),
            "unseen": unseen(bundle, predictor, rows),
            "shift_to_test_images": {**asdict(shift), "provenance": "measured"},
        }
    }
    return add_to_bundle(bundle, card, {"predictor.safetensors": content})


def unseen(bundle: Bundle, predictor: Any, rows: list[Measured]) -> dict[str, Any] | None:
    """Agreement on the "test" subnets, which were never fitted to; None if there are few."""
    genes, top1 = as_arrays(bundle.space, rows, "test")
    if len(top1) < MIN_TEST:
        return None
    return {**asdict(agreement(predictor.predict(genes), top1)), "provenance": "measured"}


def compare_with_alone(
    bundle: Bundle, home: Path, *, threads: int = 1, on_step: OnShare = lambda share, word: None
) -> list[dict[str, Any]]:
    """Train five networks alone and compare them with the supernet's; the card keeps the table.

    Resumable network by network.

    Raises:
        NotFound: if the data set is not on this machine.
    """
    import torch

    from models.alone import compare, spread
    from models.recipe import parse_recipe
    from models.train import training_folder

    torch.set_num_threads(threads)
    recipe = parse_recipe({**bundle.card["recipe"], "space": bundle.card["space"]})
    archs = spread(bundle.space)
    kept = training_folder(recipe, home) / "full.safetensors"

    def report(index: int, step: int, steps: int) -> None:
        share = (index + step / steps) / len(archs)
        on_step(share, f"network {index + 1}/{len(archs)} step {step}/{steps}")

    rows = compare(
        bundle,
        recipe,
        home / "alone" / f"{bundle.name}-{bundle.sha256[:12]}",
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
