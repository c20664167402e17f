"""Strict types and ranges, on a dataclass of each kind of field, and where errors are placed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Interval, Len

from models.errors import InputError, InvalidDocument, NotFound
from models.schema import STRICT, Name, ReadBy, Text, read_json, read_toml, validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    __pydantic_config__ = STRICT

    size: Annotated[int, Interval(ge=1, le=9)]
    on: bool = False


def read_even(value: object) -> int:
    if not isinstance(value, int) or value % 2:
        raise InvalidDocument.at("even", ("half",), "expected a whole number")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    __pydantic_config__ = STRICT

    name: Name
    rate: Annotated[float, Interval(gt=0, lt=1)]
    pair: tuple[int, int] = (0, 0)
    mode: Literal["a", "b"] = "a"
    note: Text | None = None
    parts: Annotated[tuple[Part, ...], Len(1, 2)] = (Part(size=1),)
    even: Annotated[int, ReadBy(read_even)] = 0


GOOD = {"name": "n", "rate": 0.5, "parts": [{"size": 2}]}


def test_good_data_becomes_the_dataclass():
    value = validate(Whole, GOOD | {"pair": [1, 2], "note": "x", "even": 4}, "whole")
    assert value == Whole(name="n", rate=0.5, pair=(1, 2), note="x", parts=(Part(size=2),), even=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": "0.5"}, "whole.rate: expected a number above 0, below 1, got '0.5'"),
        ({"rate": 1}, "whole.rate: expected a number above 0, below 1, got 1"),
        ({"rate": True}, "whole.rate: expected a number above 0, below 1, got true"),
        ({"rate": math.nan}, "whole.rate: expected a number above 0, below 1, got nan"),
        ({"rate": math.inf}, "whole.rate: expected a number above 0, below 1, got inf"),
        ({"rate": None}, "whole.rate: expected a number above 0, below 1, got None"),
        ({"pair": [1]}, "whole.pair[1]: missing, expected an integer"),
        ({"pair": [1, 2.0]}, "whole.pair[1]: expected an integer, got 2.0"),
        ({"pair": [1, 2, 3]}, "whole.pair: expected a list of 2 entries, got [1, 2, 3]"),
        ({"mode": "c"}, "whole.mode: expected one of a, b, got 'c'"),
        ({"note": 3}, "whole.note: expected one line of 1 to 500 printable characters, got 3"),
        (
            {"note": "a\nb"},
            "whole.note: expected one line of 1 to 500 printable characters, got",
        ),
        ({"name": "a/b"}, "whole.name: expected 1 to 64 of a-z"),
        ({"parts": []}, "whole.parts: expected a list of 1 to 2 entries, got []"),
        ({"parts": [{"size": 0}]}, "whole.parts[0].size: expected an integer from 1 to 9, got 0"),
        ({"parts": [{"size": 1, "on": 1}]}, "whole.parts[0].on: expected true or false, got 1"),
        ({"parts": [3]}, "whole.parts[0]: expected a table with size, on, got 3"),
        ({"parts": [{"sise": 1, "size": 1}]}, "whole.parts[0].sise: unknown field, did you mean"),
        ({"even": 3}, "whole.even.half: expected a whole number"),
        ({"a\x1bb": 3}, r"whole['a\x1bb']: unknown field, known: name, rate, pair"),
    ],
)
def test_what_does_not_hold_is_named(change, message):
    with pytest.raises(InvalidDocument) as error:
        validate(Whole, GOOD | change, "whole")
    assert str(error.value).startswith(message)
    assert ";" not in str(error.value), "one thing is wrong"


def test_each_wrong_field_is_named_up_to_five():
    with pytest.raises(InvalidDocument) as error:
        validate(Whole, {"rate": 3, "pair": [0.5, 0.5], "mode": 1, "note": 1, "even": 1}, "whole")
    assert len(error.value.problems) == 7
    assert str(error.value).count(";") == 5
    assert str(error.value).endswith("; and 2 more")


@pytest.mark.parametrize("value", [None, [], 3, "x", True])
def test_what_is_no_table_is_refused(value):
    with pytest.raises(InvalidDocument, match="^whole: expected a table with name, rate"):
        validate(Whole, value, "whole")


def test_files_name_line_and_field(tmp_path):
    toml, as_json = tmp_path / "whole.toml", tmp_path / "whole.json"
    toml.write_text(
        'name = "n"\n# rate = 2\nrate = 2\n\n[[parts]]\nsize = 1\n[[parts]]\nsize = 0\n'
    )
    with pytest.raises(InputError) as error:
        read_toml(toml).read(lambda value: validate(Whole, value, "whole"))
    assert str(error.value) == (
        f"{toml}: line 3: whole.rate: expected a number above 0, below 1, got 2; "
        "line 8: whole.parts[1].size: expected an integer from 1 to 9, got 0"
    )
    as_json.write_text(json.dumps(GOOD | {"parts": [{"size": 0}]}, indent=1))
    with pytest.raises(InputError, match=r"whole.json: line 6: whole.parts\[0\].size: "):
        read_json(as_json).read(lambda value: validate(Whole, value, "whole"))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("profile.batch: expected an integer", 3),
        ("profile.table['conv-k3'].p50_ms: expected a number", 6),
        ("profile.table['conv-k3'].p90_ms: expected a number", 5),
        ("profile.table['not there'][3]: expected a number", 4),
        ("profile.table['it\\'s']: expected an object", 8),
        ("profile.conditions.threads: expected an integer", None),
        ("device 'x': batch: expected", None),
        ("profile: expected an object", None),
    ],
)
def test_a_message_that_begins_with_a_place_gets_its_line(tmp_path, message, line):
    path = tmp_path / "profile.json"
    path.write_text(
        '{\n "name": "n",\n "batch": "1",\n "table": {\n  "conv-k3": {\n   "p50_ms": "x"\n  },\n'
        '  "it\'s": 3\n }\n}\n'
    )

    def fail(value: object) -> None:
        raise InputError(message)

    with pytest.raises(InputError) as error:
        read_json(path).read(fail)
    place = "" if line is None else f"line {line}: "
    assert str(error.value) == f"{path}: {place}{message}"


def test_readers_without_a_field_to_name_keep_their_kind(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}")

    def lost(value: object) -> None:
        raise NotFound("unknown device 'x'")

    with pytest.raises(NotFound, match=r"a.json: unknown device 'x'"):
        read_json(path).read(lost)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"a = ", "expected a TOML file: Invalid value"),
        ("a.toml", b"a = 1\na = 2", "expected a TOML file: Cannot overwrite a value"),
        ("a.toml", b"a = " + b"9" * 5000, "expected a TOML file: a number has thousands of digits"),
        ("a.toml", b"a = " + b"[" * 5000, "expected a TOML file: nested too deep"),
        ("a.toml", b"\xff\xfea", "expected a TOML file: "),
        ("a.toml", b"#" * (2**20 + 1), "expected at most 1048576 bytes"),
        ("a.json", b"", "expected a JSON file: Expecting value"),
        ("a.json", b'{"a": 1, "a": 2}', "expected a JSON file: field 'a' is given twice"),
        ("a.json", b'{"a": NaN}', "expected a JSON file: expected finite numbers, got NaN"),
        ("a.json", b"[" * 100_000, "expected a JSON file: nested too deep"),
        ("a.json", b"9" * 5000, "expected a JSON file: a number has thousands of digits"),
        ("a.json", b"\x80abc", "expected a JSON file: "),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        (read_toml if name.endswith("toml") else read_json)(path)


@pytest.mark.parametrize("read", [read_toml, read_json])
def test_files_that_are_not_there(tmp_path, read):
    with pytest.raises(NotFound, match="found none"):
        read(tmp_path / "gone")
    with pytest.raises(InputError, match="Is a directory"):
        read(tmp_path)
    with pytest.raises(InputError, match="expected a .* file"):
        read(tmp_path / "a\0b")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_of_other_systems_is_read(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "é"}'.encode(encoding))
    assert read_json(path).value == {"name": "é"}
