"""Receives a file over HTTP: continued after cuts, bounded in size, time and connections."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import httpx

from models.errors import SubnetSearchError
from models.published import PublishedFile

Report = Callable[[float, str], None]
"""Told which share of a file is there, 0..1, and what is being done."""

MAX_REDIRECTS = 5
RETRIED = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed a little later."""
ABSENT = frozenset({404, 410})
MB = 1e6
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)", re.ASCII)


class TransferFailed(SubnetSearchError):
    """A place does not give the file; another may."""


class Absent(TransferFailed):
    """A place does not have the file."""


class _TryAgain(Exception):
    """This connection failed; another may not.

    Attributes:
        pause_s: how long the server asks to wait.
    """

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a place is tried before it counts as failed."""

    connect_s: float = 10.0
    silence_s: float = 20.0
    """Without a byte, in a connection."""
    slow_s: float = 30.0
    """A connection that brings less than `slowest_bytes` in this time is given up."""
    slowest_bytes: int = 30_000
    idle_connections: int = 4
    """In a row, that bring nothing new. One that cannot even be opened counts twice."""
    connections: int = 100
    """In all, for one file from one place."""
    pause_s: float = 0.5
    """Before the second connection; twice as long before each further one that brings nothing."""
    max_pause_s: float = 15.0
    """Also of what a server asks for."""
    lock_s: float = 1800.0
    """While another process downloads the same file."""


PATIENCE = Patience()


class Connections:
    """HTTP connections for published files, opened when the first is needed."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self._patience = patience
        self._http: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def receive(self, url: httpx.URL, file: PublishedFile, out: BinaryIO, report: Report) -> bool:
        """Add to `out` what it lacks of the file, from where it ends.

        Returns:
            Whether all of it came in one piece, of a stated size.

        Raises:
            Absent: if the server does not have it.
            TransferFailed: if the server does not give it.
            OSError: if `out` cannot be written.
        """
        patience, idle, reason = self._patience, 0, ""
        for _ in range(patience.connections):
            held = out.seek(0, os.SEEK_END)
            report(0.0, f"{file.name} from {url.host}")
            pause_s, strikes = 0.0, 1
            try:
                return self._receive_more(url, file, out, report)
            except _TryAgain as error:
                reason, pause_s = str(error), error.pause_s
            except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
                raise TransferFailed(f"{shown_url(url)}: {error}") from error
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                strikes += isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            idle = 0 if out.seek(0, os.SEEK_END) > held else idle + strikes
            if idle >= patience.idle_connections:
                break
            pause_s = min(max(pause_s, patience.pause_s * 2**idle), patience.max_pause_s)
            report(0.0, f"{file.name}: {reason}; again in {pause_s:.1f} s")
            time.sleep(pause_s)
        raise TransferFailed(f"{shown_url(url)}: {reason}")

    def _receive_more(
        self, url: httpx.URL, file: PublishedFile, out: BinaryIO, report: Report
    ) -> bool:
        """Append what one connection brings; returns, if the file is whole then, as `receive`."""
        headers = {"Accept-Encoding": "identity"}  # ranges count uncompressed bytes
        if held := out.tell():
            headers["Range"] = f"bytes={held}-"
        with self._client().stream("GET", url, headers=headers) as response:
            whole = _check(response, url, file, out)
            begin = out.tell()
            if whole == begin:
                return False
            since, then = time.monotonic(), begin
            # Without a block size: a block that is incomplete when the connection breaks would
            # be lost.
            for block in response.iter_raw():
                if out.tell() + len(block) > file.max_bytes:
                    _empty(out)
                    raise _too_large(url, file, None)
                write(out, block)
                share = out.tell() / whole if whole else 0.0
                report(share, f"{file.name} from {url.host}, {out.tell() / MB:.1f} MB")
                if (now := time.monotonic()) - since > self._patience.slow_s:
                    if out.tell() - then < self._patience.slowest_bytes:
                        raise TransferFailed(f"{shown_url(url)}: sends too slowly")
                    since, then = now, out.tell()
        if whole is not None and out.tell() < whole:
            raise _TryAgain(f"{out.tell()} of {whole} bytes came")
        return begin == 0 and whole is not None

    def _client(self) -> httpx.Client:
        if self._http is None:
            timeout = httpx.Timeout(self._patience.silence_s, connect=self._patience.connect_s)
            self._http = httpx.Client(
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
                timeout=timeout,
                verify=_certificates(),
                headers={"User-Agent": "subnet-search"},
            )
        return self._http


@cache
def _certificates() -> ssl.SSLContext:
    """Reading the authorities' certificates takes longer than a small file."""
    return httpx.create_ssl_context()


def write(out: BinaryIO, block: bytes) -> None:
    """Write the whole block to an unbuffered file, which may take less at a time."""
    left = memoryview(block)
    while left:
        left = left[out.write(left) :]


def shown_url(url: httpx.URL) -> str:
    """A URL for messages: without user, password and query, which may hold secrets."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _check(
    response: httpx.Response, url: httpx.URL, file: PublishedFile, out: BinaryIO
) -> int | None:
    """Check an answer and put `out` where its body begins; returns the size of the whole file.

    Raises:
        Absent, TransferFailed: if the server does not give the file.
        _TryAgain: if it may at the next request.
    """
    status, held = response.status_code, out.tell()
    if status in ABSENT:
        raise Absent(f"{shown_url(url)}: not there ({status})")
    if status in RETRIED or status >= 500:
        raise _TryAgain(f"answered {status}", _seconds(response.headers.get("Retry-After", "")))
    begin, whole = _range(response)
    if status == 416 and held:
        if whole != held:  # what is held is not of this file, or its size is unknown
            _empty(out)
            raise _TryAgain("has no such range")
        return whole
    if status not in (200, 206):
        raise TransferFailed(f"{shown_url(url)}: answered {status}")
    hops = [hop.url.scheme for hop in (*response.history, response)]
    if url.scheme == "https" and "http" in hops:
        raise TransferFailed(f"{shown_url(url)}: redirects from https to http")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise TransferFailed(
            f"{shown_url(url)}: sends the file compressed, which was not asked for"
        )
    if status == 206 and begin != held:
        _empty(out)
        raise _TryAgain(f"sent another range than from byte {held}")
    if status == 200:  # no ranges, or all of it was asked for
        _empty(out)
    if whole is not None and whole > file.max_bytes:
        raise _too_large(url, file, whole)
    return whole


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """The first byte of the body, and the size of the whole file; None where not stated."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if _is_number(length) else None
    stated = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(stated)
    begin, whole = (None, None) if match is None else match.groups()
    return None if begin is None else int(begin), None if whole is None else int(whole)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _seconds(text: str) -> float:
    return float(text) if _is_number(text) else 0.0


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _too_large(url: httpx.URL, file: PublishedFile, size: int | None) -> TransferFailed:
    sent = "more" if size is None else f"{size} bytes, more"
    return TransferFailed(
        f"{shown_url(url)}: sends {sent} than the {file.max_bytes} that no published file of "
        "this kind exceeds"
    )
