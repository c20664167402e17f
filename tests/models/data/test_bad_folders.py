"""Folders as people have them: each defect in a clear word, and nothing written anywhere."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.datasets import load_dataset
from models.data.inspection import FolderReport, scan_folder
from models.errors import InputError
from models.training.recipe import load_recipe

SPACE = replace(load_recipe("debug").space, channels=3, resolutions=(16,))
RNG = np.random.default_rng(0)
CAT, DOG = "cat", "dog"


def picture(width: int = 9, height: int = 7, channels: int = 3) -> Image.Image:
    """One that no other equals."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(RNG.integers(0, 256, shape).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(folder: Path, *classes: str, count: int = 6) -> Path:
    """Class folders with different images."""
    for name in classes or (CAT, DOG):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(encoded(picture()))
    return folder


def add(content: bytes, name: str = "cat/odd.png", count: int = 6) -> Callable[[Path], object]:
    """Two whole classes, and one file more."""
    return lambda folder: (fill(folder, count=count) / name).write_bytes(content)


def chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10)))
    signature = b"\x89PNG\r\n\x1a\n"
    return b"".join([signature, chunk(b"IHDR", header), *more, pixels, chunk(b"IEND", b"")])


def animated() -> bytes:
    frames = [picture().convert("P") for _ in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def transparent() -> bytes:
    return encoded(picture(channels=4))


def see_through_palette() -> bytes:
    image = picture().convert("P")
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray(RNG.integers(0, 65536, (7, 9)).astype(np.uint16)))


def floats() -> bytes:
    return encoded(Image.fromarray(RNG.random((7, 9)).astype(np.float32)), "TIFF")


def split(folder: Path, *, train=(CAT, DOG), test=(CAT, DOG), names=("train", "test")) -> Path:
    fill(folder / names[0], *train)
    fill(folder / names[1], *test)
    return folder


def named_in_bytes(folder: Path) -> None:
    fill(folder)
    os.mkdir(os.fsencode(folder) + b"/caf\xe9")
    (folder / os.fsdecode(b"caf\xe9") / "0.png").write_bytes(encoded(picture()))


def same_image_on_both_sides(folder: Path) -> None:
    split(folder)
    (folder / "test/cat/copy.png").write_bytes((folder / "train/cat/0.png").read_bytes())


def in_two_classes(folder: Path) -> None:
    fill(folder)
    (folder / "dog/same.png").write_bytes((folder / "cat/0.png").read_bytes())


def loop(folder: Path) -> None:
    fill(folder)
    (folder / "cat/again").symlink_to(folder)
    (folder / "cat/itself.png").symlink_to("itself.png")
    (folder / "dog/up").symlink_to("..")


def pipe(folder: Path) -> None:
    fill(folder)
    os.mkfifo(folder / "cat/pipe.png")


def junk(folder: Path) -> None:
    fill(folder)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "__MACOSX/cat").mkdir(parents=True)
    for name in ("cat/._0.png", "cat/.DS_Store", "dog/Thumbs.db", "__MACOSX/cat/._1.png"):
        (folder / name).write_bytes(b"\0\5\26\7")


def empty_class(folder: Path) -> None:
    (fill(folder) / "emu").mkdir()


