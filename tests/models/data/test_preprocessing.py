"""Images become inputs as the metadata of every exported model says."""

import numpy as np
import pytest
from PIL import Image

from models.data.images import to_tensor
from models.data.preprocessing import preprocess
from models.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (3, 28, 28), np.uint8)
RGB = RNG.integers(0, 256, (2, 20, 30, 3), np.uint8)


def test_own_size_is_only_normalized() -> None:
    got = preprocess(GREY, resolution=28, mean=[0.25], std=[0.5])
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got[:, 0], (GREY / 255 - 0.25) / 0.5, atol=1e-6)


def test_resize_is_pillows() -> None:
    got = preprocess(GREY, resolution=20, mean=[0.1], std=[0.3])
    assert got.shape == (3, 1, 20, 20)
    for image, x in zip(GREY, got, strict=True):
        small = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(x[0], (small / 255 - 0.1) / 0.3, atol=1e-6)


def test_colour_equals_pillows_colour_resize() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = preprocess(RGB, resolution=16, mean=mean, std=std)
    assert got.shape == (2, 3, 16, 16)
    for image, x in zip(RGB, got, strict=True):
        small = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(x.transpose(1, 2, 0), (small / 255 - mean) / std, atol=1e-6)


def test_a_trailing_axis_of_one_channel_changes_nothing() -> None:
    with_axis, without = (
        preprocess(images, resolution=24, mean=[0.3], std=[0.3])
        for images in (GREY[..., None], GREY)
    )
    np.testing.assert_array_equal(with_axis, without)


@pytest.mark.parametrize("resolution", [16, 20, 24, 28])
def test_agrees_with_training_to_one_grey_level(resolution) -> None:
    ours = preprocess(GREY, resolution=resolution, mean=[0.0], std=[1.0])
    training = to_tensor(GREY, resolution, [0.0], [1.0]).numpy()
    # Pillow rounds to whole levels after each of its two passes, half a level each.
    assert np.abs(ours - training).max() <= 1.01 / 255
    assert np.abs(ours - training).mean() <= 0.5 / 255


def test_no_images_give_no_inputs() -> None:
    assert preprocess(GREY[:0], resolution=20, mean=[0], std=[1]).shape == (0, 1, 20, 20)


def test_input_is_left_alone() -> None:
    before = GREY.copy()
    preprocess(GREY, resolution=28, mean=[0.2], std=[0.4])
    np.testing.assert_array_equal(GREY, before)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (GREY.astype(np.float32), {}, r"uint8, got \(3, 28, 28\) float32"),
        (GREY[0], {}, r"\(N, H, W\).*got \(28, 28\)"),
        (GREY[:, :0], {}, "at least one pixel"),
        (GREY, {"resolution": 0}, "resolution: expected at least 1, got 0"),
        (GREY, {"mean": [0.1, 0.2]}, "mean: expected 1 finite"),
        (GREY, {"std": [float("nan")]}, "std: expected 1 finite"),
        (GREY, {"std": [0.0]}, "std: expected positive"),
        (RGB, {}, "mean: expected 3 finite"),
    ],
)
def test_refuses(images, options, message) -> None:
    with pytest.raises(InputError, match=message):
        preprocess(images, **{"resolution": 20, "mean": [0.1], "std": [0.3], **options})
