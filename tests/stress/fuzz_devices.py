"""Post device profiles of every kind of wrong to a service on a real port.

    python -m tests.stress.fuzz_devices [--examples 5000] [--seed 1]

Half are a good profile with one part replaced, a quarter is any JSON, a quarter is text that may
be none. Each is kept as it was posted, or refused by a problem document and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as options
from hypothesis import strategies as st

from service.contracts import Problem
from service.settings import Settings
from tests.service.conftest import SUPERNET, make_bundle, make_profile
from tests.service.serving import serving

REFUSALS = {400, 409, 413, 415, 422}
INTERNALS = ("Traceback", "sqlalchemy", "pydantic", "site-packages", ".py", "sqlite", "psycopg")

FIELDS = ("name", "runtime", "precision", "batch", "conditions", "space", "table", "shared")
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1e308, 5e-324, 1e999, 10**400, 2**63, -(2**63) - 1, True]),
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "\x00", "\ud800", "../../etc/passwd", "http://127.0.0.1/", "!!python/object:os.system"]
        + ["a" * 20_000, "\u202e", "{{7*7}}", "file:///etc/passwd", "<script>", "%00", "'; --"]
    ),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


@st.composite
def profiles(draw: st.DrawFn) -> bytes:
    """A good profile with one part replaced, removed or added; or a good one."""
    profile: dict[str, Any] = make_profile(draw(NAMES))
    table: dict[str, Any] = profile["table"]
    key = draw(st.sampled_from(sorted(table)))
    match draw(st.integers(0, 9)):
        case 0:
            profile[draw(st.sampled_from(FIELDS))] = draw(JSON)
        case 1:
            del profile[draw(st.sampled_from([f for f in FIELDS if f in profile]))]
        case 2:
            profile[draw(TEXTS)] = draw(JSON)
        case 3:
            table[key] = draw(JSON)
        case 4:
            table[key] = {draw(st.sampled_from(["p50_ms", "std_ms", "count"])): draw(NUMBERS)}
        case 5:
            table[draw(TEXTS)] = {"p50_ms": draw(NUMBERS)}
        case 6:
            names = ["threads", "power_w", "measured_at", "provider", "runtime_version", "clock"]
            profile["conditions"] = {draw(st.sampled_from(names)): draw(LEAVES)}
        case _:
            table[key] = {"p50_ms": table[key]["p50_ms"] * draw(st.floats(0.999, 1.001))}
            profile["network_overhead_ms"] = draw(st.floats(0, 1))
    return dumped(profile)


def dumped(value: object) -> bytes:
    """JSON as others write it: NaN, infinity, lone surrogates and all."""
    return json.dumps(value).encode()


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """What is no JSON, or JSON that no one needs."""
    good = dumped(make_profile("text"))
    at = draw(st.integers(0, len(good)))
    return draw(
        st.one_of(
            st.binary(max_size=200),
            st.just(good[:at]),
            st.just(good[:at] + draw(st.binary(max_size=4)) + good[at:]),
            st.integers(1, 5000).map(lambda depth: b"[" * depth + b"]" * depth),
            st.integers(1, 5000).map(lambda depth: b'{"table":' * depth + b"1" + b"}" * depth),
            st.integers(1, 9000).map(lambda digits: b'{"batch": ' + b"9" * digits + b"}"),
            st.just(b'{"name": "a", "name": "b"}'),
            st.just(b"\xef\xbb\xbf" + good),
            st.just(json.dumps(make_profile("text")).encode("utf-16")),
        )
    )


UPLOADS = st.one_of(profiles(), profiles(), JSON.map(dumped), texts())


class Target:
    """A service that is posted to, and what it answered."""

    def __init__(self, url: str, home: Path) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)
        self.home, self.statuses = home, Counter[int]()
        self.known = self.names()

    def post(self, content: bytes) -> None:
        """Post once, and hold the answer to what is promised."""
        headers = {"Content-Type": "application/json"}
        answer = self.http.post("/v1/devices", content=content, headers=headers)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            posted, device = json.loads(content), answer.json()
            assert device["name"] == posted["name"]
            (table,) = device["tables"]
            assert table["layers"] == len(posted["table"])
            assert self.http.get(answer.headers["Location"]).json() == device
            self.known = sorted({*self.known, device["name"]})
            return
        assert answer.status_code in REFUSALS, (answer.status_code, answer.text[:300])
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = Problem.model_validate_json(answer.content)
        assert problem.status == answer.status_code
        assert problem.request_id == answer.headers["X-Request-ID"]
        assert len(answer.content) < 20_000, "a refusal as long as a book"
        told = [word for word in (*INTERNALS, str(self.home)) if word in answer.text]
        assert not [word for word in told if word.encode() not in content], answer.text[:500]
        if sum(self.statuses.values()) % 20 == 0:
            assert self.names() == self.known, "something refused was kept, or something kept lost"

    def names(self) -> list[str]:
        """Every device."""
        return [item["name"] for item in self.http.get("/v1/devices").json()["items"]]


def fuzz(target: Target, examples: int, number: int) -> None:
    """Post so many."""

    @seed(number)
    @options(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(UPLOADS)
    def post(content: bytes) -> None:
        target.post(content)

    post()


def main() -> int:
    """Run; prints what was answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    given_ = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp()), time.monotonic()
    try:
        make_bundle(folder / "supernets" / SUPERNET)
        with serving(Settings(home=folder, workers=0)) as url:
            target = Target(url, folder)
            fuzz(target, given_.examples, given_.seed)
            target.http.close()
    finally:
        shutil.rmtree(folder)
    total, seconds = sum(target.statuses.values()), time.monotonic() - started
    sys.stdout.write(f"{total} uploads in {seconds:.0f} s: {dict(target.statuses)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
