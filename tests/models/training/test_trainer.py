"""Training end to end on a toy space: resumed equals uninterrupted, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from typer.testing import CliRunner

import models.training.trainer
from models.bundle.bundle import Bundle
from models.data.images import (
    FASHION_MNIST_FOLDERS,
    augment,
    hold_out,
    load_fashion_mnist,
    to_tensor,
)
from models.data.preprocessing import preprocess
from models.errors import Conflict, InputError
from models.supernet.supernet import Supernet, initialize
from models.training.optim import archs_of_step, learning_rate, make_optimizer
from models.training.processes import training_device
from models.training.recipe import Phase, load_recipe
from models.training.trainer import Trainer
from models.training.training_run import train, training_folder
from service.cli import app as cli
from tests.spaces import DEBUG

pytestmark = pytest.mark.usefixtures("as_the_command_trains")

HAS_DATA = bool(os.environ.get("SUBNET_FASHION_MNIST")) or any(
    Path(folder).is_dir() for folder in FASHION_MNIST_FOLDERS
)
needs_data = pytest.mark.skipif(not HAS_DATA, reason="Fashion-MNIST is not on this machine")


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


def test_the_corners_of_a_step():
    phase = Phase(
        name="all",
        epochs=1,
        learning_rate=0.1,
        resolutions=DEBUG.resolutions,
        kernels=DEBUG.kernels,
        expands=DEBUG.expands,
        depths=DEBUG.stages[0].depths,
        always=("largest", "smallest", "smallest-drawn"),
    )
    rng = np.random.default_rng(0)
    steps = [archs_of_step(phase, DEBUG, rng) for _ in range(400)]
    assert {step[0] for step in steps} == {DEBUG.largest}
    assert {step[2] for step in steps} == {DEBUG.smallest}
    assert {replace(step[3], resolution=DEBUG.resolutions[0]) for step in steps} == {DEBUG.smallest}
    lowest = sum(step[3] == DEBUG.smallest for step in steps)
    assert 160 < lowest < 240, "every second time the lowest resolution"
    assert {step[3].resolution for step in steps} == set(DEBUG.resolutions)


class Killed(Exception):
    """Stands for a kill between two steps."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home where the debug recipe was trained without an interruption."""
    home = tmp_path_factory.mktemp("trained")
    train(load_recipe("debug"), home)
    return home


