"""To whom searches belong: every query about it.

Where no keys are asked for, searches belong to nobody, and admins alone see them later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.contracts import Caller, NotAllowed
from service.storage.searches import unknown
from service.storage.sessions import read_connection
from service.storage.tables import SearchOwnerRow

_ONE = select(SearchOwnerRow.owner, SearchOwnerRow.shared).where(
    SearchOwnerRow.search_id == bindparam("id")
)


class Owners:
    """Owners in a database whose schema is current."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check_seen(self, search_id: str, caller: Caller) -> None:
        """Have a search exist only for those who see it.

        Raises:
            NotFound: in the words of a search that does not exist.
        """
        if not caller.sees_all and not caller.sees(*self._of(search_id)):
            raise unknown(search_id)

    def check_owned(self, search_id: str, caller: Caller) -> None:
        """Refuse to have a search changed by others than its owner.

        Raises:
            NotAllowed: if it is somebody else's.
        """
        if not self.owns(search_id, caller):
            raise NotAllowed(f"search {search_id} is shared, but not yours")

    def owns(self, search_id: str, caller: Caller) -> bool:
        """Whether a caller may change a search: it is theirs, or they are admins."""
        return caller.sees_all or caller.owns(self._of(search_id)[0])

    def _of(self, search_id: str) -> tuple[str | None, bool]:
        with read_connection(self._engine) as connection:
            row = connection.execute(_ONE, {"id": search_id}).one_or_none()
        return (None, False) if row is None else (row.owner, row.shared)


def claim(session: Session, search_id: str, owner: str, shared: bool) -> None:
    """Say whose a new search is; of one that has an owner nothing changes."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    row = dialect.insert(SearchOwnerRow).values(search_id=search_id, owner=owner, shared=shared)
    session.execute(row.on_conflict_do_nothing())


def identity(canonical: Mapping[str, Any], caller: Caller, shared: bool) -> dict[str, Any]:
    """What makes requests the same search. A private one is the same for its owner alone, so that
    whether an answer comes at once tells nobody what others asked."""
    if caller.owner is None:
        return dict(canonical)
    return {**canonical, "for": "all" if shared else f"owner {caller.owner}"}


def own_key(key: str, caller: Caller) -> str:
    """An Idempotency-Key as it is kept: each owner's keys are their own."""
    if caller.owner is None:
        return key
    return hashlib.sha256(f"{caller.owner}\0{key}".encode()).hexdigest()