REFUSED = {
    "no-folder": (lambda folder: None, "no such folder"),
    "a-file": (lambda folder: folder.write_bytes(b""), "it is a file"),
    "nothing": (lambda folder: folder.mkdir(), "no image files"),
    "files-without-classes": (
        lambda folder: [
            folder.mkdir(),
            *((folder / f"{n}.png").write_bytes(encoded(picture())) for n in range(3)),
        ],
        "3 images, but no class folders",
    ),
    "split-without-classes": (
        lambda folder: fill(folder, "train", "test"),
        "test, train has no class folders",
    ),
    "test-without-train": (lambda folder: fill(folder / "test"), "no train folder beside it"),
    "test-without-classes": (
        lambda folder: [fill(folder / "train"), fill(folder, "test")],
        "test has no class folders",
    ),
    "unpacked-into-itself": (lambda folder: split(folder / "data"), "one folder with folders in"),
    "one-class": (lambda folder: fill(folder, CAT), "one class, cat"),
    "one-image": (lambda folder: fill(folder, CAT, count=1), "one class, cat"),
    "empty-class": (empty_class, "no images of 1 class: emu"),
    "an-image-beside-empty-classes": (
        lambda folder: [
            *((folder / name).mkdir(parents=True) for name in (CAT, "emu")),
            (folder / "0.png").write_bytes(encoded(picture())),
        ],
        "no images of 2 classes: cat, emu",
    ),
    "other-classes-in-test": (
        lambda folder: split(folder, test=(CAT, "emu")),
        "test has the classes emu, which are none of the class folders of train: cat, dog",
    ),
    "not-utf-8": (named_in_bytes, r"no printable UTF-8: 'caf\\udce9'"),
    "twice-in-unicode": (lambda folder: fill(folder, "caf\u00e9", "cafe\u0301"), "Unicode form"),
    "truncated": (add(encoded(picture(40, 40))[:900]), "truncated or damaged"),
    "truncated-jpeg": (
        add(encoded(picture(40, 40), "JPEG")[:-200], "cat/odd.jpg"),
        "truncated or damaged .image file is truncated",
    ),
    "empty-file": (add(b""), "cat/odd.png .an empty file"),
    "text": (add(b"<html>404</html>", "cat/odd.jpg"), "none of the formats"),
    "postscript": (add(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9"), "none of the formats"),
    "bomb-of-pixels": (add(png(60_000, 60_000)), "decompression bomb"),
    "bomb-between-limits": (add(png(10_000, 10_000)), "decompression bomb: 10000 x 10000"),
    "bomb-of-text": (
        add(png(9, 7, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 << 20))))),
        "truncated or damaged .*too large",
    ),
    "32-bits": (add(floats(), "cat/odd.tif"), "32-bit pixels"),
}  # fmt: skip
WARNED = {
    "damaged-below-the-share": (add(b"no", count=60), "damaged: 1 of 121 images, left out"),
    "one-image-of-a-class": (
        lambda folder: [fill(folder), fill(folder, "emu", count=1)],
        "no image is left for tests of 1 class: emu",
    ),
    "imbalance": (
        lambda folder: [fill(folder, CAT, count=30), fill(folder, DOG, count=3)],
        "imbalance: 30 images of cat, 3 of dog",
    ),
    "16-bit": (add(sixteen_bits()), "1 image of 16 bits"),
    "cmyk": (add(encoded(picture().convert("CMYK"), "JPEG"), "cat/odd.jpg"), "1 image in CMYK"),
    "animated": (add(animated(), "cat/odd.gif"), "1 image animated"),
    "pages": (
        add(encoded(picture(), "TIFF", save_all=True, append_images=[picture()]), "cat/odd.tiff"),
        "several pages",
    ),
    "rotated": (add(rotated(), "cat/odd.jpg"), "1 image turned upright"),
    "transparent": (add(transparent()), "1 image partly transparent"),
    "palette": (add(see_through_palette()), "1 image partly transparent"),
    "loops": (loop, "3 links to nothing or back"),
    "stray": (add(encoded(picture()), "odd.png"), "1 image in no class folder"),
    "archive": (add(b"PK", "cat/more.zip"), "1 file no image by its name, left out: cat/more.zip"),
    "pipe": (pipe, "1 file no image by its name, left out: cat/pipe.png"),
    "nested": (
        lambda folder: [fill(folder), fill(folder / CAT, "kittens")],
        "6 images in folders inside class folders",
    ),
    "grey-and-colour": (add(encoded(picture(channels=1))), "12 of 13 images .* in colour"),
    "over-the-split": (same_image_on_both_sides, "equal to training images, .*: 1 test image"),
    "in-two-classes": (in_two_classes, "1 image in another class as well"),
    "untested-class": (lambda folder: split(folder, test=(CAT,)), "test has no images of 1 class"),
    "three-splits": (
        lambda folder: [split(folder), fill(folder / "val")],
        "left out, since it is not train nor test: val",
    ),
    "upper-and-lower-case": (lambda folder: fill(folder, CAT, "Cat"), "upper and lower case alone"),
}  # fmt: skip
FINE = {
    "unicode": (lambda folder: fill(folder, "caf\u00e9", "\u732b"), 12, 2),
    "unicode-forms-of-a-name": (
        lambda folder: split(folder, train=(CAT, "caf\u00e9"), test=(CAT, "cafe\u0301")), 24, 2,
    ),
    "junk": (junk, 12, 2),
    "val-for-test": (lambda folder: split(folder, names=("Training", "val")), 24, 2),
    "a-class-called-train": (lambda folder: fill(folder, "bus", "train"), 12, 2),
    "other-suffix": (add(encoded(picture(), "JPEG"), "cat/odd.png"), 13, 2),
    "phone": (
        add(encoded(picture(), "MPO", save_all=True, append_images=[picture()]), "cat/odd.jpg"),
        13, 2,
    ),
    "tiny-and-long": (
        lambda folder: [
            fill(folder),
            (folder / "cat/tiny.png").write_bytes(encoded(picture(1, 1))),
            (folder / "dog/long.png").write_bytes(encoded(picture(1, 900))),
        ], 14, 2,
    ),
    "link-inside": (
        lambda folder: (fill(folder) / "cat/link.png").symlink_to("0.png"), 13, 2,
    ),
}  # fmt: skip


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        os.path.join(at, name): (found.st_size, found.st_mtime_ns)
        for at, _, names in os.walk(folder)
        for name in names
        for found in [os.lstat(os.path.join(at, name))]
    }


