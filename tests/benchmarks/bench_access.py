"""What a key costs: the rate of GETs of a stored search with a key, as a ratio to that without.

The two kinds are asked in turns on one server, so that a busy machine slows both. Bar: 0.8.
"""

from __future__ import annotations

import statistics
import time

import httpx

from service.client import Client
from service.http.app import create_app
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET, keep, make_bundle, make_table
from tests.service.serving import serving

TURNS, REQUESTS = 15, 200


def rate(url, headers):
    """Requests a second of one client on one connection."""
    with httpx.Client(headers=headers) as client:
        client.get(url).raise_for_status()
        started = time.perf_counter()
        for _ in range(REQUESTS):
            client.get(url)
        return REQUESTS / (time.perf_counter() - started)


def test_a_key(tmp_path):
    make_bundle(tmp_path / "supernets" / SUPERNET)
    keep(tmp_path, make_table())
    settings = Settings(home=tmp_path, workers=0, rate_per_s=1e6, rate_burst=10**6)
    open_to_all, closed = (
        create_app(settings.model_copy(update={"access": access})) for access in ("off", "required")
    )
    with serving(open_to_all) as without, serving(closed, worker_thread=True) as with_key:
        service = closed.state.service
        secret, _ = service.keys.create("ann", "search")
        with Client(with_key, secret) as client:
            at = f"/v1/searches/{client.search(SUPERNET, DEVICE, latency_ms=0.8).id}"
        print()
        rates: dict[str, list[float]] = {"none": [], "admin": [], "search": []}
        for _ in range(TURNS):
            for scope, found in rates.items():
                if scope == "none":
                    found.append(rate(without + at, {}))
                    continue
                secret, _ = service.keys.create("ann", scope)
                found.append(rate(with_key + at, {"Authorization": f"Bearer {secret}"}))
        for scope, found in rates.items():
            ratios = [mine / plain for mine, plain in zip(found, rates["none"], strict=True)]
            print(
                f"key: {scope:<7} {statistics.median(found):6.0f} requests/s, "
                f"{statistics.median(ratios):.2f} of those without a key"
            )
