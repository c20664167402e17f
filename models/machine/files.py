"""Files that a reader sees whole: the old content or the new, never a part."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
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
