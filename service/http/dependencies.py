"""What the routes work with, made once by the application's lifespan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import Depends, Path, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from service.catalog import Catalog
from service.contracts import Caller, Search
from service.http.answers import Answers
from service.http.metrics import HttpMetrics, WorkMetrics
from service.http.watch import SearchWatch
from service.jobs import Durable, Workers
from service.links import Links, Places, WebRuntime
from service.settings import Settings
from service.storage import (
    ArtifactStore,
    AuditLog,
    CounterStore,
    DeviceStore,
    ExecutorStore,
    KeyStore,
    LinkStore,
    Owners,
    SearchStore,
    WebhookStore,
    is_current,
    migrate,
    open_database,
    open_keys,
)

if TYPE_CHECKING:
    from service.jobs import Worker

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of one running process."""

    settings: Settings
    engine: Engine
    store: SearchStore
    durable: Durable
    catalog: Catalog
    artifacts: ArtifactStore
    registry: CollectorRegistry
    http_metrics: HttpMetrics
    keys: KeyStore
    audit: AuditLog
    owners: Owners
    webhooks: WebhookStore
    answers: Answers
    watch: SearchWatch
    stop: Event
    links: Links
    workers: Workers = field(default_factory=Workers)

    def worker(self) -> Worker:
        """A worker on this process's parts."""
        from service.jobs import Worker

        return Worker(self.engine, self.durable, self.catalog, self.artifacts, self.settings)

    def is_ready(self) -> bool:
        """Whether searches can be taken: the database answers and is current. Workers do not count,
        since one search that kills them must not stop all other requests."""
        return is_current(self.engine)


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Open everything, and bring the database to its present schema."""
    engine = open_database(settings.database)
    try:
        migrate(engine)
        durable = Durable(engine)
        webhooks = WebhookStore(engine, durable.enqueue_webhook)
        store = SearchStore(
            engine,
            enqueue=durable.enqueue,
            ended=webhooks.ended,
            max_queued=settings.max_queued,
        )
        devices, stop = DeviceStore(engine), Event()
        registry = CollectorRegistry()
        registry.register(
            WorkMetrics(store.counts, CounterStore(engine).all, ExecutorStore(engine).count)
        )
        catalog, owners = Catalog(settings.home, lambda _: devices), Owners(engine)
        artifacts = ArtifactStore(settings.artifacts)
        places = Places(
            store=LinkStore(engine),
            catalog=catalog,
            searches=store,
            owners=owners,
            artifacts=artifacts,
            runtime=WebRuntime.of(settings),
        )
        yield Service(
            settings,
            engine,
            store,
            durable,
            catalog,
            artifacts,
            registry,
            HttpMetrics(registry),
            open_keys(engine, settings),
            AuditLog(engine),
            owners,
            webhooks,
            Answers(store),
            SearchWatch(engine, store, stop),
            stop,
            Links(places),
        )
    finally:
        engine.dispose()


@contextmanager
def working(service: Service) -> Iterator[None]:
    """Run the worker processes of `serve`; at the end they finish or requeue their searches."""
    service.workers.start(service.settings)
    try:
        yield
    finally:
        service.stop.set()
        service.workers.stop(service.settings.shutdown_s)


async def get_service(request: Request) -> Service:
    """The parts of this process. Asynchronous, so that FastAPI needs no thread for it."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


async def get_caller(request: Request) -> Caller:
    """The caller, as `auth.Authentication` identified it."""
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


async def get_catalog(service: ServiceDep, caller: CallerDep) -> Catalog:
    """Supernets and devices as far as the caller sees them."""
    return service.catalog.seen_by(caller)


CatalogDep = Annotated[Catalog, Depends(get_catalog)]
NamePath = Annotated[str, Path(max_length=64)]
DevicePath = Annotated[str, Path(max_length=129, description="NAME, or NAME@OWNER.")]


def get_search(search_id: NamePath, service: ServiceDep, caller: CallerDep) -> Search:
    """The search that a path names; 404 if the caller sees none."""
    search = service.store.get(search_id)
    service.owners.check_seen(search_id, caller)
    return search


SearchDep = Annotated[Search, Depends(get_search)]
