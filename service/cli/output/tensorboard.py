"""A training as scalars for TensorBoard, which is an extra."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from models.errors import InputError

if TYPE_CHECKING:
    from models.training import TrainingPoint, TrainingProgress

EVERY_STEPS = 10


class TensorBoard:
    """Writes the loss and the learning rate every few steps, and top-1 whenever it is measured."""

    def __init__(self, folder: Path | None) -> None:
        """
        Args:
            folder: where to write; None: nothing is written.

        Raises:
            InputError: if the package is not installed.
        """
        if folder is not None and importlib.util.find_spec("tensorboard") is None:
            raise InputError(
                "--tensorboard: expected the package tensorboard, which is not installed: "
                "`pip install 'tensorboard>=2.20'`, or install this project with its extra "
                "`tensorboard`; without it, metrics.jsonl beside the checkpoint has the curve"
            )
        self._folder = folder
        self._writer: Any = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def on_progress(self, now: TrainingProgress) -> None:
        """Called after every step."""
        if now.doing or (self._writer is not None and now.step % EVERY_STEPS):
            return
        self._add(now.step, {"loss": now.loss, "learning_rate": now.learning_rate})

    def on_point(self, point: TrainingPoint) -> None:
        """Called after every validation."""
        self._add(point.step, {f"top1/{name}": top1 for name, top1 in point.top1.items()})

    def _add(self, step: int, scalars: dict[str, float]) -> None:
        if self._folder is None:
            return
        if self._writer is None:
            self._writer = _open(self._folder, step)
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)


def _open(folder: Path, step: int) -> Any:
    """A writer that takes the place of what was written from `step` on, before it was resumed."""
    from torch.utils.tensorboard import SummaryWriter  # needs the package tensorboard

    return SummaryWriter(log_dir=str(folder), purge_step=step)
