"""Places where a published file may be had: folders, and sites of the web."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx

from models.errors import InputError, NotFound
from models.published import PublishedFile
from service.catalog.published.transfer import (
    Absent,
    Connections,
    Report,
    TransferFailed,
    shown_url,
    write,
)

_BLOCK = 2**20


class Source(Protocol):
    """One way to a file: a path of a folder, or a URL."""

    @property
    def shown(self) -> str:
        """As messages name it, without passwords."""

    def receive(self, file: PublishedFile, out: BinaryIO, report: Report) -> bool:
        """Add to `out` what it lacks of the file, from where it ends.

        Returns:
            Whether all of it came in one piece. If not, and it is not the published file, then
            the pieces may be of different files.

        Raises:
            Absent: if the file is not there.
            TransferFailed: if it cannot be had; what came is in `out`.
            OSError: if `out` cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or a base URL, under which files lie by their published path or a tail of it."""

    folder: Path | None
    url: httpx.URL | None

    @property
    def shown(self) -> str:
        """As messages name it, without passwords."""
        return str(self.folder) if self.url is None else shown_url(self.url)

    def sources(self, file: PublishedFile, connections: Connections) -> Iterator[Source]:
        """Every path that `file` may have here."""
        for tail in file.tails:
            if self.folder is not None:
                yield FolderSource(self.folder / tail)
            if self.url is not None:
                path = f"{self.url.path.rstrip('/')}/{tail}"
                yield UrlSource(self.url.copy_with(path=path), connections)


def read_place(text: str, what: str) -> Place:
    """A folder or an http(s) URL that a user names.

    Args:
        what: where it was named, for messages: "--from".

    Raises:
        InputError: if it is neither.
        NotFound: if there is no such folder.
    """
    place = _parse(text, what)
    if not text or (place.folder is not None and not place.folder.is_dir()):
        raise NotFound(f"{what}: expected an http or https URL or a folder, got {text!r}")
    return place


def read_places(mirrors: Sequence[str], what: str = "SUBNET_MIRRORS") -> list[Place]:
    """Several places, in the order in which they are tried. A folder that is not there now, such
    as one that is not mounted, has no file.

    Raises:
        InputError: as `read_place`.
    """
    return [_parse(text, what) for text in mirrors]


def _parse(text: str, what: str) -> Place:
    if "://" not in text:
        return Place(Path(text), None)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InputError(f"{what}: expected an http or https URL, got {text!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(
            f"{what}: expected an http or https URL or a folder, got {shown_url(url)!r}; a folder "
            "is named by its path"
        )
    return Place(None, url.copy_with(fragment=None))


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A file of a folder. It is copied, since it could change between its proof and its use."""

    path: Path

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self.path)

    def receive(self, file: PublishedFile, out: BinaryIO, report: Report) -> bool:
        """Copy it whole: continuing saves nothing here."""
        if not self.path.is_file():
            raise Absent(f"no file {self.path}")
        size = self.path.stat().st_size
        if size > file.max_bytes:
            raise TransferFailed(
                f"{self.path}: {size} bytes, more than the {file.max_bytes} that no published "
                "file of this kind exceeds"
            )
        out.seek(0)
        out.truncate()
        for block in self._blocks(file.max_bytes):
            write(out, block)
            report(min(out.tell() / max(size, 1), 1.0), f"{file.name} from {self.path.parent}")
        return True

    def _blocks(self, left: int) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as source:
                while block := source.read(min(_BLOCK, left)):
                    left -= len(block)
                    yield block
        except OSError as error:
            raise TransferFailed(f"{self.path}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A URL."""

    url: httpx.URL
    connections: Connections

    @property
    def shown(self) -> str:
        """Without password and query."""
        return shown_url(self.url)

    def receive(self, file: PublishedFile, out: BinaryIO, report: Report) -> bool:
        """Download it, over several connections if needed."""
        return self.connections.receive(self.url, file, out, report)
