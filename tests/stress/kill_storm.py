"""kill -9 of a server and two workers at random moments under load, on SQLite or PostgreSQL.

    python -m tests.stress.kill_storm sqlite|postgresql [--kills 50] [--minutes 8]

Every accepted search must end succeeded or failed exactly once, and no model be torn or lost.
A process is killed once it is up again and searches were accepted since the kill before, while
others wait or run; so 50 kills meet 150 searches and more.
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

from service.contracts import StoreUnavailable
from service.storage.searches import SearchStore
from tests.postgres import cluster
from tests.stress.needs import require_postgresql
from tests.stress.service_under_load import (
    Site,
    all_finished,
    check,
    post_until_accepted,
    store_of,
    wait_until,
)

PROCESSES = ("serve", "worker-1", "worker-2")
CLIENTS = 4
PER_KILL = 3
"""Searches that are accepted between two kills, at least."""
BACKLOG = 20
"""Unfinished searches beyond which clients pause: there is work, and an end of it."""
PAUSE_S = 1.0
"""Longest time from when a kill may come to when it does."""


class Load:
    """Clients that ask for one search after another, each its own."""

    def __init__(self, site: Site, store: SearchStore) -> None:
        self.site, self.store = site, store
        self.ids: list[str] = []
        self.unfinished = 0
        self.stop = Event()
        self._numbers = itertools.count()

    def ask(self, client: int) -> None:
        """Ask until it is told to stop."""
        rng = random.Random(client)
        while not self.stop.wait(rng.uniform(0.0, 0.1)):
            if self.unfinished < BACKLOG:
                found = post_until_accepted(self.site, next(self._numbers), rng)
                if found is not None:
                    self.ids.append(found)

    def watch(self) -> None:
        """Keep count of what is unfinished."""
        while not self.stop.wait(0.1):
            try:
                counts = self.store.counts()
            except StoreUnavailable:
                continue
            self.unfinished = counts.get("queued", 0) + counts.get("running", 0)


def storm(site: Site, kills: int, seed: int, seconds: float) -> dict[str, int]:
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
                enough = len(load.ids) + PER_KILL

                def due(name: str = name, enough: int = enough) -> bool:
                    return len(load.ids) >= enough and load.unfinished > 0 and site.is_up(name)

                wait_until(due)
                time.sleep(rng.uniform(0.0, PAUSE_S))
                site.kill(name)
                done[name] += 1
                if number % 10 == 9:
                    sys.stdout.write(f"{number + 1} kills, {len(load.ids)} accepted\n")
                    sys.stdout.flush()
                if time.monotonic() > deadline:
                    break
        finally:
            load.stop.set()
        for future in asking:
            future.result()
    all_finished(site, load.ids, patience_s=600)
    site.stop()
    return {"accepted": len(load.ids), **done, **check(site, load.ids)}


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
        site = Site(folder, url)
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
