"""Measured accuracies of subnets: the data that predictors are fitted to and tested on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.errors import InputError, NotFound
from models.spaces import Arch, GeneMatrix, SearchSpace

Split = Literal["fit", "test"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One subnet and its measured top-1, percent. "test" subnets are not used for fitting."""

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


def read_measured(path: Path) -> list[Measured]:
    """Read `.jsonl` or `.jsonl.gz`; a last line cut short by a crash is left out.

    Raises:
        InputError: if another line is not a row.
    """
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
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


UNSEEN_SHARE = 8
"""One in this many networks is held out for testing the fit."""


def read_measurements(path: Path, space: SearchSpace) -> Measurements:
    """Read a user's file of measured networks
    (`service.catalog.supernets.fit_predictor_to`).

    Raises:
        NotFound: if there is no such file.
        InputError: naming the entry that does not hold.
    """
    try:
        value = json.loads(path.read_text())
        archs, top1 = value["arch"], value["top1"]
        source, target = str(value["source"]), str(value["target"])
    except FileNotFoundError as error:
        raise NotFound(f"measurements {str(path)!r}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"measurements {path.name}: expected JSON with arch, top1, source and target, "
            f"got {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(archs, list) and isinstance(top1, list) and len(archs) == len(top1)):
        raise InputError(f"measurements {path.name}: expected lists arch and top1 of one length")
    seen: dict[Arch, int] = {}
    rows = []
    unseen = np.random.default_rng(0).permutation(len(archs)) % UNSEEN_SHARE == 0
    for index, (item, value) in enumerate(zip(archs, top1, strict=True)):
        try:
            arch = Arch.from_json(item)
            space.validate(arch)
        except InputError as error:
            raise InputError(f"measurements {path.name}: entry {index}: {error}") from error
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise InputError(
                f"measurements {path.name}: top1 {index}: expected percent, got {value!r}"
            )
        if (first := seen.setdefault(arch, index)) != index:
            raise InputError(
                f"measurements {path.name}: entries {first} and {index} are the same network"
            )
        rows.append(Measured(arch, float(value), "test" if unseen[index] else "fit"))
    return Measurements(rows, source, target)


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
