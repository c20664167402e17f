"""A phone without a browser: it opens a link and sends times drawn from a table with noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from latency_tables.table import LatencyTable
from models.spaces import Arch, SearchSpace, layer_plan
from service.links.web_runtime import FILES, VERSION, WEB_NAME

USER_AGENT = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36"
)


def install_runtime(home: Path) -> Path:
    """Files of the names that onnxruntime-web has, which no browser could run."""
    folder = home / "runtimes" / WEB_NAME / VERSION
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(f"// {name}")
    return folder


class Phone:
    """One device."""

    def __init__(self, client: httpx.AsyncClient, truth: LatencyTable, space: SearchSpace) -> None:
        self.client, self.truth, self.space = client, truth, space
        self.headers = {"User-Agent": USER_AGENT}

    async def open(self, code: str) -> httpx.Response:
        """Open a link; the session is used from then on."""
        answer = await self.client.post(
            "/v1/link-sessions", json={"code": code}, headers=self.headers
        )
        if answer.is_success:
            self.headers["Link-Session"] = answer.json()["session"]
        return answer

    async def get(self, part: str = "") -> httpx.Response:
        """Something of the session."""
        path = f"/v1/link-sessions/current{part}"
        return await self.client.get(path, headers=self.headers)

    async def send(self, body: Any) -> httpx.Response:
        """A result."""
        path = "/v1/link-sessions/current/result"
        return await self.client.post(path, json=body, headers=self.headers)

    async def report(self, **progress: Any) -> httpx.Response:
        """How far it is."""
        path = "/v1/link-sessions/current/progress"
        body = {"phase": "timing", "share": 0.5, **progress}
        return await self.client.put(path, json=body, headers=self.headers)

    def result(self, plan: dict[str, Any], *, rounds: int = 8, **changes: Any) -> dict[str, Any]:
        """What the page sends of a quick measurement."""
        rng = np.random.default_rng(0)
        times = {}
        for name in plan["networks"]:
            network = layer_plan(self.space, Arch.from_json(json.loads(name)))
            p50 = (self.truth.network_ms(network) * rng.normal(1, 0.02, rounds)).tolist()
            times[name] = {"p50": p50, "mean": p50}
        return {
            "plan": plan["id"],
            "backend": "wasm",
            **{name: plan[name] for name in ("runtime", "precision", "batch", "space")},
            "conditions": conditions(),
            "rounds": {**plan["rounds"], "times_ms": times},
            "canary_ms": [1.0] * rounds,
            "stopped": None,
            "last": True,
            **changes,
        }


def conditions(**changes: Any) -> dict[str, Any]:
    """What a page says of its browser."""
    return {
        "provider": "wasm",
        "threads": 1,
        "runtime_version": VERSION,
        "user_agent": USER_AGENT,
        "cross_origin_isolated": True,
        "first_session_ms": 812.5,
        "clock_ms": 0.005,
        "io": "host",
        **changes,
    }
