"""Calibration images that cannot stand for a data set are named; a fair sample is not."""

import numpy as np
import pytest

from models.data.calibration import calibration_warnings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def images(count: int, seed: int = 0, darker: float = 1.0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(MEAN, STD, (count, 16, 16, 3)) * darker
    return (255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def warnings(pixels, classes=10):
    return calibration_warnings(pixels, MEAN, STD, classes=classes, of_classes=10)


def test_a_fair_sample_is_not_warned_of():
    assert warnings(images(256)) == []
    assert warnings(images(256), classes=None) == []


def test_few_images_are():
    (warning,) = warnings(images(4), classes=4)
    assert "4 images" in warning


@pytest.mark.parametrize("classes", [1, 3])
def test_few_classes_are(classes):
    (warning,) = warnings(images(256), classes=classes)
    assert f"images of {classes} of 10 classes, expected about 10" in warning


def test_as_many_classes_as_a_small_sample_can_show_are_not():
    pixels = images(128)
    found = calibration_warnings(pixels, MEAN, STD, classes=110, of_classes=1000)
    assert found == []


def test_other_statistics_are():
    found = warnings(images(256, darker=0.3))
    assert len(found) == 3
    assert "the data set 0.400 and 0.200" in found[0]
    grey = np.full((256, 16, 16), 128, np.uint8)
    (flat,) = calibration_warnings(grey, [0.5], [0.2], classes=None, of_classes=10)
    assert "standard deviation 0.000" in flat
