"""Real processes: a server, a worker beside it, and both killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.database import open_database
from service.store import SearchStore
from tests.service.conftest import DEVICE, SUPERNET

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
REQUEST = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@contextmanager
def process(home, *args):
    environment = {
        **os.environ,
        "SUBNET_HOME": str(home),
        "SUBNET_WORKERS": "0",
        "SUBNET_LOG_FORMAT": "json",
    }
    running = subprocess.Popen(
        [sys.executable, "-m", "service", *args],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


@contextmanager
def server(home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        process(home, "serve", "--port", str(port)) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
    ):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                assert client.get("/readyz").status_code == 200
                break
            except httpx.ConnectError:
                assert running.poll() is None, running.stderr.read()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
        yield running, client


def test_a_server_and_a_worker_through_a_crash(home, settings):
    with server(home) as (running, client):
        search = client.post("/v1/searches", json=REQUEST).json()
        assert search["status"] == "queued"
        running.kill()
        assert running.wait(PATIENCE_S) == -signal.SIGKILL

    # A worker takes it up, and dies too.
    engine = open_database(settings.database)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(PATIENCE_S)
    owner = f"{socket.gethostname()}/{ended.pid}/x"
    assert SearchStore(engine).claim_next(owner, 3600)
    engine.dispose()

    with server(home) as (running, client):
        # The start of any process puts back what the dead one held.
        assert client.get(f"/v1/searches/{search['id']}").json()["status"] == "queued"
        with process(home, "worker") as worker:
            kinds = []
            with client.stream("GET", f"/v1/searches/{search['id']}/events") as stream:
                kinds += [line[7:] for line in stream.iter_lines() if line.startswith("event: ")]
            assert kinds[:4] == ["queued", "running", "queued", "running"]
            assert kinds[-1] == "succeeded"
            model = client.get(f"/v1/searches/{search['id']}/model.onnx")
            assert model.status_code == 200
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_S) == 0
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE_S) in (0, -signal.SIGTERM)
        assert '"path": "/readyz"' in running.stderr.read()


def test_the_api_starts_without_torch():
    code = (
        "import sys; from service.app import create_app; create_app(); "
        "print([m for m in ('torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
