"""The line of every field of a TOML or JSON text that is known to be valid.

Neither of the standard library's parsers tells where a value stood. One reader does for both: their
containers are written alike, and a value itself is only stepped over.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

from models.errors import FieldPath

_TOKEN = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<skipped>[ \t\r]+|\#[^\n]*)
    | (?P<text>\"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*')
    | (?P<mark>[][{},=:])
    | (?P<word>[^][{},=:"'\#\s]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_MOST_CHARACTERS = 4_000_000
"""Longer texts take seconds to go through; their errors name the field alone."""

Lines = dict[FieldPath, int]


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def line_of(lines: Lines, path: FieldPath) -> int | None:
    """The line of a field, or of the nearest field around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def json_lines(text: str) -> Lines:
    """Lines, from 1, by path; empty for a text that is too long or nests too deep."""
    return _lines(text, toml=False)


def toml_lines(text: str) -> Lines:
    """Lines, from 1, by path; empty for a text that is too long or nests too deep."""
    return _lines(text, toml=True)


def _lines(text: str, *, toml: bool) -> Lines:
    if len(text) > _MOST_CHARACTERS:
        return {}
    reader = _Reader(text)
    try:
        reader.toml() if toml else reader.value(())
    except (RecursionError, StopIteration):
        return {}
    return reader.lines


class _Reader:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self.lines: Lines = {}
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._tables: dict[FieldPath, int] = {}
        """Last position of each TOML array of tables."""

    def toml(self) -> None:
        """A TOML document: headers, and keys with values."""
        table: FieldPath = ()
        while self._next.kind != "end":
            if self._is("\n"):
                self._take()
            elif self._is("["):
                table = self._header()
            else:
                self._member(table)

    def value(self, path: FieldPath) -> None:
        """A value, and the lines of all that is inside it."""
        self._skip_newlines()
        if self._is("{"):
            self._take()
            while not self._closes("}"):
                self._member(path)
        elif self._is("["):
            self._take()
            position = 0
            while not self._closes("]"):
                self.lines[*path, position] = self._next.line
                self.value((*path, position))
                position += 1
        else:
            while self._next.kind in ("text", "word") or self._is(":"):
                self._take()

    def _member(self, table: FieldPath) -> None:
        line = self._next.line
        path = (*table, *self._keys())
        self._skip_newlines()  # of JSON
        self._take()  # = or :
        for length in range(len(table) + 1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
        self.value(path)

    def _header(self) -> FieldPath:
        line = self._take().line
        if is_array := self._is("["):
            self._take()
        keys = self._keys()
        self._take()
        if is_array:
            self._take()
        path: FieldPath = ()
        for place, key in enumerate(keys):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if is_array and place == len(keys) - 1:
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
                self.lines.setdefault(path, line)
        return path

    def _keys(self) -> FieldPath:
        """A key, which TOML may write as several with dots."""
        keys: list[str] = []
        while self._next.kind in ("text", "word"):
            token = self._take()
            if token.kind == "text":
                keys.append(_decoded(token.text))
            else:
                keys += [key for key in token.text.split(".") if key]
        return tuple(keys)

    def _closes(self, mark: str) -> bool:
        """Step over what separates members; whether the container ends here."""
        while self._is("\n") or self._is(","):
            self._take()
        if self._is(mark):
            self._take()
            return True
        return False

    def _skip_newlines(self) -> None:
        while self._is("\n"):
            self._take()

    def _is(self, mark: str) -> bool:
        return self._next.kind in ("mark", "newline") and self._next.text == mark

    def _take(self) -> _Token:
        taken, self._next = self._next, next(self._tokens)
        return taken


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skipped":
            yield _Token(str(match.lastgroup), match[0], line)
        line += match[0].count("\n")
    yield _Token("end", "", line)


def _decoded(text: str) -> str:
    if text[0] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return str(tomllib.loads(f"key = {text}")["key"])
