"""Work on searches: a loop over the store, in a thread of `serve` or a process of its own.

Any number of workers may share one database. A worker holds a search under a lease that a second
thread renews, and stops when the lease is lost, which is also how a cancelled search ends.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import structlog

from latency_tables import codec
from models.errors import CorruptBundle, SubnetSearchError
from service.artifacts import ArtifactStore
from service.delivery import deliver
from service.errors import problem_of
from service.metrics import WorkMetrics
from service.pairing import Catalog, Pairing
from service.records import Search
from service.settings import Settings
from service.store import SearchStore, StoreUnavailable
from service.workshop import Workshop

REPORT_EVERY_S = 0.2

log = structlog.get_logger(__name__)


class WorkerLost(SubnetSearchError):
    """Workers kept dying on a search."""


class Stopped(Exception):
    """The work at hand is no longer wanted: cancelled, taken over, or the worker ends."""


class Worker:
    """Claims searches and brings them to an end, one at a time."""

    def __init__(
        self,
        store: SearchStore,
        catalog: Catalog,
        artifacts: ArtifactStore,
        settings: Settings,
        metrics: WorkMetrics,
    ) -> None:
        self.store, self.catalog, self.artifacts = store, catalog, artifacts
        self.settings, self.metrics = settings, metrics
        self.owner = new_owner()
        self._workshop: Workshop | None = None

    def run(self, stop: Event) -> None:
        """Work until `stop`. Trouble with the database is logged and waited out."""
        while not stop.is_set():
            try:
                busy = self.run_once(stop)
            except StoreUnavailable as error:
                log.error("store_unavailable", error=str(error))
                busy = False
            if not busy:
                stop.wait(self.settings.poll_interval_s)

    def run_once(self, stop: Event) -> bool:
        """Work on one search; false if there is none."""
        search = self.store.claim_next(self.owner, self.settings.lease_s)
        if search is None:
            return False
        with structlog.contextvars.bound_contextvars(search=search.id, owner=self.owner):
            log.info("search_started", attempt=search.attempts)
            started = time.monotonic()
            outcome = self._work(search, stop)
            seconds = time.monotonic() - started
            self.metrics.finished(outcome, seconds)
            log.info("search_ended", outcome=outcome, seconds=round(seconds, 3))
        return True

    def _work(self, search: Search, stop: Event) -> str:
        """Bring a claimed search to an end; returns the outcome's name."""
        try:
            if search.attempts > self.settings.max_attempts:
                raise WorkerLost(
                    f"{search.attempts - 1} workers in turn died or fell silent on this search"
                )
            with self._lease(search, stop) as lease:
                result, artifact = self._deliver(search, lease)
            stored = self.store.succeed(search.id, self.owner, result, artifact)
            return "succeeded" if stored else "dropped"
        except Stopped:
            self.store.requeue(self.owner, forgive=True)
            return "dropped"
        except StoreUnavailable:
            raise
        except Exception as error:
            if isinstance(error, SubnetSearchError):
                log.warning("search_failed", error=str(error))
            else:
                log.exception("search_crashed")
            stored = self.store.fail(search.id, self.owner, problem_of(error))
            return "failed" if stored else "dropped"

    def _deliver(self, search: Search, lease: Lease) -> tuple[dict[str, Any], str]:
        request = search.request
        table = codec.from_json(self.store.profile(search.profile_sha256))
        pairing = self.catalog.pair(self.catalog.supernets.get(request["supernet"]), table)
        _check_same_bundle(pairing, request)
        result = deliver(
            pairing,
            lambda: self._workshop_of(pairing),
            request["constraints"],
            request["seed"],
            shelf=self.artifacts,
            report=lease.report,
        )
        return result, result["sha256"]

    def _workshop_of(self, pairing: Pairing) -> Workshop:
        """The last one used is kept: loading a supernet takes longer than a search."""
        kept = self._workshop
        if kept is None or kept.bundle.card != pairing.bundle.card:
            kept = self._workshop = Workshop(pairing.bundle, threads=self.settings.threads)
        return kept

    @contextmanager
    def _lease(self, search: Search, stop: Event) -> Iterator[Lease]:
        lease = Lease(self.store, search.id, self.owner, self.settings.lease_s, stop)
        thread = Thread(target=lease.renew_until_done, name=f"lease-{search.id[:8]}", daemon=True)
        thread.start()
        try:
            yield lease
        finally:
            lease.done.set()
            thread.join()


class Lease:
    """A worker's hold on one search, kept by a thread of its own."""

    def __init__(
        self, store: SearchStore, search_id: str, owner: str, lease_s: float, stop: Event
    ) -> None:
        self.store, self.search_id, self.owner = store, search_id, owner
        self.lease_s, self.stop = lease_s, stop
        self.done, self.lost = Event(), Event()
        self._reported = -REPORT_EVERY_S

    def renew_until_done(self) -> None:
        """Renew at a third of the lease, so that one missed renewal does no harm."""
        while not self.done.wait(self.lease_s / 3):
            try:
                if not self.store.renew(self.search_id, self.owner, self.lease_s):
                    self.lost.set()
                    return
            except StoreUnavailable as error:
                log.error("lease_not_renewed", error=str(error))

    def report(self, step: str, share: float) -> None:
        """Record progress, not too often.

        Raises:
            Stopped: if the work is no longer wanted.
        """
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY_S:
            self._reported = now
            progress = {"step": step, "share": round(share, 3)}
            if not self.store.renew(self.search_id, self.owner, self.lease_s, progress):
                self.lost.set()
        if self.lost.is_set() or self.stop.is_set():
            raise Stopped


def _check_same_bundle(pairing: Pairing, request: Mapping[str, Any]) -> None:
    bundle = pairing.bundle
    if bundle.sha256 != request["supernet_sha256"]:
        raise CorruptBundle(
            f"supernet {bundle.name!r} changed since this was asked: expected weights with sha256 "
            f"{request['supernet_sha256'][:12]}, this worker has {bundle.sha256[:12]}; ask again"
        )


def new_owner() -> str:
    """A name for a worker, by which others on its machine can tell whether it still lives."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"


def requeue_dead(store: SearchStore) -> int:
    """Put back at once what dead processes of this machine held; returns how many.

    To be called before this process claims anything. What died elsewhere is claimed again
    when its lease is over.
    """
    return sum(store.requeue(owner, forgive=False) for owner in store.owners() if _is_dead(owner))


def _is_dead(owner: str) -> bool:
    host, pid, _ = owner.split("/")
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        # This process holds nothing yet: somebody had its number before.
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
