"""Fit a supernet's accuracy predictor to measured subnets."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.bundle import (
    MIN_UNSEEN,
    PREDICTOR,
    Bundle,
    BundleRegistry,
    Measured,
    Shift,
    Split,
    add_to_bundle,
    as_arrays,
    compress,
    keeps_bundle,
    read_measured,
    read_measurements,
    shift_to_test_images,
    write_bundle,
)
from models.errors import InputError, NotFound
from models.spaces import Arch, SearchSpace
from service.catalog.answer_warnings import predictor_warnings
from service.catalog.deployment_context import DeploymentContext
from service.catalog.supernets.measure_accuracy import (
    OnCount,
    keep_rows,
    measure_jobs,
    search_budgets,
)

if TYPE_CHECKING:
    from search.predictors import FoundAgreement, Rescalable

MIN_FIT, MIN_TRANSFER = 50, 12
"""Measured subnets that a predictor is fitted to, or an adapted supernet's base's is moved to."""
FOUND_SUBNETS = 24
"""Networks that searches find and that are measured, to judge the predictor by."""
MAX_ROUNDS = 3
"""Times that the predictor is fitted to such networks, at most."""
ROUND_FIT_SHARE = 0.1
"""Share of a round's time that the fit takes, roughly; the rest is measuring."""


@keeps_bundle
def fit_predictor(
    bundle: Bundle,
    home: Path | None = None,
    *,
    found_count: int = FOUND_SUBNETS,
    threads: int = 1,
    on_share: Callable[[float, str], None] = lambda share, doing: None,
) -> Bundle:
    """Fit the accuracy predictor to the bundle's measured subnets; the card tells its error.

    A search ends where its predictor errs upwards. So networks are searched with the predictor and
    measured. While they score worse than predicted by more than their spread explains, the
    predictor is fitted to them too and searches again, at most `MAX_ROUNDS` times. The mean error
    of the last ones is subtracted from all predictions, and the spread of all rounds is the error
    stated for networks that searches find.

    Args:
        home: the installation, which keeps what was measured; None: nothing is measured.
        found_count: networks to find and measure in a round; 0: none, and no such error is stated.
        on_share: told how much of all rounds is done, 0..1, and what is being done.

    Raises:
        InputError: if too few subnets were measured.
    """
    from search.predictors import MIN_FOUND  # scipy takes half a second to load

    rows = _rows_to_fit(bundle, home)
    unknown = _why_unmeasured(bundle, home, found_count)
    judged: list[FoundAgreement] = []
    for round_ in range(MAX_ROUNDS + 1):
        on_fitted, on_measured = _shown(on_share, round_, only_fit=unknown is not None)
        shift = shift_to_test_images(rows)
        on_test = [replace(row, top1=moved(row.top1, shift)) for row in rows]
        target = _target(bundle, shift)
        predictor = fit_to_rows(bundle, on_test, target, on_fitted, shift, home)
        if unknown is not None or home is None:
            break
        archs = search_budgets(predictor.space, predictor, found_count)
        if len(archs) < MIN_FOUND:
            unknown = "searches found too few different networks"
            break
        bundle, rows, agreement = _judge(
            bundle, home, predictor, archs, threads, judged, on_measured
        )
        if agreement.is_fair or round_ == MAX_ROUNDS:
            predictor = _corrected(predictor, agreement)
            break
        judged.append(agreement)
        rows = [replace(row, split="fit") if row.split == "found" else row for row in rows]
        bundle = keep_rows(bundle, home, rows)
    content, report = _report(bundle.space, predictor, on_test)
    report["shift_to_test_images"] = {**asdict(shift), "provenance": "measured"}
    if unknown is not None:
        report["found_unmeasured"] = unknown
    return add_to_bundle(bundle, {"predictor": report}, {"predictor.safetensors": content})


