"""Trainings of tests that compare bits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

import models.training.trainer
from models.data.datasets import load_dataset


@pytest.fixture(scope="module")
def as_the_command_trains() -> Iterator[None]:
    """On one thread, on which sums have one order. The images are read once for all trainings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.training.trainer, "load_dataset", cache(load_dataset))
        yield
    torch.set_num_threads(threads)
