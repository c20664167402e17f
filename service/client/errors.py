"""Errors of the client. Those for 4xx are also the errors that the same call raises locally.

SubnetSearchError
├── ProblemError            the service answered with a problem document: `problem`
│   ├── Refused             4xx, also an InputError
│   │   ├── Unauthorized    401, 403
│   │   ├── NotFound        404, also models.errors.NotFound
│   │   ├── Conflict        409, also models.errors.Conflict
│   │   ├── Infeasible      422 with a floor, also models.errors.Infeasible
│   │   └── TooManyRequests 429, with retry_after_s
│   └── ServerFailed        5xx
├── Unreachable             no answer from the URL, or not in time
├── UnexpectedAnswer        the answer is not one of this service's version
├── NotFinished             a search has not ended in time: `search`
├── LinkUnfinished          a link ended without a device, or not in time: `link`
├── SearchCancelled         the search was cancelled: `search`
└── DamagedDownload         the received bytes have another sha256
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from models import errors
from models.errors import InputError, SubnetSearchError
from service.contracts import Problem

if TYPE_CHECKING:
    from service.client.answers import Search
    from service.contracts import LinkRead


class ProblemError(SubnetSearchError):
    """A problem document of the service.

    Attributes:
        problem: the document (RFC 9457).
        request_id: of the request in the service's log; None if unknown.
        retry_after_s: seconds after which to retry, if the service says so.
    """

    def __init__(
        self, problem: Problem, request_id: str | None = None, retry_after_s: float | None = None
    ) -> None:
        self.problem, self.request_id = problem, request_id
        self.retry_after_s = retry_after_s
        Exception.__init__(self, problem.detail)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class Refused(ProblemError, InputError):
    """The service refuses the request."""


class Unauthorized(Refused):
    """The API key is missing, not valid, or does not allow the request."""


class NotFound(Refused, errors.NotFound):
    """The service has nothing of that name."""


class Conflict(Refused, errors.Conflict):
    """A valid request that the present state does not allow."""


class Infeasible(Refused, errors.Infeasible):
    """No network meets the limits; `limit`, `budget`, `floor`, `ceiling` and `nearest` as in the
    problem."""

    def __init__(
        self, problem: Problem, request_id: str | None = None, retry_after_s: float | None = None
    ) -> None:
        ProblemError.__init__(self, problem, request_id, retry_after_s)
        assert problem.limit is not None
        assert problem.budget is not None
        self.limit, self.budget = problem.limit, problem.budget
        self.floor, self.ceiling = problem.floor, problem.ceiling
        least = problem.floor if problem.ceiling is None else problem.ceiling
        assert least is not None
        self.nearest = dict(problem.nearest or {problem.limit: least})


class TooManyRequests(Refused):
    """The key has used up its rate, or the queue is full."""


class ServerFailed(ProblemError):
    """The service failed; its log has details under `request_id`."""


class Unreachable(SubnetSearchError):
    """No answer from the URL, or not in time."""


class UnexpectedAnswer(SubnetSearchError):
    """An answer that this client does not understand."""


class NotFinished(SubnetSearchError):
    """A search has no result yet; the service continues it."""

    def __init__(self, message: str, search: Search) -> None:
        super().__init__(message)
        self.search = search


class LinkUnfinished(SubnetSearchError):
    """A link failed, has expired or was cancelled, or its device is not done."""

    def __init__(self, link: LinkRead) -> None:
        why = {
            "failed": f"failed: {link.error}",
            "expired": "has expired before the device was done: make a new one",
            "cancelled": "was cancelled",
        }.get(link.status, f"is {link.status}; it goes on: follow it again, or cancel it")
        super().__init__(f"link {link.id} {why}")
        self.link = link


class SearchCancelled(SubnetSearchError):
    """A search was cancelled while it was waited for."""

    def __init__(self, search: Search) -> None:
        super().__init__(f"search {search.id} was cancelled: ask again to have it done")
        self.search = search


class DamagedDownload(SubnetSearchError):
    """The downloaded bytes have another sha256 than expected; they are removed."""


_BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
}


def problem_error(
    status: int,
    document: object,
    *,
    instance: str = "",
    request_id: str | None = None,
    retry_after_s: float | None = None,
) -> ProblemError:
    """The exception of an error response, which may be a proxy's and no problem document."""
    try:
        given: dict[str, Any] = document if isinstance(document, dict) else {}
        problem = Problem.model_validate({"instance": instance, **given})
    except ValueError:
        name = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
        problem = Problem.model_validate(
            {
                "type": "about:blank",
                "title": name,
                "status": status,
                "detail": f"{instance} answered {status} {name}, without saying why",
                "instance": instance,
            }
        )
    least = problem.floor if problem.ceiling is None else problem.ceiling
    if status == 422 and None not in (problem.limit, problem.budget, least):
        return Infeasible(problem, request_id, retry_after_s)
    kind = _BY_STATUS.get(status, Refused if status < 500 else ServerFailed)
    return kind(problem, request_id, retry_after_s)
