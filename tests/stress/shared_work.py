"""Two workers on one PostgreSQL share 200 searches; PostgreSQL stops for 20 s under load.

    python -m tests.stress.shared_work [--searches 200] [--outage-s 20]

No search may be started twice, the outage may lose none, and everything must recover by itself.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.postgres import Cluster, cluster
from tests.stress.needs import require_postgresql
from tests.stress.service_under_load import (
    Site,
    all_finished,
    check,
    post_until_accepted,
    store_of,
    wait_until,
)


def post_all(site: Site, seeds: range, clients: int) -> list[str]:
    """Ask for a search for each seed, from several clients at once; returns the ids."""
    with ThreadPoolExecutor(clients) as pool:
        found = pool.map(lambda seed: post_until_accepted(site, seed, random.Random(seed)), seeds)
        ids = [search_id for search_id in found if search_id is not None]
    assert len(ids) == len(seeds), "not every search was accepted"
    return ids


def share(site: Site, searches: int) -> dict[str, object]:
    """Two workers do `searches`; each must be started once."""
    for name in ("serve", "worker-1", "worker-2"):
        site.start(name)
    site.wait_until_ready(workers=2)
    started = time.monotonic()
    ids = post_all(site, range(searches), clients=8)
    all_finished(site, ids, patience_s=900)
    seconds = time.monotonic() - started
    found = check(site, ids)
    assert found["started again"] == 0, f"duplicate work: {found}"
    shares = [site.logged(name, "search_started") for name in ("worker-1", "worker-2")]
    assert sum(shares) == searches
    return {**found, "shares": shares, "seconds": round(seconds, 1)}


def outage(
    site: Site, server: Cluster, searches: int, seconds: float, first: int = 10_000
) -> dict[str, object]:
    """Stop PostgreSQL under load; what was accepted must end, and readiness tell the truth."""
    ids = post_all(site, range(first, first + searches // 2), clients=8)
    server.stop("immediate")
    stopped = time.monotonic()
    with site.client() as client:
        assert client.get("/readyz").status_code == 503
        refused = client.get("/v1/searches")
        assert refused.status_code == 503, refused.status_code
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        # Clients that insist are heard once it is back.
        more = pool.submit(
            post_all, site, range(first + searches // 2, first + searches), clients=4
        )
        time.sleep(max(0.0, seconds - (time.monotonic() - stopped)))
        server.start()
        back = time.monotonic()
        wait_until(lambda: _ready(site))
        ready_s = time.monotonic() - back
        ids += more.result()
    all_finished(site, ids, patience_s=900)
    return {**check_some(site, ids), "ready after s": round(ready_s, 2)}


def check_some(site: Site, ids: list[str]) -> dict[str, int]:
    """`check`, with the searches that were there before."""
    with store_of(site) as store:
        others = [s.id for s in store.page(_everything()).items if s.id not in set(ids)]
    return check(site, [*ids, *others])


def _everything():
    from service.storage.paging import SearchFilter

    return SearchFilter(limit=100_000)


def _ready(site: Site) -> bool:
    try:
        with site.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    """Run both and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--outage-s", type=float, default=20.0)
    given = parser.parse_args()
    require_postgresql()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(cluster(durable=True))
        # Stopped with "immediate" it must come back with what it had said was stored.
        site = Site(folder, server.create_database(), SUBNET_DEAD_AFTER_S="15")
        stack.callback(site.stop)
        print("shared:", share(site, given.searches), flush=True)
        print("outage:", outage(site, server, given.searches // 2, given.outage_s), flush=True)


if __name__ == "__main__":
    main()
