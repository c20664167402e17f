"""A published supernet in one go: its files fetched, proved, and imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle import PREDICTOR, WEIGHTS, Bundle, BundleRegistry
from models.errors import InputError, NotFound
from models.published import PublishedFile, PublishedSupernet
from service.catalog.published.downloading import fetch_published
from service.catalog.published.places import Place
from service.catalog.published.transfer import PATIENCE, Patience, Report
from service.catalog.supernets import import_supernet

FETCHING = 0.3
"""Share of the work that is fetching, where a predictor is explored after it."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a download did."""

    bundle: Bundle
    files: tuple[PublishedFile, ...]
    """Those that were imported; others were there already."""
    notes: tuple[str, ...]
    """What the user should know."""


def download_supernet(
    home: Path,
    published: PublishedSupernet,
    places: Sequence[Place] = (),
    *,
    only: bool = False,
    predictor_only: bool = False,
    calibration: Path | None = None,
    searches: int,
    on_share: Report = lambda share, word: None,
    warn: Callable[[list[str]], None] = lambda _: None,
    patience: Patience = PATIENCE,
) -> Downloaded:
    """Fetch and import what was published of a supernet and is not here yet.

    Args:
        places, only: as `fetch_published` takes them.
        predictor_only: leave the weights out.
        calibration, searches, warn: as `import_supernet` takes them.
        on_share: told which share of all is done, 0..1, and what is being done.

    Raises:
        DownloadFailed, InputError, SubnetSearchError: as `fetch_published` and `import_supernet`.
    """
    if calibration is not None and not calibration.is_dir():
        raise NotFound(f"--calibration: expected a folder of training images, got {calibration}")
    bundle = BundleRegistry(home).get(published.name)
    if predictor_only and published.predictor is None and not bundle.has(PREDICTOR):
        raise InputError(
            f"no accuracy predictor was published for {published.name!r}: add one with "
            f"{bundle.how_to('search')}"
        )
    weights = None if predictor_only or bundle.has(WEIGHTS) else published.weights
    predictor = None if bundle.has(PREDICTOR) else published.predictor
    wanted = [file for file in (predictor, weights) if file]
    fetching = FETCHING if predictor is not None and searches else 1.0
    paths: dict[PublishedFile | None, Path] = {}
    for number, file in enumerate(wanted):
        paths[file] = fetch_published(
            file,
            home,
            places,
            only=only,
            also=wanted[number + 1 :],
            on_share=_part(on_share, fetching * number / len(wanted), fetching / len(wanted)),
            patience=patience,
        )
    if wanted or calibration is not None:
        importing = _part(on_share, fetching, 1 - fetching)
        bundle = import_supernet(
            home,
            published.name,
            paths.get(weights),
            predictor=paths.get(predictor),
            calibration=calibration,
            searches=searches,
            on_share=lambda share: importing(share, "importing"),
            warn=warn,
        )
    return Downloaded(bundle, tuple(wanted), tuple(_notes(bundle, published, predictor_only)))


def _part(on_share: Report, begin: float, size: float) -> Report:
    """Reports a part of the work, from `begin`, as a share of the whole."""
    return lambda share, word: on_share(begin + size * share, word)


def _notes(bundle: Bundle, published: PublishedSupernet, predictor_only: bool) -> list[str]:
    notes = []
    if published.weights is None and not bundle.has(WEIGHTS) and not predictor_only:
        notes.append(
            f"the weights of {published.name} are not among the published files whose ids are "
            f"known: fetch {published.weights_elsewhere} by hand, and import them with "
            f"{bundle.how_to('verify')}"
        )
    source = bundle.card.get("source", {}).get("git_blob")
    if published.weights is not None and bundle.has(WEIGHTS) and source != published.weights.blob:
        notes.append(
            f"{published.name} has weights from elsewhere already, which were kept; to have the "
            "published ones, remove its folder first: " + str(bundle.path)
        )
    return notes
