"""Parts of a training, and the one data set that is known by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle.bundle import Bundle
from models.data.images import (
    FASHION_MNIST_FOLDERS,
    LabelledImages,
    augment,
    hold_out,
    load_fashion_mnist,
    to_tensor,
)
from models.data.preprocessing import preprocess
from models.errors import Conflict, InputError
from models.supernet.supernet import Supernet
from models.training.optim import archs_of_step, learning_rate, make_optimizer
from models.training.recipe import Phase, load_recipe
from models.training.training_run import train
from tests.spaces import DEBUG

pytestmark = pytest.mark.usefixtures("as_the_command_trains")

HAS_DATA = bool(os.environ.get("SUBNET_FASHION_MNIST")) or any(
    Path(folder).is_dir() for folder in FASHION_MNIST_FOLDERS
)
needs_data = pytest.mark.skipif(not HAS_DATA, reason="Fashion-MNIST is not on this machine")


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


@needs_data
@pytest.mark.slow
def test_fashion_mnist_becomes_a_bundle_that_works(tmp_path):
    recipe = load_recipe("debug")
    recipe = replace(recipe, phases=recipe.phases[:1])
    bundle = Bundle.open(train(recipe, tmp_path))
    assert bundle.space == recipe.space
    assert bundle.calibration().shape == (256, 28, 28)
    assert len(bundle.validation()) == 2000
    assert bundle.card["energy"]["training"]["energy_kwh"] > 0
    assert set(bundle.card["metrics"]["test_top1"]) >= {"largest", "smallest", "provenance"}
    assert bundle.card["metrics"]["test_top1"]["largest"] > 12  # guessing: 10
    bundle.load_supernet()
    with pytest.raises(Conflict, match="exists"):
        train(recipe, tmp_path)


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
    assert decayed["nesterov"]
    plain = make_optimizer(supernet, replace(recipe, momentum=0.0), recipe.phases[0])
    assert not plain.param_groups[0]["nesterov"]


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

    @given(
        st.lists(st.integers(0, 5), min_size=2, max_size=200),
        st.floats(0.01, 1),
        st.integers(0, 9),
    )
    def test_by_class_each_class_gives_its_share_and_keeps_one(self, labels, share, seed):
        labels = np.array(labels, np.int64)
        data = LabelledImages(np.arange(len(labels), dtype=np.uint8)[:, None, None], labels)
        classes = np.unique(labels)
        count = max(1, round(share * (len(labels) - len(classes))))
        if count > len(labels) - len(classes):
            with pytest.raises(InputError, match="one of each class left for training"):
                hold_out(data, count, seed, by_class=True)
            return
        train, held = hold_out(data, count, seed, by_class=True)
        assert len(held) == count
        both = np.concatenate([train.images[:], held.images[:]])
        assert np.array_equal(np.sort(both.ravel()), data.images[:].ravel())
        for label in classes:
            size, taken = (labels == label).sum(), (held.labels == label).sum()
            assert taken < size
            if share < 0.5:
                assert abs(taken - count * size / len(labels)) < 1.5
        again, _ = hold_out(data, count, seed, by_class=True)
        assert np.array_equal(again.images[:], train.images[:])

    def test_a_file_that_is_not_idx_is_named(self, tmp_path):
        import gzip

        for name in ("train-images-idx3", "train-labels-idx1"):
            (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"not images"))
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz"):
            load_fashion_mnist(tmp_path)
