"""Searches as they are answered: one that has ended is written once, and then only looked at.

Reading a search is what clients do most, again and again. Its result is large, and once there it
does not change within a run: what may have changed is a few columns, which are read each time.
"""

from __future__ import annotations

from functools import lru_cache

from service.catalog import Devices, is_current
from service.contracts import SearchRead, SearchState
from service.storage import SearchStore

KEPT = 256
"""Answers kept, each some 10 to 100 kB."""


class Answers:
    """Answers about the searches in `store`."""

    def __init__(self, store: SearchStore) -> None:
        self._store = store
        self._ended = lru_cache(KEPT)(self._write)

    def text(self, state: SearchState, devices: Devices) -> str:
        """The JSON of one search, as `describe_searches` has it."""
        known = devices.current_sha256({state.device})
        current = is_current(state.device, state.profile_sha256, known)
        write = self._ended if state.finished else self._write
        return write(state.id, state.run, state.status, current)

    def _write(self, search_id: str, run: int, status: str, current: bool) -> str:
        # Asked again meanwhile, it has another run by now, and this text is never asked for again.
        return SearchRead.of(self._store.get(search_id), current).model_dump_json()
