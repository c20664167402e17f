"""What browsers open: the page at `/`, the API's documentation at `/docs`, the guide below it.

Everything comes from `web/` or from an installed package, so it works without a network; the
content security policy makes the browser enforce that.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Annotated, Any

import fastapi_offline
from fastapi import FastAPI, Header, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from models.bundle import PREDICTOR
from models.errors import NotFound
from search.costs import Limit, registered_limits
from service.catalog import Catalog, FrontStore
from service.http.dependencies import ServiceDep
from service.http.middleware import Message
from service.http.ranges import entity_tag
from service.http.scopes import requires

WEB = Path(__file__).parents[1] / "web"
GUIDE = Path(__file__).parents[1] / "guide"
"""The pages of docs/ as a site, once `make guide` has built it."""
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

ISOLATED = MappingProxyType(
    {
        **HEADERS,
        "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
            "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'"
        ),
        # With both, browsers give a page threads and a fine clock.
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
)
"""Of the page that measures a device, and of all that its workers run."""

COMPRESSION = 3
"""zlib's level; level 6 takes 1.5 times as long for answers that are 7 % smaller."""
UNCOMPRESSED = ("application/octet-stream", "text/event-stream", "image/*")
"""Models do not compress, and their ranges and ETags refer to the uncompressed bytes; events must
be sent without a delay."""


@requires("public")
class Assets(StaticFiles):
    """Files of a folder, with the headers of a page."""

    def __init__(
        self, directory: Path, headers: Mapping[str, str] = HEADERS, html: bool = False
    ) -> None:
        super().__init__(directory=directory, html=html, check_dir=False)
        self._headers = headers

    async def get_response(self, path: str, scope: Message) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response


@requires("public")
class Guide(Assets):
    """The site that was built from docs/, whose inline scripts are allowed by their hashes."""

    async def check_config(self) -> None:
        """Nothing: a folder that is not there is answered below."""

    async def get_response(self, path: str, scope: Message) -> Response:
        """One file, or what to do where the site is not built."""
        if not (GUIDE / "index.html").is_file():
            text = "The guide is not built in this installation: `make guide` builds it from docs/."
            return PlainTextResponse(f"{text}\n", status_code=404, headers=dict(HEADERS))
        response = await super().get_response(path, scope)
        if not isinstance(response, FileResponse):
            # Not modified: the browser goes on with the policy that it was given with the file.
            del response.headers["Content-Security-Policy"]
        elif str(response.path).endswith(".html"):
            html = Path(response.path).read_text()
            response.headers["Content-Security-Policy"] = guide_policy(html)
        return response


@lru_cache(maxsize=256)
def guide_policy(html: str) -> str:
    """The policy of a page of the guide: of what stands inline, only the scripts of `html`.

    The site's search brings styles of its own, and nothing on these pages comes from users.
    """
    scripts = sorted(set(re.findall(r"<script>(.*?)</script>", html, re.DOTALL)))
    digests = (b64encode(sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        HEADERS["Content-Security-Policy"]
        .replace("script-src 'self'", f"script-src 'self' {allowed}; worker-src 'self'")
        .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
    )


def register(app: FastAPI) -> None:
    """Serve the pages from `app`, whose own documentation pages load scripts from elsewhere."""
    app.add_api_route("/", index, include_in_schema=False, methods=["GET", "HEAD"])
    app.add_api_route("/docs", docs, include_in_schema=False, methods=["GET", "HEAD"])
    methods = ["GET", "HEAD"]
    app.add_api_route("/measure", measure, include_in_schema=False, methods=methods)
    runtime = "/assets/onnxruntime-web/{name}"
    app.add_api_route(runtime, web_runtime, include_in_schema=False, methods=methods)
    app.mount("/docs/guide", Guide(GUIDE, html=True))
    app.mount("/assets/measure", Assets(WEB / "measure", ISOLATED))
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
def index(service: ServiceDep) -> HTMLResponse:
    """The page, with the registered limits in it: it asks for nothing before it is drawn."""
    limits = json.dumps([_described(limit) for limit in registered_limits().values()])
    html = (WEB / "index.html").read_text()
    html = html.replace('name="limits" content="[]"', f'name="limits" content="{escape(limits)}"')
    if service.links.runtime.folder is not None:
        version = f'name="onnxruntime-web" content="{service.links.runtime.version}"'
        html = html.replace('name="onnxruntime-web" content=""', version)
    return HTMLResponse(html, headers={**HEADERS, "ETag": entity_tag(html.encode())})


@requires("public")
def measure() -> FileResponse:
    """The page that a device opens by a link."""
    page = WEB / "measure" / "index.html"
    if not page.is_file():
        raise NotFound("this installation has no page for other devices")
    return FileResponse(page, headers=dict(ISOLATED))


@requires("public")
def web_runtime(
    name: str, service: ServiceDep, accept_encoding: Annotated[str | None, Header()] = None
) -> FileResponse:
    """A file of onnxruntime-web, as it is installed."""
    found = service.links.runtime.file(name, compressed="gzip" in (accept_encoding or ""))
    if found is None:
        raise NotFound(f"{name[:80]}: no such file of onnxruntime-web is installed here")
    path, media_type, compressed = found
    headers = {**ISOLATED, "Vary": "Accept-Encoding"}
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return FileResponse(path, headers=headers, media_type=media_type)


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
