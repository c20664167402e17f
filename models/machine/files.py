"""Files that a reader sees whole, the old content or the new; folders that one writer holds."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` in one step, also if the machine stops halfway."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are readable by their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder whole or not at all; there may be an empty one at `path`.

    Raises:
        OSError: if there is a file, or a folder that is not empty.
    """
    partial = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
    try:
        for name, content in files.items():
            write_atomically(partial / name, content)
        partial.chmod(0o755)  # mkdtemp's folders are their owner's alone
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder against other writers. The system lets go of it when this process ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of file systems that cannot lock a folder
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
