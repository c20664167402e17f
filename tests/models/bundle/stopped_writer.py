"""Run a function in a process that ends at its Nth change of the file system, as if by kill -9.

    python -m tests.models.bundle.stopped_writer MODULE:FUNCTION FOLDER

For N = 0, 1, ... a copy of FOLDER is made, and a process calls the function with it and ends at
once when it is about to make change N; no `except` and no `finally` of it runs. In every second
copy the file that was opened last is cut in half too: a write that was stopped midway. The copies
are `FOLDER.0.whole`, `FOLDER.0.half`, ... until the function comes to its end.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = {
    "open",
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "os.utime",
    "tempfile.mkdtemp",
    "tempfile.mkstemp",
}
"""Of Python's audit events."""
STOPPED = 137


def stop_at(number: int, half: bool, work: Callable[[], object]) -> bool:
    """Whether a process that stops at change `number` came to the end of `work` before it."""
    child = os.fork()
    if child == 0:
        _watch(number, half)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, STOPPED), f"the writer failed by itself: {code}"
    return code == 0


def _watch(number: int, half: bool) -> None:
    seen, written, ending = 0, Path(), False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen, written, ending
        if ending or event not in CHANGES:
            return
        is_open = event == "open"
        if is_open and not _writes(arguments):
            return
        if seen == number:
            ending = True
            if half and written.is_file():
                os.truncate(written, written.stat().st_size // 2)
            os._exit(STOPPED)
        seen += 1
        # Only a file that is being written: once something else happened, it was complete.
        written = Path(os.fsdecode(str(arguments[0]))) if is_open else Path()

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    path, _, flags = arguments
    return isinstance(path, str | bytes) and bool(int(str(flags or 0)) & (os.O_WRONLY | os.O_RDWR))


def main() -> None:
    """Stop the function everywhere; prints the number of changes that it makes."""
    module, _, function = sys.argv[1].partition(":")
    work, folder = getattr(importlib.import_module(module), function), Path(sys.argv[2])
    work(Path(shutil.copytree(folder, f"{folder}.warm")))  # imports what is imported on the way
    number, ended = 0, False
    while not ended:
        for half in (False, True):
            copy = Path(shutil.copytree(folder, f"{folder}.{number}.{'half' if half else 'whole'}"))
            ended = stop_at(number, half, lambda copy=copy: work(copy))  # type: ignore[misc]
        number += 1
    sys.stdout.write(f"{number - 1}\n")


if __name__ == "__main__":
    main()
