"""What the stress scripts share: a home with a tiny supernet, processes, and what must hold.

The processes are the real ones, with the real search, build and verification on a space of 800
networks, so that a search takes a fraction of a second.
"""

from __future__ import annotations

import collections
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from service.catalog.catalog import open_catalog
from service.settings import Settings
from service.storage import ExecutorStore
from service.storage.database import open_database
from service.storage.searches import SearchStore
from tests.service.conftest import DEVICE, SUPERNET, make_bundle, make_table

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
NOTHING: Mapping[str, str] = MappingProxyType({})


class Site:
    """A home, a database, and the processes on it."""

    def __init__(self, folder: Path, database_url: str | None = None, **variables: str) -> None:
        self.home = folder / "home"
        self.settings = Settings(home=self.home, database_url=database_url)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "SUBNET_HOME": str(self.home),
            "SUBNET_DATABASE_URL": self.settings.database,
            "SUBNET_WORKERS": "0",
            "SUBNET_DEAD_AFTER_S": "3",
            "SUBNET_MAX_ATTEMPTS": "100",
            "SUBNET_LOG_FORMAT": "json",
            **variables,
        }
        self.port = _free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: collections.Counter[str] = collections.Counter()
        make_bundle(self.home / "supernets" / SUPERNET)
        open_catalog(self.settings).devices.add(make_table())

    def start(self, name: str) -> None:
        """Start `serve` or a worker, whose names begin with "worker"."""
        serve = ("serve", "--port", str(self.port))
        arguments = serve if name == "serve" else ("worker",)
        self.starts[name] += 1
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name, arguments),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def command(self, name: str, arguments: tuple[str, ...]) -> list[str]:
        """The command of a process."""
        return [sys.executable, "-m", "service", *arguments]

    def logged(self, name: str, event: str) -> int:
        """How often a process has logged an event, over all its starts."""
        return (self.home / f"{name}.log").read_text().count(f'"event": "{event}"')

    def is_up(self, name: str) -> bool:
        """Whether a process has come as far as to do its work since it was started last."""
        # One that was killed before it came so far has not logged it: this may be too strict, as
        # long as nobody kills what is not up.
        return self.logged(name, "ready" if name == "serve" else "working") >= self.starts[name]

    def kill(self, name: str) -> None:
        """kill -9, and start again."""
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name)

    def stop(self) -> None:
        """End everything in order; by force what takes too long."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def client(self) -> httpx.Client:
        """A client of `serve`."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def wait_until_ready(self, workers: int = 0) -> None:
        """Until `serve` answers and so many workers beat."""
        engine = open_database(self.settings.database)
        try:
            with self.client() as client:
                wait_until(lambda: _is_ready(client))
            wait_until(lambda: ExecutorStore(engine).count() >= workers)
        finally:
            engine.dispose()


def body(seed: int) -> dict[str, object]:
    """A request that differs from others by its seed, and often in what is found."""
    return {
        "supernet": SUPERNET,
        "device": DEVICE,
        "constraints": {"latency_ms": 0.75 + 0.005 * (seed % 97)},
        "seed": seed,
    }


def post_until_accepted(
    site: Site,
    seed: int,
    rng: random.Random,
    *,
    headers: Mapping[str, str] = NOTHING,
    more: Mapping[str, object] = NOTHING,
) -> str | None:
    """Ask for a search until the service says that it has it; its id, or None if it never does.

    Args:
        headers: of each request.
        more: fields of the request beside those of `body`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with site.client() as client:
                asked = {**body(seed), **more}
                answer = client.post("/v1/searches", json=asked, headers=dict(headers))
            if answer.status_code in (201, 202):
                return str(answer.json()["id"])
            if answer.status_code not in (429, 503):
                raise AssertionError(f"{answer.status_code}: {answer.text}")
        except httpx.TransportError:
            pass
        time.sleep(rng.uniform(0.05, 0.3))
    return None


def wait_until(
    condition: collections.abc.Callable[[], bool], patience_s: float = PATIENCE_S
) -> None:
    """Wait for something."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        time.sleep(0.05)


@contextmanager
def store_of(site: Site) -> Iterator[SearchStore]:
    """The site's own database."""
    engine = open_database(site.settings.database)
    try:
        yield SearchStore(engine)
    finally:
        engine.dispose()


def all_finished(site: Site, ids: list[str], patience_s: float = PATIENCE_S) -> None:
    """Wait until every one of these searches has ended."""
    with store_of(site) as store:
        left = list(ids)

        def done() -> bool:
            while left and store.get(left[-1]).finished:
                left.pop()
            return not left

        wait_until(done, patience_s)


def check(site: Site, ids: list[str]) -> dict[str, int]:
    """What must hold of accepted searches whatever happened: each ended exactly once, each model
    is whole, and nothing half written lies about.

    Returns:
        counts: of statuses, of searches that were started more than once, and of artifacts.
    """
    artifacts = site.home / "artifacts"
    counts: collections.Counter[str] = collections.Counter()
    with store_of(site) as store:
        for search_id in ids:
            search = store.get(search_id)
            assert search.status in ("succeeded", "failed"), f"{search_id} is {search.status}"
            kinds = [event.kind for event in store.events(search_id)]
            ends = [kind for kind in kinds if kind in ("succeeded", "failed", "cancelled")]
            assert ends == [search.status], f"{search_id} ended as {ends}"
            assert kinds[-1] == search.status, f"{search_id} went on after its end: {kinds}"
            if search.status == "failed":
                assert (search.error or {}).get("detail"), f"{search_id}: no reason"
                print(f"{search_id} failed: {search.error}", flush=True)
            else:
                sha256 = str(search.artifact_sha256)
                content = (artifacts / sha256[:2] / sha256).read_bytes()
                assert hashlib.sha256(content).hexdigest() == sha256, f"{search_id}: a torn model"
            counts[search.status] += 1
            counts["started again"] += kinds.count("running") > 1
        assert sum(store.counts().values()) == len(set(ids)), "searches that nobody asked for"
    for path in artifacts.rglob("*"):
        if path.is_file() and path.parent.parent == artifacts and len(path.name) == 64:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"torn: {path}"
            counts["artifacts"] += 1
        elif path.is_file() and path.name.endswith(".partial"):
            counts["partial files"] += 1
    return dict(counts)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
