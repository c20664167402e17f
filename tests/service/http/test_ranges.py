"""Ranges and conditions of RFC 9110, against slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.ranges import download, parse_range

CONTENT, SHA256 = bytes(range(100)), "ab" * 32
SIZES = st.integers(0, 120)


def answer(**headers):
    return download(CONTENT, SHA256, "model.onnx", **headers)


@given(SIZES, st.none() | SIZES, SIZES)
def test_from_first(first, last, size):
    found = parse_range(f"bytes={first}-{'' if last is None else last}", size)
    if last is not None and last < first:
        assert found is None
        return
    assert found is not None
    stop = size if last is None else last + 1
    assert list(found) == list(range(size))[first:stop]


@given(SIZES, SIZES)
def test_last_bytes(count, size):
    found = parse_range(f"bytes=-{count}", size)
    assert found is not None
    assert list(found) == list(range(size))[max(size - count, 0) :]


@given(st.text(max_size=20))
def test_any_header_is_survived(header):
    assert answer(range_=header).status_code in (200, 206, 416)


def test_whole():
    whole = answer()
    assert (whole.status_code, whole.body) == (200, CONTENT)
    assert whole.headers["ETag"] == f'"{SHA256}"'
    assert whole.headers["Content-Disposition"] == 'attachment; filename="model.onnx"'


def test_part():
    part = answer(range_="bytes=10-19")
    assert (part.status_code, part.body) == (206, CONTENT[10:20])
    assert part.headers["Content-Range"] == "bytes 10-19/100"


def test_beyond_the_end():
    beyond = answer(range_="bytes=100-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */100")


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=5-1", "x"])
def test_what_does_not_hold_is_ignored(header):
    assert (answer(range_=header).status_code, answer(range_=header).body) == (200, CONTENT)


def test_a_part_of_another_version_is_the_whole():
    assert answer(range_="bytes=0-1", if_range=f'"{SHA256}"').status_code == 206
    assert answer(range_="bytes=0-1", if_range='"other"').status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f'"{SHA256}"', 304),
        (f'W/"{SHA256}"', 304),
        (f'"x", "{SHA256}"', 304),
        ("*", 304),
        ('"x"', 200),
    ],
)
def test_unchanged(header, status):
    unchanged = answer(if_none_match=header, range_="bytes=0-1" if status == 304 else None)
    assert unchanged.status_code == status
    assert unchanged.headers["ETag"] == f'"{SHA256}"'
