"""Moments as people write them: the same moment however it is written, or a clear refusal."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from service.contracts.timestamps import read_moment, read_since

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)
NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


@given(MOMENTS)
def test_a_moment_is_itself_however_it_is_written(moment):
    for written in (moment, moment.isoformat(), moment.isoformat(" "), f" {moment.isoformat()} "):
        read = read_moment(written)
        assert read == moment
        assert read.tzinfo is UTC


@given(st.dates())
def test_a_date_is_its_midnight_in_utc(day):
    assert read_moment(day) == read_moment(day.isoformat()) == read_moment(f"{day}T00:00:00Z")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "expected a date such as"),
        ("last week", "got 'last week'"),
        ("7d", "expected a date"),
        ("2026-13-01", "expected a date"),
        ("2026-11-24T10:00", "says no time zone; add Z"),
        (datetime(2026, 11, 24), "says no time zone"),
        ("2026-11-24T10:00:00 01:00", "write + as %2B"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
        (7, "expected a date"),
        (None, "expected a date"),
    ],
)
def test_what_is_no_moment_is_refused(given, words):
    with pytest.raises(InputError) as info:
        read_moment(given)
    assert words in str(info.value)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("2026-11-24", timedelta(hours=12, minutes=30)),
        ("2026-11-24T11:30:00-01:00", timedelta(0)),
    ],
)
def test_so_long_ago(text, ago):
    assert read_since(text, lambda: NOW) == NOW - ago


@pytest.mark.parametrize("text", ["7", "d", "-1d", "1y", "7 d", "999999w", "٣d"])
def test_what_is_no_time_ago_is_refused(text):
    with pytest.raises(InputError, match="expected a date"):
        read_since(text, lambda: NOW)


def test_a_date_of_today():
    assert read_moment(date(2026, 11, 24)) == datetime(2026, 11, 24, tzinfo=UTC)
