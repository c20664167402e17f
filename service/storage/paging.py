"""Pages of searches: each continues after the last row seen, so that new rows change no page.

A cursor is opaque to clients. It holds the sort order, the last row's value in that order, and the
row's id, which decides between equal values.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, literal, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from models.errors import InputError
from service.contracts import Sort
from service.storage.tables import SearchOwnerRow, SearchRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Which searches to list, in which order, and how many; None filters nothing."""

    supernet: str | None = None
    device: str | None = None
    status: str | None = None
    latency_ms_max: float | None = None
    top1_min: float | None = None
    created_after: datetime | None = None
    """Created at this time or later."""
    created_before: datetime | None = None
    """Created before this time, so that consecutive windows do not overlap."""
    sort: Sort = "-created_at"
    """A leading minus: descending."""
    limit: int = 50
    seen_by: str | None = None
    """Only searches that this owner sees: their own and shared ones."""

    def __post_init__(self) -> None:
        """
        Raises:
            InputError: if created_before is not later than created_after.
        """
        after, before = self.created_after, self.created_before
        if after is not None and before is not None and after >= before:
            raise InputError(
                f"created_before: expected a moment later than created_after, "
                f"{after.isoformat()}, got {before.isoformat()}"
            )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items, and the cursor of the next page; None on the last page."""

    items: Sequence[T]
    next_cursor: str | None


def page_queries(wanted: SearchFilter, cursor: str | None) -> Iterator[Select[SearchRow]]:
    """Queries to run in turn until they gave one row more than a page holds; that extra row tells
    whether there is another page.

    Rows with a value come first, then those without, in both directions. Each query follows an
    index.

    Raises:
        InputError: if the cursor is not one of this sort order.
    """
    key, down = _sort_key(wanted.sort), wanted.sort.startswith("-")
    by_id = SearchRow.id.desc() if down else SearchRow.id.asc()
    last = None if cursor is None else _read_cursor(cursor, wanted.sort)
    query = _filtered(wanted).limit(wanted.limit + 1)
    optional = key is not SearchRow.created_at
    if last is None or last[0] is not None:
        valued = query.where(key.is_not(None)) if optional else query
        if last is not None:
            row = tuple_(key, SearchRow.id)
            place = tuple_(literal(last[0], key.type), literal(last[1]))
            valued = valued.where(row < place if down else row > place)
        yield valued.order_by(key.desc() if down else key.asc(), by_id)
    if optional:
        valueless = query.where(key.is_(None))
        if last is not None and last[0] is None:
            valueless = valueless.where(SearchRow.id < last[1] if down else SearchRow.id > last[1])
        yield valueless.order_by(by_id)


def _filtered(wanted: SearchFilter) -> Select[SearchRow]:
    query = select(SearchRow)
    for column, value in (
        (SearchRow.supernet, wanted.supernet),
        (SearchRow.device, wanted.device),
        (SearchRow.status, wanted.status),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.seen_by is not None:
        theirs = or_(SearchOwnerRow.owner == wanted.seen_by, SearchOwnerRow.shared)
        query = query.where(SearchRow.id.in_(select(SearchOwnerRow.search_id).where(theirs)))
    if wanted.latency_ms_max is not None:
        query = query.where(SearchRow.latency_ms <= wanted.latency_ms_max)
    if wanted.top1_min is not None:
        query = query.where(SearchRow.top1 >= wanted.top1_min)
    if wanted.created_after is not None:
        query = query.where(SearchRow.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(SearchRow.created_at < wanted.created_before)
    return query


def read_page(
    rows: Sequence[SearchRow], wanted: SearchFilter, read: Callable[[SearchRow], T]
) -> Page[T]:
    """The page of the rows that `page_queries` found."""
    shown = rows[: wanted.limit]
    more = len(rows) > wanted.limit
    return Page([read(row) for row in shown], _cursor(shown[-1], wanted.sort) if more else None)


def _sort_key(sort: Sort) -> InstrumentedAttribute[Any]:
    match sort.lstrip("-"):
        case "latency_ms":
            return SearchRow.latency_ms
        case "top1":
            return SearchRow.top1
        case _:
            return SearchRow.created_at


def _cursor(row: SearchRow, sort: Sort) -> str:
    value = getattr(row, sort.lstrip("-"))
    if isinstance(value, datetime):
        value = value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([sort, value, row.id]).encode()).decode()


def _read_cursor(cursor: str, sort: Sort) -> tuple[float | datetime | None, str]:
    try:
        made_for, value, search_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if sort.lstrip("-") == "created_at":
            value = datetime.fromisoformat(value).astimezone(UTC)
        elif value is not None and not math.isfinite(value):
            raise ValueError("not finite")
        if made_for != sort or not isinstance(search_id, str):
            raise ValueError("of another sort order")
        if not re.fullmatch("[0-9a-f]{1,32}", search_id):
            raise ValueError("no id")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"cursor: expected next_cursor of a page with sort={sort}, got {cursor[:40]!r}; "
            "leave it out to start anew"
        ) from error
    return value, search_id
