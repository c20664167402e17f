"""Every kind of file becomes the pixels that a person sees."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.data.decoding import DamagedImage, decode, resize

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes, channels: int = 3) -> np.ndarray:
    return np.asarray(decode(content, channels).image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_plain_files_are_as_pillow_reads_them(kind):
    content = encoded(COLOUR, kind)
    decoded = decode(content, 3)
    assert decoded.kinds == frozenset()
    assert np.array_equal(np.asarray(decoded.image), COLOUR)
    grey = np.asarray(Image.fromarray(COLOUR).convert("L"))
    assert np.array_equal(pixels(content, 1), grey)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_photos_are_turned_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # As EXIF says where the first row and column of the stored pixels are.
    turned = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.transpose(1, 0, 2),
        6: np.rot90(COLOUR, -1),
        7: COLOUR[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOUR),
    }[orientation]
    assert np.array_equal(pixels(encoded(COLOUR, kind, exif=exif)), turned)


def test_a_broken_exif_block_leaves_the_pixels():
    content = encoded(COLOUR, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert np.array_equal(pixels(content), COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind):
    deep = np.arange(0, 65536, 331, dtype=np.uint16)[None]
    shown = np.round(deep / 65535 * 255).astype(np.uint8)
    assert np.array_equal(pixels(encoded(deep, kind), 1), shown)
    assert np.array_equal(pixels(encoded(deep, kind))[..., 1], shown)


def test_what_is_transparent_is_put_onto_white():
    alpha = np.array([0, 128, 255] * 3, np.uint8)
    see_through = np.dstack([COLOUR, np.broadcast_to(alpha, (6, 9))])
    share = alpha[:, None] / 255
    expected = COLOUR * share + 255 * (1 - share)
    decoded = decode(encoded(see_through), 3)
    assert decoded.kinds == {"transparent"}
    assert np.abs(np.asarray(decoded.image) - expected).max() <= 1
    opaque = np.dstack([COLOUR, np.full((6, 9), 255, np.uint8)])
    assert np.array_equal(pixels(encoded(opaque)), COLOUR)
    assert decode(encoded(opaque), 3).kinds == frozenset()
    grey = np.dstack([COLOUR[..., 0], np.zeros((6, 9), np.uint8)])
    assert (pixels(encoded(Image.fromarray(grey, "LA")), 1) == 255).all()


def test_a_palette_gives_its_colours():
    image = Image.fromarray(COLOUR).quantize(16)
    content = encoded(image)
    assert np.array_equal(pixels(content), np.asarray(image.convert("RGB")))
    hidden = encoded(image, transparency=image.getpixel((0, 0)))
    assert tuple(pixels(hidden)[0, 0]) == (255, 255, 255)


def test_cmyk_becomes_rgb():
    content = encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF")
    decoded = decode(content, 3)
    assert decoded.kinds == {"CMYK"}
    assert np.abs(np.asarray(decoded.image).astype(int) - COLOUR).max() <= 1


def test_of_an_animation_the_first_picture_is_taken():
    frames = [Image.new("P", (5, 5), value) for value in (0, 1)]
    for frame in frames:
        frame.putpalette([10, 20, 30, 200, 100, 50])
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(pixels(content), np.full((5, 5, 3), (10, 20, 30)))


def test_resizing_is_pillows():
    image = Image.fromarray(COLOUR)
    whole = np.asarray(image.resize((4, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(image, 4), whole)
    middle = image.resize((4, 4), Image.Resampling.BILINEAR, (1.875, 0.375, 7.125, 5.625))
    assert np.array_equal(resize(image, 4, central=True), np.asarray(middle))
    square = ImageOps.fit(image, (4, 4))
    assert np.array_equal(resize(square, 4), np.asarray(square))


@pytest.mark.parametrize("cut", [0, 1, 20, 60, 150])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_a_part_of_a_file_is_damaged_or_whole_and_nothing_else(kind, cut):
    """No other error leaves the decoder, whatever bytes there are."""
    content = encoded(RNG.integers(0, 256, (20, 20, 3)).astype(np.uint8), kind)
    spoiled = bytearray(content)
    for place in RNG.integers(0, len(content), 8):
        spoiled[place] ^= 0xFF
    for broken in (content[:cut], content[:-1], bytes(spoiled)):
        with suppress(DamagedImage):
            assert decode(broken, 3).image.mode == "RGB"
