"""Results of devices, tampered with: each is refused with its place, or stored; none is a 5xx.

    python -m tests.stress.fuzz_links --cases 1000 --seed 0

Each case changes the result of a made-up device in one to three places: values of other kinds, of
extreme size, missing and additional fields, cut and repeated lists, other plans, slowed rounds.
Prints how the cases ended; exits 1 if one ended otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog

from service.settings import Settings
from tests.service.conftest import SUPERNET, client_on, keep, make_bundle, make_table
from tests.service.links.phone import Phone, install_runtime
from tests.spaces import DEBUG

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, -0.0, 1e-300, 1e300, 1e9, 0.5),
    *("", "x", "wasm", "webgpu", "\ufffd" * 50, "x" * 9000, "..", "NaN", "\u202e", "0"),
    *([], {}, [[]], [None], {"p50": []}, [1.0] * 3, {"p50": [1.0], "mean": [1.0]}),
)
EVERY_S = 2.0


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a JSON value."""
    found = [path] if path else []
    listed = dict(enumerate(value)) if isinstance(value, list) else value
    for key, item in listed.items() if isinstance(listed, dict) else ():
        found += places(item, (*path, key))
    return found


def tampered(body: dict[str, Any], draw: random.Random) -> Any:
    """A body with one to three things changed."""
    changed = copy.deepcopy(body)
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(places(changed))
        *way, last = path
        place = changed
        for step in way:
            place = place[step]
        match draw.randrange(7):
            case 0 | 1:
                place[last] = draw.choice(ODD)
            case 2:
                del place[last]
            case 3 if isinstance(place, list):
                place.insert(last, draw.choice(ODD))
            case 3:
                place[draw.choice(("more", "plan", "p50", "\u00e9"))] = draw.choice(ODD)
            case 4 if isinstance(place[last], list):
                place[last] = place[last][: draw.randrange(1 + len(place[last]))]
            case 5 if isinstance(place[last], int | float):
                place[last] = place[last] * draw.choice((1e-9, 1e-3, 0.5, 2, 1e3, 1e9))
            case 6:
                rounds = len(changed["canary_ms"]) if _has_canary(changed) else 8
                slow = draw.randint(0, rounds)
                changed["canary_ms"] = [1.0] * slow + [draw.choice((1.1, 1.5, 9.0))] * (
                    rounds - slow
                )
                changed["stopped"] = draw.choice((None, "throttled", "time", "x" * 300))
    return changed


def _has_canary(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("canary_ms"), list)


@contextmanager
def without_log() -> Iterator[None]:
    """No line for each request meanwhile."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def run(cases: int, seed: int, home: Path) -> Counter[str]:
    """How so many cases ended, by status and the problem's kind."""
    make_bundle(home / "supernets" / SUPERNET)
    keep(home, make_table())
    install_runtime(home)
    ended, draw = Counter[str](), random.Random(seed)
    async with client_on(Settings(home=home, workers=0)) as client:
        with without_log():
            await _fuzz(client, cases, draw, ended)
    return ended


async def _fuzz(
    client: httpx.AsyncClient, cases: int, draw: random.Random, ended: Counter[str]
) -> None:
    phone, plan = await opened(client, 0)
    shown = time.monotonic()
    for case in range(cases):
        value = tampered(phone.result(plan), draw)
        raw = json.dumps(value)
        if draw.random() < 0.05:
            raw = raw[: draw.randrange(len(raw))]
        path = "/v1/link-sessions/current/result"
        headers = {**phone.headers, "Content-Type": "application/json"}
        answer = await client.post(path, content=raw, headers=headers)
        ended[_kind(answer)] += 1
        if answer.status_code >= 500 or _kind(answer).endswith("?"):
            print(f"case {case}: {answer.status_code} {answer.text[:300]}\n  {raw[:500]}")
        if answer.status_code == 201:
            phone, plan = await opened(client, case + 1)
        if time.monotonic() - shown > EVERY_S:
            shown = time.monotonic()
            print(f"{case + 1} of {cases} cases", file=sys.stderr, flush=True)


def _kind(answer: httpx.Response) -> str:
    if answer.status_code == 201:
        return "201 stored, with a warning" if answer.json()["warnings"] else "201 stored"
    document = answer.json()
    clear = document.get("detail") and document.get("status") == answer.status_code
    return f"{answer.status_code} {document.get('title')}{'' if clear else ' ?'}"


async def opened(client: httpx.AsyncClient, number: int) -> tuple[Phone, dict[str, Any]]:
    """A device that has opened a link of its own, and what it times."""
    request = {"supernet": SUPERNET, "device": f"device-{number}"}
    made = await client.post("/v1/links", json=request)
    phone = Phone(client, make_table(), DEBUG)
    await phone.open(made.json()["code"])
    return phone, (await phone.get("/plan")).json()


def main() -> int:
    """Run the cases; 1 if one of them was not refused clearly or stored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        ended = asyncio.run(run(given.cases, given.seed, Path(home)))
    for kind, count in sorted(ended.items()):
        print(f"{count:6} {kind}")
    bad = sum(count for kind, count in ended.items() if kind.startswith("5") or kind.endswith("?"))
    print(f"{given.cases} cases, {bad} not answered clearly")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
