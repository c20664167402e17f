"""Measured accuracies of subnets: the data that predictors are fitted to and tested on."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Interval, Len

from models.errors import InputError, InputWarning, InvalidDocument
from models.schema import STRICT, Text, read_each, read_json, validate
from models.spaces import Arch, ArchReader, GeneMatrix, SearchSpace

Split = Literal["fit", "test", "found"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One subnet and its measured top-1, percent.

    The predictor is fitted to "fit" subnets. "test" ones were drawn at random and "found" ones by
    searches with the predictor; both are kept out of the fit, to judge it by.
    """

    arch: Arch
    top1: float
    """On training images held out of training."""
    split: Split
    test_images_top1: float | None = None
    """On the data set's test images, for a few subnets: how much harder those are."""

    def to_json(self) -> str:
        """One line of the table."""
        row = {"arch": self.arch.to_json(), "top1": self.top1, "split": self.split}
        if self.test_images_top1 is not None:
            row["test_images_top1"] = self.test_images_top1
        return json.dumps(row, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Measured:
        """Read one line.

        Raises:
            InputError: if it is not one.
        """
        try:
            row = json.loads(line)
            arch = Arch.from_json(row["arch"])
            return cls(arch, float(row["top1"]), row["split"], row.get("test_images_top1"))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"measured subnets: not a row: {line[:80]!r} ({error})") from error


def compress(rows: Iterable[Measured]) -> bytes:
    """The table as gzipped JSON lines; equal rows give equal bytes."""
    text = "".join(row.to_json() + "\n" for row in rows)
    return gzip.compress(text.encode(), mtime=0)


def write_measured(path: Path, rows: Iterable[Measured]) -> None:
    """Write `.jsonl`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(row.to_json() + "\n" for row in rows))
    os.replace(partial, path)


GZIP = b"\x1f\x8b"
"""How a gzipped file begins."""


def read_measured(path: Path) -> list[Measured]:
    """Read `.jsonl`, gzipped or not; a last line cut short by a crash is left out.

    Raises:
        InputError: if another line is not a row.
    """
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw.startswith(GZIP) else raw).decode()
    whole = text[: text.rfind("\n") + 1]
    return [Measured.from_json(line) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True)
class Measurements:
    """Accuracies that were measured elsewhere."""

    rows: list[Measured]
    source: str
    """Who measured them."""
    target: str
    """What was measured: the data, the number of images."""


MAX_NETWORKS = 100_000
UNSEEN_SHARE = 8
"""One in this many networks is held out for testing the fit."""
MIN_UNSEEN = 20
"""Fewer networks say little of a fit: where the share comes to less, all are fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeasurementsFile:
    """What a user writes of networks that were measured elsewhere."""

    __pydantic_config__ = STRICT

    arch: Annotated[list[Any], Len(1, MAX_NETWORKS)]
    top1: Annotated[list[Annotated[float, Interval(ge=0, le=100)]], Len(1, MAX_NETWORKS)]
    """Percent."""
    source: Text
    target: Text


def read_measurements(path: Path, space: SearchSpace) -> Measurements:
    """Read a user's file of measured networks
    (`service.catalog.supernets.fit_predictor_to`).

    Raises:
        NotFound: if there is no such file.
        InputError: naming line and field of what does not hold.
    """
    return read_json(path).read(_parse_measurements, space)


def _parse_measurements(value: object, space: SearchSpace) -> Measurements:
    file = validate(_MeasurementsFile, value, "measurements")
    if len(file.arch) != len(file.top1):
        text = f"expected one a network, {len(file.arch)}, got {len(file.top1)}"
        raise InvalidDocument.at("measurements", ("top1",), text)
    reader = ArchReader(space)
    try:
        archs = read_each(file.arch, reader, "measurements.arch")
    except InvalidDocument as error:
        raise error.within("measurements", "arch") from error
    for text in reader.warnings:
        warnings.warn(f"measurements: {text}", InputWarning, stacklevel=2)
    seen: dict[Arch, int] = {}
    rows = []
    unseen = np.random.default_rng(0).permutation(len(archs)) % UNSEEN_SHARE == 0
    unseen &= unseen.sum() >= MIN_UNSEEN
    for index, (arch, top1) in enumerate(zip(archs, file.top1, strict=True)):
        if (first := seen.setdefault(arch, index)) != index:
            text = f"the same network as measurements.arch[{first}]: leave one out"
            raise InvalidDocument.at("measurements", ("arch", index), text)
        rows.append(Measured(arch, top1, "test" if unseen[index] else "fit"))
    return Measurements(rows, file.source, file.target)


def as_arrays(
    space: SearchSpace, rows: Iterable[Measured], split: Split
) -> tuple[GeneMatrix, npt.NDArray[np.float64]]:
    """Genes (N, n_genes) and top-1 (N,) of one split."""
    chosen = [row for row in rows if row.split == split]
    return space.encode(row.arch for row in chosen), np.array([row.top1 for row in chosen])


@dataclass(frozen=True, slots=True)
class Shift:
    """Difference in accuracy between test images and held-out ones, measured on some subnets."""

    points: float
    """Test minus held-out top-1, mean."""
    spread: float
    """Standard deviation of a single subnet's difference, points; 0 where only one was measured."""
    subnets: int


def shift_to_test_images(rows: Iterable[Measured]) -> Shift:
    """The mean difference between the two sets of images; zero where none was measured."""
    found = [row.test_images_top1 - row.top1 for row in rows if row.test_images_top1 is not None]
    if not found:
        return Shift(0.0, 0.0, 0)
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
    return Shift(float(np.mean(found)), spread, len(found))
