"""The unit of decoding: consecutive files, by one process, into files or into memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from models.data.decoding import DamagedImage, decode, read_content, resize
from models.data.listing import SHOWN, FoundFile, listed, some

PART_BYTES, PART_IMAGES = 8 << 20, 1024
"""Most that one part holds: what an interruption loses, and a process keeps in memory."""
DIGEST_BYTES = 16
DAMAGED_SHARE = 0.01
"""Of a folder's files that may be damaged. Large collections have a few in ten thousand, of which
training takes no harm; where there are more, something went wrong with the copy, and classes may
have lost most of their images."""

Images = npt.NDArray[np.uint8]


class Part(NamedTuple):
    """Consecutive files, and where their pixels go."""

    number: int
    folder: str
    names: list[str]
    start: int
    channels: int
    size: int
    place: str
    """The cache's folder; empty: the pixels are returned."""


class PartDone(NamedTuple):
    """Of a part: its number, damaged rows with reasons, and pixels where they go nowhere else."""

    number: int
    damaged: dict[int, str]
    images: Images | None = None
    digests: npt.NDArray[np.uint8] | None = None


def images_a_part(shape: tuple[int, ...]) -> int:
    """Images in a part, of a cache of this shape."""
    return max(1, min(PART_IMAGES, PART_BYTES // math.prod(shape[1:])))


def parts_of(
    folder: Path, files: Sequence[FoundFile], shape: tuple[int, ...], place: str
) -> Iterator[Part]:
    """The parts of a list of files; they depend on the shape alone."""
    count, channels = images_a_part(shape), 1 if len(shape) == 3 else shape[3]
    for number, start in enumerate(range(0, len(files), count)):
        names = [os.path.join(*file.parts) for file in files[start : start + count]]
        yield Part(number, str(folder), names, start, channels, shape[1], place)


def decode_part(part: Part) -> PartDone:
    """Decode one part; runs in a process of its own."""
    shape = (len(part.names), part.size, part.size)
    images = np.zeros(shape if part.channels == 1 else (*shape, part.channels), np.uint8)
    digests = np.zeros((len(part.names), DIGEST_BYTES), np.uint8)
    damaged = {}
    for at, name in enumerate(part.names):
        try:
            content = read_content(Path(part.folder, name))
            digests[at] = content_digest(content)
            images[at] = resize(decode(content, part.channels).image, part.size)
        except DamagedImage as error:
            damaged[part.start + at] = str(error)
    if not part.place:
        return PartDone(part.number, damaged, images, digests)
    for name, rows in (("images.npy", images), ("digests.npy", digests)):
        write_rows(Path(part.place, name), rows, part.start)
    return PartDone(part.number, damaged)


def content_digest(content: bytes) -> npt.NDArray[np.uint8]:
    """(16,) uint8, equal for equal files."""
    digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(digest, np.uint8)


def is_refused(damaged: Mapping[int, str], count: int) -> bool:
    """Whether too many of `count` files are damaged."""
    return len(damaged) > DAMAGED_SHARE * count


def damage_text(
    folder: Path,
    files: Sequence[FoundFile],
    damaged: Mapping[int, str],
    looked_at: int | None = None,
) -> str:
    """How many files of a folder are damaged, why the first of them are, and what follows.

    Args:
        looked_at: default: all files.
    """
    count = len(files) if looked_at is None else looked_at
    first = [f"{listed([files[r].name])} ({why})" for r, why in sorted(damaged.items())[:SHOWN]]
    more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    follows = "left out"
    if is_refused(damaged, count):
        follows = f"at most {DAMAGED_SHARE:.0%} may be left out: mend or remove them"
    what = f"damaged: {len(damaged)} of {some(count, 'image')}"
    return f"images {str(folder)!r}: {what}, {follows}: {', '.join(first)}{more}"


def write_rows(path: Path, rows: npt.NDArray[np.uint8], start: int) -> None:
    with path.open("r+b") as file:
        _, at = read_header(file)
        file.seek(at + start * rows[0].nbytes)
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())  # the journal says that the part is there


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], int]:
    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return shape, file.tell()
