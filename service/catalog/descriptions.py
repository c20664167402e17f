"""Supernets, devices, searches and trainings as the API and the command line show them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from models.bundle import PREDICTOR, Bundle, read_measured
from models.training import (
    MAX_POINTS,
    TrainingRecord,
    read_training,
    read_trainings,
    spread_points,
)
from service.catalog.catalog import Catalog
from service.catalog.deployment_context import CONFIDENCE
from service.catalog.devices import Devices, KeptTable
from service.catalog.profiles import Correction
from service.contracts import (
    CorrectionRead,
    DeviceFinding,
    DeviceRead,
    DeviceRemoved,
    DeviceTable,
    MeasuredNetwork,
    PredictorPoint,
    PredictorPoints,
    Search,
    SearchRead,
    SupernetRead,
    SupernetSummary,
    TableRemoved,
    TableRevision,
    TrainingRead,
    TrainingSample,
    TrainingSummary,
)

MEASURED = "measured.jsonl.gz"
"""A bundle's file of measured subnets."""


def summarize_supernets(catalog: Catalog) -> list[SupernetSummary]:
    """Every supernet in a line."""
    return [_summary(catalog.supernets.get(name)) for name in catalog.supernets.names()]


def _summary(bundle: Bundle) -> SupernetSummary:
    return SupernetSummary(
        name=bundle.name,
        sha256=bundle.sha256,
        space=bundle.space.name,
        architectures=bundle.space.cardinality,
        searchable=bundle.has(PREDICTOR),
        **_abilities(bundle),
    )


def _abilities(bundle: Bundle) -> dict[str, Any]:
    """What a supernet can be used for, and what adds the rest."""
    return {
        "capabilities": bundle.capabilities,
        "next_steps": [asdict(step) for step in bundle.next_steps],
    }


def describe_supernet(catalog: Catalog, name: str, *, folders: bool = True) -> SupernetRead:
    """One supernet.

    Args:
        folders: whether its card says where on this machine the images are, or only what their
            folder is called.

    Raises:
        NotFound: with the nearest known name.
    """
    context = catalog.context(name, None)
    bundle, predictor = context.bundle, context.predictor
    card = {key: value for key, value in bundle.card.items() if key != "space"}
    return SupernetRead(
        name=bundle.name,
        sha256=bundle.sha256,
        space=bundle.space.to_json(),
        architectures=bundle.space.cardinality,
        predictor=None if predictor is None else predictor.provenance.to_json(),
        card=card if folders else _without_folders(card),
        **_abilities(bundle),
    )


def _without_folders(value: Any) -> Any:
    """A JSON value with the last part alone of every absolute path."""
    if isinstance(value, Mapping):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(each) for each in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value


def describe_unseen(catalog: Catalog, name: str) -> PredictorPoints:
    """What a supernet's predictor says of measured networks that it was not fitted to.

    Raises:
        NotFound: with the nearest known name.
    """
    context, bundle = catalog.context(name, None), catalog.supernets.get(name)
    if (predictor := context.predictor) is None or not bundle.has(MEASURED):
        return PredictorPoints(points=[], shift_points=0.0)
    with bundle.pinned(MEASURED) as path:
        measured = read_measured(path)
    sizes = predictor.provenance.resolutions
    rows = [row for row in measured if row.split != "fit" and row.arch.resolution in sizes]
    shift = bundle.card.get("predictor", {}).get("shift_to_test_images", {}).get("points", 0.0)
    predicted = context.predict([row.arch for row in rows]) if rows else []
    return PredictorPoints(
        points=[
            PredictorPoint(
                measured=row.top1 + shift,
                predicted=found["top1"],
                split="found" if row.split == "found" else "test",
            )
            for row, found in zip(rows, predicted, strict=True)
        ],
        shift_points=shift,
    )


def describe_device(catalog: Catalog, name: str) -> DeviceRead:
    """One device.

    Raises:
        NotFound: with the nearest known name.
    """
    kept = catalog.devices.get(name)
    return DeviceRead(
        name=name,
        tables=[_table(item, catalog.devices.revisions(item)) for item in kept],
        lint=[
            DeviceFinding(
                space=item.table.space,
                precision=item.table.conditions.precision,
                severity="error" if finding.is_error else "warning",
                kind=finding.kind,
                detail=finding.text,
            )
            for item in kept
            for finding in catalog.findings(item)
        ],
    )


