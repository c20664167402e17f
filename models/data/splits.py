"""Which images are for tests, where a folder does not say."""

from __future__ import annotations

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
    sizes = np.bincount(group_of, owners[group_of] == labels, len(first)).astype(np.int64)
    order = np.lexsort((_drawn(digests[first], seed), owners))
    is_test = np.zeros(len(first), bool)
    for groups in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        wanted = max(1, round(share * int(sizes[groups].sum())))
        taken = np.cumsum(sizes[groups]) <= wanted
        taken[0], taken[-1] = True, False  # of a single group, the second holds: for training
        is_test[groups] = taken
    return is_test[group_of]


def _drawn(digests: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint64]:
    """(N,) numbers that look random: the digests', mixed with the seed (SplitMix64)."""
    mixed = np.ascontiguousarray(digests[:, :8]).view("<u8").ravel() + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    drawn: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return drawn
