"""Ctrl-C and SIGTERM end a training after the step that is under way, with a checkpoint.

A signal may come in the middle of a step, when weights and statistics are half changed. So it is
only remembered; the trainer looks at it between steps. A second one acts at once, as it usually
does, and what was trained since the last checkpoint is lost. Under torchrun, which passes on what
the terminal has sent already, there is no second one: it kills what does not end in 30 s.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from models.errors import SubnetSearchError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_S = 0.5
"""Signals so soon after the first are taken for the same one, that came by two ways."""


class TrainingStopped(SubnetSearchError):
    """A signal ended the work; what was done is kept.

    Attributes:
        exit_code: what a shell expects of a process that this signal ended.
    """

    def __init__(self, kept: str, signal_number: int) -> None:
        super().__init__(f"stopped: {kept}")
        self.exit_code = 128 + signal_number


class StopSignals:
    """Remembers the first SIGINT or SIGTERM while it is entered, in the main thread."""

    def __init__(
        self, on_signal: Callable[[], None] = lambda: None, *, is_final: bool = False
    ) -> None:
        """
        Args:
            on_signal: called when it comes, to say that the work ends soon.
            is_final: whether further ones change nothing.
        """
        self.received: int | None = None
        self._on_signal, self._is_final, self._at = on_signal, is_final, 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def check(self, kept: str) -> None:
        """Between two pieces of work.

        Raises:
            TrainingStopped: if a signal came.
        """
        if self.received is not None:
            raise TrainingStopped(kept, self.received)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._at = number, now
            self._on_signal()
        elif not self._is_final and now - self._at >= SAME_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
