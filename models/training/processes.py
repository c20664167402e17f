"""Training on several processes: which GPU is whose, and one mean of their gradients."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn

from models.errors import InputError


def training_device() -> torch.device:
    """Of this process: torchrun numbers the processes of each machine by LOCAL_RANK; the rank
    counts those of all machines.

    Raises:
        InputError: if there are fewer GPUs than processes on this machine.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= gpus:
        raise InputError(
            f"training process {local_rank} of this machine: expected at most {gpus} processes, "
            f"one a GPU: start torchrun with --nproc-per-node {gpus}"
        )
    return torch.device("cuda", local_rank)


def leave_group() -> None:
    """Be done with the other processes, if there are any: what one of them does alone may take
    longer than the others would wait in a collective operation."""
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(model: nn.Module, world: int, is_stopping: bool = False) -> bool:
    """Replace each gradient by its mean over processes, in one message.

    Args:
        is_stopping: whether this process was told to stop.

    Returns:
        Whether any process was: they all stop after the same step.
    """
    if world == 1:
        return is_stopping
    weights = list(model.parameters())
    grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([grad.flatten() for grad in grads])
    flags = [*(w.grad is not None for w in weights), is_stopping]
    used = torch.tensor(flags, dtype=flat.dtype, device=flat.device)
    message = torch.cat([flat, used])
    dist.all_reduce(message)
    message /= world
    at = 0
    for index, (weight, grad) in enumerate(zip(weights, grads, strict=True)):
        part = message[at : at + grad.numel()].view(grad.shape)
        at += grad.numel()
        # A weight that no process used keeps no gradient, so weight decay does not change it.
        weight.grad = part.clone() if message[flat.numel() + index] > 0 else None
    return bool(message[-1] > 0)
