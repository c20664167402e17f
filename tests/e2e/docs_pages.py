"""The documentation as something to run: its commands with what they answer, its Python, its table
of settings."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import DocInfo, Interval

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ANYTHING = "..."
"""In an answer: any text; as a whole line, any lines."""


@dataclass
class Command:
    """A command of a page, with the answer that is shown."""

    page: str
    line: int
    text: str
    shown: list[str] = field(default_factory=list)
    answer_line: int = 0
    """Of the first line that is shown."""

    @property
    def fails(self) -> bool:
        """Whether what is shown is a refusal."""
        return bool(self.shown) and self.shown[0].startswith("error: ")


def fences(page: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Each fenced block: its language, the number of its first line, its lines."""
    language, start, block = "", 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            if start:
                yield language, start, block
                start = 0
            else:
                language, start, block = line[3:], number + 1, []
        elif start:
            block.append(line)


def commands() -> list[Command]:
    """Every command, in the order of the pages."""
    found: list[Command] = []
    for page in PAGES:
        for language, start, block in fences(page):
            if language != "console":
                continue
            for number, line in enumerate(block, start):
                if line.startswith("$ "):
                    found.append(Command(page.name, number, line[2:]))
                elif found[-1].text.endswith("\\"):
                    found[-1].text = found[-1].text[:-1] + line.strip()
                else:
                    found[-1].answer_line = found[-1].answer_line or number
                    found[-1].shown.append(line)
    return found


def programs() -> list[tuple[str, str]]:
    """The Python of each page, all its blocks one after the other."""
    texts = [
        (page.name, "\n\n".join("\n".join(b) for kind, _, b in fences(page) if kind == "python"))
        for page in PAGES
    ]
    return [(name, text) for name, text in texts if text]


def matches(shown: list[str], answer: str) -> bool:
    """Whether an answer looks as shown: the same words in the same order, any numbers.

    Numbers differ with the machine and its load, and so may networks found; words may not.
    """
    pattern = "" if shown[0] == ANYTHING else r"(?:.*\n)*?"
    for line in shown:
        escaped = re.escape(words_of(line)).replace(re.escape(ANYTHING), ".*?")
        pattern += r"(?:.*\n)*?" if line == ANYTHING else rf"{escaped}\n"
    body = "".join(f"{words_of(line)}\n" for line in answer.strip().splitlines())
    return re.match(pattern, body) is not None


def words_of(line: str) -> str:
    """A line as it is compared: any number, time or hash stands for another."""
    line = " ".join(line.split())
    without = re.sub(r"\b(?=\d*[a-f])[0-9a-f]{16,}\b", "HEX", line)
    without = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?", "TIME", without)
    return re.sub(r"-?\d(?:[\d,]*\d)?(\.\d+)?(e[+-]?\d+)?", "#", without)


def described_fields(module: str, class_name: str) -> Iterator[tuple[str, str, str]]:
    """Of each field of a class: its name, its annotation, and the string below it."""
    source = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    (found,) = [n for n in source.body if isinstance(n, ast.ClassDef) and n.name == class_name]
    for node, after in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        assert isinstance(node.target, ast.Name)
        words = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = " ".join(str(after.value.value).split())
        yield node.target.id, ast.unparse(node.annotation).replace("'", '"'), words


def recipe_table(described: type) -> str:
    """What a recipe may say in one of its tables, as the class that it is read into has it."""
    rows = ["| field | default | allowed | meaning |", "|---|---|---|---|"]
    hints = get_type_hints(described, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(described)}
    for owner in reversed(described.__mro__[:-1]):
        if not dataclasses.is_dataclass(owner):
            continue
        for name, _, words in described_fields(owner.__module__, owner.__name__):
            if name not in fields or owner is not described and name in vars(described):
                continue
            default = fields[name].default
            shown = "" if default is dataclasses.MISSING else f"`{_as_toml(default)}`"
            rows.append(f"| `{name}` | {shown} | {_allowed(hints[name])} | {words} |")
    return "\n".join(rows)


def _as_toml(value: object) -> str:
    """A default; one that a file cannot state is said in words."""
    if value is None:
        return "not set"
    if dataclasses.is_dataclass(value):
        return "as below"
    return json.dumps(value)


def _allowed(hint: Any) -> str:
    """What a field takes, in words."""
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_allowed(part) for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in get_args(hint))
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        for note in notes:
            if isinstance(note, DocInfo):
                return note.documentation
            if isinstance(note, Interval):
                return f"{_allowed(inner)}, {_range(note)}"
        return _allowed(inner)
    if get_origin(hint) is tuple:
        return f"list of: {_allowed(get_args(hint)[0])}"
    plain = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return plain.get(hint, "table")


def _range(interval: Interval) -> str:
    """An interval in words."""
    words = (("at least", interval.ge), ("above", interval.gt), ("at most", interval.le))
    parts = [f"{word} {value:,}" for word, value in words if value is not None]
    return " and ".join([*parts, *([f"below {interval.lt:,}"] if interval.lt is not None else [])])


def settings_table() -> str:
    """The settings as service/settings.py has them."""
    rows = ["| variable | default | what |", "|---|---|---|"]
    for name, annotation, words in described_fields("service.settings", "Settings"):
        choices = ", ".join(re.findall(r'"(\w+)"', annotation))
        value = Settings.model_fields[name].get_default()
        default = "" if value is None else f"`{value}`"
        if value is None and (said := re.search(r" Default: ([^.]*)\.", words)):
            default, words = said[1], words.replace(said[0], "")
        rows.append(f"| `SUBNET_{name.upper()}` | {default} | {words or f'One of {choices}.'} |")
    return "\n".join(rows)
