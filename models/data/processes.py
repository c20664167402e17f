"""Work in parallel processes that need no torch: decoding images.

Threads would wait for one another: small images spend most of their time in the interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from models.errors import SubnetSearchError
from models.machine import cores

FEW_IMAGES = 2000
"""Up to as many are faster decoded than processes are started."""


class HasNames(Protocol):
    """A part of the work, of so many files."""

    @property
    def names(self) -> list[str]:
        """The files."""
        ...


P = TypeVar("P", bound=HasNames)
R = TypeVar("R")


def run_parts(
    work: Callable[[P], R], parts: Sequence[P], processes: int | None = None
) -> Iterator[R]:
    """`work` of every part, in the order in which they end.

    Args:
        processes: default: one a core, where there are many files; 1: this one.

    Raises:
        SubnetSearchError: if a process dies, as when a decoder crashes or memory ends.
    """
    if processes is None:
        processes = cores() if sum(len(part.names) for part in parts) > FEW_IMAGES else 1
    if min(processes, len(parts)) <= 1:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(min(processes, len(parts)), context, _follow_parent)
    waiting: dict[Future[R], P] = {}
    todo = iter(parts)
    try:
        for part in todo:
            waiting[pool.submit(work, part)] = part
            if len(waiting) > 2 * processes:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(waiting: dict[Future[R], P]) -> Iterator[R]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        part = waiting.pop(future)
        try:
            yield future.result()
        except BrokenProcessPool as error:
            raise SubnetSearchError(
                f"a process that decoded images ended, perhaps for want of memory, at one of "
                f"{part.names[0]} to {part.names[-1]} or of the parts beside it"
            ) from error


def _follow_parent() -> None:
    """End when the parent is killed, and leave interrupts from the keyboard to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_for_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()
