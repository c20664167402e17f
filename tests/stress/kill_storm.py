"""kill -9 of a server and two workers at random moments under load, on SQLite or PostgreSQL.

    python -m tests.stress.kill_storm sqlite|postgresql [--kills 50] [--spacing-s 12]

Every accepted search must end succeeded or failed exactly once, and no model be torn or lost.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.postgres import cluster
from tests.stress.service_under_load import Site, all_finished, check, post_until_accepted

PROCESSES = ("serve", "worker-1", "worker-2")


def storm(site: Site, kills: int, seed: int, spacing_s: float) -> dict[str, int]:
    """Kill at `kills` random moments while searches are asked for; what was found afterwards."""
    rng = random.Random(seed)
    for name in PROCESSES:
        site.start(name)
    site.wait_until_ready(workers=2)
    ids: list[str] = []
    stop = False

    def ask(client: int) -> None:
        number = 0
        while not stop:
            found = post_until_accepted(site, 1000 * client + number, random.Random(client))
            if found is not None:
                ids.append(found)
            number += 1
            time.sleep(0.2)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, client) for client in range(2)]
        for number in range(kills):
            time.sleep(rng.uniform(0.0, spacing_s))
            site.kill(PROCESSES[number % 3] if number < 3 else rng.choice(PROCESSES))
        stop = True
        for future in asking:
            future.result()
    all_finished(site, ids, patience_s=600)
    site.stop()
    return {"accepted": len(ids), "kills": kills, **check(site, ids)}


def main() -> None:
    """Run the storm and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", choices=["sqlite", "postgresql"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--spacing-s", type=float, default=12.0, help="Longest time between two.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if given.database == "postgresql":
            url = stack.enter_context(cluster()).create_database()
        site = Site(folder, url)
        stack.callback(site.stop)
        started = time.monotonic()
        found = storm(site, given.kills, given.seed, given.spacing_s)
        print(f"{given.database}: {found}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
