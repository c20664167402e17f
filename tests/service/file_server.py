"""A real HTTP server of a few files that misbehaves on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Answer:
    """One answer, before it is sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    """Bytes of the body that come through before the connection breaks; None for all."""

    def with_headers(self, **headers: str) -> Answer:
        """With these as well, `_` for `-`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers=self.headers | more)


Spoil = Callable[[int, Answer], Answer]
"""Told the number of a request, from 0, and its proper answer; returns what is sent instead."""


@dataclass
class FileServer:
    """Files by path, with range requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    spoil: Spoil = lambda number, answer: answer
    on_headers: Callable[[Message], object] = lambda headers: None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and `Range` of every request."""

    def answer(self, path: str, wanted: str | None) -> Answer:
        """The proper answer."""
        content = self.files.get(path)
        if content is None:
            return Answer(404)
        if not (match := re.fullmatch(r"bytes=(\d+)-", wanted or "")):
            return Answer(200, content)
        begin, size = int(match[1]), len(content)
        if begin >= size:
            return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
        stated = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"}
        return Answer(206, content[begin:], stated)


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A server on a free port of this machine."""
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer one request."""
            wanted = self.headers.get("Range")
            number = len(server.requests)
            path = self.path.partition("?")[0].lstrip("/")
            server.on_headers(self.headers)
            server.requests.append((self.path, wanted))
            answer = server.spoil(number, server.answer(path, wanted))
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            if not headers["Content-Length"]:
                self.close_connection = True
            self.end_headers()
            self.wfile.write(answer.body[: answer.sent])
            if answer.sent is not None:
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """Clients that go away are no news here."""

    http = Quiet(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
