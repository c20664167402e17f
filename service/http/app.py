"""The web application: what it is made of, how it starts and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from anyio import to_thread
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service import __version__
from service.http import openapi, pages, problems
from service.http.auth import Authentication, settle, settle_loop
from service.http.dependencies import ServiceDep, open_service, working
from service.http.metrics import CONTENT_TYPE, exposition
from service.http.middleware import RequestLimits, RequestLog
from service.http.request_checks import RequestChecks
from service.http.routes import (
    devices,
    explanations,
    links,
    networks,
    searches,
    supernets,
    trainings,
)
from service.http.scopes import RouteScopes, requires
from service.settings import Settings

THREADS, SWITCH_S = 10, 0.001
"""Threads that handle requests, and seconds before a computing thread yields to another: their
product bounds how long the event loop waits for its turn."""

log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; nothing is opened before it starts."""
    settings = settings or Settings()
    configure_logging(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        sys.setswitchinterval(SWITCH_S)
        with open_service(settings) as service, working(service):
            app.state.service = service
            if settings.workers:
                pages.warm(service.catalog)
            log.info("ready", database=service.engine.dialect.name, workers=settings.workers)
            # A full collection of long-lived objects takes 100 ms and blocks the event loop.
            gc.collect()
            gc.freeze()
            tasks = [
                asyncio.create_task(service.http_metrics.watch_loop()),
                asyncio.create_task(settle_loop(service.keys)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await settle(service.keys)

    app = FastAPI(
        title="Subnet Search",
        version=__version__,
        openapi_tags=list(openapi.TAGS),
        summary="One trained supernet, one fitted network for every device.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for resource in (searches, supernets, trainings, devices, networks, explanations, links):
        app.include_router(resource.router)
    app.include_router(links.device_router)
    app.add_api_route("/healthz", healthz, tags=["operation"])
    app.add_api_route("/readyz", readyz, tags=["operation"], responses={503: {}})
    app.add_api_route("/metrics", metrics, tags=["operation"], response_class=Response)
    pages.register(app)
    problems.register(app)
    # Whoever names a proxy serves others than this machine's users.
    decided = settings.access == "auto" and settings.proxy_networks
    access = "required" if decided else settings.access
    openapi.complete(app, access)
    app.state.route_scopes = RouteScopes(app)
    app.add_middleware(RequestLimits, max_bytes=settings.max_body_bytes)
    app.add_middleware(Authentication, access=access)
    proxies = [str(network) for network in settings.proxy_networks]
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    app.add_middleware(RequestChecks, settings=settings)
    app.add_middleware(RequestLog)
    return app


@requires("public")
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@requires("public")
async def readyz(service: ServiceDep, response: Response) -> dict[str, str]:
    """Whether searches can be taken: the database answers and is current."""
    try:
        ready = await run_in_threadpool(service.is_ready)
    except Exception:
        log.exception("not_ready")
        ready = False
    response.status_code = 200 if ready else 503
    return {"status": "ready" if ready else "not ready"}


@requires("read")
def metrics(service: ServiceDep) -> Response:
    """For Prometheus."""
    return Response(exposition(service.registry), media_type=CONTENT_TYPE)


def configure_logging(settings: Settings) -> None:
    """One line an event on stderr: for people, or JSON for machines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_stderr_logger,
    )


def _renderers(settings: Settings) -> list[structlog.typing.Processor]:
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _stderr_logger(*_: object) -> structlog.PrintLogger:
    # Looked up at each use: tests replace sys.stderr.
    return structlog.PrintLogger(sys.stderr)
