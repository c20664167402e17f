"""A file of a user's, and errors that say where in it a field stands."""

from __future__ import annotations

import json
import re
import tomllib
from ast import literal_eval
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from models.errors import (
    MAX_PROBLEMS,
    FieldPath,
    InputError,
    InvalidDocument,
    NotFound,
    show_path,
)
from models.schema.lines import Lines, json_lines, line_of, toml_lines
from models.schema.strict_json import parse_strict

MAX_TOML_BYTES = 2**20
MAX_JSON_BYTES = 2**28

_PART = re.compile(r"""\.(\w+)|\[(\d{1,9})\]|\[('(?:[^'\\]|\\.)*')\]""")
_PLACE = re.compile(rf"\w+((?:{_PART.pattern})+): ")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was parsed. `value` is plain data."""

    path: Path
    text: str
    value: Any
    find_lines: Callable[[str], Lines]

    def read(
        self, reader: Callable[Concatenate[Any, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """`reader(value, ...)`, with file and line in front of what it says of a wrong field.

        Raises:
            InputError: what the reader raises, with its place in the file.
        """
        try:
            return reader(self.value, *args, **options)
        except InvalidDocument as error:
            raise InputError(self._placed(error)) from error
        except NotFound as error:
            raise NotFound(f"{self.path}: {error}") from error
        except InputError as error:
            lines = self.find_lines(self.text)
            line = line_of(lines, _path_at_start(str(error)))
            place = "" if line is None else f"line {line}: "
            raise InputError(f"{self.path}: {place}{error}") from error

    def _placed(self, error: InvalidDocument) -> str:
        lines = self.find_lines(self.text)
        told = []
        for problem in error.problems[:MAX_PROBLEMS]:
            line = line_of(lines, problem.path)
            place = "" if line is None else f"line {line}: "
            told.append(f"{place}{show_path(error.root, problem.path)}: {problem.text}")
        if more := len(error.problems) - len(told):
            told.append(f"and {more} more")
        return f"{self.path}: {'; '.join(told)}"


def _path_at_start(message: str) -> FieldPath:
    """The path that a message of a reader of its own begins with, as in `table.entries['key']: `;
    empty if it begins otherwise."""
    if (place := _PLACE.match(message)) is None:
        return ()
    parts = _PART.findall(place[1])
    return tuple(name or (int(index) if index else literal_eval(key)) for name, index, key in parts)


def read_toml(path: Path) -> Document:
    """Parse a TOML file.

    Raises:
        NotFound: if there is no such file.
        InputError: if it cannot be read, is too large, or is not TOML.
    """
    text = _text(path, "TOML", MAX_TOML_BYTES, lambda content: "utf-8-sig")
    try:
        return Document(path, text, tomllib.loads(text), toml_lines)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "TOML", error) from error


def read_json(path: Path) -> Document:
    """Parse a JSON file strictly: no NaN, no infinity, no field twice.

    Raises:
        NotFound: if there is no such file.
        InputError: if it cannot be read, is too large, or is not such JSON.
    """
    text = _text(path, "JSON", MAX_JSON_BYTES, json.detect_encoding)
    try:
        return Document(path, text, parse_strict(text), json_lines)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "JSON", error) from error


def _text(path: Path, kind: str, most: int, encoding_of: Callable[[bytes], str]) -> str:
    try:
        size = path.stat().st_size
        if size > most:
            raise InputError(f"{path}: expected at most {most} bytes, got {size}")
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except FileNotFoundError as error:
        raise NotFound(f"{path}: expected a {kind} file, found none") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: not text, or a NUL in the path
        raise _unreadable(path, kind, error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> InputError:
    reason = str(error)
    if isinstance(error, RecursionError):
        reason = "nested too deep"
    elif "int_max_str_digits" in reason:
        reason = "a number has thousands of digits"
    elif isinstance(error, OSError):
        reason = str(error.strerror)
    return InputError(f"{path}: expected a {kind} file: {reason}")
