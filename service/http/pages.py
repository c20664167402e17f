"""What browsers open: the page at `/` and the API's documentation at `/docs`.

Everything comes from `web/` or from an installed package, so it works without a network; the
content security policy makes the browser enforce that.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from html import escape
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from models.bundle import PREDICTOR
from search.costs import Limit, registered_limits
from service.catalog import Catalog, FrontStore
from service.http.middleware import Message
from service.http.ranges import entity_tag
from service.http.scopes import requires

WEB = Path(__file__).parents[1] / "web"
SWAGGER = Path(fastapi_offline.__file__).with_name("static")
"""Swagger UI, as that package brings it."""

HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # Browsers revalidate at every visit and get a 304, so an update shows at once.
        "Cache-Control": "no-cache",
    }
)

COMPRESSION = 3
"""zlib's level; level 6 takes 1.5 times as long for answers that are 7 % smaller."""
UNCOMPRESSED = ("application/octet-stream", "text/event-stream", "image/*")
"""Models do not compress, and their ranges and ETags refer to the uncompressed bytes; events must
be sent without a delay."""


@requires("public")
class Assets(StaticFiles):
    """Files of a folder, with the headers of a page."""

    async def get_response(self, path: str, scope: Message) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def register(app: FastAPI) -> None:
    """Serve the pages from `app`, whose own documentation pages load scripts from elsewhere."""
    app.add_api_route("/", index, include_in_schema=False, methods=["GET", "HEAD"])
    app.add_api_route("/docs", docs, include_in_schema=False, methods=["GET", "HEAD"])
    app.mount("/assets/swagger", Assets(directory=SWAGGER))
    app.mount("/assets", Assets(directory=WEB))
    app.add_middleware(
        GZipMiddleware, compresslevel=COMPRESSION, exclude_content_types=UNCOMPRESSED
    )


def warm(catalog: Catalog) -> None:
    """Compute the front that the page opens with, in the background and unless it is stored.

    The first visitor need not wait then. Errors are ignored: the page itself will report them.
    """

    def compute() -> None:
        with suppress(Exception):
            supernets = (catalog.supernets.get(name) for name in catalog.supernets.names())
            for bundle in supernets:
                devices = [
                    name
                    for name, tables in catalog.devices.keys().items()
                    if bundle.space.name in (space for space, _ in tables)
                ]
                if devices and bundle.has(PREDICTOR):
                    context = catalog.context(bundle.name, min(devices))
                    FrontStore.of(catalog.home).get(context)
                    return

    Thread(target=compute, name="warm", daemon=True).start()


@requires("public")
def index() -> HTMLResponse:
    """The page, with the registered limits in it: it asks for nothing before it is drawn."""
    limits = json.dumps([_described(limit) for limit in registered_limits().values()])
    html = (WEB / "index.html").read_text()
    html = html.replace('name="limits" content="[]"', f'name="limits" content="{escape(limits)}"')
    return HTMLResponse(html, headers={**HEADERS, "ETag": entity_tag(html.encode())})


def _described(limit: Limit) -> dict[str, Any]:
    """What the page shows of a limit; it calls no cost model."""
    return {
        field.name: value
        for field in fields(limit)
        if not callable(value := getattr(limit, field.name))
    }


@requires("public")
def docs() -> FileResponse:
    """Swagger UI on this service's own description."""
    return FileResponse(WEB / "docs.html", headers=dict(HEADERS))
