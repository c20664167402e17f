"""Progress bars on stderr. rich is imported when a bar is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class ShowShare(Protocol):
    """Moves a progress bar."""

    def __call__(self, share: float, word: str = "") -> None:
        """`share` of the work is done, 0..1; `word` says what is being done."""


@contextmanager
def progress_bar(title: str) -> Iterator[ShowShare]:
    """A bar on stderr that is erased at the end; none where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(title, total=1.0)
        done = 0.0

        def show(share: float, word: str = "") -> None:
            nonlocal done
            done = max(done, share)
            bar.update(task, completed=done, description=f"{title} {word}".rstrip())

        yield show
