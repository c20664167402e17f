"""Top-1 of a few subnets while the supernet is trained, on images held out of training.

A subnet is copied out of the supernet, and the copy's batch norms are recalibrated. So the training
goes on to the same bits, whether it was looked at or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from models.data import LabelledImages
from models.machine import cores, in_order
from models.onnx import ImageSet
from models.spaces import Arch, SearchSpace
from models.supernet import Supernet, extract, recalibrate
from models.training.recipe import Recipe

DRAWN = 3
"""Subnets that are validated besides the largest and the smallest."""
IMAGES, CALIBRATION_IMAGES = 1000, 256
BATCH = 64


def watched_subnets(space: SearchSpace, seed: int) -> dict[str, Arch]:
    """The subnets that are validated, by name, the same throughout a training."""
    rng = np.random.default_rng([seed, 13])
    corners = {"largest": space.largest, "smallest": space.smallest}
    drawn = dict.fromkeys(space.decode(space.sample(8 * DRAWN, rng)))
    others = [arch for arch in drawn if arch not in corners.values()][:DRAWN]
    return {**corners, **{f"subnet-{i}": arch for i, arch in enumerate(others, 1)}}


class Validation:
    """Measures subnets of a supernet on a fixed part of the held-out images."""

    def __init__(self, recipe: Recipe, data: LabelledImages, held_out: LabelledImages) -> None:
        """
        Args:
            data: training images, of which a few recalibrate the batch norms.
        """
        rng = np.random.default_rng([recipe.seed, 19])

        def part(images: LabelledImages, count: int) -> LabelledImages:
            return images.take(np.sort(rng.permutation(len(images))[:count]))

        self._held_out = part(held_out, IMAGES)
        self._calibration = ImageSet(part(data, CALIBRATION_IMAGES).images, recipe.mean, recipe.std)
        self._images = ImageSet(self._held_out.images, recipe.mean, recipe.std)

    @property
    def images(self) -> int:
        """Number of held-out images."""
        return len(self._held_out)

    def standard_error(self, top1: float) -> float:
        """Of a top-1 on these images as a sample of all, percentage points."""
        return 100 * math.sqrt(top1 / 100 * (1 - top1 / 100) / self.images)

    def top1(self, supernet: Supernet, archs: Mapping[str, Arch]) -> dict[str, float]:
        """Percent, by name. Changes neither the supernet nor torch's random numbers."""
        with torch.random.fork_rng(devices=[]):
            return {name: round(self._top1(supernet, arch), 2) for name, arch in archs.items()}

    @torch.no_grad()
    def _top1(self, supernet: Supernet, arch: Arch) -> float:
        device = next(supernet.parameters()).device
        threads = min(cores(), torch.get_num_threads()) if device.type == "cpu" else 1
        subnet = extract(supernet, arch).to(device)
        calibration, images = (
            (batch.to(device) for batch in part.batches(arch.resolution, BATCH))
            for part in (self._calibration, self._images)
        )
        recalibrate(subnet, calibration, threads)
        answers = [logits.argmax(1).cpu() for logits in in_order(no_grad(subnet), images, threads)]
        return 100.0 * float((torch.cat(answers).numpy() == self._held_out.labels).mean())


def no_grad(subnet: torch.nn.Module) -> torch.nn.Module:
    """For threads, each of which records gradients unless it is told not to."""
    return subnet.requires_grad_(False)
