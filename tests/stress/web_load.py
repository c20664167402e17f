"""How the API bears load: lists of 100,000 searches, reading one, 100 posts at the same moment.

    python -m tests.stress.web_load [--stored 100000]

Prints the figures and their bars: p95 of a list with 100,000 stored at most 3 times that with
1,000; reading a stored search at least 0.4 of a bare FastAPI endpoint's rate; the event loop never
blocked over 100 ms while 100 posts are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import insert

from service.storage.database import open_database
from service.storage.tables import ProfileRow, SearchRow
from tests.stress.service_under_load import ROOT, Site, body, wait_until

LISTS: tuple[dict[str, str], ...] = (
    {},
    {"sort": "latency_ms"},
    {"sort": "-top1"},
    {"status": "succeeded"},
    {"device": "device-3", "sort": "created_at"},
    {"latency_ms_max": "0.5", "sort": "-latency_ms"},
)
BARE = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
answer = {"id": "x", "status": "succeeded", "n": list(range(20))}
@app.get("/bare")
def bare(): return answer
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""

WATCH = """
import http.client, sys, threading, time
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
connection, worst_s = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1])), 0.0
print("watching", flush=True)
while not done.wait(0.005):
    begun = time.perf_counter()
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    worst_s = max(worst_s, time.perf_counter() - begun)
print(1000 * worst_s)
"""
"""Prints the longest that /healthz took, milliseconds, until its stdin ends."""


def fill(site: Site, count: int, example: dict[str, object]) -> None:
    """Store `count` searches that have ended, with a result as large as a real one."""
    engine = open_database(site.settings.database)
    start = datetime.now(UTC) - timedelta(days=30)
    with engine.begin() as connection:
        profile = connection.exec_driver_sql("SELECT sha256 FROM profiles").scalar()
        assert profile, ProfileRow
        for first in range(0, count, 1000):
            rows = [
                {
                    "id": uuid.uuid4().hex,
                    "request_sha256": uuid.uuid4().hex * 2,
                    "request": {"device": f"device-{n % 10}", "seed": n},
                    "supernet": f"net-{n % 3}",
                    "device": f"device-{n % 10}",
                    "profile_sha256": profile,
                    "status": "succeeded" if n % 10 else "failed",
                    "run": 1,
                    "attempts": 1,
                    "result": example if n % 10 else None,
                    "error": None if n % 10 else {"title": "x", "detail": "x"},
                    "latency_ms": (n * 7919 % 100_003) / 1e5 if n % 10 else None,
                    "top1": 80 + (n * 104_729 % 100_003) / 1e4 if n % 10 else None,
                    "artifact_sha256": "a" * 64 if n % 10 else None,
                    "created_at": start + timedelta(seconds=n),
                    "finished_at": start + timedelta(seconds=n + 1),
                }
                for n in range(first, min(first + 1000, count))
            ]
            connection.execute(insert(SearchRow), rows)
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def list_p95_ms(site: Site, rounds: int = 100) -> dict[str, float]:
    """p95 of each kind of list, and of going on to its second page."""
    found = {}
    with site.client() as client:
        for query in LISTS:
            times = []
            for _ in range(rounds):
                begun = time.perf_counter()
                page = client.get("/v1/searches", params={**query, "limit": "20"})
                if cursor := page.raise_for_status().json()["next_cursor"]:
                    more = {**query, "limit": "20", "cursor": cursor}
                    client.get("/v1/searches", params=more).raise_for_status()
                times.append(1000 * (time.perf_counter() - begun))
            found[json.dumps(query)] = statistics.quantiles(times, n=20)[-1]
    return found


def rate(url: str, seconds: float = 4.0, clients: int = 4) -> float:
    """Requests a second of some clients that ask as fast as they are answered."""

    async def ask(client: httpx.AsyncClient, until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            (await client.get(url)).raise_for_status()
            count += 1
        return count

    async def run() -> float:
        async with httpx.AsyncClient() as client:
            begun = time.perf_counter()
            until = begun + seconds
            counts = await asyncio.gather(*(ask(client, until) for _ in range(clients)))
            return sum(counts) / (time.perf_counter() - begun)

    return asyncio.run(run())


def bare_against_stored(site: Site, search_id: str) -> tuple[float, float]:
    """Rates of a bare endpoint and of reading a search, in turns."""
    port = site.port + 1
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(port)], cwd=ROOT)
    try:
        plain = f"http://127.0.0.1:{port}/bare"
        stored = f"http://127.0.0.1:{site.port}/v1/searches/{search_id}"
        wait_until(lambda: _answers(plain))
        rates = [(rate(plain), rate(stored)) for _ in range(3)]
    finally:
        bare.terminate()
        bare.wait()
    return statistics.median(r[0] for r in rates), statistics.median(r[1] for r in rates)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def posts(site: Site, count: int) -> tuple[int, float, float]:
    """Post distinct searches at the same moment; how many were accepted, in what time, and the
    longest that /healthz took, which does nothing but pass through the event loop; asked from a
    process of its own, since in this one it would wait for us."""

    async def run() -> list[int]:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            url = f"http://127.0.0.1:{site.port}/v1/searches"
            answers = await asyncio.gather(
                *(client.post(url, json=body(10_000 + seed)) for seed in range(count))
            )
            return [answer.status_code for answer in answers]

    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(site.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None
    watcher.stdout.readline()
    begun = time.perf_counter()
    statuses = asyncio.run(run())
    seconds = time.perf_counter() - begun
    worst_ms = float(watcher.communicate()[0])
    return sum(status in (201, 202) for status in statuses), seconds, worst_ms


def loop_waits(site: Site) -> dict[str, int]:
    """How often the event loop was late by at most so many seconds, as the service counts it."""
    with site.client() as client:
        text = client.get("/metrics").text
    name = "subnet_search_event_loop_wait_seconds_bucket"
    found = re.findall(rf'^{name}{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    return {bound: int(float(count)) for bound, count in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), SUBNET_WORKERS="1")
        try:
            site.start("serve")
            site.wait_until_ready(workers=1)
            with site.client() as client:
                answer = client.post(
                    "/v1/searches", json=body(0), headers={"Prefer": "wait=60"}
                ).json()
            result = answer["result"]
            before = loop_waits(site)
            accepted, seconds, worst_ms = posts(site, 100)
            waits = {bound: count - before[bound] for bound, count in loop_waits(site).items()}
            over = waits["+Inf"] - waits["0.1"]
            longest = next(bound for bound, count in waits.items() if count == waits["+Inf"])
            print(
                f"posts: {accepted}/100 accepted in {seconds:.2f} s; of {waits['+Inf']} looks the "
                f"event loop was late by over 100 ms in {over} (bar 0), by at most {longest} s; "
                f"/healthz from outside took {worst_ms:.0f} ms at most"
            )
            wait_until(lambda: _queued(site) == 0, 600)
            plain, stored = bare_against_stored(site, answer["id"])
            print(f"reading: {stored:.0f}/s of {plain:.0f}/s bare: {stored / plain:.2f} (bar 0.4)")
            # One layer of each: what a page answers, the database must not store by the gigabyte.
            result["layers"] = result["layers"][:1]
            fill(site, 1000, result)
            small = list_p95_ms(site)
            fill(site, given.stored - 1000, result)
            large = list_p95_ms(site)
            for query, ms in large.items():
                ratio = ms / small[query]
                print(f"list {query}: p95 {small[query]:.1f} -> {ms:.1f} ms, {ratio:.2f} (bar 3)")
        finally:
            site.stop()


def _queued(site: Site) -> int:
    with site.client() as client:
        items = [
            item
            for status in ("queued", "running")
            for item in client.get("/v1/searches", params={"status": status}).json()["items"]
        ]
    return len(items)


if __name__ == "__main__":
    main()
