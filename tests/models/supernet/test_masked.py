"""A subnet computed at full width with masks is the same subnet: answers, gradients, statistics."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from models.errors import InputError, InputWarning
from models.layers.modules import channels_last
from models.spaces import layer_plan
from models.supernet import MaskedSupernet, Supernet, initialize
from models.training.gradients import MaskedShapes, OwnShapes, gradients_of
from tests.spaces import DEBUG, RESNET

BATCH, SMOOTHING, DISTILL = 4, 0.05, 1.0


def supernet_of(space):
    supernet = channels_last(Supernet(space))
    initialize(supernet, 1)
    with torch.no_grad():  # kernel transformations other than identities
        generator = torch.Generator().manual_seed(2)
        for name, weight in supernet.named_parameters():
            if name.endswith("_matrix"):
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return supernet.double()


def optimizer_of(model):
    return torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-3
    )


def drawn(space, rng):
    """Subnets of a step and images by resolution."""
    archs = [space.largest, *space.decode(space.sample(2, rng))]
    images = {
        r: torch.from_numpy(rng.standard_normal((BATCH, space.channels, r, r)))
        for r in space.resolutions
    }
    return archs, images, torch.from_numpy(rng.integers(0, space.classes, BATCH))


def plain_step(supernet, archs, images, labels, first_teaches):
    """The same with the subnets' own shapes."""
    for weight in supernet.parameters():
        weight.grad = None
    soft, total = None, 0.0
    for arch in archs:
        logits = supernet(images[arch.resolution], arch)
        loss = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        if soft is not None:
            loss = loss + DISTILL * F.cross_entropy(logits, soft)
        elif first_teaches:
            soft = F.softmax(logits.detach(), dim=1)
        loss.backward()
        total += loss.item()
    return total / len(archs)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "first_teaches"), [(DEBUG, False), (RESNET, True)])
def test_twenty_steps_are_those_of_the_subnets_own_shapes(space, first_teaches):
    ours, plain = supernet_of(space), supernet_of(space)
    step = MaskedShapes(ours, SMOOTHING, record=False)
    optimizers = [optimizer_of(ours), optimizer_of(plain)]
    rng = np.random.default_rng(3)
    for number in range(20):
        archs, images, labels = drawn(space, rng)
        archs = archs[0 if first_teaches else 1 :]  # without the largest, some weights rest
        loss = step(archs, images.get, labels, distill=DISTILL, first_teaches=first_teaches)
        assert loss.item() == pytest.approx(
            plain_step(plain, archs, images, labels, first_teaches), abs=1e-7
        ), number
        found = dict(ours.named_parameters())
        for name, weight in plain.named_parameters():
            assert (weight.grad is None) == (found[name].grad is None), name
        for optimizer in optimizers:
            optimizer.step()
    for (name, found), expected in zip(
        ours.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.allclose(found, expected, rtol=0, atol=1e-7), name


class Shapes(TorchDispatchMode):
    """The different shapes that operators are called with."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, torch.Tensor))
        self.seen.add((str(func), shapes))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("space", [DEBUG, RESNET], ids=lambda space: space.name)
def test_shapes_do_not_depend_on_the_subnet(space):
    masked = MaskedSupernet(supernet_of(space))
    resolution = space.resolutions[0]
    part, rng = space.at([resolution]), np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((2, space.channels, resolution, resolution)))

    def seen(arch):
        with Shapes() as shapes:
            masked.forward(x, torch.from_numpy(masked.counts(arch)))
        return shapes.seen

    expected = seen(part.largest)
    assert all(seen(arch) == expected for arch in part.decode(part.sample(4, rng)))


def test_statistics_of_what_a_subnet_lacks_do_not_move():
    supernet = supernet_of(DEBUG)
    before = copy.deepcopy(supernet.state_dict())
    archs, images, labels = drawn(DEBUG, np.random.default_rng(0))
    smallest = DEBUG.smallest
    MaskedShapes(supernet, SMOOTHING, record=False)([smallest], images.get, labels)
    present = {spec.name for spec in layer_plan(DEBUG, smallest)}
    moved = {
        name.split(".")[1]
        for name, value in supernet.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved <= present
    assert {spec.name for spec in layer_plan(DEBUG, archs[0])} > present


def test_a_block_that_loses_its_expansion_cannot_be_masked():
    space = dataclasses.replace(DEBUG, expands=(1, 4))
    supernet = Supernet(space)
    with pytest.raises(InputError, match="expected one that can be masked"):
        MaskedSupernet(supernet)
    with pytest.warns(InputWarning, match="which is slow on a GPU"):
        gradients = gradients_of(supernet, SMOOTHING, torch.device("cuda"))
    assert isinstance(gradients, OwnShapes)
