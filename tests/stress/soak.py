"""Mixed load for minutes: the memory of the server and its worker must not grow.

    python -m tests.stress.soak [--minutes 20]

After a fifth of the time as warm-up, the median of the last fifth may be at most 5 % above the
median of the second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx

from service.jobs.identity import has_ended
from service.storage import ExecutorStore
from service.storage.database import open_database
from tests.stress.service_under_load import Site, body


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, of which nobody else has a part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss of {pid}")


def load(site: Site, stop: threading.Event, seed: int) -> None:
    """Ask, read, list, download, cancel, fail and scrape, at random."""
    rng = random.Random(seed)
    ids: list[str] = []
    with site.client() as client:
        while not stop.wait(rng.uniform(0.0, 0.1)):
            try:
                action = rng.random()
                if action < 0.15 or not ids:
                    answer = client.post("/v1/searches", json=body(rng.randrange(10**6)))
                    if answer.status_code != 429:  # the queue is full after some minutes
                        ids = [*ids, answer.raise_for_status().json()["id"]][-200:]
                elif action < 0.25:
                    client.post("/v1/searches", json={**body(1), "constraints": {"macs": 1.0}})
                elif action < 0.3:
                    client.delete(f"/v1/searches/{ids[-1]}")
                elif action < 0.5:
                    client.get(f"/v1/searches/{rng.choice(ids)}/model.onnx")
                elif action < 0.7:
                    client.get("/v1/searches", params={"limit": "20"})
                elif action < 0.75:
                    client.get("/metrics")
                else:
                    client.get(f"/v1/searches/{rng.choice(ids)}")
            except httpx.TransportError:
                pass


def main() -> None:
    """Run the load and print how memory went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    given = parser.parse_args()
    seconds = 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), SUBNET_WORKERS="1")
        try:
            site.start("serve")
            site.wait_until_ready(workers=1)
            engine = open_database(site.settings.database)
            (executor,) = [
                name for name in ExecutorStore(engine).heartbeats() if not has_ended(name)
            ]
            engine.dispose()
            pids = {
                "server": site.processes["serve"].pid,
                "worker": int(executor.split("/")[2].split(".")[0]),
            }
            stop = threading.Event()
            clients = [threading.Thread(target=load, args=(site, stop, n)) for n in range(3)]
            for client in clients:
                client.start()
            samples: dict[str, list[float]] = {name: [] for name in pids}
            begun = time.monotonic()
            while time.monotonic() - begun < seconds:
                time.sleep(seconds / 200)
                for name, pid in pids.items():
                    samples[name].append(resident_mb(pid))
                if len(samples["server"]) % 20 == 0:
                    now = ", ".join(
                        f"{name} {values[-1]:.0f} MB" for name, values in samples.items()
                    )
                    print(f"{(time.monotonic() - begun) / 60:.0f} min: {now}", flush=True)
            stop.set()
            for client in clients:
                client.join()
            for name, values in samples.items():
                fifth = len(values) // 5
                early = statistics.median(values[fifth : 2 * fifth])
                late = statistics.median(values[-fifth:])
                growth = 100 * (late / early - 1)
                print(f"{name}: {early:.1f} -> {late:.1f} MB, {growth:+.1f} % (bar 5 %)")
        finally:
            site.stop()


if __name__ == "__main__":
    main()
