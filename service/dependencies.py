"""What the routes work with, made once by the application's lifespan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Annotated

import structlog
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from service.access import Caller
from service.artifacts import ArtifactStore
from service.audit import AuditLog
from service.database import is_current, migrate, open_database
from service.device_files import open_devices
from service.keys import KeyStore, open_keys
from service.metrics import HttpMetrics, StoredSearches, WorkMetrics
from service.pairing import Catalog
from service.records import Search
from service.settings import Settings
from service.store import SearchStore
from service.worker import Worker, requeue_dead

STOP_TIMEOUT_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of one running process."""

    settings: Settings
    engine: Engine
    store: SearchStore
    catalog: Catalog
    artifacts: ArtifactStore
    registry: CollectorRegistry
    http_metrics: HttpMetrics
    work_metrics: WorkMetrics
    keys: KeyStore
    audit: AuditLog
    stop: Event = field(default_factory=Event)
    threads: list[Thread] = field(default_factory=list)

    def worker(self) -> Worker:
        """A worker on this process's parts."""
        return Worker(self.store, self.catalog, self.artifacts, self.settings, self.work_metrics)

    def is_ready(self) -> bool:
        """Whether the database is current and every worker thread lives."""
        return is_current(self.engine) and all(thread.is_alive() for thread in self.threads)


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Open everything, migrate, and put back what dead processes of this machine held."""
    engine = open_database(settings.database)
    try:
        migrate(engine)
        store = SearchStore(engine)
        devices = open_devices(engine, settings.home, lambda text: log.warning("device", text=text))
        registry = CollectorRegistry()
        registry.register(StoredSearches(store.counts))
        service = Service(
            settings,
            engine,
            store,
            Catalog(settings.home, lambda: devices),
            ArtifactStore(settings.artifacts),
            registry,
            HttpMetrics(registry),
            WorkMetrics(registry),
            open_keys(engine, settings),
            AuditLog(engine),
        )
        requeue_dead(store)
        yield service
    finally:
        engine.dispose()


@contextmanager
def working(service: Service) -> Iterator[None]:
    """Run the worker threads of `serve`; at the end they put back what they hold."""
    for number in range(service.settings.workers):
        thread = Thread(
            target=service.worker().run, args=(service.stop,), name=f"worker-{number}", daemon=True
        )
        thread.start()
        service.threads.append(thread)
    try:
        yield
    finally:
        service.stop.set()
        for thread in service.threads:
            thread.join(STOP_TIMEOUT_S)


def get_service(request: Request) -> Service:
    """The parts of this process."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def get_caller(request: Request) -> Caller:
    """Who asks, as the middleware found out."""
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_search(search_id: str, service: ServiceDep) -> Search:
    """The search that a path names; 404 before anything is answered."""
    return service.store.get(search_id)


SearchDep = Annotated[Search, Depends(get_search)]
