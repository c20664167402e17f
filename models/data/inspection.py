"""What is in a folder of images: said before anything is trained, and without writing a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.data.decoding import DamagedImage, decode, read_content
from models.data.image_cache import OnShare
from models.data.image_folder import are_coloured
from models.data.image_parts import content_digest, damage_text, is_refused
from models.data.listing import ImageFolder, listed, open_image_folder, some
from models.data.processes import run_parts
from models.data.splits import split_rows
from models.errors import InputError

MOST_LOOKED_AT = 20_000
"""Files that are opened; of larger folders, as many are drawn by a fixed seed."""
PART_IMAGES = 100
STATISTICS_SIZE = 64
"""Mean and deviation are those of images of at most this size, as networks see them, pixels."""
IMBALANCED = 10
"""Times as many images of the largest class as of the smallest."""
FEW = 20
"""Images of a class with which little can be learned or told."""
COLOUR_SHARE = 0.5
"""Of the images that are in colour, from which on a network with three channels is meant."""
KINDS = {
    "16-bit": "of 16 bits a channel, scaled to 8",
    "CMYK": "in CMYK, turned to RGB without a colour profile",
    "animated": "animated or of several pages, of which the first is taken",
    "rotated": "turned upright by EXIF orientation",
    "transparent": "partly transparent, put onto white",
}
"""What is said of kinds of files."""


class _Part(NamedTuple):
    folder: str
    names: list[str]
    rows: list[int]


class _Look(NamedTuple):
    """One file that was opened."""

    row: int
    damage: str
    """Why it cannot be decoded; empty: it can, and what follows holds."""
    width: int = 0
    height: int = 0
    kinds: frozenset[str] = frozenset()
    coloured: bool = False
    digest: bytes = b""
    mean: tuple[float, ...] = ()
    mean_square: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a side of the images, pixels."""

    smallest: int
    median: int
    largest: int


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was found in a folder. All but counts and layout are of the files looked at."""

    folder: Path
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    """Training images of each class; without a test folder, of all images that are left for it."""
    test_counts: tuple[int, ...]
    is_split_here: bool
    """There is no test folder: test images are drawn (`splits.split_rows`)."""
    looked_at: int
    width: Sizes
    height: Sizes
    coloured_share: float
    kinds: Mapping[str, int]
    """Files of each kind that needed something done (`decoding.Decoded`)."""
    damaged: tuple[tuple[str, str], ...]
    """(name, reason)"""
    duplicates: int
    """Files equal to another that was looked at, beyond the first."""
    duplicates_over_split: int
    """Test images equal to a training image."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of each channel of the training images, scale 0..1; `statistics` gives those of grey ones."""
    grey_mean: float
    grey_std: float
    problems: tuple[str, ...]
    """Why nothing can be trained on it; empty: it can."""
    warnings: tuple[str, ...]

    @property
    def images(self) -> int:
        """All of them."""
        return sum(self.train_counts) + sum(self.test_counts)

    @property
    def channels(self) -> int:
        """Of the network that fits: 3 where half of the images are in colour."""
        return 3 if self.coloured_share >= COLOUR_SHARE else 1

    def statistics(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, scale 0..1, for a recipe."""
        if channels == 1:
            return (self.grey_mean,), (self.grey_std,)
        return self.mean, self.std

    def check(self) -> None:
        """Check that the folder can be trained on.

        Raises:
            InputError: with every problem.
        """
        if self.problems:
            raise InputError(f"images {str(self.folder)!r}: {'; '.join(self.problems)}")

    def lines(self) -> list[str]:
        """What a person reads; problems and warnings are apart."""
        split = "drawn here" if self.is_split_here else "as its folders say"
        counts = [a + b for a, b in zip(self.train_counts, self.test_counts, strict=True)]
        by_count = sorted(zip(counts, self.classes, strict=True))
        shown = by_count if len(by_count) <= 10 else [*by_count[:3], *by_count[-3:]]
        what = "smallest and largest: " if len(by_count) > 10 else ""
        looked = "" if self.looked_at == self.images else f", of {self.looked_at} looked at"
        sizes = f"{self.width.smallest} x {self.height.smallest} to"
        return [
            f"{some(self.images, 'image')} of {some(len(self.classes), 'class')}",
            f"{what}{', '.join(f'{listed([name])} {count}' for count, name in shown)}",
            f"{sum(self.train_counts)} for training, {sum(self.test_counts)} for tests, {split}",
            f"{sizes} {self.width.largest} x {self.height.largest} pixels, median "
            f"{self.width.median} x {self.height.median}{looked}",
            f"{self.coloured_share:.0%} in colour: {self.channels} channels",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "folder": str(self.folder), "channels": self.channels}


def scan_folder(
    folder: Path,
    *,
    processes: int | None = None,
    on_share: OnShare = lambda share, doing: None,
) -> FolderReport:
    """Look at a folder of images: one folder a class, or train and test with such folders.

    Nothing is written. Files are opened and decoded, `MOST_LOOKED_AT` at most.

    Args:
        processes: default: one a core, of many images.
        on_share: told how much is done.

    Raises:
        NotFound: if there are no class folders.
        InputError: if a folder cannot be read, or not one image can.
    """
    found = open_image_folder(folder)
    if not found.files:
        raise InputError(f"images {str(folder)!r}: {'; '.join(found.problems)}")
    rows = np.random.default_rng(0).permutation(len(found.files))[:MOST_LOOKED_AT]
    looks = _look_at(found, np.sort(rows), processes, on_share)
    whole = [look for look in looks if not look.damage]
    if not whole:
        raise InputError(f"images {str(folder)!r}: no image can be read: {looks[0].damage}")
    return _report(found, looks, whole)


def look_at_part(part: _Part) -> list[_Look]:
    """Open and decode some files; runs in a process of its own."""
    return [
        _look(Path(part.folder, name), row) for row, name in zip(part.rows, part.names, strict=True)
    ]


def _look_at(
    found: ImageFolder, rows: npt.NDArray[np.int64], processes: int | None, on_share: OnShare
) -> list[_Look]:
    parts = []
    for start in range(0, len(rows), PART_IMAGES):
        chosen = rows[start : start + PART_IMAGES].tolist()
        names = ["/".join(found.files[row].parts) for row in chosen]
        parts.append(_Part(str(found.path), names, chosen))
    looks: list[_Look] = []
    for done in run_parts(look_at_part, parts, processes):
        looks += done
        on_share(len(looks) / len(rows), f"{len(looks)}/{len(rows)} images")
    return sorted(looks, key=lambda look: look.row)


def _look(path: Path, row: int) -> _Look:
    try:
        content = read_content(path)
        image, kinds = decode(content, 3)
    except DamagedImage as error:
        return _Look(row, str(error))
    small = image.resize([min(side, STATISTICS_SIZE) for side in image.size])
    pixels_HWC = np.asarray(small).astype(np.float64)
    grey_HW = np.asarray(small.convert("L")).astype(np.float64)
    planes = [*pixels_HWC.transpose(2, 0, 1), grey_HW]
    return _Look(
        row,
        "",
        image.width,
        image.height,
        kinds,
        bool(are_coloured(pixels_HWC[None])[0]),
        content_digest(content).tobytes(),
        tuple(float(plane.mean()) / 255 for plane in planes),
        tuple(float((plane**2).mean()) / 255**2 for plane in planes),
    )


def _report(found: ImageFolder, looks: Sequence[_Look], whole: Sequence[_Look]) -> FolderReport:
    damaged = {look.row: look.damage for look in looks if look.damage}
    is_test = _sides(found, whole, damaged)
    train, test = (
        np.bincount(found.labels[side], minlength=len(found.classes)).tolist()
        for side in (~is_test, is_test)
    )
    seen = [look for look in whole if not is_test[look.row]] or whole
    mean_4 = np.mean([look.mean for look in seen], 0)
    std_4 = np.sqrt(np.mean([look.mean_square for look in seen], 0) - mean_4**2)
    kinds = Counter(kind for look in whole for kind in look.kinds)
    over_split, in_classes = _duplicates(found, whole, is_test)
    problems = list(found.problems)
    warnings = [*found.warnings, *_count_warnings(found, train, test)]
    if damaged:
        text = damage_text(found.path, found.files, damaged, looked_at=len(looks))
        (problems if is_refused(damaged, len(looks)) else warnings).append(text)
    warnings += [
        f"{some(kinds[kind], 'image')} {what}" for kind, what in KINDS.items() if kinds[kind]
    ]
    warnings += [*_colour_warnings(whole), *_duplicate_warnings(found, over_split, in_classes)]
    return FolderReport(
        folder=found.path,
        classes=found.classes,
        train_counts=tuple(train),
        test_counts=tuple(test),
        is_split_here=found.is_test is None,
        looked_at=len(looks),
        width=_sizes([look.width for look in whole]),
        height=_sizes([look.height for look in whole]),
        coloured_share=float(np.mean([look.coloured for look in whole])),
        kinds=dict(kinds),
        damaged=tuple((found.files[row].name, why) for row, why in damaged.items()),
        duplicates=len(whole) - len({look.digest for look in whole}),
        duplicates_over_split=len(over_split),
        mean=_three(mean_4),
        std=_three(std_4),
        grey_mean=round(float(mean_4[3]), 4),
        grey_std=round(float(std_4[3]), 4),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _three(values_4: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values_4[:3])
    return red, green, blue


def _sizes(sides: Sequence[int]) -> Sizes:
    return Sizes(min(sides), int(np.median(sides)), max(sides))


def _sides(
    found: ImageFolder, whole: Sequence[_Look], damaged: Mapping[int, str]
) -> npt.NDArray[np.bool_]:
    """Which images are for tests: of a folder without test folder, about the counts to come. Files
    that were not looked at count as different."""
    if found.is_test is not None:
        return found.is_test
    digests = np.zeros((len(found.files), 16), np.uint8)
    digests[:, :8] = np.arange(len(found.files), dtype=">u8")[:, None].view(np.uint8)
    for look in whole:
        digests[look.row] = np.frombuffer(look.digest, np.uint8)
    sides = np.zeros(len(found.files), bool)
    kept = np.setdiff1d(np.arange(len(found.files)), list(damaged))
    sides[kept] = split_rows(found.labels[kept], digests[kept])
    return sides


def _duplicates(
    found: ImageFolder, whole: Sequence[_Look], is_test: npt.NDArray[np.bool_]
) -> tuple[list[int], list[int]]:
    """Rows of test images that are training images too, and of images that are in two classes."""
    train = {look.digest for look in whole if not is_test[look.row]}
    over_split = [look.row for look in whole if is_test[look.row] and look.digest in train]
    label_of = {look.digest: int(found.labels[look.row]) for look in whole}
    in_classes = [look.row for look in whole if label_of[look.digest] != found.labels[look.row]]
    return over_split, in_classes


def _duplicate_warnings(
    found: ImageFolder, over_split: Sequence[int], in_classes: Sequence[int]
) -> Iterator[str]:
    if over_split:
        names = listed(found.files[row].name for row in over_split)
        yield (
            f"equal to training images, which overstates accuracy: "
            f"{some(len(over_split), 'test image')}: {names}"
        )
    if in_classes:
        names = listed(found.files[row].name for row in in_classes)
        yield f"{some(len(in_classes), 'image')} in another class as well: {names}"


def _colour_warnings(whole: Sequence[_Look]) -> Iterator[str]:
    coloured = sum(look.coloured for look in whole)
    if 0 < coloured < len(whole):
        yield f"{coloured} of {len(whole)} images looked at are in colour, the others grey"


def _count_warnings(found: ImageFolder, train: Sequence[int], test: Sequence[int]) -> Iterator[str]:
    counts = {name: a + b for name, a, b in zip(found.classes, train, test, strict=True) if a + b}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[most] >= IMBALANCED * counts[least]:
        yield (
            f"imbalance: {some(counts[most], 'image')} of {listed([most])}, {counts[least]} of "
            f"{listed([least])}: the network will favour large classes"
        )
    if few := [name for name, count in counts.items() if count < FEW]:
        yield f"fewer than {FEW} images of {some(len(few), 'class')}: {listed(few)}"
    if untested := [n for n, t in zip(found.classes, test, strict=True) if not t and n in counts]:
        if found.is_test is None:
            count = some(len(untested), "class")
            yield f"no image is left for tests of {count}: {listed(untested)}"