@needs_data
@pytest.mark.slow
def test_resumed_training_equals_the_uninterrupted(trained, tmp_path, monkeypatch):
    recipe = load_recipe("debug")
    monkeypatch.setattr(models.training.trainer, "CHECKPOINT_STEPS", 5)
    for kill_at in (3, 16, 19, 41, 60):

        def kill(progress, at=kill_at):
            if progress.step == at:
                raise Killed

        with pytest.raises(Killed):
            Trainer(recipe, tmp_path, resume=True).run(kill)
    Trainer(recipe, tmp_path, resume=True).run()
    whole, cut = (
        load_file(folder / "checkpoint.safetensors")
        for folder in (training_folder(recipe, trained), tmp_path)
    )
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@needs_data
@pytest.mark.slow
def test_killed_for_real_and_resumed_it_is_the_same_supernet(trained, tmp_path, monkeypatch):
    """The command itself: kill -9 once there is a checkpoint, then `--resume` to the end."""
    command = ["supernets", "train", "debug", "--resume", "--no-predictor"]
    monkeypatch.setenv("SUBNET_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = Path(__file__).resolve().parents[3]
    checkpoint = tmp_path / "training/debug/checkpoint.safetensors"
    cut = subprocess.Popen(
        [sys.executable, "-m", "service", *command], cwd=root, stderr=subprocess.DEVNULL
    )
    while not checkpoint.exists():
        assert cut.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    cut.kill()
    assert cut.wait(timeout=240) == -signal.SIGKILL
    resumed = CliRunner().invoke(cli, command)
    assert resumed.exit_code == 0, resumed.output
    one, other = (
        load_file(home / "supernets/debug/weights.safetensors") for home in (trained, tmp_path)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@needs_data
@pytest.mark.slow
def test_train_writes_a_bundle_that_works(trained):
    recipe = load_recipe("debug")
    bundle = Bundle.open(trained / "supernets" / "debug")
    assert bundle.space == recipe.space
    assert bundle.calibration().shape == (256, 28, 28)
    assert len(bundle.validation()) == 2000
    assert bundle.card["energy"]["training"]["energy_kwh"] > 0
    assert set(bundle.card["metrics"]["test_top1"]) >= {"largest", "smallest", "provenance"}
    assert bundle.card["metrics"]["test_top1"]["largest"] > 12  # guessing: 10
    bundle.load_supernet()
    with pytest.raises(Conflict, match="exists"):
        train(recipe, trained)


@needs_data
@pytest.mark.slow
def test_a_training_under_way_is_not_overwritten(tmp_path):
    recipe = load_recipe("debug")

    def kill(progress):
        if progress.step == 17:
            raise Killed

    with pytest.raises(Killed):
        Trainer(recipe, tmp_path, resume=False).run(kill)
    with pytest.raises(Conflict, match="--resume"):
        Trainer(recipe, tmp_path, resume=False)
    other = load_recipe("fashion-mbv3")
    with pytest.raises(Conflict, match="another recipe"):
        Trainer(other, tmp_path, resume=True)


PROCESS = """
import os, sys
from dataclasses import replace
from pathlib import Path
import torch.distributed as dist
from safetensors.torch import save_file
from models.training.recipe import load_recipe
from models.training.processes import average_gradients
from models.training.training_run import train
from tests.models.training.test_trainer import HAS_DATA, gradients_of
folder = Path(sys.argv[1])
rank = int(os.environ["RANK"])
# Not through torchrun's store, which keeps the addresses of a group that has ended.
meeting = f"file://{folder}/meeting"
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
supernet = gradients_of([rank])
assert average_gradients(supernet, 2, is_stopping=rank == 1), "told to one, they all stop"
grads = {name: weight.grad for name, weight in supernet.named_parameters()}
save_file({k: v for k, v in grads.items() if v is not None}, folder / f"{rank}.safetensors")
dist.destroy_process_group()
recipe = load_recipe("debug")
if HAS_DATA:  # a phase, and one that learns from the network of the first
    train(replace(recipe, phases=recipe.phases[:2]), folder / "home")
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes under torchrun have written: averaged gradients, and a bundle."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "run.py").write_text(PROCESS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", str(folder / "run.py"), str(folder)]
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@needs_data
@pytest.mark.slow
def test_two_processes_train_one_supernet(two_processes):
    """One bundle, finite."""
    weights = load_file(two_processes / "home/supernets/debug/weights.safetensors")
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


def test_learning_rate_warms_up_and_decays():
    phase = load_recipe("fashion-mbv3").phases[0]
    rates = [learning_rate(phase, step, 100) for step in range(100 * phase.epochs)]
    peak = int(np.argmax(rates))
    assert peak == 50
    assert rates[peak] == pytest.approx(phase.learning_rate)
    assert all(a < b for a, b in zip(rates[:50], rates[1:51], strict=True))
    assert all(a > b for a, b in zip(rates[50:-1], rates[51:], strict=True))
    assert rates[-1] < 1e-3 * phase.learning_rate


@pytest.mark.slow
def test_only_filters_decay():
    recipe = load_recipe("debug")
    supernet = Supernet(DEBUG)
    decayed, free = make_optimizer(supernet, recipe, recipe.phases[0]).param_groups
    names = {id(weight): name for name, weight in supernet.named_parameters()}
    assert all(names[id(w)].endswith("weight") for w in decayed["params"])
    assert any("5to3_matrix" in names[id(w)] for w in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)


class TestImages:
    def test_augment_without_flip_or_shift_is_the_identity(self):
        images = np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)
        same = augment(images, np.zeros(4, bool), 0, np.random.default_rng(1))
        assert np.array_equal(same, images)

    def test_augment_equals_a_loop(self):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (20, 6, 6), dtype=np.uint8)
        flip = rng.random(20) < 0.5
        ours = augment(images, flip, 2, np.random.default_rng(5))
        top, left = np.random.default_rng(5).integers(0, 5, (2, 20))
        for i, image in enumerate(images):
            moved = np.pad(image, 2)[top[i] : top[i] + 6, left[i] : left[i] + 6]
            assert np.array_equal(ours[i], moved[:, ::-1] if flip[i] else moved)

    def test_training_pixels_are_those_of_deployment_up_to_rounding(self):
        images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
        ours = to_tensor(images, 20, (0.286,), (0.353,)).numpy()
        theirs = preprocess(images, resolution=20, mean=(0.286,), std=(0.353,))
        assert np.abs(ours - theirs).max() < 1.01 / 255 / 0.353

    @pytest.mark.slow
    @needs_data
    def test_hold_out_is_a_partition_and_repeatable(self):
        data, _ = load_fashion_mnist()
        train_part, held = hold_out(data, 10_000, seed=1)
        again, _ = hold_out(data, 10_000, seed=1)
        assert (len(train_part), len(held)) == (50_000, 10_000)
        assert np.array_equal(train_part.images[:], again.images[:])
        sums = [part.images[:].astype(np.int64).sum() for part in (train_part, held, data)]
        assert sums[0] + sums[1] == sums[2]

    def test_a_file_that_is_not_idx_is_named(self, tmp_path):
        import gzip

        for name in ("train-images-idx3", "train-labels-idx1"):
            (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"not images"))
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz"):
            load_fashion_mnist(tmp_path)
