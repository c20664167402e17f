"""One image file of any kind that people have, as 8-bit pixels, upright.

Processes that decode images import this module: it needs Pillow and numpy alone.
"""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from models.data.fit import CROP_SHARE

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"}
    | {".webp"}
)
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read, whatever a file's name ends with. Others are not
tried, since some start programs (EPS: Ghostscript). Many phones write JPEG files as MPO."""
MAX_FILE_BYTES = 1 << 28
ORIENTATION = 0x0112
"""EXIF's tag of how a camera was held."""
UPRIGHT, OPAQUE = 1, 255


class DamagedImage(Exception):
    """A file that gives no pixels; the message is the reason."""


class Decoded(NamedTuple):
    """Pixels and what was done for them."""

    image: Image.Image
    """Upright, mode "L" or "RGB"."""
    kinds: frozenset[str]
    """Among "16-bit", "CMYK", "animated", "palette", "rotated", "transparent"."""


def read_content(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        DamagedImage: if there are none, too many, or they cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DamagedImage(f"{size} bytes, more than the {MAX_FILE_BYTES} that are read")
        content = path.read_bytes()
    except OSError as error:
        raise DamagedImage(f"cannot be read ({error.strerror})") from error
    if not content:
        raise DamagedImage("an empty file")
    return content


def decode(content: bytes, channels: int) -> Decoded:
    """The first picture of a file.

    Turned upright by its EXIF orientation; what is transparent is put onto white, since the colour
    under it is arbitrary; 16 bits are scaled to 8, not clipped. Colour profiles are not applied.

    Args:
        channels: 1 (grey) or 3 (RGB).

    Raises:
        DamagedImage: with the reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of details that do not change the pixels
        try:
            with Image.open(io.BytesIO(content), formats=_readable_formats()) as opened:
                _check_size(opened)
                return _upright(opened, "L" if channels == 1 else "RGB")
        except DamagedImage:
            raise
        except UnidentifiedImageError as error:
            raise DamagedImage("none of the formats that are read") from error
        except Image.DecompressionBombError as error:
            raise DamagedImage(f"a decompression bomb ({error})") from error
        except Exception as error:  # decoders raise anything on foreign bytes
            raise DamagedImage(
                f"truncated or damaged ({str(error) or type(error).__name__})"
            ) from error


def resize(image: Image.Image, size: int, *, central: bool = False) -> npt.NDArray[np.uint8]:
    """(size, size) or (size, size, 3) pixels by Pillow's antialiased bilinear filter.

    Args:
        central: keep the central square (`CROP_SHARE`) alone; otherwise the whole image is
            squeezed into the square.
    """
    box = (0.0, 0.0, float(image.width), float(image.height))
    if central:
        side = max(1.0, CROP_SHARE * min(image.size))
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))


@cache
def _readable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DamagedImage(
            f"a decompression bomb: {image.width} x {image.height} pixels, more than Pillow's "
            f"limit of {limit}"
        )


def _upright(opened: Image.Image, mode: str) -> Decoded:
    kinds = set()
    if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
        kinds.add("animated")
    tiles = getattr(opened, "tile", [])  # what the file's pixels are stored as
    if opened.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in tiles):
        kinds.add("16-bit")
    if opened.mode == "CMYK":
        kinds.add("CMYK")
    if opened.mode in ("P", "PA"):
        kinds.add("palette")
    opened.load()
    image: Image.Image = opened
    if _orientation(opened) in range(2, 9):
        kinds.add("rotated")
        image = ImageOps.exif_transpose(opened)
    image = _eight_bits(image, opened.format)
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        if np.asarray(coloured)[..., 3].min() < OPAQUE:
            kinds.add("transparent")
        white = Image.new("RGBA", coloured.size, "white")
        image = Image.alpha_composite(white, coloured).convert("RGB")
    return Decoded(image.convert(mode), frozenset(kinds))


def _orientation(image: Image.Image) -> int:
    try:
        return int(str(image.getexif().get(ORIENTATION, UPRIGHT)))
    except Exception:  # pixels may be whole where the EXIF block is not
        return UPRIGHT


def _eight_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scaled from 16 bits a pixel; Pillow would cut off all above 255.

    Raises:
        DamagedImage: for 32 bits, whose range nothing states.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        pixels = np.asarray(image).astype(np.int64)
        return Image.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DamagedImage("32-bit pixels, of which nothing says the range: save it with 8 or 16")
    return image
