"""Real processes: a server, a worker beside it, and both killed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager

import pytest

from service.jobs.identity import has_ended
from service.storage import ExecutorStore
from service.storage.database import open_database
from tests import processes
from tests.processes import PATIENCE_S, log_of, process
from tests.service.conftest import DEVICE, SUPERNET

pytestmark = pytest.mark.slow
REQUEST = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@contextmanager
def server(home, workers=0):
    environment = {"SUBNET_WORKERS": str(workers), "SUBNET_LOG_FORMAT": "json"}
    with processes.server(home, **environment) as running_and_client:
        yield running_and_client


def kinds_of(client, search, until=None):
    """What happened to a search, until it is finished or `until` happens, without progress."""
    told: list[str] = []
    with client.stream("GET", f"/v1/searches/{search['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: ") and line != "event: progress":
                told.append(line[7:])
                if told[-1] == until:
                    break
    return told


def test_a_search_outlives_its_server_and_its_worker(home, settings):
    """The executors in the database tell which workers there are."""
    engine = open_database(settings.database)
    executors = ExecutorStore(engine)

    def workers():
        found = executors.heartbeats()
        return {int(name.split("/")[2].split(".")[0]) for name in found if not has_ended(name)}

    def wait_for(condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"workers: {workers()}"
            time.sleep(0.05)

    with server(home) as (running, client):
        search = client.post("/v1/searches", json=REQUEST).json()
        assert search["status"] == "queued"
        running.kill()
        assert running.wait(PATIENCE_S) == -signal.SIGKILL

    url = f"/v1/searches/{search['id']}"
    with server(home, workers=1) as (running, client):
        # Its worker takes it up, and dies too; another comes.
        assert kinds_of(client, search, until="running")[-1] == "running"
        (first,) = workers()
        os.kill(first, signal.SIGKILL)
        assert kinds_of(client, search) in (
            ["queued", "running", "queued", "running", "succeeded"],
            # It may have been quicker than its murderer.
            ["queued", "running", "succeeded"],
        )
        assert client.get(f"{url}/model.onnx").status_code == 200
        wait_for(lambda: workers() and first not in workers())
        # Killed, the server cannot tell its worker; it notices, and ends in order.
        running.kill()
        running.wait(PATIENCE_S)
    wait_for(lambda: not workers())
    assert f'"path": "{url}' in log_of(home, "serve").read_text()

    with process(home, "worker") as worker:
        wait_for(workers)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_S) == 0
    assert not workers()
    engine.dispose()
