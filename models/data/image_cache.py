"""Images decoded once: into a file that is mapped into memory, or, where few, into memory.

    images/KEY/images.npy     (N, size, size) or (N, size, size, 3) uint8, in the order of the files
    images/KEY/digests.npy    (N, 16) uint8: a hash of each file's content
    images/KEY/parts.jsonl    the finished parts, while it is being made
    images/KEY/index.json     the folder and its damaged files; written last, so it is complete

The key is a hash of the folder's real path, of its files' names, sizes and times of change, and of
size and channels: a folder that has changed is decoded anew. A part is decoded by one process and
does not depend on others, so an interrupted run goes on after its last finished part, to the same
bits.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import mmap
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.image_parts import (
    DIGEST_BYTES,
    damage_text,
    decode_part,
    images_a_part,
    is_refused,
    parts_of,
    read_header,
)
from models.data.listing import FoundFile
from models.data.processes import run_parts
from models.errors import InputError, InputWarning
from models.machine import write_atomically

LOCK = "lock"
FORMAT = 2
"""Raised where the same files give other pixels, or the same folder another key."""
SPARE_BYTES = 64 << 20
"""Of the disk, which are left free."""

OnShare = Callable[[float, str], None]
"""(share of the work done, what is being done)"""


@dataclass(frozen=True, slots=True)
class DecodedFiles:
    """The pixels of a list of files, in their order."""

    images: npt.NDArray[np.uint8]
    """(N, size, size) or (N, size, size, 3); zeros where a file is damaged."""
    digests: npt.NDArray[np.uint8]
    """(N, 16): equal for files of equal content."""
    damaged: dict[int, str]
    """Rows without pixels, and why."""


def decode_files(
    folder: Path,
    files: Sequence[FoundFile],
    *,
    channels: int,
    size: int,
    cache: Path | None,
    processes: int | None = None,
    on_share: OnShare = lambda share, doing: None,
) -> DecodedFiles:
    """Decode images and resize them whole, as `decoding.resize` does.

    Args:
        files: of `folder`, sorted.
        channels: 1 (grey) or 3 (RGB).
        size: height and width of the result, pixels.
        cache: folder of the caches; None: the images are held in memory.
        processes: default: one a core, of many images.

    Raises:
        InputError: for another number of channels, if the disk is too full, or if more than
            `DAMAGED_SHARE` of the files are damaged.
    """
    if channels not in (1, 3):
        raise InputError(f"images: expected a network of 1 or 3 channels, got {channels}")
    shape = (len(files), size, size) if channels == 1 else (len(files), size, size, channels)
    if cache is None:
        return _in_memory(folder, files, shape, processes, on_share)
    build = _Cache(cache / _key(folder, files, channels, size), folder, files, shape)
    return build.open_or_make(processes, on_share)


def map_rows(path: Path) -> npt.NDArray[np.uint8]:
    """An `.npy` file as an array whose rows are read when they are used.

    Rows are used in random order, so the system is told not to read ahead.
    """
    with path.open("rb") as file:
        shape, at = read_header(file)
        if not math.prod(shape):
            return np.zeros(shape, np.uint8)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint8, math.prod(shape), at).reshape(shape)


class _Cache:
    """One cache on disk, being opened or made."""

    def __init__(
        self, place: Path, folder: Path, files: Sequence[FoundFile], shape: tuple[int, ...]
    ) -> None:
        self.place, self.folder, self.files, self.shape = place, folder, files, shape
        self.index, self.journal = place / "index.json", place / "parts.jsonl"

    def open_or_make(self, processes: int | None, on_share: OnShare) -> DecodedFiles:
        if not self.index.exists():
            if not self.journal.exists():
                _check_space(self.place, self.shape)
            self.place.mkdir(parents=True, exist_ok=True)
            with _lock(self.place / LOCK):  # of several processes, one decodes
                if not self.index.exists():
                    self._make(processes, on_share)
        damaged = json.loads(self.index.read_text())["damaged"]
        return DecodedFiles(
            map_rows(self.place / "images.npy"),
            np.load(self.place / "digests.npy"),
            {int(row): reason for row, reason in damaged.items()},
        )

    def _make(self, processes: int | None, on_share: OnShare) -> None:
        _warn_of_earlier(self.place, self.folder, self.shape)
        damaged, finished = self._finished_parts()
        if not finished:
            _allocate(self.place / "images.npy", self.shape)
            _allocate(self.place / "digests.npy", (len(self.files), DIGEST_BYTES))
        parts = list(parts_of(self.folder, self.files, self.shape, str(self.place)))
        todo = [part for part in parts if part.number not in finished]
        words = f"images into a cache of {math.prod(self.shape) / 1e9:.3g} GB"
        on_share(0.0, f"{len(self.files)} {words}")
        with self.journal.open("a") as journal:
            for part in run_parts(decode_part, todo, processes):
                journal.write(_journal_line(part.number, part.damaged))
                journal.flush()
                finished.add(part.number)
                damaged |= part.damaged
                if is_refused(damaged, len(self.files)):
                    self._discard()
                    raise InputError(damage_text(self.folder, self.files, damaged))
                images = min(len(self.files), len(finished) * images_a_part(self.shape))
                on_share(len(finished) / len(parts), f"{images}/{len(self.files)} {words}")
        index = {
            "format": FORMAT,
            "folder": str(self.folder.absolute()),
            "shape": self.shape,
            "damaged": dict(sorted(damaged.items())),
        }
        write_atomically(self.index, json.dumps(index).encode())
        self.journal.unlink()

    def _discard(self) -> None:
        """Remove what was decoded, but not the folder with the lock that others wait for."""
        self.journal.unlink()  # first: what is left is then no part of a cache
        for path in self.place.iterdir():
            if path.name != LOCK:
                path.unlink()

    def _finished_parts(self) -> tuple[dict[int, str], set[int]]:
        """The damaged rows and the numbers of the parts that an interrupted run has finished."""
        damaged: dict[int, str] = {}
        finished: set[int] = set()
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        whole = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # cut short
                continue
            damaged |= {int(row): why for row, why in entry["damaged"].items()}
            finished.add(entry["part"])
            whole.append(line + "\n")
        if lines:
            write_atomically(self.journal, "".join(whole).encode())
        return damaged, finished


def _in_memory(
    folder: Path,
    files: Sequence[FoundFile],
    shape: tuple[int, ...],
    processes: int | None,
    on_share: OnShare,
) -> DecodedFiles:
    images = np.zeros(shape, np.uint8)
    digests = np.zeros((len(files), DIGEST_BYTES), np.uint8)
    damaged: dict[int, str] = {}
    parts = list(parts_of(folder, files, shape, ""))
    for finished, part in enumerate(run_parts(decode_part, parts, processes), start=1):
        assert part.images is not None
        assert part.digests is not None
        rows = slice(parts[part.number].start, parts[part.number].start + len(part.images))
        images[rows], digests[rows] = part.images, part.digests
        damaged |= part.damaged
        if is_refused(damaged, len(files)):
            raise InputError(damage_text(folder, files, damaged))
        on_share(finished / len(parts), f"{rows.stop}/{len(files)} images")
    return DecodedFiles(images, digests, dict(sorted(damaged.items())))


def _key(folder: Path, files: Sequence[FoundFile], channels: int, size: int) -> str:
    digest = hashlib.sha256(repr((FORMAT, channels, size)).encode())
    digest.update(ascii(os.path.realpath(folder)).encode())
    for file in files:
        digest.update(ascii(tuple(file)).encode())
    return digest.hexdigest()[:16]


def _warn_of_earlier(place: Path, folder: Path, shape: tuple[int, ...]) -> None:
    """Name the caches of the same folder as it was before: nothing else will remove them."""
    for index in sorted(place.parent.glob("*/index.json")):
        try:
            stated = json.loads(index.read_text())
            is_of_it = stated["folder"] == str(folder.absolute())
            same = is_of_it and stated["shape"][1:] == [*shape[1:]]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if same:
            why = "has changed" if stated["format"] == FORMAT else "was decoded by another version"
            text = f"{folder} {why}: its images are decoded anew; remove {index.parent} if no"
            warnings.warn(f"{text} training needs it as it was", InputWarning, stacklevel=2)


def _check_space(place: Path, shape: tuple[int, ...]) -> None:
    needed = math.prod(shape)
    present = next(folder for folder in place.absolute().parents if folder.exists())
    free = shutil.disk_usage(present).free
    if needed + SPARE_BYTES > free:
        raise InputError(
            f"image cache: {shape[0]} images of {shape[1]} x {shape[1]} need {needed / 1e9:.3g} GB "
            f"in {place.parent}, where {free / 1e9:.3g} GB are free: free some, set SUBNET_HOME to "
            "a folder on another disk, or take a space of smaller resolutions"
        )


def _journal_line(number: int, damaged: Mapping[int, str]) -> str:
    return json.dumps({"part": number, "damaged": damaged}) + "\n"


def _allocate(path: Path, shape: tuple[int, ...]) -> None:
    """An `.npy` file of zeros, of which the disk holds what is written."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + math.prod(shape))
    os.replace(partial, path)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one process at a time; a process that dies gives it up."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
