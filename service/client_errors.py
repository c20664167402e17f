"""The client's errors under their former name, until 2.0.0; see `service.client`."""

from service.client import (
    Conflict,
    DamagedDownload,
    Infeasible,
    NotFinished,
    NotFound,
    ProblemError,
    Refused,
    SearchCancelled,
    ServerFailed,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)

__all__ = [
    "Conflict",
    "DamagedDownload",
    "Infeasible",
    "NotFinished",
    "NotFound",
    "ProblemError",
    "Refused",
    "SearchCancelled",
    "ServerFailed",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
]
