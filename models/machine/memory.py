"""Settings of glibc's memory allocator; with other C libraries these functions do nothing.

By default glibc maps fresh pages for every large tensor and unmaps them after use, and the kernel
fills each page with zeros. That takes half of the time of a training step or a recalibration on the
CPU.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
_LARGEST = 2**31 - 1
"""The largest value it takes, in bytes."""


def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next tensors; returns whether it does.

    For processes that work with tensors only, before they start threads.
    """
    glibc = _glibc()
    if glibc is None:
        return False
    settings = {_TRIM_THRESHOLD: _LARGEST, _MMAP_THRESHOLD: _LARGEST, _ARENA_MAX: 1}
    return all([glibc.mallopt(name, value) == 1 for name, value in settings.items()])


def give_back_memory() -> None:
    """Return freed memory to the system, before a pause of unknown length."""
    if (glibc := _glibc()) is not None:
        glibc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
