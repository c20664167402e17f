"""Progressive shrinking: train a supernet by a recipe, checkpointed, on one process or many.

Phases after Cai et al., ICLR 2020, section 3.4: the full network first, then kernels and
resolutions, then depth, then expansions; each phase starts from the one before, and from the
second on the smaller networks also learn the full network's answers (distillation).

Every random choice is a function of (seed, phase, step), so a resumed run gives the same weights as
an uninterrupted one. The frozen teacher's logits are computed once for every training image and its
mirror image, and then looked up (docs/decisions/0010).
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from models.bundle import Bundle
from models.data import (
    OnShare,
    check_classes,
    check_unchanged,
    load_dataset,
    state_images,
    to_tensor,
)
from models.errors import Conflict, InputError
from models.layers.modules import channels_last
from models.machine import EnergyMeter
from models.supernet import Supernet, initialize, sort_channels
from models.training.gradients import gradients_of
from models.training.optim import (
    archs_of_step,
    batch_at,
    draw_antialias,
    freeze_body,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from models.training.processes import average_gradients, training_device
from models.training.progress import OnProgress, TrainingProgress
from models.training.recipe import Phase, Recipe
from models.training.stopping import StopSignals, TrainingStopped
from models.training.training_log import AFTER_FIRST, CHECKPOINT
from models.training.transfer import take_over

LOSS_STEPS = 10
"""Steps after which the loss is read from a GPU: reading it waits until the GPU is done."""
CHECKPOINT_STEPS, CHECKPOINT_S = 200, 60.0
"""A checkpoint is written after so many steps, or so much time: what a crash can cost."""


class Watch(Protocol):
    """Looks at a training from outside; nothing that it does may change the training."""

    def after_step(self, trainer: Trainer, now: TrainingProgress) -> TrainingProgress:
        """Called after every step; returns what is known of it."""
        ...


class _Unwatched:
    def after_step(self, trainer: Trainer, now: TrainingProgress) -> TrainingProgress:
        return now


class Trainer:
    """Trains by one recipe in one folder. After a kill, a new one resumes from the checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        resume: bool,
        images: Path | None = None,
        on_images: OnShare = lambda share, doing: None,
        base: Bundle | None = None,
    ) -> None:
        """
        Args:
            images: where decoded images are kept (`load_dataset`); None: in memory.
            on_images: told how much is decoded.
            base: whose weights to start from (`Recipe.base`); not needed to go on.
        """
        self.recipe, self.folder = recipe, folder
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if recipe.batch_size % self.world:
            raise Conflict(
                f"recipe.batch_size {recipe.batch_size} does not divide over {self.world} processes"
            )
        self.dataset = load_dataset(recipe.dataset, recipe.space, images, on_images)
        self.data, self.validation = recipe.hold_out(self.dataset.train)
        check_classes(self.dataset, self.data)
        recipe.check_images(len(self.data))
        self.device = training_device()
        self.supernet = Supernet(recipe.space)
        initialize(self.supernet, recipe.seed)
        self.base: dict[str, Any] = {}
        """What the card says of the supernet whose weights the training started from."""
        if base is not None:
            self.base = take_over(self.supernet, base, self.dataset.classes)
        channels_last(self.supernet).to(self.device)
        self.phase, self.step = 0, 0
        self.spent = {"energy_kwh": 0.0, "co2e_kg": 0.0, "duration_s": 0.0}
        self.conditions: dict[str, Any] = {}
        self._loss = math.nan
        self.teacher: Tensor | None = None
        self._stop = StopSignals()
        self._on_progress: OnProgress = lambda _: None
        self._is_stopping = False
        self._is_between_steps = False
        """Whether weights, statistics and momentum are those after a whole step."""
        self._prepare(recipe.phases[0])
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            if not resume:
                raise Conflict(
                    f"a training is under way in {folder}: "
                    "go on with --resume, or remove the folder"
                )
            self._load()
        elif recipe.base is not None and base is None:
            raise InputError(f"recipe.base: the weights of {recipe.base!r} were not given")

    # -- the loop ------------------------------------------------------------------------

    def run(
        self,
        on_progress: OnProgress = lambda _: None,
        *,
        watch: Watch | None = None,
        stop: StopSignals | None = None,
    ) -> None:
        """Train to the end of the last phase.

        Args:
            watch: looks at every step.
            stop: ends the training after the step in which a signal came, with a checkpoint.

        Raises:
            TrainingStopped: if a signal came.
        """
        torch.manual_seed(self.recipe.seed)
        self._stop, self._on_progress = stop or StopSignals(), on_progress
        watch = watch or _Unwatched()
        with EnergyMeter(self.recipe.country) as meter:
            base, saved_at = dict(self.spent), time.monotonic()

            def keep() -> None:
                nonlocal saved_at
                now = meter.read()
                self.spent = {key: base[key] + now[key] for key in base}
                self.conditions = meter.conditions
                self._save()
                saved_at = time.monotonic()

            try:
                for index in range(self.phase, len(self.recipe.phases)):
                    self._enter(index)
                    for loss, done, steps in self._steps(self.recipe.phases[index]):
                        now = watch.after_step(self, self.position(loss))
                        is_due = time.monotonic() - saved_at >= CHECKPOINT_S
                        if is_due or done % CHECKPOINT_STEPS == 0 or done == steps:
                            keep()
                        on_progress(now)
                        if self._is_stopping:
                            raise self._stopped()
                    self._leave(index)
            except (KeyboardInterrupt, TrainingStopped):
                if self._is_between_steps:
                    keep()
                if self._is_stopping and self.world > 1:
                    dist.barrier()  # the first of them that ends has the others killed
                raise

    def position(self, loss: float, doing: str = "") -> TrainingProgress:
        """Where the training is."""
        return TrainingProgress(
            self._phase.name,
            self._steps_before(self.phase) + self.step,
            self._steps_before(len(self.recipe.phases)),
            loss,
            self.optimizer.param_groups[0]["lr"],
            doing=doing,
        )

    def _stopped(self) -> TrainingStopped:
        """That a signal, perhaps to another process, ended the training."""
        now = self.position(0.0)
        kept = f"{now.step} of {now.steps} steps are kept in {self.folder}"
        return TrainingStopped(kept, self._stop.received or signal.SIGTERM)

    def _enter(self, index: int) -> None:
        """Prepare phase `index`, unless the run resumes inside it."""
        phase = self.recipe.phases[index]
        self._is_between_steps = False
        if phase.distill and phase.teacher == "full" and self.teacher is None:
            self.teacher = self._teacher_logits()
        if index == self.phase and self.step > 0:
            return
        if phase.sort_channels:
            earlier = self.recipe.phases[index - 1].expands[:-1] if index else ()
            sort_channels(self.supernet, earlier)
        self.phase, self.step = index, 0
        self._prepare(phase)

    def _prepare(self, phase: Phase) -> None:
        """Optimizer and gradients of a phase: of all weights, or of the classifier's alone."""
        freeze_body(self.supernet, self.recipe, phase)
        self.optimizer = make_optimizer(self.supernet, self.recipe, phase)
        smoothing = self.recipe.label_smoothing
        self._gradients = gradients_of(self.supernet, smoothing, self.device)

    def _leave(self, index: int) -> None:
        self._is_between_steps = False
        if index == 0:
            # The full network is the teacher, and what its shared form is compared with.
            self._save_tensors(self.folder / AFTER_FIRST, self.supernet.state_dict(), {})
        self.phase, self.step = index + 1, 0
        self._save()
        if self.world > 1:
            dist.barrier()  # the other processes read what rank 0 wrote

    def _steps(self, phase: Phase) -> Iterator[tuple[float, int, int]]:
        """Train the phase's remaining steps; yields (loss, done, steps)."""
        steps = self.steps_of_phase
        while self.step < steps:
            rate = learning_rate(phase, self.step, self.steps_per_epoch)
            set_learning_rate(self.optimizer, rate)
            self._is_between_steps = False
            loss = self._train_step(phase)
            self.step += 1
            self._is_between_steps = True
            yield loss, self.step, steps

    def _train_step(self, phase: Phase) -> float:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, self.phase, self.step])
        batch = batch_at(recipe, self.data, self.phase, self.step, rng)
        archs = archs_of_step(phase, recipe.space, rng)
        antialias = draw_antialias(rng)
        mine = slice(self.rank, None, self.world)
        labels = torch.from_numpy(batch.labels[mine]).to(self.device)
        soft = None
        if phase.distill and phase.teacher == "full":
            soft = self._soft_labels(batch.rows[mine], batch.flip[mine])
        images = batch.images[mine]

        def at(resolution: int) -> Tensor:
            x_BCHW = to_tensor(images, resolution, recipe.mean, recipe.std, antialias)
            return x_BCHW.to(self.device)

        self.supernet.train()
        loss = self._gradients(
            archs,
            at,
            labels,
            distill=phase.distill,
            soft=soft,
            first_teaches=phase.teacher == "largest",
        )
        received = self._stop.received is not None
        self._is_stopping = average_gradients(self.supernet, self.world, received)
        self.optimizer.step()
        if self.device.type == "cpu" or self.step % LOSS_STEPS == 0 or math.isnan(self._loss):
            self._loss = float(loss)
        return self._loss

    # -- data ----------------------------------------------------------------------------

    @property
    def stated_data(self) -> dict[str, Any]:
        """What checkpoint and card state of the images."""
        return state_images(self.dataset, self.data, self.validation)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training images; what does not fill one is left out."""
        return len(self.data) // self.recipe.batch_size

    @property
    def steps_of_phase(self) -> int:
        """Of the present phase."""
        return self._phase.steps(self.steps_per_epoch)

    @property
    def _phase(self) -> Phase:
        """The present one; after the end, the last one."""
        return self.recipe.phases[min(self.phase, len(self.recipe.phases) - 1)]

    def _steps_before(self, index: int) -> int:
        return sum(phase.steps(self.steps_per_epoch) for phase in self.recipe.phases[:index])

    @torch.no_grad()
    def _teacher_logits(self) -> Tensor:
        """The full network's logits for every training image and its mirror, (2, N, classes)."""
        path = self.folder / AFTER_FIRST
        full = Supernet(self.recipe.space)
        with safe_open(path, "pt") as file:
            full.load_state_dict({key: file.get_tensor(key) for key in file.keys()})
        channels_last(full).to(self.device).eval()
        return torch.stack([self._logits(full, mirrored) for mirrored in (False, True)])

    def _logits(self, supernet: Supernet, mirrored: bool) -> Tensor:
        arch, recipe = self.recipe.space.largest, self.recipe
        parts = []
        for start in range(0, len(self.data), 500):
            if self.world == 1 and self._stop.received is not None:
                raise self._stopped()
            share = f"the teacher's answers: {start}/{len(self.data)} images"
            self._on_progress(self.position(float("nan"), share))
            images = self.data.images[start : start + 500]
            if mirrored:
                images = np.ascontiguousarray(images[:, :, ::-1])
            x_BCHW = to_tensor(images, arch.resolution, recipe.mean, recipe.std).to(self.device)
            parts.append(supernet(x_BCHW, arch).cpu())
        return torch.cat(parts)

    def _soft_labels(
        self, rows: np.ndarray[Any, np.dtype[np.int64]], flip: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> Tensor:
        assert self.teacher is not None
        logits = self.teacher[torch.from_numpy(flip.astype(np.int64)), torch.from_numpy(rows)]
        return F.softmax(logits, dim=1).to(self.device)

    # -- state ---------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """The file a resumed run starts from."""
        return self.folder / CHECKPOINT

    def _momentum(self) -> dict[str, Tensor]:
        names = {id(weight): name for name, weight in self.supernet.named_parameters()}
        return {
            f"momentum.{names[id(weight)]}": state["momentum_buffer"]
            for weight, state in self.optimizer.state.items()
            if state.get("momentum_buffer") is not None
        }

    def _save(self) -> None:
        position = {
            "recipe": self.recipe.to_json(),
            "phase": self.phase,
            "step": self.step,
            "spent": self.spent,
            "conditions": self.conditions,
            "data": self.stated_data,
            **({"base": self.base} if self.base else {}),
        }
        tensors = {f"model.{k}": v for k, v in self.supernet.state_dict().items()}
        self._save_tensors(self.checkpoint, {**tensors, **self._momentum()}, position)

    def _save_tensors(self, path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        if self.rank:
            return
        dense = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        partial = path.with_suffix(".partial")
        save_file(dense, partial, {"position": json.dumps(about)})
        os.replace(partial, path)

    def _load(self) -> None:
        with safe_open(self.checkpoint, "pt") as file:
            position = json.loads(file.metadata()["position"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if position["recipe"] != json.loads(json.dumps(self.recipe.to_json())):
            raise Conflict(
                f"the training in {self.folder} follows another recipe: "
                "remove the folder to start anew, or put the old recipe back"
            )
        check_unchanged(self.dataset, position.get("data", {}), f"the training in {self.folder}")
        model = {k.removeprefix("model."): v for k, v in tensors.items() if k[:6] == "model."}
        self.supernet.load_state_dict(model)
        self.phase, self.step = position["phase"], position["step"]
        self.spent, self.conditions = position["spent"], position["conditions"]
        self.base = position.get("base", {})
        self._prepare(self._phase)
        for name, weight in self.supernet.named_parameters():
            if (momentum := tensors.get(f"momentum.{name}")) is not None:
                layout = torch.preserve_format
                buffer = torch.empty_like(weight, memory_format=layout).copy_(momentum)
                self.optimizer.state[weight]["momentum_buffer"] = buffer
