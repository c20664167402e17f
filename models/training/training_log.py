"""What a training tells of itself, in files beside its checkpoint, for whoever wants to watch it.

    status.json     where it is now; replaced every few seconds
    metrics.jsonl   a line for each time that subnets were validated
    running.lock    locked while a process trains; the system unlocks it however that process ends

Nothing here needs torch, so that the service can read it.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from models.errors import Conflict, NotFound
from models.machine import write_atomically
from models.schema import validate

STATUS, METRICS, LOCK = "status.json", "metrics.jsonl", "running.lock"
CHECKPOINT, AFTER_FIRST = "checkpoint.safetensors", "full.safetensors"
"""What a training goes on from, and the weights after its first phase: the teacher's."""
SCRATCH = "scratch"
"""Folder within that of an adaptation, of the training that it is compared with."""
MAX_POINTS = 200
"""Points of a curve that are told; of a longer one, so many that are evenly spread."""
LOCK_TRIES, LOCK_PAUSE_S = 20, 0.05
"""A reader holds the lock for a moment to see whether a process does."""

TrainingState = Literal["running", "stopped", "finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """Subnets validated after one step."""

    step: int
    seconds: float
    """Spent on training until then, over all runs."""
    phase: str
    loss: float | None
    """Mean over the steps since the point before, in this run; None: not a number."""
    learning_rate: float
    top1: Mapping[str, float]
    """Percent on held-out images, by subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatus:
    """Where a training is."""

    phase: str
    step: int
    steps: int
    loss: float | None = None
    images_per_s: float | None = None
    seconds_left: float | None = None
    """Of the training; without what is measured after it."""
    subnets: Mapping[str, Mapping[str, Any]]
    """Architecture ("arch") and "macs" of those that are validated, by name."""
    validation_images: int
    finished: bool = False
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """A training as its folder tells of it."""

    name: str
    state: TrainingState
    status: TrainingStatus
    points: Sequence[TrainingPoint]


def write_status(folder: Path, status: TrainingStatus) -> None:
    """Say where the training in `folder` is."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({**asdict(status), "updated_at": now}, allow_nan=False)
    write_atomically(folder / STATUS, content.encode())


def update_status(folder: Path, **changes: Any) -> None:
    """Change the status that there is; without one, there is nothing to change."""
    if (record := _read(folder)) is not None:
        write_status(folder, replace(record.status, **changes))


def append_point(folder: Path, point: TrainingPoint) -> None:
    """Add a line to the metrics."""
    with (folder / METRICS).open("a") as file:
        file.write(json.dumps(asdict(point)) + "\n")


def forget_points_after(folder: Path, step: int) -> None:
    """Drop the lines of steps that a resumed training repeats, and one that a crash cut short."""
    path = folder / METRICS
    if path.exists():
        kept = [point for point in read_points(folder) if point.step <= step]
        text = "".join(json.dumps(asdict(point)) + "\n" for point in kept)
        write_atomically(path, text.encode())


def read_points(folder: Path) -> list[TrainingPoint]:
    """The metrics so far; lines that are none are left out."""
    found = []
    with suppress(FileNotFoundError):
        for line in (folder / METRICS).read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(validate(TrainingPoint, json.loads(line), "point"))
    return found


def spread_points(points: Sequence[TrainingPoint], most: int) -> list[TrainingPoint]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Mark the training in `folder` as running, for other processes.

    Raises:
        Conflict: if another process trains there.
    """
    with (folder / LOCK).open("w") as file:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_PAUSE_S)
        else:
            raise Conflict(
                f"another process trains in {folder}: wait for it, or stop it with Ctrl-C there"
            )
        yield


def is_running(folder: Path) -> bool:
    """Whether a process trains there, on this machine or another one that shares the folder."""
    with suppress(FileNotFoundError), (folder / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def trainings_folder(home: Path) -> Path:
    """Where all trainings of an installation have their folders."""
    return home / "training"


def read_trainings(home: Path) -> list[TrainingRecord]:
    """The trainings of an installation: running ones first, then the latest."""
    order: list[TrainingState] = ["running", "stopped", "finished"]
    folder = trainings_folder(home)
    places = folder.iterdir() if folder.is_dir() else ()
    records = [record for place in places if (record := _read(place)) is not None]
    records.sort(key=lambda record: record.status.updated_at, reverse=True)
    return sorted(records, key=lambda record: order.index(record.state))


def read_training(home: Path, name: str) -> TrainingRecord:
    """One of them.

    Raises:
        NotFound: with the nearest known name.
    """
    found = {record.name: record for record in read_trainings(home)}
    if name not in found:
        raise NotFound.named("training", name, found)
    return found[name]


def remove_training(home: Path, name: str) -> bool:
    """Remove the checkpoint of a training and what it tells; returns whether there was any.

    Raises:
        Conflict: if a process trains there.
    """
    folder = trainings_folder(home) / name
    if not folder.is_dir():
        return False
    with running(folder):
        shutil.rmtree(folder)
    return True


def _read(folder: Path) -> TrainingRecord | None:
    """None: a folder that holds no training, or one that tells nothing."""
    try:
        status = validate(TrainingStatus, json.loads((folder / STATUS).read_bytes()), "status")
    except (OSError, ValueError):
        return None
    state: TrainingState = "stopped"
    if is_running(folder) or is_running(folder / SCRATCH):
        state = "running"
    elif status.finished:
        state = "finished"
    return TrainingRecord(folder.name, state, status, read_points(folder))
