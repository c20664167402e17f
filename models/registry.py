"""What others can add to by name: layer kinds, families, formats, runtimes, limits, predictors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from models.errors import InputError, NotFound

T = TypeVar("T")


class Registry(dict[str, T]):
    """Entries of one kind by name, in the order of registration.

    An unknown name raises `NotFound`, which lists the known ones.
    """

    def __init__(self, kind: str, entries: Mapping[str, T] | None = None) -> None:
        """
        Args:
            kind: what an entry is, for messages: "runtime".
            entries: those known from the start.
        """
        super().__init__(entries or {})
        self._kind = kind

    def register(self, name: str, entry: T) -> None:
        """Add an entry; the same one again changes nothing.

        Raises:
            InputError: if another entry has that name.
        """
        if self.setdefault(name, entry) != entry:
            raise InputError(f"{self._kind} {name!r} is registered already: choose another name")

    def unregister(self, name: str) -> None:
        """Remove an entry; there may be none of that name."""
        self.pop(name, None)

    def __missing__(self, name: str) -> T:
        raise NotFound.named(self._kind, name, self)
