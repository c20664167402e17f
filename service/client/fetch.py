"""Download a file whose hash is known: resumed, checked, and moved into place when complete."""

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
"""Connections in a row that may bring no new bytes."""
PAUSE_S = 0.25


class Open(Protocol):
    """Requests a file."""

    def __call__(
        self, path: str, headers: dict[str, str], /
    ) -> AbstractContextManager[httpx.Response]:
        """A successful response whose body has not been read."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file to fetch: its path on the service, its sha256, and its size in bytes."""

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
    """Write the file to `target`, unless it is there already.

    Raises:
        InputError: if there is no such folder.
        DamagedDownload: if the sha256 differs, also after starting over.
        Unreachable: if the service stays away, or after `timeout_s`.
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
        # The bytes of an earlier call were of another file.
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
    """Append to `partial` until it has the expected size, over several connections if needed."""
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
    """Append the bytes of one connection, up to the expected size; yields the size so far."""
    held = file.tell()
    headers = {"Accept-Encoding": "identity"}  # ranges count uncompressed bytes
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": f'"{wanted.sha256}"'}
    with open_(wanted.path, headers) as response:
        if response.status_code != 206 and held:
            file.truncate(0)  # the service sends the whole file
            file.seek(0)
        # Without a block size: a block that is incomplete when the connection breaks would be lost.
        for block in response.iter_bytes():
            file.write(block[: wanted.size - file.tell()])
            yield file.tell()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
