"""A training that is watched: the same bits, nothing lost when it is stopped, no line twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import models.training.trainer
import models.training.training_watch
from models.bundle.bundle import Bundle
from models.data.datasets import load_dataset
from models.errors import Conflict, NotFound
from models.training.preview import error_factor, preview_training
from models.training.recipe import Recipe, load_recipe
from models.training.stopping import StopSignals, TrainingStopped
from models.training.time_left import TimeLeft, mean_work
from models.training.trainer import Trainer
from models.training.training_log import (
    METRICS,
    STATUS,
    TrainingPoint,
    append_point,
    forget_points_after,
    read_points,
    read_training,
    read_trainings,
    running,
    spread_points,
)
from models.training.training_run import train
from models.training.training_watch import TrainingWatch
from service.cli import app as cli
from tests.processes import PATIENCE_S
from tests.trainings import HELD_OUT, STEPS, STEPS_PER_EPOCH, write_photos, write_recipe

ROOT = Path(__file__).resolve().parents[3]
NAME = "photos-net"
VALIDATED = list(range(2, STEPS + 1, 2))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One thread, on which sums have one order; images read once; validation every other step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.training.trainer, "load_dataset", cache(load_dataset))
        patch.setattr(models.training.training_watch, "SHARE", 1e9)
        patch.setattr(models.training.training_watch, "POINTS", STEPS // 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return write_recipe(folder / f"{NAME}.toml", write_photos(folder / "photos"))


@pytest.fixture(scope="module")
def recipe(recipe_file) -> Recipe:
    return load_recipe(recipe_file)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory) -> Path:
    """A home where it was trained, watched, without an interruption."""
    home = tmp_path_factory.mktemp("trained")
    train(recipe, home)
    return home


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def assert_same_bits(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "checkpoint.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_watching_changes_no_bit(recipe, trained, tmp_path):
    Trainer(recipe, tmp_path, resume=False).run()
    assert_same_bits(trained / "training" / NAME, tmp_path)


@pytest.mark.slow
def test_what_a_watched_training_tells(recipe, trained):
    points = read_points(trained / "training" / NAME)
    assert [point.step for point in points] == VALIDATED
    assert [point.phase for point in points[:: STEPS_PER_EPOCH // 2]] == [
        *("full", "kernel", "depth", "expand")
    ]
    for point in points:
        assert set(point.top1) == {"largest", "smallest", "subnet-1", "subnet-2", "subnet-3"}
        assert all(0 <= top1 <= 100 for top1 in point.top1.values())
        assert point.learning_rate > 0
    assert all(a.seconds <= b.seconds for a, b in zip(points, points[1:], strict=False))
    record = read_training(trained, NAME)
    assert (record.state, record.status.step, record.status.steps) == ("finished", STEPS, STEPS)
    assert record.status.validation_images == HELD_OUT
    curve = Bundle.open(trained / "supernets" / NAME).card["curve"]
    assert curve["points"][-1]["top1"] == points[-1].top1
    assert curve["subnets"].keys() == points[-1].top1.keys()
    assert curve["provenance"] == "measured"


@pytest.mark.slow
def test_stopped_anywhere_nothing_is_lost_and_no_line_is_twice(recipe, trained, tmp_path):
    """By a KeyboardInterrupt after a step, and by a signal during one."""
    stops = sorted(random.Random(2).sample(range(1, STEPS), 4))
    seen: list[int] = []

    def stopped_after(at: int, stop: StopSignals, raises: bool) -> None:
        def on_progress(now):
            if now.doing:
                return
            seen.append(now.step)
            if now.step == at and raises:
                raise KeyboardInterrupt
            if now.step == at - 1:  # before the step after which it stops
                stop.received = signal.SIGTERM

        trainer = Trainer(recipe, tmp_path, resume=True)
        if trainer.position(0).step == at - 1:
            stop.received = signal.SIGTERM
        trainer.run(on_progress, watch=TrainingWatch(trainer), stop=stop)

    for number, at in enumerate(stops):
        error = TrainingStopped if number % 2 else KeyboardInterrupt
        stop = StopSignals()
        with pytest.raises(error):
            stopped_after(at, stop, raises=error is KeyboardInterrupt)
    trainer = Trainer(recipe, tmp_path, resume=True)
    trainer.run(
        lambda now: None if now.doing else seen.append(now.step), watch=TrainingWatch(trainer)
    )
    assert seen == list(range(1, STEPS + 1)), "no step was trained twice"
    assert [point.step for point in read_points(tmp_path)] == VALIDATED
    assert_same_bits(trained / "training" / NAME, tmp_path)


@pytest.mark.slow
def test_interrupted_within_a_step_it_goes_on_from_the_last_whole_checkpoint(
    recipe, trained, tmp_path, monkeypatch
):
    """Weights that are half of one step and half of the next are not kept."""
    trainer = Trainer(recipe, tmp_path, resume=False)
    monkeypatch.setattr(models.training.trainer, "CHECKPOINT_STEPS", 3)

    def interrupt(now):
        if now.step == 6:
            monkeypatch.setattr(
                trainer.optimizer, "step", lambda: (_ for _ in ()).throw(KeyboardInterrupt)
            )

    with pytest.raises(KeyboardInterrupt):
        trainer.run(interrupt, watch=TrainingWatch(trainer))
    assert [point.step for point in read_points(tmp_path)] == [2, 4, 6]
    trainer = Trainer(recipe, tmp_path, resume=True)
    watch = TrainingWatch(trainer)
    assert trainer.position(0).step == 4, "the end of a phase"
    assert [point.step for point in read_points(tmp_path)] == [2, 4], "the sixth is trained again"
    trainer.run(watch=watch)
    assert [point.step for point in read_points(tmp_path)] == VALIDATED
    assert_same_bits(trained / "training" / NAME, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from models.training.recipe import load_recipe
from models.training.training_run import train
train(
    load_recipe(Path(sys.argv[1])),
    Path(sys.argv[2]),
    on_progress=lambda now: now.step == 10 and os.kill(os.getpid(), signal.SIGKILL),
)
"""