def _rows_to_fit(bundle: Bundle, home: Path | None) -> list[Measured]:
    """What was measured.

    Raises:
        InputError: if that is too little.
    """
    if not bundle.has("measured.jsonl.gz"):
        raise InputError(
            f"supernet {bundle.name!r} has no measured subnets: {_how_to_measure(bundle)}"
        )
    rows = measured_rows(bundle)
    least = MIN_FIT if base_predictor(bundle, home) is None else MIN_TRANSFER
    if (count := sum(row.split == "fit" for row in rows)) < least:
        raise InputError(
            f"supernet {bundle.name!r}: expected at least {least} measured subnets to fit to, "
            f"got {count}: {_how_to_measure(bundle)}"
        )
    return rows


def _shown(
    on_share: Callable[[float, str], None], round_: int, *, only_fit: bool
) -> tuple[Callable[[float], None], OnCount]:
    """What a fit and the measuring after it call, of one round of all."""
    rounds, fit = (1, 1.0) if only_fit else (MAX_ROUNDS + 1, ROUND_FIT_SHARE)

    def on_fitted(share: float) -> None:
        on_share((round_ + fit * share) / rounds, "")

    def on_measured(done: int, total: int) -> None:
        share = fit + (1 - fit) * done / total
        words = f"(round {round_ + 1}: {done}/{total} networks that searches found)"
        on_share((round_ + share) / rounds, words)

    return on_fitted, on_measured


def measured_rows(bundle: Bundle) -> list[Measured]:
    """The subnets that were measured, as the bundle keeps them."""
    with bundle.pinned("measured.jsonl.gz") as path:
        return read_measured(path)


def _why_unmeasured(bundle: Bundle, home: Path | None, found_count: int) -> str | None:
    """Why networks cannot be measured here; None: they can."""
    from models.bundle import training_images

    if found_count == 0 or home is None:
        return "not asked for"
    try:
        training_images(bundle, home / "images")
    except (NotFound, InputError) as error:
        return str(error)
    return None


def _judge(
    bundle: Bundle,
    home: Path,
    predictor: Rescalable,
    archs: Sequence[Arch],
    threads: int,
    earlier: Sequence[FoundAgreement],
    on_measured: OnCount,
) -> tuple[Bundle, list[Measured], FoundAgreement]:
    """Measure networks that searches found with `predictor`, which predicts for the test images.

    One that is found again, though the predictor was fitted to it meanwhile, is not measured again
    and counts: searches of users find it again, too.

    Returns:
        The bundle and its rows with those networks, and how well they were predicted.
    """
    from search.predictors import found_agreement

    jobs: list[tuple[Arch, Split]] = [(arch, "found") for arch in archs]
    bundle = measure_jobs(bundle, home, jobs, threads=threads, on_measured=on_measured)
    rows = measured_rows(bundle)
    shift, by_arch = shift_to_test_images(rows), {row.arch: row for row in rows}
    found = [by_arch[arch] for arch in archs]
    measured = [
        moved(row.top1, shift) if row.test_images_top1 is None else row.test_images_top1
        for row in found
    ]
    predicted = predictor.predict(predictor.space.encode(archs))
    return bundle, rows, found_agreement(predicted, np.array(measured), earlier=earlier)


def moved(top1: float, shift: Shift) -> float:
    """A top-1 on held-out images as expected on the test images, percent."""
    return min(100.0, max(0.0, top1 + shift.points))


def _corrected(predictor: Rescalable, agreement: FoundAgreement) -> Rescalable:
    """The predictor without its bias on networks that searches find."""
    provenance = replace(predictor.provenance, found=asdict(agreement))
    return predictor.rescaled(1.0, -agreement.bias, provenance)


@keeps_bundle
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
    predictor = fit_to_rows(bundle, given.rows, f"{given.target} ({given.source})", on_share)
    content, report = _report(bundle.space, predictor, given.rows)
    files = {name: bundle.content(name) for name in bundle.card["files"]}
    files["predictor.safetensors"] = content
    files["measured.jsonl.gz"] = compress(given.rows)
    card = {**bundle.card, "predictor": report}
    return write_bundle(home / "supernets" / bundle.name, card, files, replace=True)


def _how_to_measure(bundle: Bundle) -> str:
    if "recipe" not in bundle.card:
        return "it was not trained here; measure subnets, and name the file with --measurements"
    return (
        f"run `subnet-search supernets collect {bundle.name}`, or name a file with --measurements"
    )


