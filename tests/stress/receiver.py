"""A receiver of webhooks that remembers everything that it was told."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from service.contracts import HEADER
from service.contracts.webhook_signature import verify_webhook


class Receiver:
    """An HTTP server of this process.

    Attributes:
        told: the bodies that came to each path, their signatures checked.
    """

    def __init__(self, secret: str) -> None:
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        lock = Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                verify_webhook(body, handler.headers[HEADER], secret)
                with lock:
                    self.told[handler.path].append(json.loads(body))
                handler.send_response(204)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(secret)
    thread = Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
