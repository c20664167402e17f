"""From stored pixels to a network's input, as described in every exported model's metadata.

Shapes: N images, H x W pixels, C channels, R the network's resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import InputError


def preprocess(
    images_u8: npt.NDArray[np.uint8],
    *,
    resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> npt.NDArray[np.float32]:
    """Resize with Pillow's antialiased bilinear filter, scale to 0..1, normalize.

    Images of the right size are not resized. Pillow's filter, which rounds to whole grey levels, is
    commonly available on devices; `models.data.images.to_tensor`, used in training, does not round
    and agrees to one grey level.

    Args:
        images_u8: (N, H, W) or (N, H, W, C) uint8.
        resolution: R, pixels.
        mean: mean of each channel on the 0..1 scale.
        std: standard deviation of each channel on the 0..1 scale.

    Returns:
        (N, C, R, R) float32, contiguous.

    Raises:
        InputError: the array is not such images, or `mean` and `std` do not fit its channels.
    """
    if images_u8.dtype != np.uint8 or images_u8.ndim not in (3, 4):
        raise InputError(
            "images: expected (N, H, W) or (N, H, W, C) uint8, "
            f"got {images_u8.shape} {images_u8.dtype}"
        )
    if 0 in images_u8.shape[1:]:
        raise InputError(f"images: expected at least one pixel, got {images_u8.shape}")
    if resolution < 1:
        raise InputError(f"resolution: expected at least 1, got {resolution}")
    images_NHWC = images_u8[..., None] if images_u8.ndim == 3 else images_u8
    channels = images_NHWC.shape[3]
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not np.isfinite(values).all():
            raise InputError(
                f"{name}: expected {channels} finite numbers, one a channel, got {list(values)}"
            )
    if min(std) <= 0:
        raise InputError(f"std: expected positive numbers, got {list(std)}")

    x_NCHW = _resized(images_NHWC.transpose(0, 3, 1, 2), resolution).astype(np.float32)
    x_NCHW /= 255
    x_NCHW -= np.array(mean, np.float32)[:, None, None]
    x_NCHW /= np.array(std, np.float32)[:, None, None]
    return x_NCHW


def _resized(planes_NCHW: npt.NDArray[np.uint8], resolution: int) -> npt.NDArray[np.uint8]:
    """Resize each plane separately, as Pillow does with the bands of one image."""
    count, channels, height, width = planes_NCHW.shape
    if (height, width) == (resolution, resolution):
        return np.ascontiguousarray(planes_NCHW)
    resized = np.empty((count, channels, resolution, resolution), np.uint8)
    for image in range(count):
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(planes_NCHW[image, channel]))
            size = (resolution, resolution)
            small = plane.resize(size, Image.Resampling.BILINEAR)
            resized[image, channel] = np.asarray(small)
    return resized