def _target(bundle: Bundle, shift: Shift) -> str:
    data = bundle.card["data"]
    if "held_out_images" not in data:
        target = str(bundle.card["predictor"]["target"])
    else:
        target = (
            f"top-1 on {data['held_out_images']} held-out training images of {data['name']}, "
            f"after recalibration, weights {bundle.sha256[:12]}"
        )
    if shift.subnets:
        target += (
            f"; moved by {shift.points:+.2f} points to the test images, as measured on "
            f"{shift.subnets} subnets (spread {shift.spread:.2f})"
        )
    return target


def fit_to_rows(
    bundle: Bundle,
    rows: list[Measured],
    target: str,
    on_share: Callable[[float], None],
    shift: Shift | None = None,
    home: Path | None = None,
) -> Rescalable:
    """The predictor fitted to the "fit" rows; of an adapted supernet, its base's, moved to them,
    where that errs less with each row left out.

    Args:
        home: the installation, which may have the base.
        shift: what `rows` were moved by. Its spread is then part of the expected error, as if both
            erred on their own: a little too much, since the held-out images' luck is in both.
    """
    from search.predictors import fit_gaussian_process, transfer_predictor

    space = _measured_space(bundle.space, rows)
    genes, top1 = as_arrays(space, rows, "fit")
    found: list[Rescalable] = []
    if (base := base_predictor(bundle, home, space)) is not None:
        known = np.isin(np.array(space.resolutions)[genes[:, 0]], base.provenance.resolutions)
        if known.sum() >= MIN_TRANSFER:
            measured = genes[known], top1[known]
            found.append(transfer_predictor(base, *measured, name=space.name, target=target))
    if not found or len(top1) >= MIN_FIT:
        fitted = fit_gaussian_process(space, genes, top1, seed=0, target=target, on_share=on_share)
        found.append(fitted)
    predictor = min(found, key=lambda each: each.provenance.rmse or 0.0)
    if shift is None or shift.spread == 0:
        return predictor
    origin = predictor.provenance
    wider = replace(
        origin,
        rmse=math.hypot(origin.rmse or 0.0, shift.spread),
        method=f"{origin.method}, with the spread between held-out and test images",
    )
    return predictor.rescaled(1.0, 0.0, wider)


def _report(
    space: SearchSpace, predictor: Rescalable, rows: list[Measured]
) -> tuple[bytes, dict[str, Any]]:
    """The predictor file, and what the card says of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictor.safetensors"
        predictor.save(path)
        content = path.read_bytes()
    report = {
        **predictor.provenance.to_json(),
        "unseen": unseen(_measured_space(space, rows), predictor, rows),
        "provenance": "fitted",
    }
    return content, report


def base_predictor(
    bundle: Bundle, home: Path | None, space: SearchSpace | None = None
) -> Rescalable | None:
    """Of the supernet whose weights `bundle` started from, for gene matrices of its space; None:
    there was none, or it is not here any more, or cannot be moved.

    Args:
        space: the bundle's, or a part of it.
    """
    from search.predictors import Rescalable, load_predictor

    origin = bundle.card.get("base")
    if origin is None or home is None:
        return None
    with suppress(NotFound, InputError):
        base = BundleRegistry(home).get(origin["name"])
        if base.sha256 == origin["weights_sha256"] and base.has(PREDICTOR):
            with base.pinned(PREDICTOR) as path:
                predictor = load_predictor(path, space or bundle.space)
            return predictor if isinstance(predictor, Rescalable) else None
    return None


def _measured_space(space: SearchSpace, rows: list[Measured]) -> SearchSpace:
    """The space at the resolutions of the measured subnets."""
    return space.at({row.arch.resolution for row in rows})


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


def fit_warnings(bundle: Bundle) -> list[str]:
    """What weakens the predictor that was fitted last: see `predictor_warnings`."""
    context = DeploymentContext.open(bundle, None)
    why = bundle.card["predictor"].get("found_unmeasured")
    found = predictor_warnings(context)
    return found if why is None else [*found, f"networks that searches find: {why}"]
