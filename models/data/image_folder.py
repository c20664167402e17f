"""A few images of a user's own: from class folders (torchvision's ImageFolder layout) or files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.decoding import SUFFIXES, DamagedImage, decode, read_content, resize
from models.errors import InputError, InputWarning

JUDGED = 64
"""Images of a folder from which it is told whether it is in colour."""
GREY_LEVELS = 4.0
"""Mean difference of a colour image's channels: JPEG makes some in a grey one."""


def image_files(folder: Path) -> list[Path]:
    """The image files of `folder` and its class folders, sorted.

    Raises:
        InputError: if there is no such folder or it has no images.
    """
    if not folder.is_dir():
        raise InputError(f"images {str(folder)!r}: expected a folder, one folder a class in it")
    found = [*folder.glob("*"), *folder.glob("*/*")]
    named = [p for p in found if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    files = sorted(p for p in named if p.is_file())
    if not files:
        raise InputError(
            f"images {str(folder)!r}: expected image files in it or in class folders, "
            f"found none of {', '.join(sorted(SUFFIXES))}"
        )
    return files


def load_images(
    files: list[Path], *, channels: int, size: int, central: bool = False
) -> npt.NDArray[np.uint8]:
    """Decode images and resize them.

    Args:
        channels: 1 (grey) or 3 (RGB).
        size: height and width of the result, pixels.
        central: keep the central square alone; otherwise the whole image (`decoding.resize`).

    Returns:
        (N, size, size) or (N, size, size, 3) uint8.

    Raises:
        InputError: naming a file that is not an image, or for another number of channels.
    """
    if channels not in (1, 3):
        raise InputError(f"images: expected a network of 1 or 3 channels, got {channels}")
    return np.stack([_load(path, channels, size, central) for path in files])


def warn_of_colour(files: list[Path], *, channels: int, folder: Path) -> None:
    """Warn (`InputWarning`) where most images are in colour and the network sees one channel, or
    none is and it sees three. `JUDGED` of them are looked at.

    Raises:
        InputError: naming a file that is not an image.
    """
    drawn = np.random.default_rng(0).permutation(len(files))[:JUDGED]
    images_NHWC = load_images([files[i] for i in drawn], channels=3, size=32).astype(np.float64)
    coloured = int(are_coloured(images_NHWC).sum())
    seen = f"images {str(folder)!r}: {coloured} of {len(drawn)} looked at are in colour, and the"
    if channels == 1 and 2 * coloured > len(drawn):
        text = "network sees one channel: they are turned grey. Is a space with channels = 3 meant?"
        warnings.warn(f"{seen} {text}", InputWarning, stacklevel=2)
    elif channels == 3 and not coloured:
        text = "network sees three channels, which are equal: is a space with channels = 1 meant?"
        warnings.warn(f"{seen} {text}", InputWarning, stacklevel=2)


def are_coloured(images_NHWC: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which images are in colour: their channels differ by more than `GREY_LEVELS`, of 0..255."""
    coloured: npt.NDArray[np.bool_]
    coloured = np.ptp(images_NHWC, axis=3).mean(axis=(1, 2)) > GREY_LEVELS
    return coloured


def _load(path: Path, channels: int, size: int, central: bool) -> npt.NDArray[np.uint8]:
    try:
        image = decode(read_content(path), channels).image
    except DamagedImage as error:
        raise InputError(f"images: {path}: not an image that can be read ({error})") from error
    return resize(image, size, central=central)


def calibration_images(
    folder: Path, *, channels: int, largest: int, count: int
) -> tuple[npt.NDArray[np.uint8], int | None]:
    """Up to `count` images of a folder, drawn with a fixed seed, for batch-norm recalibration.

    Args:
        largest: the largest resolution that they will be shown at, pixels.

    Returns:
        The images, and of how many class folders they are; None if they lie in none.

    Raises:
        InputError: as `image_files` and `load_images`.
    """
    files = image_files(folder)
    warn_of_colour(files, channels=channels, folder=folder)
    drawn = np.random.default_rng(0).permutation(len(files))[:count]
    chosen = [files[i] for i in sorted(drawn)]
    classes = {path.parent for path in chosen} - {folder}
    images = load_images(chosen, channels=channels, size=largest, central=True)
    return images, len(classes) or None
