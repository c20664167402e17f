"""A few of the images that a bundle holds, to see what a supernet tells apart.

Nothing is stored for them: bundles hold validation images already. The first ones are read and
made small; there is no need to decompress all, which may be hundreds of megabytes.
"""

from __future__ import annotations

import base64
import io
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from service.contracts import ClassSamples, SupernetSamples

VALIDATION = "validation.npz"
MOST_CLASSES, FEW_CLASSES, OF_FEW = 60, 20, 3
"""Classes that are shown, and up to how many of them three images of each are shown."""
SIDE = 64
"""Of an image, pixels at most."""
READ_IMAGES, READ_BYTES = 2000, 64 << 20
"""Images that are looked at, at most."""
QUALITY = 85


def sample_images(bundle: Bundle) -> SupernetSamples:
    """Some validation images of each class, in the order of the classes.

    Raises:
        CorruptBundle: if the file is absent, truncated or altered.
    """
    if not bundle.has(VALIDATION):
        return SupernetSamples(items=[], why_none="the bundle holds no validation images")
    names = bundle.class_names
    found = _chosen(bundle.path, bundle.card["files"][VALIDATION])
    items = [
        ClassSamples(index=label, name=None if names is None else names[label], images=list(images))
        for label, images in found
    ]
    return SupernetSamples(items=items, why_none=None)


@lru_cache(maxsize=16)
def _chosen(folder: Path, sha256: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Labels and images; the same for a file of the same hash."""
    with Bundle.open(folder).pinned(VALIDATION) as path:
        images, labels = _first(path)
    present = np.unique(labels)[:MOST_CLASSES]
    count = OF_FEW if len(present) <= FEW_CLASSES else 1
    return tuple(
        (int(label), tuple(_small(image) for image in images[labels == label][:count]))
        for label in present
    )


def _first(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The first images of a file, and their labels."""
    with np.load(path, allow_pickle=False) as arrays:
        labels: npt.NDArray[np.int64] = arrays["labels"]
    with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        each = int(np.prod(shape[1:]))
        count = min(shape[0], READ_IMAGES, max(1, READ_BYTES // each))
        pixels = np.frombuffer(file.read(count * each), np.uint8)
    return pixels.reshape(count, *shape[1:]), labels[:count]


def _small(image: npt.NDArray[np.uint8]) -> str:
    """A data URL."""
    from PIL import Image

    picture, content = Image.fromarray(image.squeeze()), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(content, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
