"""Replace files of a bundle all at once: whatever stops the writer, readers see the old or the new.

The card names the sha256 of every file, and renaming the new card into place is the one moment of
change. Before it, new files wait beside the old as `.NAME.SHA`; after it, each is renamed to its
own name. A reader takes a file under its waiting name if there is one with the hash of its card,
and looks again if the file was moved before it had opened it (`open_content`). So it never sees a
mixture, and nothing has to be repaired before it can read.

Files that were replaced stay as `.NAME.SHA` until the next change has been made, for readers of the
old card.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from models.machine import write_atomically

CARD = "card.json"
_SHA = 16
"""Characters of a sha256 in the name of a waiting file."""
LOOKS = 10
"""Times that a reader looks for a file, each time after it was moved."""
_WAITING = re.compile(rf"\.(.+)\.([0-9a-f]{{{_SHA}}})")
_HALF_WRITTEN = re.compile(rf"\.(.+)\.partial|\..+\.[0-9a-f]{{{_SHA}}}\.\w+|\.{CARD}\.\w+")


class WrongContent(Exception):
    """A file has another hash than its card says."""

    def __init__(self, sha256: str, size_bytes: int) -> None:
        super().__init__(sha256, size_bytes)
        self.sha256, self.size_bytes = sha256, size_bytes


def open_content(folder: Path, name: str, sha256: str) -> BinaryIO:
    """Open the content of `name` that has this hash, wherever it is now, at its first byte.

    A file is moved by renames alone, so what is open stays as it is.

    Raises:
        FileNotFoundError: if there is no file of this name.
        WrongContent: if there is one, with another hash.
    """
    wrong: WrongContent | None = None
    for _ in range(LOOKS):
        path = _locate(folder, name, sha256)
        try:
            opened = path.open("rb")
        except FileNotFoundError:
            continue
        found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found == sha256:
            opened.seek(0)
            return opened
        with opened:
            status = os.fstat(opened.fileno())
        wrong = WrongContent(found, status.st_size)
        if _is_still(status, _locate(folder, name, sha256)):
            break
    raise wrong or FileNotFoundError(str(folder / name))


def replace_files(
    folder: Path, card: Mapping[str, Any], kept: Mapping[str, str], new: Mapping[str, bytes]
) -> None:
    """Give a bundle a new card and new files; the caller holds it (`exclusive`).

    Args:
        card: without "files", which is computed.
        kept: sha256 of the files that stay as they are. Others that the present card names go.
        new: contents by file name.
    """
    present = settle(folder)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in new.items()}
    files = dict(sorted({**kept, **hashes}.items()))
    changed = [name for name, sha256 in present.items() if files.get(name) != sha256]
    for name in changed:
        _keep(folder, name, present[name])
    for name, content in new.items():
        write_atomically(_waiting(folder, name, hashes[name]), content)
    sync_folder(folder)
    write_atomically(
        folder / CARD, (json.dumps({**card, "files": files}, indent=1) + "\n").encode()
    )
    sync_folder(folder)
    for name, sha256 in hashes.items():
        os.replace(_waiting(folder, name, sha256), folder / name)
    for name in changed:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    kept_for_readers = {_waiting(folder, name, present[name]) for name in changed}
    for path in folder.iterdir():
        if _WAITING.fullmatch(path.name) and path not in kept_for_readers:
            path.unlink(missing_ok=True)


def settle(folder: Path) -> dict[str, str]:
    """Finish what an interrupted change has left to do, and remove what it left half written;
    returns the sha256 of every file by the present card."""
    card = json.loads((folder / CARD).read_text()) if (folder / CARD).exists() else {"files": {}}
    files: dict[str, str] = card["files"]
    for path in sorted(folder.iterdir()):
        if match := _WAITING.fullmatch(path.name):
            if files.get(match[1], "").startswith(match[2]):
                os.replace(path, folder / match[1])
            elif match[1] not in files and _same_file(path, folder / match[1]):
                (folder / match[1]).unlink()
        elif _HALF_WRITTEN.fullmatch(path.name):
            path.unlink()
    return files


def remove_abandoned(folders: Iterator[Path]) -> None:
    """Remove unfinished folders whose writer has ended."""
    for folder in folders:
        with suppress(OSError):  # somebody writes it, or has just finished
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's files outlast a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locate(folder: Path, name: str, sha256: str) -> Path:
    """Where the content of `name` was a moment ago that has this hash, if it was there at all."""
    waiting = _waiting(folder, name, sha256)
    return waiting if waiting.is_file() else folder / name


def _is_still(status: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(status, path.stat())
    except FileNotFoundError:
        return False


def _waiting(folder: Path, name: str, sha256: str) -> Path:
    return folder / f".{name}.{sha256[:_SHA]}"


def _same_file(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _keep(folder: Path, name: str, sha256: str) -> None:
    """Keep a file for readers of the old card, under a second name, or as a copy where the file
    system has no such thing."""
    old = _waiting(folder, name, sha256)
    try:
        os.link(folder / name, old)
    except (FileExistsError, FileNotFoundError):
        return
    except OSError:
        write_atomically(old, (folder / name).read_bytes())
