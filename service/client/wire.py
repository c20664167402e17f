"""The client's HTTP requests: retries, errors, the event stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from models.errors import InputError
from service.client.errors import ProblemError, UnexpectedAnswer, Unreachable, problem_error
from service.contracts import Event

RETRIES = 4
"""Retries in a row."""
MAX_PAUSE_S = 30.0
SILENCE_S = 45.0
"""An event stream sends a comment every 15 s; one that is silent for longer is reopened."""

Answer = TypeVar("Answer", bound=BaseModel)


class Wire:
    """Connections to one service."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        timeout_s: float,
        transport: httpx.BaseTransport | None,
    ) -> None:
        """
        Raises:
            InputError: if `url` is no http or https URL.
        """
        if httpx.URL(url).scheme not in ("http", "https") or not httpx.URL(url).host:
            raise InputError(f"url: expected one such as http://127.0.0.1:8000, got {url!r}")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_s, transport=transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, model: type[Answer], **params: object) -> Answer:
        """The answer of a GET; parameters that are None are left out."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self.send("GET", path, model, params=given)

    def send(self, method: str, path: str, model: type[Answer], **options: Any) -> Answer:
        """The answer of a request, retried when the service says when (`Retry-After`)."""
        for attempt in range(RETRIES + 1):
            with _reaching(self.url):
                response = self._http.request(method, path, **options)
            try:
                return _read(model, _checked(response))
            except ProblemError as error:
                pause_s = error.retry_after_s
                if pause_s is None or pause_s > MAX_PAUSE_S or attempt == RETRIES:
                    raise
            time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def open(
        self, path: str, headers: Mapping[str, str], silence_s: float | None = None
    ) -> Iterator[httpx.Response]:
        """A successful response whose body has not been read."""
        timeout = self._http.timeout if silence_s is None else httpx.Timeout(silence_s)
        with (
            _reaching(self.url),
            self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as response,
        ):
            if response.is_error:
                response.read()
            yield _checked(response)

    def events(self, path: str, after: int, deadline: float) -> Iterator[Event]:
        """The events of one connection."""
        left = deadline - time.monotonic()
        if left <= 0:
            return
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self.open(path, headers, min(left, SILENCE_S)) as response:
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if time.monotonic() > deadline:
                    return
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif not line and "id" in fields:
                    yield _event(fields)
                    fields = {}


def _event(fields: Mapping[str, str]) -> Event:
    try:
        return Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
    except (KeyError, ValueError) as error:
        raise UnexpectedAnswer(f"expected an event with id, event and data: {error}") from error


def _checked(response: httpx.Response) -> httpx.Response:
    """The answer.

    Raises:
        ProblemError: if it is an error.
    """
    if response.is_success:
        return response
    try:
        document = response.json()
    except ValueError:
        document = None
    after = response.headers.get("Retry-After", "")
    raise problem_error(
        response.status_code,
        document,
        instance=response.request.url.path,
        request_id=response.headers.get("X-Request-ID"),
        retry_after_s=float(after) if after.isascii() and after.isdigit() else None,
    )


def _read(model: type[Answer], response: httpx.Response) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"{response.request.url} did not answer as this version of the service does: {error}"
        ) from error


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise Unreachable(
            f"no answer from {url}: {str(error) or type(error).__name__}; is it served there "
            "(`subnet-search serve`)?"
        ) from error


def path_part(name: str) -> str:
    """A name as one part of a path.

    Raises:
        InputError: if it cannot be one.
    """
    if not name or any(c in "/\\?#%" or ord(c) < 33 for c in name) or name in (".", ".."):
        raise InputError(f"expected a name or id, got {name!r}")
    return name
