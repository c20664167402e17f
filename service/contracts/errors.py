"""Errors of the service, with the trees of `models.errors` and `latency_tables` above them.

SubnetSearchError           500
├── InputError              422
│   ├── NotFound            404
│   ├── Conflict            409
│   ├── Infeasible          422, with limit, budget, floor and nearest
│   ├── BadTable            422, with everything that is wrong with the table
│   ├── BadRequest          400
│   ├── Gone                410
│   ├── InvalidKey          401
│   ├── NotAllowed          403
│   ├── CrossOrigin         403
│   ├── UnnamedProxy        403
│   ├── UnknownHost         421
│   └── TooManyRequests     429, with Retry-After
├── QueueFull               429, with Retry-After
├── StoreUnavailable        503, with Retry-After
└── DownloadFailed          502

`service.contracts.problems` turns any of them into a problem document.
"""

from __future__ import annotations

from models.errors import InputError, SubnetSearchError


class BadRequest(InputError):
    """A request that cannot be read at all."""


class Gone(InputError):
    """A link that was used, has expired or was cancelled."""


class InvalidKey(InputError):
    """No API key, or one that is unknown, expired or revoked."""


class NotAllowed(InputError):
    """The key's scope is too narrow, or what is to be changed belongs to somebody else."""


class CrossOrigin(InputError):
    """A page of another site asks for a change."""


class UnnamedProxy(InputError):
    """The request came through a proxy that the settings do not name."""


class UnknownHost(InputError):
    """The request is for a host that the settings do not name."""


class TooManyRequests(InputError):
    """The key has used up its rate.

    Attributes:
        retry_after_s: seconds until the next request is admitted.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(SubnetSearchError):
    """The queue holds as many searches as it may."""

    retry_after_s = 10


class StoreUnavailable(SubnetSearchError):
    """The database does not answer, or stays locked."""

    retry_after_s = 5


class DownloadFailed(SubnetSearchError):
    """A published file cannot be had from any place; the message says how to fetch it by hand."""
