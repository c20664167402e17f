"""kill -9 of a server, two workers and a writer of the bundle at random moments under load.

    python -m tests.stress.kill_storm sqlite|postgresql [--kills 50] [--minutes 8] [--seed 0]

Every accepted search must succeed exactly once, belong to whoever asked for it, and be told to its
webhook; no model may be torn or lost, and no bundle torn. A process is killed once it is up again
and searches were accepted since the kill before, while others wait or run; so 50 kills meet 150
searches and more. Several short storms of different seeds are as good as a long one.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.bundle import Bundle
from service.contracts import StoreUnavailable
from service.storage import KeyStore, WebhookStore, current_database
from service.storage.database import open_database
from service.storage.searches import SearchStore
from service.storage.tables import SearchOwnerRow, WebhookRow
from tests.postgres import cluster
from tests.service.conftest import SUPERNET
from tests.stress.needs import require_postgresql
from tests.stress.receiver import Receiver, receiving
from tests.stress.service_under_load import (
    Site,
    all_finished,
    check,
    post_until_accepted,
    store_of,
    wait_until,
)

PROCESSES = ("serve", "worker-1", "worker-2", "bundle")
OWNERS = ("ann", "ben", "cas")
SECRET = "a secret of some length"
CLIENTS = 4
PER_KILL = 3
"""Searches that are accepted between two kills, at least."""
BACKLOG = 20
"""Unfinished searches beyond which clients pause: there is work, and an end of it."""
PAUSE_S = 1.0
"""Longest time from when a kill may come to when it does."""


class StormSite(Site):
    """A site that asks for keys, sends webhooks, and has its bundle written all the time."""

    def __init__(self, folder: Path, database_url: str | None, receiver: Receiver) -> None:
        super().__init__(
            folder,
            database_url,
            SUBNET_ACCESS="required",
            SUBNET_RATE_PER_S="1e5",
            SUBNET_RATE_BURST="100000",
            SUBNET_WEBHOOK_HOSTS=f"127.0.0.1:{receiver.port}",
            SUBNET_WEBHOOK_SECRET=SECRET,
        )
        self.receiver = receiver
        with current_database(self.settings.database) as engine:
            keys = KeyStore(engine, rate_per_s=1e5, burst=100_000)
            self.secrets = {owner: keys.create(owner, "search")[0] for owner in OWNERS}

    def command(self, name: str, arguments: tuple[str, ...]) -> list[str]:
        """The command of a process."""
        if name == "bundle":
            folder = str(self.home / "supernets" / SUPERNET)
            return [sys.executable, "-m", "tests.stress.bundle_writer", folder]
        return super().command(name, arguments)


class Load:
    """Clients that ask for one search after another, each its own."""

    def __init__(self, site: StormSite, store: SearchStore) -> None:
        self.site, self.store = site, store
        self.owners: dict[str, str] = {}
        """Of every search that was accepted."""
        self.unfinished = 0
        self.stop = Event()
        self._numbers = itertools.count()

    def ask(self, client: int) -> None:
        """Ask until it is told to stop."""
        rng = random.Random(client)
        while not self.stop.wait(rng.uniform(0.0, 0.1)):
            if self.unfinished < BACKLOG:
                number, owner = next(self._numbers), rng.choice(OWNERS)
                headers = {
                    "Authorization": f"Bearer {self.site.secrets[owner]}",
                    "Idempotency-Key": f"request {number}",
                }
                # Of each request: every search is another's.
                more = {"webhook": f"http://127.0.0.1:{self.site.receiver.port}/{number}"}
                found = post_until_accepted(self.site, number, rng, headers=headers, more=more)
                assert found is not None, "a request was never accepted"
                self.owners[found] = owner

    def watch(self) -> None:
        """Keep count of what is unfinished."""
        while not self.stop.wait(0.1):
            try:
                counts = self.store.counts()
            except StoreUnavailable:
                continue
            self.unfinished = counts.get("queued", 0) + counts.get("running", 0)


def storm(site: StormSite, kills: int, seed: int, seconds: float) -> dict[str, int]:
    """Kill at `kills` random moments while searches are asked for; what was found afterwards.

    Args:
        seconds: after which no more are killed.
    """
    rng, deadline = random.Random(seed), time.monotonic() + seconds
    for name in PROCESSES:
        site.start(name)
    site.wait_until_ready(workers=2)
    done = {name: 0 for name in PROCESSES}
    with store_of(site) as store, ThreadPoolExecutor(CLIENTS) as pool:
        load = Load(site, store)
        Thread(target=load.watch, daemon=True).start()
        asking = [pool.submit(load.ask, client) for client in range(CLIENTS)]
        try:
            for number in range(kills):
                name = PROCESSES[number] if number < len(PROCESSES) else rng.choice(PROCESSES)
                enough = len(load.owners) + PER_KILL

                def due(name: str = name, enough: int = enough) -> bool:
                    return len(load.owners) >= enough and load.unfinished > 0 and site.is_up(name)

                wait_until(due)
                time.sleep(rng.uniform(0.0, PAUSE_S))
                site.kill(name)
                done[name] += 1
                if number % 10 == 9:
                    sys.stdout.write(f"{number + 1} kills, {len(load.owners)} accepted\n")
                    sys.stdout.flush()
                if time.monotonic() > deadline:
                    break
        finally:
            load.stop.set()
        for future in asking:
            future.result()
    ids = list(load.owners)
    all_finished(site, ids, patience_s=600)
    wait_until(lambda: _all_told(site), patience_s=600)
    site.stop()
    found = check(site, ids)
    assert found.get("succeeded") == len(ids), f"a search failed: {crashes(site)}"
    return {"accepted": len(ids), **done, **found, **check_rest(site, load.owners)}


def crashes(site: Site) -> list[str]:
    """What workers logged of searches that ended by a bug."""
    lines = (line for path in site.home.glob("worker-*.log") for line in path.open())
    return [line[-2000:] for line in lines if '"search_crashed"' in line][:3]


def check_rest(site: StormSite, owners: dict[str, str]) -> dict[str, int]:
    """What must hold of owners, webhooks and the bundle."""
    engine = open_database(site.settings.database)
    with Session(engine) as session:
        stored = {row.search_id: row.owner for row in session.scalars(select(SearchOwnerRow))}
        webhooks = list(session.scalars(select(WebhookRow)))
    engine.dispose()
    assert stored == owners, "owners were lost, or are of searches that nobody got"
    assert sorted(row.search_id for row in webhooks) == sorted(owners), "one webhook a search"
    assert len({row.url for row in webhooks}) == len(webhooks), "one request's, registered twice"
    told = site.receiver.told
    for row in webhooks:
        assert row.status == "delivered", f"{row.url} is {row.status}: {row.error}"
        bodies = told[urlsplit(row.url).path]
        assert bodies, f"{row.url} is said to be delivered, and was not"
        assert {body["id"] for body in bodies} == {row.search_id}
    assert set(told) == {urlsplit(row.url).path for row in webhooks}, "told of what nobody asked"
    bundle = Bundle.open(site.home / "supernets" / SUPERNET)
    for name in bundle.card["files"]:
        bundle.check(name)
    sent = sum(len(bodies) for bodies in told.values())
    return {
        "webhooks": len(webhooks),
        "sent again after a kill": sent - len(webhooks),
        "bundle written": bundle.card.get("written", 0),
    }


def _all_told(site: StormSite) -> bool:
    engine = open_database(site.settings.database)
    try:
        return set(WebhookStore(engine, lambda *_: None).counts()) <= {"delivered", "failed"}
    finally:
        engine.dispose()


def main() -> int:
    """Run the storm and print what was found; exit code 1 if it was cut short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", choices=["sqlite", "postgresql"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=8.0, help="Of killing, at most.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if given.database == "postgresql":
            require_postgresql()
            url = stack.enter_context(cluster()).create_database()
        site = StormSite(folder, url, stack.enter_context(receiving(SECRET)))
        stack.callback(site.stop)
        started = time.monotonic()
        found = storm(site, given.kills, given.seed, 60 * given.minutes)
        kills = sum(found[name] for name in PROCESSES)
        verdict = "passed" if kills == given.kills else f"cut short after {kills} kills"
        sys.stdout.write(
            f"{given.database}: {verdict}: {found}, {time.monotonic() - started:.0f} s\n"
        )
    return int(kills < given.kills)


if __name__ == "__main__":
    sys.exit(main())
