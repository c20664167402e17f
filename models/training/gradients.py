"""The losses and gradients of a training step, in two ways.

*Own shapes*: a subnet computes what it has and no more, which is least work, and best on a CPU.
*Masked shapes*: every subnet runs as the whole supernet with masks (`models.supernet`), so what
a step launches depends on the resolution alone. On a GPU the launches are recorded once for each
resolution and replayed (CUDA graphs): no plan is made and nothing waits for the device after that.

Shapes: B batch, C channels, r resolution.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError, InputWarning
from models.spaces import Arch
from models.supernet import MaskedSupernet, Supernet

WARM_UP_RUNS = 3
"""Runs before a recording, in which libraries choose their algorithms and allocate."""


class Gradients(Protocol):
    """Sets the gradients of the sum of subnets' losses."""

    def __call__(
        self,
        archs: Sequence[Arch],
        images: Callable[[int], Tensor],
        labels_B: Tensor,
        *,
        distill: float = 0.0,
        soft: Tensor | None = None,
        first_teaches: bool = False,
    ) -> Tensor:
        """Parameters that none of the subnets uses get no gradient.

        Args:
            archs: one or more subnets.
            images: (B, C, r, r) on the device, by resolution.
            distill: weight of soft labels against 1 for the true label.
            soft: probabilities (B, classes) of a teacher.
            first_teaches: the first subnet's answers are the soft labels of the others.

        Returns:
            The mean loss of the subnets, where it was computed: reading it waits for the device.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a run reads; a recording reads the same memory at every replay."""

    x_BCrr: Tensor
    labels_B: Tensor
    counts: Tensor
    soft: Tensor | None
    """Probabilities (B, classes) that the subnet learns too."""

    def tensors(self) -> list[Tensor]:
        return [t for t in (self.x_BCrr, self.labels_B, self.counts, self.soft) if t is not None]

    def copies(self) -> _Inputs:
        soft = None if self.soft is None else self.soft.clone()
        return _Inputs(self.x_BCrr.clone(), self.labels_B.clone(), self.counts.clone(), soft)


@dataclass(frozen=True, slots=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: _Inputs
    loss: Tensor
    answers: Tensor


class OwnShapes:
    """Computes the gradients of subnets, one after the other; see `Gradients`."""

    def __init__(self, supernet: Supernet, label_smoothing: float) -> None:
        self._supernet, self._smoothing = supernet, label_smoothing

    def __call__(
        self,
        archs: Sequence[Arch],
        images: Callable[[int], Tensor],
        labels_B: Tensor,
        *,
        distill: float = 0.0,
        soft: Tensor | None = None,
        first_teaches: bool = False,
    ) -> Tensor:
        self._supernet.zero_grad(set_to_none=True)
        total = 0.0
        for arch in archs:
            logits = self._supernet(images(arch.resolution), arch)
            loss = _loss(logits, labels_B, self._smoothing, soft, distill)
            if first_teaches and soft is None:
                soft = F.softmax(logits.detach(), dim=1)
            torch.autograd.backward(loss)
            total += float(loss.detach())
        return torch.tensor(total / len(archs), dtype=torch.float64)


class MaskedShapes:
    """The same with masks; see `Gradients`.

    Args:
        record: replay recorded launches; needs a GPU.
        bf16: compute convolutions and products in bfloat16; needs a GPU.

    Raises:
        InputError: the space has a layer that cannot be masked.
    """

    def __init__(
        self, supernet: Supernet, label_smoothing: float, *, record: bool, bf16: bool = False
    ) -> None:
        self.supernet, self.masked = supernet, MaskedSupernet(supernet)
        self._smoothing, self._record, self._bf16 = label_smoothing, record, bf16
        self._weights = dict(supernet.named_parameters())
        self._grads = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._recordings: dict[tuple[object, ...], _Recording] = {}

    def __call__(
        self,
        archs: Sequence[Arch],
        images: Callable[[int], Tensor],
        labels_B: Tensor,
        *,
        distill: float = 0.0,
        soft: Tensor | None = None,
        first_teaches: bool = False,
    ) -> Tensor:
        for name, weight in self._weights.items():
            weight.grad = self._grads[name]
        torch._foreach_zero_(list(self._grads.values()))
        total: Tensor | None = None
        for arch in archs:
            counts = torch.from_numpy(self.masked.counts(arch))
            inputs = _Inputs(images(arch.resolution), labels_B, counts.to(labels_B.device), soft)
            loss, answers = self._run(inputs, distill)
            total = loss.clone() if total is None else total + loss
            if first_teaches and soft is None:
                soft = answers.clone()
        for name in self.masked.unused(archs):
            self._weights[name].grad = None  # so that neither decay nor momentum moves it
        assert total is not None
        return total / len(archs)

    def _run(self, inputs: _Inputs, distill: float) -> tuple[Tensor, Tensor]:
        """Add the gradients of one subnet; returns loss and probabilities."""
        if not self._record:
            return self._compute(inputs, distill)
        key = (tuple(inputs.x_BCrr.shape), inputs.labels_B.dtype, inputs.soft is None, distill)
        if key not in self._recordings:
            self._recordings[key] = self._recorded(inputs, distill)
        recording = self._recordings[key]
        torch._foreach_copy_(recording.inputs.tensors(), inputs.tensors())
        recording.graph.replay()
        return recording.loss, recording.answers

    def _compute(self, inputs: _Inputs, distill: float) -> tuple[Tensor, Tensor]:
        device = inputs.x_BCrr.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            logits = self.masked.forward(inputs.x_BCrr, inputs.counts)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = _loss(logits, inputs.labels_B, self._smoothing, inputs.soft, distill)
        torch.autograd.backward(loss)
        return loss.detach(), F.softmax(logits.detach(), dim=1)

    def _recorded(self, inputs: _Inputs, distill: float) -> _Recording:
        """A recording; running it to warm up leaves gradients and statistics as they were."""
        own = inputs.copies()
        changed = [*self._grads.values(), *self.supernet.buffers()]
        before = [tensor.clone() for tensor in changed]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                self._compute(own, distill)
        torch.cuda.current_stream().wait_stream(stream)
        pool = next(iter(self._recordings.values())).graph.pool() if self._recordings else None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            loss, answers = self._compute(own, distill)
        torch._foreach_copy_(changed, before)
        return _Recording(graph, own, loss, answers)


def gradients_of(supernet: Supernet, label_smoothing: float, device: torch.device) -> Gradients:
    """What trains fastest on a device. A space that cannot be masked trains by own shapes, with a
    warning."""
    if device.type == "cuda":
        try:
            return MaskedShapes(supernet, label_smoothing, record=True)
        except InputError as error:
            text = f"{error}: subnets train by their own shapes, which is slow on a GPU"
            warnings.warn(text, InputWarning, stacklevel=2)
    return OwnShapes(supernet, label_smoothing)


def _loss(
    logits: Tensor, labels_B: Tensor, smoothing: float, soft: Tensor | None, distill: float
) -> Tensor:
    loss = F.cross_entropy(logits, labels_B, label_smoothing=smoothing)
    return loss if soft is None else loss + distill * F.cross_entropy(logits, soft)
