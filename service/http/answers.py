"""The JSON of searches; that of finished ones is cached.

Clients read searches more often than anything else. The result of a finished search is large and
does not change within a run, so each request reads only the few columns that may have changed.
"""

from __future__ import annotations

from functools import lru_cache

from service.catalog import Devices, is_current
from service.contracts import SearchRead, SearchState
from service.storage import SearchStore

KEPT = 256
"""Cached answers, each some 10 to 100 kB."""


class Answers:
    """Answers about the searches in `store`."""

    def __init__(self, store: SearchStore) -> None:
        self._store = store
        self._ended = lru_cache(KEPT)(self._write)

    def text(self, state: SearchState, devices: Devices) -> str:
        """The JSON of one search, as `describe_searches` has it."""
        known = devices.current_sha256({state.device})
        current = is_current(
            state.device,
            state.profile_sha256,
            known,
            devices.has_costs_of,
            lambda: self._store.get(state.id),
        )
        write = self._ended if state.finished else self._write
        return write(state.id, state.run, state.status, state.tries, current)

    def _write(self, search_id: str, run: int, status: str, tries: int, current: bool) -> str:
        # If the search was run again or tried on a device meanwhile, that is another key of the
        # cache.
        return SearchRead.of(self._store.get(search_id), current).model_dump_json()
