"""The client's errors under their former name, for one version; see `service.client`."""

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
