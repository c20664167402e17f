"""Plain data checked against a dataclass by pydantic: strict types, ranges, no unknown field.

A message says what a field's annotation allows, so that types and ranges are stated once.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from annotated_types import Interval, Len

from models.errors import FieldPath, FieldProblem, InputError, InvalidDocument, show_value

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_WORDS: Mapping[object, str] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    tuple: "a list",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class ReadBy:
    """Annotation of a field that a function of its own reads, such as one of several types."""

    reader: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        from pydantic import PlainValidator

        return PlainValidator(self.reader).__get_pydantic_core_schema__(source, handler)


def validate(kind: type[T], value: object, root: str) -> T:
    """`value`, as JSON or TOML gives it, as a dataclass.

    Strict: 3.0 and "3" are no integers, and true is none. A field that the dataclass does not have
    is an error, if its `__pydantic_config__` is `STRICT`.

    Args:
        root: what the value is, for messages ("recipe").

    Raises:
        InvalidDocument: naming each wrong field, what was expected, and what was found.
    """
    from pydantic import ValidationError

    try:
        # Through JSON: only there do strict types take a list for a tuple.
        text = json.dumps(value, default=lambda other: {type(other).__name__: str(other)})
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        reason = "is nested too deep" if deep else "a number has thousands of digits"
        raise InvalidDocument.at(root, (), reason) from error
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_json(text, strict=True))
    except ValidationError as error:
        # A list counts as too short if its entries are wrong: those are told.
        details = error.errors()
        inside = {d["loc"][:length] for d in details for length in range(len(d["loc"]))}
        short = [d for d in details if d["type"] != "too_short" or d["loc"] not in inside]
        raise InvalidDocument([p for d in short for p in _problems(kind, d)], root) from error


def read_member(value: Mapping[str, Any], name: str, reader: Callable[[Any], T], root: str) -> T:
    """`reader` of the field `name` of `value`.

    Raises:
        InvalidDocument: the reader's, with the path from `value`.
    """
    try:
        return reader(value[name])
    except InvalidDocument as error:
        raise error.within(root, name) from error


def read_each(values: Sequence[Any], reader: Callable[[Any], T], root: str) -> list[T]:
    """`reader` of each entry of a list.

    Raises:
        InvalidDocument: the first that the reader raises, with the entry's position.
    """
    read = []
    for index, value in enumerate(values):
        try:
            read.append(reader(value))
        except InvalidDocument as error:
            raise error.within(root, index) from error
    return read


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _problems(kind: type, details: Mapping[str, Any]) -> list[FieldProblem]:
    path: FieldPath = details["loc"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidDocument):
        return [FieldProblem((*path, *p.path), p.text) for p in cause.problems]
    if isinstance(cause, InputError):
        return [FieldProblem(path, str(cause))]
    match details["type"]:
        case "missing":
            text = f"missing, expected {_expected(kind, path) or 'it'}"
        case "unexpected_keyword_argument" | "extra_forbidden":
            text = f"unknown field, {_known(kind, path)}"
        case "json_invalid":
            text = f"cannot be read: {details['msg']}"
        case _:
            expected = _expected(kind, path) or details["msg"].removeprefix("Input should be ")
            text = f"expected {expected}, got {show_value(details['input'])}"
    return [FieldProblem(path, text)]


def _expected(kind: type, path: FieldPath) -> str:
    """What the annotation of a field allows; empty where that cannot be told."""
    annotation = _annotation(kind, path)
    return "" if annotation is None else describe(annotation)


def _known(kind: type, path: FieldPath) -> str:
    owner = _annotation(kind, path[:-1])
    names = [field.name for field in fields(owner)] if is_dataclass(owner) else []
    near = difflib.get_close_matches(str(path[-1]), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names)}"


def _annotation(kind: Any, path: FieldPath) -> Any:
    """The annotation of the field at `path` of a dataclass; None if it cannot be told."""
    annotation = kind
    for part in path:
        bare = _bare(annotation)
        try:
            if isinstance(part, str) and is_dataclass(bare):
                annotation = typing.get_type_hints(bare, include_extras=True)[part]
            elif isinstance(part, int) and get_origin(bare) in (tuple, list):
                members = get_args(bare)
                annotation = members[0 if members[-1] is ... else min(part, len(members) - 1)]
            elif isinstance(part, str) and get_origin(bare) is dict:
                annotation = get_args(bare)[1]
            else:
                return None
        except (KeyError, NameError):  # a name that its module imports for type checkers alone
            return None
    return annotation


def _bare(annotation: Any) -> Any:
    """Without metadata, and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return _bare(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation


def describe(annotation: Any) -> str:
    """What values an annotation allows, in words."""
    words, notes = _base_words(_bare(annotation)), _metadata(annotation)
    for note in notes:
        if documentation := getattr(note, "documentation", None):
            return str(documentation)
    for note in notes:
        if isinstance(note, Interval):
            words += _range(note)
        elif isinstance(note, Len):
            words += f" of {note.min_length} to {note.max_length} entries"
    return words


def _metadata(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        return [*_metadata(inner), *notes]
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return [note for part in get_args(annotation) for note in _metadata(part)]
    return []


def _base_words(bare: Any) -> str:
    if get_origin(bare) is Literal:
        return f"one of {', '.join(map(str, get_args(bare)))}"
    if is_dataclass(bare):
        return f"a table with {', '.join(field.name for field in fields(bare))}"
    if get_origin(bare) is tuple and ... not in get_args(bare):
        return f"a list of {len(get_args(bare))} entries"
    return _WORDS.get(get_origin(bare) or bare, str(getattr(bare, "__name__", bare)))


def _range(limits: Interval) -> str:
    least = [f" from {limits.ge}"] if limits.ge is not None else []
    least += [f" above {limits.gt}"] if limits.gt is not None else []
    most = [f" to {limits.le}"] if limits.le is not None and limits.ge is not None else []
    most += [f", at most {limits.le}"] if limits.le is not None and limits.ge is None else []
    most += [f", below {limits.lt}"] if limits.lt is not None else []
    return "".join([*least, *most])