@pytest.mark.slow
def test_killed_for_real_and_resumed_it_is_the_same_supernet(
    recipe_file, recipe, trained, tmp_path, monkeypatch
):
    """Between two checkpoints. Until it is resumed, no other training takes its place."""
    command = [sys.executable, "-c", KILLED, str(recipe_file), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "training" / NAME
    with pytest.raises(Conflict, match="--resume"):
        Trainer(recipe, folder, resume=False)
    with pytest.raises(Conflict, match="another recipe"):
        Trainer(replace(recipe, seed=recipe.seed + 1), folder, resume=True)
    monkeypatch.setenv("SUBNET_HOME", str(tmp_path))
    command = ["supernets", "train", str(recipe_file), "--resume", "--no-predictor"]
    resumed = CliRunner().invoke(cli, command)
    assert resumed.exit_code == 0, resumed.output
    one, other = (
        load_file(home / "supernets" / NAME / "weights.safetensors") for home in (trained, tmp_path)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_killed_between_the_last_step_and_the_bundle(recipe, trained, tmp_path):
    Trainer(recipe, tmp_path / "training" / NAME, resume=False).run()
    path = train(recipe, tmp_path, resume=True)
    one, other = (
        load_file(home / "weights.safetensors") for home in (path, trained / "supernets" / NAME)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_a_signal_ends_the_command(recipe_file, tmp_path):
    """A checkpoint, a sentence, the exit code that a shell expects."""
    long = write_recipe(tmp_path / "long.toml", recipe_file.parent / "photos", epochs=100_000)
    environment = {**os.environ, "SUBNET_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "supernets", "train", str(long)],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while (record := find(tmp_path)) is None:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert record.state == "running"
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 143, told
    folder = tmp_path / "training" / "long"
    assert f"steps are kept in {folder}; go on with `subnet-search supernets train" in told
    assert Trainer(load_recipe(long), folder, resume=True).step >= record.status.step > 0
    assert find(tmp_path).state == "stopped"


def find(home: Path):
    return next(iter(read_trainings(home)), None)


# -- parts ---------------------------------------------------------------------------------


def test_time_left_knows_that_later_phases_do_more(recipe):
    """Steps whose time is in proportion to their work: then it is exact."""
    works = [mean_work(phase, recipe.space, recipe.seed) for phase in recipe.phases]
    assert works[0] == pytest.approx(1.05)
    masked = [mean_work(phase, recipe.space, recipe.seed, True) for phase in recipe.phases]
    assert all(a >= b for a, b in zip(masked, works, strict=True)), "at full width"
    left = TimeLeft(recipe, steps_per_epoch=10)
    for phase, work in enumerate(works):
        left.add(phase, 100.0)  # the first of a phase prepares new shapes
        for _ in range(3):
            left.add(phase, 2.0 * work)
        assert left.step_s == pytest.approx(2.0 * work)
        later = 2.0 * (6 * work + 10 * sum(works[phase + 1 :]))
        assert left.seconds(phase, 4) == pytest.approx(later)


def test_validation_costs_its_share_of_the_time(recipe, tmp_path, monkeypatch):
    """By a made-up clock: each step takes a second, each validation two."""
    now = 0.0
    monkeypatch.setattr(models.training.training_watch, "SHARE", 0.03)
    monkeypatch.setattr(models.training.training_watch, "POINTS", 100)
    monkeypatch.setattr(models.training.training_watch, "STATUS_S", 1e9)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    trainer = Trainer(recipe, tmp_path, resume=False)
    watch = TrainingWatch(trainer)

    class Costly:
        images = 1

        def top1(self, supernet, archs):
            nonlocal now
            now += 2.0
            return dict.fromkeys(archs, 50.0)

    monkeypatch.setattr(watch, "_validation", Costly())
    monkeypatch.setattr(Trainer, "steps_of_phase", 100_000)
    position = trainer.position(1.0)
    for step in range(1, 2001):
        now += 1.0
        trainer.step = step
        watch.after_step(trainer, replace(position, step=step, steps=2000))
    points = read_points(tmp_path)
    assert points[-1].step == 2000, "the end in any case"
    assert 2 * (len(points) - 1) <= 0.03 * now
    assert len(points) > 0.02 * now / 2, "it is used, too"
    gaps = {b.step - a.step for a, b in zip(points, points[1:], strict=False)}
    assert max(gaps) <= 120, "evenly"


def test_who_trains_is_told_by_a_lock(trained, tmp_path):
    folder = tmp_path / "training" / "x"
    folder.mkdir(parents=True)
    content = json.loads((trained / "training" / NAME / STATUS).read_text())
    (folder / STATUS).write_text(json.dumps({**content, "finished": False}))
    assert read_training(tmp_path, "x").state == "stopped"
    with running(folder):
        assert read_training(tmp_path, "x").state == "running"
        with pytest.raises(Conflict, match="another process trains"), running(folder):
            pass
    assert read_training(tmp_path, "x").state == "stopped"
    for damaged in ("", "[]", '{"phase": 1}', content["phase"]):
        (folder / STATUS).write_text(damaged)
        assert read_trainings(tmp_path) == []
    with pytest.raises(NotFound, match="unknown training"):
        read_training(tmp_path, "../x")


def point_at(step: int, top1: float = 50.0) -> TrainingPoint:
    return TrainingPoint(
        step=step, seconds=1.0, phase="p", loss=1.0, learning_rate=0.1, top1={"largest": top1}
    )


def test_lines_after_the_checkpoint_are_forgotten(tmp_path):
    for step in (1, 2, 3):
        append_point(tmp_path, point_at(step))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "sec')  # a crash
    forget_points_after(tmp_path, 2)
    append_point(tmp_path, point_at(3))
    assert [point.step for point in read_points(tmp_path)] == [1, 2, 3]


def test_a_long_curve_is_thinned_with_its_ends():
    points = [point_at(step) for step in range(1000)]
    kept = [point.step for point in spread_points(points, 40)]
    assert (len(kept), kept[0], kept[-1]) == (40, 0, 999)
    assert max(b - a for a, b in zip(kept, kept[1:], strict=False)) <= 27
    assert spread_points(points[:7], 40) == points[:7]


@pytest.mark.slow
def test_a_preview_measures_what_the_present_phase_trains(recipe, trained, tmp_path):
    def stop(now):
        if now.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(NotFound, match="no checkpoint"):
        preview_training(tmp_path, 5)
    trainer = Trainer(recipe, tmp_path, resume=False)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(stop)
    early = preview_training(tmp_path, 5)
    assert (early.phase, early.step, early.steps, early.is_whole) == ("full", 2, STEPS, False)
    assert [subnet.arch for subnet in early.subnets] == [recipe.space.largest]
    late = preview_training(trained / "training" / NAME, 5)
    assert late.is_whole
    macs = [subnet.macs for subnet in late.subnets]
    assert macs == sorted(macs)
    assert late.subnets[0].arch == recipe.space.smallest
    assert late.subnets[-1].arch == recipe.space.largest
    assert late.subnets[-1].top1 == read_points(trained / "training" / NAME)[-1].top1["largest"]
    for subnet in late.subnets:
        assert subnet.top1_at_end in (None, pytest.approx(subnet.top1)), "it is at its end"


def test_the_end_is_estimated_by_the_fall_of_the_error_so_far():
    points = [point_at(step, 100 - 80 * step**-0.5) for step in range(1, 21)]
    assert error_factor(points, 20, 80) == pytest.approx(0.5)
    assert error_factor(points[:4], 4, 80) is None, "too few"
    rising = [point_at(step, 50 - step) for step in range(1, 21)]
    assert error_factor(rising, 20, 80) is None
