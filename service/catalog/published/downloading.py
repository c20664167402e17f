"""A published file on this machine: taken from the cache, or fetched and proved.

HOME/published/BLOB/NAME            proved to have the blob id BLOB
HOME/published/BLOB/NAME.partial    what has come of it so far; the next attempt continues there
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from models.errors import InputError, SubnetSearchError
from models.published import PublishedFile, blob_id
from service.catalog.published.places import Place, Source
from service.catalog.published.transfer import (
    PATIENCE,
    Absent,
    Connections,
    Patience,
    Report,
    TransferFailed,
)
from service.contracts import DownloadFailed

FOLDER = "published"
"""Of the cache, under SUBNET_HOME."""
FRESH_STARTS = 2
"""Of a file whose pieces do not make up the published one."""
LOCK_POLL_S = 0.2


def fetch_published(
    file: PublishedFile,
    home: Path,
    places: Sequence[Place] = (),
    *,
    only: bool = False,
    also: Sequence[PublishedFile] = (),
    on_share: Report = lambda share, word: None,
    patience: Patience = PATIENCE,
) -> Path:
    """The path of a published file, whose content has been proved by its blob id.

    It is fetched unless it is in the cache: from `places`, in order, then from where it was
    published. An interrupted download continues where it ended, also in another process.

    Args:
        home: SUBNET_HOME; the cache is in it.
        only: from `places` alone.
        also: further files that the caller needs, which the error names too if they are not here.
        on_share: told which share of it is there, 0..1, and what is being done.

    Raises:
        DownloadFailed: if no place gives it; nothing is left but what a next attempt continues.
        InputError: if the folders that were named do not have it, and nothing else was asked.
        SubnetSearchError: if the cache cannot be written.
    """
    target = home / FOLDER / file.blob / file.name
    if _is_proved(target, file):
        return target
    if not only:
        places = (*places, _origin(file))
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _held(partial, on_share, patience) as out, closing(Connections(patience)) as opened:
            if _is_proved(target, file):  # another process was first
                return target
            target.unlink(missing_ok=True)
            if not _is_proved(partial, file):
                if failures := _receive_proved(file, places, partial, out, opened, on_share):
                    missing = [file, *(other for other in also if not is_cached(other, home))]
                    raise _failed(places, f"{file.name}: {'; '.join(failures)}", missing)
            os.fsync(out.fileno())
            partial.replace(target)
    except OSError as error:
        raise SubnetSearchError(
            f"{file.name}: cannot be written to {target.parent}: {error.strerror or error}; make "
            "room there, or set SUBNET_HOME to another folder, and run the command again: it "
            "continues where it ended"
        ) from error
    return target


def is_cached(file: PublishedFile, home: Path) -> bool:
    """Whether a file was downloaded already. `fetch_published` proves it again."""
    return (home / FOLDER / file.blob / file.name).is_file()


def _failed(
    places: Sequence[Place], reasons: str, missing: Sequence[PublishedFile]
) -> SubnetSearchError:
    """Says what a user does without a network. The folders that were named are the user's input."""
    listed = ", ".join(f"{file.url} (git blob id {file.blob})" for file in missing)
    text = (
        f"{reasons}; fetch by hand {listed}, put {'them' if missing[1:] else 'it'} into a folder, "
        "and run the command again with --from FOLDER or SUBNET_MIRRORS=FOLDER"
    )
    folders_alone = all(place.url is None for place in places)
    return InputError(text) if folders_alone else DownloadFailed(text)


def _origin(file: PublishedFile) -> Place:
    return Place(None, httpx.URL(file.url.removesuffix(f"/{file.path}")))


def _receive_proved(
    file: PublishedFile,
    places: Sequence[Place],
    partial: Path,
    out: BinaryIO,
    connections: Connections,
    report: Report,
) -> list[str]:
    """Fill `out` with the published content from the first place that gives it.

    Returns:
        Why each place failed; empty if one gave it.
    """
    failures = []
    for place in places:
        try:
            for source in place.sources(file, connections):
                with suppress(Absent):
                    _receive_from(source, file, partial, out, report)
                    return []
            failures.append(f"{place.shown} does not have it")
        except TransferFailed as error:
            failures.append(str(error))
    return failures


def _receive_from(
    source: Source, file: PublishedFile, partial: Path, out: BinaryIO, report: Report
) -> None:
    """Fill `out` from one source and prove it; what is not the published content is removed.

    Raises:
        TransferFailed: if the source does not give it, or gives something else.
    """
    for _ in range(1 + FRESH_STARTS):
        is_one_piece = source.receive(file, out, report)
        found = blob_id(partial)
        if found == file.blob:
            return
        out.seek(0)
        out.truncate()
        if is_one_piece:
            break
    raise TransferFailed(
        f"{source.shown}: not the published file: expected git blob id {file.blob}, got {found}; "
        "it was removed"
    )


def _is_proved(path: Path, file: PublishedFile) -> bool:
    return path.is_file() and path.stat().st_size > 0 and blob_id(path) == file.blob


@contextmanager
def _held(partial: Path, report: Report, patience: Patience) -> Iterator[BinaryIO]:
    """The partial file, held against other processes; it is removed at the end if it is empty.

    Raises:
        SubnetSearchError: if another process keeps it for too long.
    """
    deadline = time.monotonic() + patience.lock_s
    while (out := _open_held(partial)) is None:
        if time.monotonic() > deadline:
            raise SubnetSearchError(
                f"{partial.name}: another process has kept it for {patience.lock_s:.0f} s: end "
                "that process, and run the command again"
            )
        report(0.0, f"{partial.stem}: another process is downloading it")
        time.sleep(LOCK_POLL_S)
    try:
        yield out
    finally:
        _remove_empty(partial)
        out.close()


def _open_held(partial: Path) -> BinaryIO | None:
    """The file with its lock; None if another process has it, or has just moved it."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        out = partial.open("ab+", buffering=0)
    except FileNotFoundError:  # its folder was removed between the two
        return None
    with ExitStack() as stack:
        stack.callback(out.close)
        with suppress(FileNotFoundError):
            if _lock(out) and partial.stat().st_ino == os.fstat(out.fileno()).st_ino:
                stack.pop_all()
                return out
    return None


def _lock(out: BinaryIO) -> bool:
    """Take the lock that the system releases when this process ends."""
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of file systems that cannot lock: the proof finds what two writers mixed
        return True
    return True


def _remove_empty(partial: Path) -> None:
    with suppress(OSError):
        if partial.stat().st_size == 0:
            partial.unlink()
    for folder in (partial.parent, partial.parent.parent):
        with suppress(OSError):  # not empty
            folder.rmdir()
