"""Many clients follow searches that do nothing, then one that does something.

    python -m tests.stress.waiting_clients sqlite|postgresql [--clients 200] [--seconds 20]

Prints the database queries a second of the server's process while nothing happens but the
heartbeats of a worker (whose own queries are not counted), and how long events take from their
commit to the clients. Exit code 1 from `MAX_QUERIES_PER_S` queries a second, or if a client misses
an event.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

from sqlalchemy import Engine, event

from service.jobs.recovery import HEARTBEATS_PER_DEAD_AFTER
from service.settings import Settings
from service.storage import ExecutorStore
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.postgres import cluster
from tests.service.serving import serving
from tests.service.stored import new
from tests.stress.needs import require_postgresql
from tests.stress.service_under_load import Site

MAX_QUERIES_PER_S = 5.0
EVENTS = 40
SETTLE_S = 3.0


class Client:
    """Follows one search over a connection of its own; remembers when each event came."""

    def __init__(self, url: str, search_id: str) -> None:
        self.parts, self.search_id = urlsplit(url), search_id
        self.came_at: dict[int, float] = {}
        self.connected = asyncio.Event()

    async def follow(self) -> None:
        """Read until the server ends the stream."""
        reader, writer = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        request = f"GET /v1/searches/{self.search_id}/events HTTP/1.1\r\nHost: {self.parts.netloc}"
        writer.write(f"{request}\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"data: "):
                    self.connected.set()
                    if b'"n":' in line:
                        number = int(line.partition(b'"n":')[2].strip(b" }\r\n"))
                        self.came_at[number] = time.perf_counter()
        finally:
            writer.close()


async def idle(clients: list[Client], seconds: float, queries: Counter[str]) -> float:
    """Queries a second while all wait for nothing."""
    for client in clients:
        await asyncio.wait_for(client.connected.wait(), 120)
    await asyncio.sleep(SETTLE_S)
    queries.clear()
    await asyncio.sleep(seconds)
    return queries.total() / seconds


async def busy(clients: list[Client], runs: RunStore, store: SearchStore) -> list[float]:
    """Milliseconds from the commit of each event to each client."""
    search = store.get(clients[0].search_id)
    assert runs.start(search.id, 1, "w")
    sent_at = {}
    for number in range(EVENTS):
        await asyncio.to_thread(runs.report, search, "w", {"n": number})
        sent_at[number] = time.perf_counter()
        await asyncio.sleep(0.21 + 0.013 * (number % 7))
    deadline = time.monotonic() + 30
    while any(len(c.came_at) < EVENTS for c in clients) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    missed = sum(EVENTS - len(client.came_at) for client in clients)
    assert not missed, f"{missed} events did not come"
    return [1000 * (at - sent_at[n]) for client in clients for n, at in client.came_at.items()]


async def follow(url: str, store: SearchStore, runs: RunStore, given: argparse.Namespace) -> float:
    """Run both; returns the queries a second of the idle server."""
    queries: Counter[str] = Counter()
    own = (store._engine, runs._engine)

    def count(connection: object, cursor: object, statement: str, *_: object) -> None:
        if connection.engine not in own:  # type: ignore[attr-defined]
            queries[" ".join(statement.split())[:60]] += 1

    searches = [store.submit(new(number)).id for number in range(20)]
    clients = [Client(url, searches[n % len(searches)]) for n in range(given.clients)]
    following = [asyncio.create_task(client.follow()) for client in clients]
    event.listen(Engine, "before_cursor_execute", count)
    per_s = await idle(clients, given.seconds, queries)
    print(f"{given.clients} idle clients: {per_s:.2f} queries/s {dict(queries)}", flush=True)
    one = [client for client in clients if client.search_id == searches[0]]
    ms = sorted(await busy(one, runs, store))
    print(
        f"{EVENTS} events to {len(one)} clients each: from commit to client "
        f"median {statistics.median(ms):.1f} ms, 95 % {ms[int(0.95 * len(ms))]:.1f} ms, "
        f"worst {ms[-1]:.1f} ms; before, clients looked every 100 ms",
        flush=True,
    )
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return per_s


@contextmanager
def beating(engine: Engine) -> Iterator[None]:
    """What an idle worker writes."""
    stop, every_s = Event(), Settings().dead_after_s / HEARTBEATS_PER_DEAD_AFTER

    def beat() -> None:
        while not stop.wait(every_s):
            ExecutorStore(engine).heartbeat("worker")

    thread = Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main() -> int:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", choices=["sqlite", "postgresql"])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    if given.database == "postgresql":
        require_postgresql()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if given.database == "postgresql":
            url = stack.enter_context(cluster()).create_database()
        site = Site(folder, url)
        served = stack.enter_context(
            serving(Settings(home=site.home, database_url=url, workers=0, access="off"))
        )
        engine = open_database(site.settings.database)
        stack.callback(engine.dispose)
        stack.enter_context(beating(engine))
        per_s = asyncio.run(follow(served, SearchStore(engine), RunStore(engine), given))
    return int(per_s >= MAX_QUERIES_PER_S)


if __name__ == "__main__":
    sys.exit(main())
