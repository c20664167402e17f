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
from collections.abc import Iterable, Mapping


class SubnetSearchError(Exception):
    """Root of every error this project raises on purpose."""


class InputError(SubnetSearchError, ValueError):
    """The caller's input is wrong; the message says what, expected, got and what to do."""


class InputWarning(UserWarning):
    """Input that is taken, but is probably not what was meant; the message says what to do.

    The command line prints it to stderr, `warning: ...`."""


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
    """No architecture meets the limits.

    Attributes:
        limit: the limit that binds.
        budget: the requested value.
        floor: the least possible value; where each limit can be met by itself, the value of the
            network that comes nearest to meeting all of them.
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
        self.limit, self.budget, self.floor = limit, budget, floor
        self.nearest = {limit: floor} if nearest is None else dict(nearest)
        which = "smallest network of this space"
        if not alone:
            others = ", ".join(name for name in self.nearest if name != limit)
            which = f"network that comes nearest to meeting {others} as well"
        together = ", ".join(f"{name} {budget:.6g}" for name, budget in self.nearest.items())
        super().__init__(
            f"infeasible: {limit} <= {budget:.6g} asked, but the {which} "
            f"needs {floor:.6g}; ask for at least {together}, or a smaller supernet"
        )


class CorruptBundle(SubnetSearchError):
    """A bundle on disk does not match its card (truncated, altered or incomplete)."""
