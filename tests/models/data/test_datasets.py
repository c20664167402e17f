"""A user's own images: from a folder to a trained bundle, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.bundle.bundle import Bundle
from models.bundle.measured import read_measured
from models.data.datasets import load_dataset
from models.data.image_folder import calibration_images
from models.data.images import augment, to_tensor
from models.data.preprocessing import preprocess
from models.errors import InputError, InputWarning, NotFound
from models.onnx.export import ImageSet, measure_top1
from models.training.recipe import load_recipe
from models.training.training_run import train
from service.catalog.supernets.measure_accuracy import measure_subnets
from service.catalog.supernets.sharing_gap import measure_sharing_gap

CLASSES = ("dark", "light")
SPACE = replace(load_recipe("debug").space, name="photos", channels=3, classes=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes that anyone can tell apart, in colour, of odd sizes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 20)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = rng.integers(0, 120, (30 + number % 5, 41, 3))
                Image.fromarray((noise + 130 * label).astype(np.uint8)).save(
                    folder / f"{number}.png"
                )
    return tmp_path / "photos"


@pytest.mark.slow
def test_a_supernet_is_trained_on_them(photos, tmp_path):
    debug = load_recipe("debug")
    recipe = replace(
        debug,
        name="photos",
        dataset=str(photos),
        holdout=24,
        batch_size=16,
        mean=(0.5, 0.4, 0.3),
        std=(0.3, 0.3, 0.3),
        space=SPACE,
        phases=tuple(replace(phase, epochs=3) for phase in debug.phases[:2]),
    )
    bundle = Bundle.open(train(recipe, tmp_path / "home"))
    assert bundle.card["data"]["classes"] == list(CLASSES)
    assert "FASHION-MNIST-LICENSE.txt" not in bundle.card["files"]
    data = load_dataset(str(photos), SPACE)
    calibration, test = (
        ImageSet(images, bundle.mean, bundle.std)
        for images in (bundle.calibration(), data.test.images)
    )
    supernet = bundle.load_supernet()
    assert measure_top1(supernet, SPACE.largest, calibration, test, data.test.labels) > 90
    assert bundle.card["metrics"]["test_top1"]["largest"] > 90

    # What comes after training works on them too, goes on where it was, and counts its energy.
    home = tmp_path / "home"
    measured = measure_subnets(bundle, home, fit_count=4, test_count=2)
    rows = read_measured(measured.path / "measured.jsonl.gz")
    assert {row.split for row in rows} == {"fit", "test"}
    first = measured.card["energy"]["predictor_data"]
    assert 0 < first["energy_kwh"] < 0.1
    again = measure_subnets(measured, home, fit_count=4, test_count=2)
    assert read_measured(again.path / "measured.jsonl.gz") == rows
    assert again.card["energy"]["predictor_data"]["duration_s"] > first["duration_s"]

    compared = measure_sharing_gap(again, home)
    assert len(compared) == 5
    for row in compared:  # the supernet's first phase has trained the largest alone already
        is_largest = row["arch"] == SPACE.largest.to_json()
        assert row["energy"] is None if is_largest else row["energy"]["energy_kwh"] > 0
    assert any(row["energy"] for row in compared)
    assert measure_sharing_gap(again, home) == compared


def test_colour_goes_the_same_way_as_in_deployment(photos):
    images = load_dataset(str(photos), SPACE).train.images[:8]
    mean, std = (0.5, 0.4, 0.3), (0.3, 0.2, 0.1)
    training = to_tensor(images, 16, mean, std).numpy()
    deployed = preprocess(images, resolution=16, mean=mean, std=std)
    # One grey level, which is what rounding to whole pixels makes, at the smallest deviation.
    assert np.abs(training - deployed).max() <= 1.01 / 255 / 0.1
    assert torch.equal(to_tensor(images, 28, mean, std), torch.from_numpy(training_twin(images)))


def training_twin(images: np.ndarray) -> np.ndarray:
    scaled = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    scaled -= np.array([0.5, 0.4, 0.3], np.float32)[:, None, None]
    scaled /= np.array([0.3, 0.2, 0.1], np.float32)[:, None, None]
    return scaled


def test_colour_is_augmented_as_each_channel_is(photos):
    images = load_dataset(str(photos), SPACE).train.images[:8]
    flip = np.arange(8) % 2 == 0
    whole = augment(images, flip, 2, np.random.default_rng(0))
    for channel in range(3):
        alone = augment(images[..., channel], flip, 2, np.random.default_rng(0))
        assert (whole[..., channel] == alone).all()


def test_what_does_not_fit_is_refused(photos, tmp_path):
    with pytest.raises(NotFound, match="train and test"):
        load_dataset(str(tmp_path), SPACE)
    with pytest.raises(InputError, match="has 5 classes, the data 2"):
        load_dataset(str(photos), replace(SPACE, classes=5))
    with pytest.raises(InputError, match="has 10 classes, the data 2"):
        load_dataset(str(photos), load_recipe("debug").space)
    (photos / "test" / "light").rename(photos / "test" / "bright")
    with pytest.raises(InputError, match=r"none of the class folders of train: dark, light"):
        load_dataset(str(photos), SPACE)
    with pytest.raises(InputError, match="expected 1 numbers, one a channel"):
        replace(load_recipe("debug"), mean=(0.5, 0.5))


def greyed(folder: Path) -> Path:
    """The same images without colour, as JPEG in RGB."""
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").convert("RGB").save(path.with_suffix(".jpg"))
        path.unlink()
    return folder


@pytest.mark.slow
def test_colour_where_grey_is_expected_is_told_and_the_other_way_round(photos):
    """And neither where they fit: warnings are errors here."""
    grey = replace(SPACE, channels=1)
    with pytest.warns(InputWarning, match="64 of 64 looked at are in colour, and the network sees"):
        assert load_dataset(str(photos), grey).train.images.ndim == 3
    with pytest.warns(InputWarning, match="turned grey"):
        calibration_images(photos / "train", channels=1, largest=8, count=4)
    load_dataset(str(photos), SPACE)
    greyed(photos)
    load_dataset(str(photos), grey)
    calibration_images(photos / "train", channels=1, largest=8, count=4)
    with pytest.warns(InputWarning, match="0 of 64 .* three channels, which are equal"):
        load_dataset(str(photos), SPACE)
