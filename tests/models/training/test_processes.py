"""Processes that train together: which device each takes, and the mean of their gradients."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from models.errors import InputError
from models.supernet.supernet import Supernet, initialize
from models.training.processes import training_device
from tests.nginx import free_port
from tests.processes import PATIENCE_S, ROOT
from tests.spaces import DEBUG
from tests.trainings import write_photos, write_recipe


def test_a_process_trains_on_the_gpu_of_its_own_machine(monkeypatch):
    """The second process of the third machine, of two GPUs each."""
    assert training_device() == torch.device("cpu") or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert training_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="start torchrun with --nproc-per-node 2"):
        training_device()
    monkeypatch.delenv("LOCAL_RANK")
    assert training_device() == torch.device("cuda", 0)


PROCESS = """
import os, sys, time
from dataclasses import replace
from pathlib import Path
import torch.distributed as dist
from safetensors.torch import save_file
import models.training.training_run
from models.training.recipe import load_recipe
from models.training.processes import average_gradients
from models.training.training_run import train
from tests.models.training.test_processes import gradients_of
from tests.processes import PATIENCE_S
folder = Path(sys.argv[1])
rank = int(os.environ["RANK"])
# Not through the store of the address, which keeps those of a group that has ended.
meeting = f"file://{folder}/meeting"
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
supernet = gradients_of([rank])
assert average_gradients(supernet, 2, is_stopping=rank == 1), "told to one, they all stop"
grads = {name: weight.grad for name, weight in supernet.named_parameters()}
save_file({k: v for k, v in grads.items() if v is not None}, folder / f"{rank}.safetensors")
dist.destroy_process_group()
recipe = load_recipe(folder / "photos-net.toml")
publish = models.training.training_run.publish

def publish_last(*given):
    # What one process does alone may take longer than a collective operation waits.
    until = time.monotonic() + PATIENCE_S / 2
    while not (folder / "left").exists():
        assert time.monotonic() < until, "the other process waits"
        time.sleep(0.02)
    return publish(*given)

models.training.training_run.publish = publish_last
# A phase, and one that learns from the network of the first.
train(replace(recipe, phases=recipe.phases[:2]), folder / "home")
if rank == 1:
    (folder / "left").touch()
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes have written, told of one another as torchrun does: averaged gradients,
    and a bundle."""
    folder = tmp_path_factory.mktemp("two")
    write_recipe(folder / "photos-net.toml", write_photos(folder / "photos"))
    shared = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(folder)],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        errors = [process.communicate(timeout=PATIENCE_S)[1][-2000:] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], errors
    return folder


@pytest.mark.slow
def test_two_processes_train_one_supernet(two_processes):
    """One bundle, finite; the second is done before the first has written it."""
    weights = load_file(two_processes / "home/supernets/photos-net/weights.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def gradients_of(halves: list[int]) -> Supernet:
    """A supernet with the gradients of the mean loss over these halves of a batch, each of which
    trains a subnet of its own; batch norms do not depend on the batch."""
    supernet = Supernet(DEBUG)
    initialize(supernet, 0)
    supernet.eval()
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    archs = [DEBUG.smallest, DEBUG.uniform(8, 0, 5, 4)]
    for half in halves:
        loss = F.cross_entropy(supernet(images[half::2], archs[half]), torch.arange(4))
        torch.autograd.backward(loss / len(halves))
    return supernet


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_on_the_whole_batch(two_processes):
    """Means, not sums; and a weight that neither used keeps no gradient."""
    whole = gradients_of([0, 1])
    for rank in range(2):
        averaged = load_file(two_processes / f"{rank}.safetensors")
        for name, weight in whole.named_parameters():
            assert (weight.grad is None) == (name not in averaged), name
            if weight.grad is not None:
                torch.testing.assert_close(averaged[name], weight.grad, rtol=1e-5, atol=1e-7)
    assert "layers.stage1_block2.project.weight" not in averaged