def remove_device(
    devices: Devices, name: str, space: str | None = None, precision: str | None = None
) -> DeviceRemoved:
    """Remove a user's device or some of its tables, as `Devices.remove` does it."""
    removed = devices.remove(name, space, precision)
    remaining = devices.get(name) if name in devices.names() else []
    return DeviceRemoved(
        name=name,
        removed=[
            TableRemoved(
                space=r.space,
                precision=r.precision,
                revision=r.number,
                sha256=r.sha256,
                owner=r.owner,
            )
            for r in removed
        ],
        remaining=[_table(item) for item in remaining],
    )


def describe_correction(catalog: Catalog, corrected: Correction) -> CorrectionRead:
    """A device whose table was corrected just now."""
    revision = corrected.revision
    return CorrectionRead(
        **describe_device(catalog, corrected.name).model_dump(),
        space=revision.space,
        precision=revision.precision,
        revision=revision.number,
        sha256=revision.sha256,
        networks=[MeasuredNetwork(**network) for network in corrected.networks],
        mean_error_before=corrected.error_before,
        expected_error=corrected.table.expected_error,
    )


def describe_searches(devices: Devices, searches: Sequence[Search]) -> list[SearchRead]:
    """Searches with whether their tables are current, in one query for all."""
    known = devices.current_sha256({search.request["device"] for search in searches})
    has_costs_of = cache(devices.has_costs_of)

    def described(search: Search) -> SearchRead:
        used = (search.request["device"], search.profile_sha256)
        return SearchRead.of(search, is_current(*used, known, has_costs_of, lambda: search))

    return [described(search) for search in searches]


def is_current(
    device: str,
    sha256: str,
    known: Mapping[str, Collection[str]],
    has_costs_of: Callable[[str, str], bool],
    read: Callable[[], Search],
) -> bool:
    """Whether a search for the same would be answered with the same latencies now.

    A table that only got a sitting since predicts what it did; its upper bounds are others, which
    matters to a search whose limit is on one. A profile that came with a request, of a device that
    nobody keeps, stays as it is.

    Args:
        sha256: of the table that the search used.
        known: by device, as `Devices.current_sha256` has it.
        has_costs_of: as `Devices.has_costs_of`; asked only where the table is another now.
        read: the search; likewise.
    """
    if sha256 in known.get(device, (sha256,)):
        return True
    return has_costs_of(device, sha256) and CONFIDENCE not in read().request["constraints"]


def _table(item: KeptTable, revisions: Sequence[TableRevision] = ()) -> DeviceTable:
    table = item.table
    return DeviceTable(
        space=table.space,
        precision=table.conditions.precision,
        revision=item.revision,
        sha256=item.sha256,
        shared=item.shared,
        origin=table.origin,
        source=table.source,
        conditions=table.conditions.to_json(),
        layers=len(table.entries),
        network_overhead_ms=table.network_overhead_ms,
        expected_error=table.expected_error,
        sittings=1 + len(table.sittings),
        drift_fraction=None if table.drift is None else table.drift.deviation,
        residual_ratios=list(table.residual_ratios),
        revisions=list(revisions),
    )


def summarize_trainings(home: Path) -> Sequence[TrainingSummary]:
    """All of them, without their curves."""
    return [TrainingSummary(**_training_summary(record)) for record in read_trainings(home)]


def describe_training(home: Path, name: str) -> TrainingRead:
    """One training with its curve.

    Raises:
        NotFound: with the nearest known name.
    """
    record = read_training(home, name)
    status = record.status
    return TrainingRead(
        **_training_summary(record),
        points=[
            TrainingSample(**asdict(point)) for point in spread_points(record.points, MAX_POINTS)
        ],
        subnets={name: dict(subnet) for name, subnet in status.subnets.items()},
        validation_images=status.validation_images,
    )


def _training_summary(record: TrainingRecord) -> dict[str, Any]:
    status = record.status
    return {
        "name": record.name,
        "state": record.state,
        "phase": status.phase,
        "step": status.step,
        "steps": status.steps,
        "loss": status.loss,
        "images_per_s": status.images_per_s,
        "seconds_left": status.seconds_left,
        "top1": dict(record.points[-1].top1) if record.points else {},
        "updated_at": status.updated_at,
    }
