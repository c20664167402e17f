"""Fetch bytes whose hash is known: resumed where it broke, checked, and put in place whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx

from models.errors import InputError
from service.client.errors import DamagedDownload, TooManyRequests, Unreachable

ATTEMPTS = 5
"""Connections in a row that bring nothing new before it is given up."""
PAUSE_S = 0.25


class Open(Protocol):
    """Asks for bytes."""

    def __call__(
        self, path: str, headers: dict[str, str], /
    ) -> AbstractContextManager[httpx.Response]:
        """An answer that is no error, its body still to be read."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is fetched: where it is, its sha256, and its size in bytes."""

    path: str
    sha256: str
    size: int


def fetch(
    open_: Open,
    wanted: Fetched,
    target: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float,
) -> None:
    """Write what is wanted to `target`; there is nothing to do if it is there already.

    Raises:
        InputError: if there is no such folder.
        DamagedDownload: if other bytes arrived, also when asked for afresh.
        Unreachable: if the service goes away for good, or it takes longer than `timeout_s`.
    """
    if not target.parent.is_dir():
        raise InputError(f"{target}: expected a file in a folder that exists")
    if target.is_file() and _sha256(target) == wanted.sha256:
        return
    deadline = time.monotonic() + timeout_s
    partial = target.with_name(f".{target.name}.{wanted.sha256[:16]}.partial")
    resumed = partial.exists()
    _receive(open_, wanted, partial, progress, deadline)
    if resumed and _sha256(partial) != wanted.sha256:
        # What an earlier call left behind was no part of it.
        partial.unlink()
        _receive(open_, wanted, partial, progress, deadline)
    if (found := _sha256(partial)) != wanted.sha256:
        size = partial.stat().st_size
        partial.unlink()
        raise DamagedDownload(
            f"{wanted.path}: expected {wanted.size} bytes with sha256 {wanted.sha256[:12]}, "
            f"received {size} with {found[:12]}; nothing was kept, ask again"
        )
    partial.replace(target)


def _receive(
    open_: Open,
    wanted: Fetched,
    partial: Path,
    progress: Callable[[int, int], None] | None,
    deadline: float,
) -> None:
    """Fill `partial` up to the wanted size, over as many connections as it takes."""
    idle = 0
    with partial.open("ab") as file:
        while (held := file.tell()) < wanted.size:
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"{wanted.path}: {held} of {wanted.size} bytes received in the time given; "
                    "the rest will be asked for when called again"
                )
            try:
                for done in _connection(open_, wanted, file):
                    if progress is not None:
                        progress(done, wanted.size)
                    if time.monotonic() > deadline:
                        break
            except (Unreachable, TooManyRequests):
                if idle >= ATTEMPTS - 1:
                    raise
            idle = 0 if file.tell() > held else idle + 1
            if idle >= ATTEMPTS:
                raise Unreachable(f"{wanted.path}: the service sends no more than {held} bytes")
            if idle:
                time.sleep(PAUSE_S * 2**idle)


def _connection(open_: Open, wanted: Fetched, file: BinaryIO) -> Iterator[int]:
    """Append what one connection brings, never beyond the wanted size; yields bytes held."""
    held = file.tell()
    headers = {"Accept-Encoding": "identity"}  # ranges are of the file, not of what a proxy makes
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": f'"{wanted.sha256}"'}
    with open_(wanted.path, headers) as response:
        if response.status_code != 206 and held:
            file.truncate(0)  # the whole again
            file.seek(0)
        # As it arrives, not in blocks of a size: a block that is not full yet when a connection
        # breaks would be lost.
        for block in response.iter_bytes():
            file.write(block[: wanted.size - file.tell()])
            yield file.tell()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