def scanned(folder: Path) -> FolderReport:
    before = tree(folder.parent)
    try:
        return scan_folder(folder)
    finally:
        assert tree(folder.parent) == before


def loaded(folder: Path, classes: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cache = folder.parent / "images"
        return load_dataset(str(folder), replace(SPACE, classes=max(2, classes)), cache)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_on_is_refused(tmp_path, name):
    make, word = REFUSED[name]
    folder = tmp_path / "photos"
    make(folder)
    with pytest.raises(InputError, match=word):
        scanned(folder).check()
    place = folder / "train" if (folder / "train").is_dir() else folder
    classes = len([path for path in place.iterdir() if path.is_dir()]) if place.is_dir() else 2
    with pytest.raises(InputError):
        loaded(folder, classes)
    assert {path.name for path in (tmp_path / "images").glob("*/*")} <= {"lock"}


@pytest.mark.parametrize("name", WARNED)
def test_what_is_odd_is_told(tmp_path, name):
    make, word = WARNED[name]
    folder = tmp_path / "photos"
    make(folder)
    report = scanned(folder)
    report.check()
    with pytest.raises(AssertionError, match=word):
        raise AssertionError("; ".join(report.warnings))
    data = loaded(folder, len(report.classes))
    assert len(data.train) + len(data.test) + len(report.damaged) == report.images


@pytest.mark.parametrize("name", FINE)
def test_what_is_well_is_taken(tmp_path, name):
    make, images, classes = FINE[name]
    folder = tmp_path / "photos"
    make(folder)
    report = scanned(folder)
    assert (report.images, len(report.classes), report.problems) == (images, classes, ())
    assert [text for text in report.warnings if "fewer than" not in text] == []
    assert len(loaded(folder, classes).train) == sum(report.train_counts)


@pytest.mark.slow
def test_a_thousand_classes_are_told_in_a_line(tmp_path):
    content = encoded(picture(2, 2), "BMP")
    for number in range(1000):
        (tmp_path / f"photos/{number:04}").mkdir(parents=True)
        (tmp_path / f"photos/{number:04}/0.bmp").write_bytes(content + number.to_bytes(2, "big"))
    report = scanned(tmp_path / "photos")
    assert len(report.classes) == 1000
    assert max(map(len, (*report.lines(), *report.warnings))) < 200
    assert "fewer than 20 images of 1000 classes: 0000, 0001" in report.warnings[0]


def test_the_table_is_long_enough():
    assert len(REFUSED) + len(WARNED) >= 30
