"""The tree of errors that every layer raises and one handler at each edge translates.

SubnetSearchError           something failed on our side        exit 1, HTTP 500
├── InputError              the caller can mend it              exit 2, HTTP 422
│   ├── InvalidDocument     fields of a user's file or request  exit 2, HTTP 422
│   ├── NotFound            an unknown name                     exit 2, HTTP 404
│   ├── Conflict            valid, but not in this state        exit 2, HTTP 409
│   └── Infeasible          no network meets the limits         exit 2, HTTP 422 with the floor
└── CorruptBundle           stored weights or card do not hold  exit 1, HTTP 500
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


class SubnetSearchError(Exception):
    """Root of every error this project raises on purpose."""


class InputError(SubnetSearchError, ValueError):
    """The caller's input is wrong; the message says what, expected, got and what to do."""


class InputWarning(UserWarning):
    """Input that is taken, but is probably not what was meant; the message says what to do.

    The command line prints it to stderr, `warning: ...`."""


FieldPath = tuple[str | int, ...]
"""The place of a field in a document: names of fields, and positions in lists from 0."""
MAX_PROBLEMS = 5
"""Wrong fields that one message tells of."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a document."""

    path: FieldPath
    text: str
    """What was expected, what was found, and what to do."""


class InvalidDocument(InputError):
    """Fields of a user's document do not hold.

    Attributes:
        problems: at least one.
        root: what the document is, the first word of every path in the message.
    """

    def __init__(self, problems: Iterable[FieldProblem], root: str) -> None:
        self.problems, self.root = tuple(problems), root
        shown = [
            f"{show_path(root, problem.path)}: {problem.text}"
            for problem in self.problems[:MAX_PROBLEMS]
        ]
        if more := len(self.problems) - len(shown):
            shown.append(f"and {more} more")
        super().__init__("; ".join(shown))

    @classmethod
    def at(cls, root: str, path: FieldPath, text: str) -> InvalidDocument:
        """One wrong field."""
        return cls([FieldProblem(path, text)], root)

    def within(self, root: str, *path: str | int) -> InvalidDocument:
        """The same problems, of a document whose field at `path` is this one."""
        return InvalidDocument([replace(p, path=(*path, *p.path)) for p in self.problems], root)


def show_path(root: str, path: FieldPath) -> str:
    """A path as messages write it, such as `space.stages[2].width`."""
    shown = root
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif part.replace("-", "_").isidentifier() and part.isascii():
            shown += f".{part[:80]}"
        else:
            shown += f"[{ascii(part[:80])}]"
    return shown


def show_value(value: object) -> str:
    """A value as messages show it: short, printable, in the words of TOML and JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 100:  # thousands of digits cannot be shown
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > 60:
        return f"{ascii(value[:60])}... ({len(value)} characters)"
    if value is None or isinstance(value, str | int | float):
        return ascii(value)
    if isinstance(value, list | tuple):
        simple = len(value) <= 8 and all(isinstance(v, int | float | str) for v in value)
        shown = f"[{', '.join(map(show_value, value))}]" if simple else ""
        return shown if shown and len(shown) <= 80 else f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


class NotFound(InputError):
    """A name that does not exist, with the nearest one that does."""

    @classmethod
    def named(cls, kind: str, name: str, known: Iterable[str]) -> NotFound:
        """Build the message for an unknown `name` of a `kind` ("device", "supernet")."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(f"unknown {kind} {name!r}: {hint}known: {', '.join(names) or 'none'}")


class Conflict(InputError):
    """A valid request that the present state does not allow."""


def _six_digits_down(value: float) -> str:
    """A positive number that is at most `value`, so that asking for it is possible."""
    scale = 10.0 ** (5 - math.floor(math.log10(value)))
    return f"{math.floor(value * scale) / scale:.12g}"


class Infeasible(InputError):
    """No architecture meets the limits.

    Attributes:
        limit: the limit that binds.
        budget: the requested value.
        floor: of an upper limit the least possible value; where each limit can be met by itself,
            the value of the network that comes nearest to meeting all of them. None of a lower
            limit.
        ceiling: the same of a lower limit: the largest possible value. None of an upper limit.
        nearest: budgets by name that can be met together, the nearest found to those requested.
    """

    def __init__(
        self,
        limit: str,
        budget: float,
        floor: float,
        nearest: Mapping[str, float] | None = None,
        *,
        alone: bool = True,
    ) -> None:
        self.limit, self.budget = limit, budget
        self.floor: float | None = floor
        self.ceiling: float | None = None
        self.nearest = {limit: floor} if nearest is None else dict(nearest)
        which = "smallest network of this space"
        if not alone:
            others = ", ".join(name for name in self.nearest if name != limit)
            which = f"network that comes nearest to meeting {others} as well"
            if not others:
                which = "network found that comes nearest to meeting all limits"
        together = ", ".join(f"{name} {budget:.6g}" for name, budget in self.nearest.items())
        super().__init__(
            f"infeasible: {limit} <= {budget:.6g} asked, but the {which} "
            f"needs {floor:.6g}; ask for at least {together}, or a smaller supernet"
        )

    @classmethod
    def above(
        cls, limit: str, budget: float, ceiling: float, which: str = "largest network of this space"
    ) -> Infeasible:
        """A lower limit that no network reaches.

        Args:
            which: the network that `ceiling` is of.
        """
        error = cls(limit, budget, ceiling)
        error.floor, error.ceiling = None, ceiling
        error.args = (
            f"infeasible: {limit} >= {budget:.6g} asked, but the {which} has "
            f"{ceiling:.6g}; ask for at most {limit} {_six_digits_down(ceiling)}, "
            "or a larger supernet",
        )
        return error

    def noted(self, note: str) -> Infeasible:
        """The same error with a further sentence."""
        self.args = (f"{self}. {note}",)
        return self


class CorruptBundle(SubnetSearchError):
    """A bundle on disk does not match its card (truncated, altered or incomplete)."""
