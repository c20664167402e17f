"""Tables as they are kept, and what opens them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from service.storage import DeviceStore

OpenStore = Callable[[bool], "DeviceStore | None"]
"""Opens users' tables. If there is no database yet, `True` creates it and `False` returns None."""


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table of a device and where it is kept."""

    table: LatencyTable
    sha256: str
    """Of the table's text."""
    revision: int | None
    """Counts from 1; None for one that comes with the program."""
    created_at: datetime | None
    owner: str | None = None
    """Who added it; None: somebody at this machine, without a key."""
    shared: bool = True
    """Whether others see it too."""

    @property
    def name(self) -> str:
        """What this very device is called, whoever asks."""
        return self.table.device if self.shared else f"{self.table.device}@{self.owner}"
