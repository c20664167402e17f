"""Bundles that are worked with for hours are not removed meanwhile.

Who measures a bundle's subnets, or fits its predictor, holds a shared lock on a file in its folder;
who removes the bundle needs an exclusive one. The system lets go of both when a process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from models.errors import Conflict, NotFound

if TYPE_CHECKING:
    from models.bundle.bundle import Bundle

P = ParamSpec("P")
R = TypeVar("R")

LOCK = ".in-use"
"""In the bundle's folder, so that it goes with it; empty."""


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a bundle from being removed. Blocks may lie in one another.

    Where the folder cannot be written to, as that of a bundle that comes with the program, nobody
    removes it either.

    Raises:
        NotFound: it was removed, or is at this moment.
    """
    gone = NotFound(f"supernet {folder.name!r} was removed meanwhile")
    if not folder.is_dir():
        raise gone
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError as error:
        raise gone from error
    except OSError:
        yield
        return
    try:
        if not _locked(handle, fcntl.LOCK_SH) or not _is_there(handle, folder / LOCK):
            raise gone
        yield
    finally:
        os.close(handle)


def keeps_bundle(work: Callable[Concatenate[Bundle, P], R]) -> Callable[Concatenate[Bundle, P], R]:
    """Have a bundle, the first argument, not be removed while `work` is done on it."""

    @wraps(work)
    def held(bundle: Bundle, /, *args: P.args, **options: P.kwargs) -> R:
        with bundle.in_use():
            return work(bundle, *args, **options)

    return held


@contextmanager
def out_of_use(folder: Path) -> Iterator[None]:
    """Hold a bundle that nobody has in use.

    Raises:
        Conflict: somebody has.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _locked(handle, fcntl.LOCK_EX):
            raise Conflict(
                f"supernet {folder.name!r} is in use: its subnets are measured, or its predictor "
                "is fitted; wait for it, or stop it with Ctrl-C"
            )
        yield
    finally:
        os.close(handle)


def _locked(handle: int, kind: int) -> bool:
    """Whether a lock was got, or this file system has none."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
