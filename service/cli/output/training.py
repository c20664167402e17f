"""A training as it goes, on stderr: a line and a curve that are redrawn, or lines where that is no
terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from service.cli.output.plot import plot_curves
from service.cli.output.progress import FIRST_LINE_S, NEXT_LINE_S, telling

if TYPE_CHECKING:
    from models.training import TrainingPoint, TrainingProgress

CURVE_ROWS, CURVE_COLUMNS = 12, 72
CORNERS = ("largest", "smallest")


class TrainingDisplay:
    """Shows a training while it is entered, and its curve at the end."""

    def __init__(self, name: str) -> None:
        from rich.console import Console  # here, since most commands show no training

        self._title, self._doing = name, "reading the images"
        self._now: TrainingProgress | None = None
        self._points: list[TrainingPoint] = []
        self._console = Console(stderr=True)
        self._start, self._ended = time.monotonic(), Event()
        self._live: Any = None
        self._printing: Thread | None = None
        self._told = telling(name)

    def on_images(self, share: float, doing: str) -> None:
        """Called while images are decoded."""
        self._doing = f"decoding {doing}"

    def on_progress(self, now: TrainingProgress) -> None:
        """Called after every step."""
        self._now, self._doing = now, now.doing

    def on_point(self, point: TrainingPoint) -> None:
        """Called after every validation; it replaces later ones, of steps that are repeated."""
        self._points = [known for known in self._points if known.step < point.step]
        self._points.append(point)

    def on_signal(self) -> None:
        """Called when the training was asked to end."""
        self.say("stopping after this step; a second Ctrl-C stops at once, without a checkpoint")

    def say(self, text: str) -> None:
        """Print a line besides."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> TrainingDisplay:
        self._told.__enter__()
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, get_renderable=self._drawn, transient=True)
            self._live.start()
        else:
            self._printing = Thread(target=self._print_lines, daemon=True)
            self._printing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._told.__exit__(None, None, None)
        if self._printing is not None:
            self._printing.join()
        if self._live is not None:
            self._live.stop()
        if curve := self._curve():
            self.say(curve)

    def _print_lines(self) -> None:
        out, wait_s = sys.stderr, FIRST_LINE_S
        while not self._ended.wait(wait_s):
            print(self._line(), file=out, flush=True)
            wait_s = NEXT_LINE_S

    def _drawn(self) -> Any:
        from rich.text import Text

        parts = [self._curve(), self._line()]
        return Text("\n".join(part for part in parts if part))

    def _line(self) -> str:
        passed = duration(time.monotonic() - self._start)
        if (now := self._now) is None:
            return f"{self._title}: {self._doing}, {passed}"
        words = [f"{self._title}: phase {now.phase}, step {now.step} of {now.steps}"]
        if self._doing:
            words.append(self._doing)
        else:
            words.append(f"loss {now.loss:.3f}")
        if now.images_per_s is not None:
            words.append(f"{now.images_per_s:.0f} images/s")
        words.append(f"{passed} so far")
        if now.seconds_left is not None:
            words.append(f"about {duration(now.seconds_left)} left")
        if self._points:
            words.append(in_words(self._points[-1].top1))
        return ", ".join(words)

    def _curve(self) -> str:
        """The top-1 of the corners and the others by step; empty before there are two points."""
        if len(self._points) < 2:
            return ""
        return curve_in_text(self._points, (self._console.encoding or "").lower() == "utf-8")


def curve_in_text(points: Sequence[TrainingPoint], braille: bool) -> str:
    """The top-1 of all subnets by step, as a plot with its captions."""
    width = min(CURVE_COLUMNS, max(20, get_terminal_size().columns - 10))
    names = list(points[-1].top1)
    curves = [[(float(p.step), p.top1[name]) for p in points if name in p.top1] for name in names]
    plot = plot_curves(curves, width=width, height=CURVE_ROWS, braille=braille)
    last = ", ".join(f"{name} {top1:.1f}" for name, top1 in points[-1].top1.items())
    return f"top-1 on held-out images, percent\n{plot}\nstep; last: {last}"


def in_words(top1: Mapping[str, float]) -> str:
    """The accuracy of the corners."""
    return "top-1 " + ", ".join(f"{name} {top1[name]:.1f} %" for name in CORNERS if name in top1)


def duration(seconds: float) -> str:
    """A time in two parts at most."""
    if not math.isfinite(seconds) or seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
