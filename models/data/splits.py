"""Which images are for tests, where a folder does not say."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

TEST_SHARE = 0.2


def split_rows(
    labels: npt.NDArray[np.int64],
    digests: npt.NDArray[np.uint8],
    *,
    share: float = TEST_SHARE,
    seed: int = 0,
) -> npt.NDArray[np.bool_]:
    """Draw test images, about `share` of each class; equal files are on the same side.

    A file's side depends on its content, the seed and the other files of its class: not on names
    or order. A class of two different files or more has at least one on each side.

    Args:
        labels: (N,).
        digests: (N, 16), equal for equal files.

    Returns:
        (N,), True for test images.
    """
    keys = np.ascontiguousarray(digests).view(f"V{digests.shape[1]}").ravel()
    _, first, group_of = np.unique(keys, return_index=True, return_inverse=True)
    owners = labels[first]  # files of two classes go where the first of them goes
    order = [_drawn(seed, digests[row]) for row in first]
    sizes = np.bincount(group_of, labels[first][group_of] == labels, len(first)).astype(np.int64)
    is_test = np.zeros(len(first), bool)
    for label in np.unique(owners):
        groups = sorted(np.flatnonzero(owners == label), key=lambda group: order[group])
        wanted = max(1, round(share * int(sizes[groups].sum())))
        taken = np.cumsum(sizes[groups]) <= wanted
        taken[0], taken[-1] = True, False  # of a single group, the second holds: for training
        is_test[groups] = taken
    return is_test[group_of]


def _drawn(seed: int, digest: npt.NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(digest.tobytes(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
