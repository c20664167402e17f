"""Progress on stderr: a bar, or lines where that is no terminal.

`never_silent` is around every command, for what has no bar: imports, a database, a file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

FIRST_LINE_S, NEXT_LINE_S = 2.0, 10.0
"""When the first line is printed, and how long after one the next, where there is no terminal."""


LOOK_S = 0.25
"""How often `never_silent` looks whether something else tells what is done."""
_telling: list[str] = []
"""Displays that are on now; while there is one, `never_silent` says nothing."""


@contextmanager
def telling(title: str) -> Iterator[None]:
    """Around what says itself what is done."""
    _telling.append(title)
    try:
        yield
    finally:
        _telling.remove(title)


@contextmanager
def never_silent(title: str) -> Iterator[None]:
    """Lines on stderr, the first after two seconds, while nothing else tells what is done."""
    out, start, ended = sys.stderr, time.monotonic(), Event()

    def print_lines() -> None:
        next_s = start + FIRST_LINE_S
        while not ended.wait(min(LOOK_S, FIRST_LINE_S)):
            now = time.monotonic()
            if _telling:
                next_s = now + FIRST_LINE_S
            elif now >= next_s:
                print(f"{title}: under way for {now - start:.0f} s", file=out, flush=True)
                next_s = now + NEXT_LINE_S

    printing = Thread(target=print_lines, daemon=True)
    printing.start()
    try:
        yield
    finally:
        ended.set()
        printing.join()


class ShowShare(Protocol):
    """Moves a progress bar."""

    def __call__(self, share: float, word: str = "") -> None:
        """`share` of the work is done, 0..1; `word` says what is being done."""


@contextmanager
def progress_bar(title: str) -> Iterator[ShowShare]:
    """A bar on stderr that is erased at the end; lines now and then where that is no terminal."""
    with telling(title), _bar(title) as show_share:
        yield show_share


@contextmanager
def _bar(title: str) -> Iterator[ShowShare]:
    from rich.console import Console  # here, since most commands draw no bar
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        with _progress_lines(title) as show_share:
            yield show_share
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        done = 0.0

        def show(share: float, word: str = "") -> None:
            nonlocal done
            done = max(done, share)
            bar.update(task, completed=done, description=f"{title} {word}".rstrip())

        yield show


@contextmanager
def _progress_lines(title: str) -> Iterator[ShowShare]:
    """Lines from a thread of their own: work that says nothing for a while is not silent."""
    out, start, ended = sys.stderr, time.monotonic(), Event()
    done, doing = 0.0, title

    def show(share: float, word: str = "") -> None:
        nonlocal done, doing
        done, doing = max(done, share), f"{title} {word}".rstrip()

    def print_lines() -> None:
        wait_s = FIRST_LINE_S
        while not ended.wait(wait_s):
            spent_s = time.monotonic() - start
            left = f", about {spent_s * (1 / done - 1):.0f} s left" if done > 0 else ""
            print(
                f"{doing.rstrip(':')}: {done:.0%} after {spent_s:.0f} s{left}", file=out, flush=True
            )
            wait_s = NEXT_LINE_S

    printing = Thread(target=print_lines, daemon=True)
    printing.start()
    try:
        yield show
    finally:
        ended.set()
        printing.join()
