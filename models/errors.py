"""The tree of errors that every layer raises and one handler at each edge translates.

SubnetSearchError           something failed on our side        exit 1, HTTP 500
├── InputError              the caller can mend it              exit 2, HTTP 422
│   ├── NotFound            an unknown name                     exit 2, HTTP 404
│   ├── Conflict            valid, but not in this state        exit 2, HTTP 409
│   └── Infeasible          no network meets the limits         exit 2, HTTP 422 with the floor
└── CorruptBundle           stored weights or card do not hold  exit 1, HTTP 500
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SubnetSearchError(Exception):
    """Root of every error this project raises on purpose."""


class InputError(SubnetSearchError, ValueError):
    """The caller's input is wrong; the message says what, expected, got and what to do."""


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


class Infeasible(InputError):
    """No architecture meets the limits; `limit` binds and `floor` is the least it can be.

    With `together_with`, each limit alone can be met, and `floor` is what the network that
    comes nearest to meeting all of them needs.
    """

    def __init__(
        self, limit: str, budget: float, floor: float, together_with: Sequence[str] = ()
    ) -> None:
        self.limit, self.budget, self.floor = limit, budget, floor
        which = "smallest network of this space"
        if together_with:
            which = f"network that comes nearest to meeting {', '.join(together_with)} as well"
        super().__init__(
            f"infeasible: {limit} <= {budget:.6g} asked, but the {which} "
            f"needs {floor:.6g}; ask for at least that, or a smaller supernet"
        )


class CorruptBundle(SubnetSearchError):
    """A bundle on disk does not match its card (truncated, altered or incomplete)."""
