"""Record what a user gets: `python -m tests.golden.record` writes every golden file anew.

Everything is asked through the command line and a real server, so that the record stays comparable
whatever moves inside. Read the difference before you commit it (tests/golden/PROVENANCE.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import torch
from typer.testing import CliRunner

from service.cli import app
from tests.golden.commands import ask_every_command
from tests.golden.world import CPU, RESNET_DEVICE, build
from tests.processes import PATIENCE_S, server

RECORDS = Path(__file__).parent / "records"
FASHION, MOBILE_1, MOBILE_12, RESNET = (
    *("fashion-mbv3", "ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-resnet50"),
)
SEARCHES: list[dict[str, Any]] = [
    {"supernet": supernet, "device": device, "precision": precision, "constraints": limits}
    for supernet, device, precision, limits in (
        (FASHION, CPU, "fp32", {"latency_ms": 0.35}),
        (FASHION, CPU, "fp32", {"latency_ms": 0.6, "latency_confidence": 0.9}),
        (FASHION, CPU, "fp32", {"latency_ms": 0.5, "macs": 12e6}),
        (FASHION, CPU, "int8", {"latency_ms": 0.45}),
        (FASHION, CPU, "int8", {"latency_ms": 0.7, "peak_memory_bytes": 200_000}),
        (MOBILE_1, "google-pixel", "fp32", {"latency_ms": 60.0}),
        (MOBILE_1, "google-pixel", "fp32", {"latency_ms": 90.0, "params": 6e6}),
        (MOBILE_12, "samsung-note10", "fp32", {"latency_ms": 20.0}),
        (MOBILE_12, "samsung-note10", "fp32", {"latency_ms": 32.0, "macs": 350e6}),
        (MOBILE_12, "v100", "fp32", {"latency_ms": 150.0}),
        (RESNET, RESNET_DEVICE, "fp32", {"latency_ms": 1.5}),
        (RESNET, RESNET_DEVICE, "fp32", {"latency_ms": 2.2, "model_bytes": 90e6}),
    )
]
FRONTS = (
    (FASHION, CPU, "fp32"),
    (FASHION, CPU, "int8"),
    (MOBILE_1, "google-pixel", "fp32"),
    (MOBILE_12, "samsung-note10", "fp32"),
    (RESNET, RESNET_DEVICE, "fp32"),
)
KEPT = ("SUBNET_FASHION_MNIST",)
"""Settings of the machine, which say where things are."""
STATED = ("supernet_sha256", "device_sha256")
"""Hashes of a stored request; that of a predictor's file depends on the order of its metadata."""
READABLE = 12
"""Points of a front that are written out; the hash is of all."""


def machine() -> dict[str, str]:
    """By which it is known whether the last bits can be the same: versions, and a hash of sums and
    products that processors and libraries round differently."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300, 300)).astype(np.float32)
    digest = hashlib.sha256()
    for values in (a @ b, a.astype(np.float64) @ b.astype(np.float64), np.exp(a), np.std(a, 1)):
        digest.update(np.ascontiguousarray(values).tobytes())
    torch.set_num_threads(1)
    x, w = torch.from_numpy(a)[None, None], torch.from_numpy(b[:80, :147]).reshape(80, 3, 7, 7)
    y = torch.nn.functional.conv2d(x.expand(2, 3, -1, -1), w, stride=2)
    digest.update(torch.cat([y.flatten(), y.mean((0, 2, 3))]).numpy().tobytes())
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "torch": torch.__version__.partition("+")[0],
        "onnxruntime": onnxruntime.__version__,
        "cores": str(len(os.sched_getaffinity(0))),
        "arithmetic": digest.hexdigest()[:16],
    }


def run(*args: object) -> Any:
    """What a command prints with `--json`."""
    result = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert result.exit_code == 0, (args, result.output, result.exception)
    return json.loads(result.stdout)


def searches(client: httpx.Client) -> list[dict[str, Any]]:
    """Every search with its numbers, and the hash of the file that was delivered."""
    ids = []
    for request in SEARCHES:
        answer = client.post("/v1/searches", json=request)
        assert answer.status_code in (201, 202), answer.text
        ids.append(answer.json()["id"])
    return [
        _found(request, _finished(client, search_id))
        for request, search_id in zip(SEARCHES, ids, strict=True)
    ]


def _finished(client: httpx.Client, search_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, Any] = client.get(f"/v1/searches/{search_id}").json()
        if found["status"] not in ("queued", "running"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def _found(request: Mapping[str, Any], search: Mapping[str, Any]) -> dict[str, Any]:
    assert search["status"] == "succeeded", search["error"]
    result = search["result"]
    numbers = (
        *("arch", "top1", "latency_ms", "latency_upper_ms", "macs", "params"),
        *("peak_memory_bytes", "energy_mj", "model_bytes"),
    )
    return {
        "request": request,
        "stated_request": {name: search["request"][name] for name in STATED},
        **{name: result[name] for name in numbers},
        "evaluations": result["search"]["evaluations"],
        "verified_top1": (result["verified"]["top1"] or {}).get("value"),
        "layers": digest(result["layers"]),
        "prices": digest(result["prices"]),
        "provenance": digest(result["provenance"]),
        "sha256": result["sha256"],
    }


def fronts(client: httpx.Client) -> list[dict[str, Any]]:
    """Every front: a hash of the whole answer, and points spread over it."""
    found = []
    for supernet, device, precision in FRONTS:
        path = f"/v1/supernets/{supernet}/devices/{device}/front"
        answer = client.get(path, params={"precision": precision}).json()
        points = answer["points"]
        spread = np.linspace(0, len(points) - 1, READABLE).astype(int).tolist()
        found.append(
            {
                "supernet": supernet,
                "device": device,
                "precision": precision,
                "count": len(points),
                "points": [[points[i]["latency_ms"], points[i]["top1"]] for i in spread],
                "sha256": digest(answer),
            }
        )
    return found


def digest(value: object) -> str:
    """A hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def record() -> dict[str, Any]:
    """Every record by its file's name, on an installation made for it."""
    with tempfile.TemporaryDirectory() as folder:
        home, files = Path(folder) / "home", Path(folder) / "files"
        files.mkdir()
        ours = [name for name in os.environ if name.startswith("SUBNET_") and name not in KEPT]
        before = {name: os.environ.pop(name) for name in ours}
        os.environ["SUBNET_HOME"] = str(home)
        try:
            build(home, files, run)
            with server(home, SUBNET_MAX_WAIT_S="300") as (_, client):
                records = {
                    "searches": searches(client),
                    "fronts": fronts(client),
                    "openapi": client.get("/openapi.json").json(),
                }
            records["commands"] = ask_every_command(files, run)
        finally:
            del os.environ["SUBNET_HOME"]
            os.environ.update(before)
    return {"machine": machine(), **records}


def main() -> None:
    """Write every record."""
    RECORDS.mkdir(exist_ok=True)
    for name, value in record().items():
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        (RECORDS / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
