"""Ask a service on a real port what its own description allows and what it does not.

    python -m tests.stress.fuzz_api [--cases 10000] [--minutes 20] [--seed 1]

Every check of schemathesis is on: no 5xx, answers as described, bad requests refused and good
ones taken, keys asked for. The service has one tiny supernet, a worker, and keys. Of its names and
of a search that has ended, many requests use one, so that they come further than to a 404.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from service.client import Client
from service.http import middleware
from service.settings import Settings
from service.storage.access.api_keys import open_keys
from service.storage.database import migrate, open_database
from service.storage.devices import DeviceStore
from tests.service.conftest import DEVICE, SUPERNET, make_bundle, make_table
from tests.service.serving import serving
from tests.stress.needs import require_packages

CONFIG = """
[checks.use_after_free]
# DELETE cancels a search, which can be read afterwards.
enabled = false

[checks.positive_data_acceptance]
# 422: limits that no network meets, and tables that hold but are wrong, are known only to the
# service.
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "422"]

[dictionaries]
names = {{ values = ["{supernet}", "{device}"] }}
searches = {{ values = ["{search}"] }}
budgets = {{ values = [0.6, 0.8, 1.0, 1.5] }}

[parameters]
"path.name" = {{ dictionary = "names", probability = 0.7 }}
"path.device" = {{ dictionary = "names", probability = 0.7 }}
"path.search_id" = {{ dictionary = "searches", probability = 0.7 }}
"body.supernet" = {{ dictionary = "names", probability = 0.7 }}
"body.device" = {{ dictionary = "names", probability = 0.7 }}
"body.constraints.latency_ms" = {{ dictionary = "budgets", probability = 0.5 }}
"""
OPERATIONS = 20
"""Roughly; schemathesis spreads its examples over them."""
PATIENCE_S = 60
"""For an answer: what it answers is judged here, not how fast a busy machine is."""
OUT_OF_TIME = 3
EVENTS = "/v1/searches/{search_id}/events"


def main() -> int:
    """Run; the exit code is that of schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=20.0, help="At most.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    require_packages("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(Path(folder), given.cases, given.seed, seconds=60 * given.minutes)


def fuzz(
    folder: Path, cases: int, seed: int, *, seconds: float = 1200.0, quick: bool = False
) -> int:
    """At least so many cases on a fresh service in `folder`, in at most so many seconds.

    Args:
        quick: without a worker, and so without the cases that follow a search to its end, or
            listen until it comes.

    Returns:
        0 if all held; else schemathesis' exit code, 1 if a request crashed whose answer had begun,
        or 3 if time was too short for all.
    """
    settings = Settings(
        home=folder,
        workers=0 if quick else 1,
        poll_interval_s=0.02,
        max_wait_s=0.2,
        access="required",
        rate_per_s=1e6,
        rate_burst=10**6,
    )
    make_bundle(folder / "supernets" / SUPERNET)
    engine = open_database(settings.database)
    migrate(engine)
    DeviceStore(engine).add(make_table())
    secret, _ = open_keys(engine, settings).create("fuzzer", "admin")
    engine.dispose()
    config = folder / "schemathesis.toml"
    started, passed_s, done, code = time.monotonic(), 0.0, 0, 0
    with serving(settings) as url, patch.object(middleware, "log", wraps=middleware.log) as log:
        search = _search(url, secret, finish=not quick)
        config.write_text(CONFIG.format(supernet=SUPERNET, device=DEVICE, search=search))
        while done < cases and code == 0:
            examples = max(5, min(60, (cases - done) // OPERATIONS))
            code, ran = _run(url, secret, config, examples, seed, quick)
            done, seed = done + ran, seed + 1
            passed_s = time.monotonic() - started
            if crashed := log.exception.call_count:
                sys.stdout.write(f"{crashed} requests crashed\n")
                code = code or 1
            sys.stdout.write(f"{done} cases, {passed_s:.0f} s, exit code {code}\n")
            sys.stdout.flush()
            if code == 0 and done < cases and (ran == 0 or passed_s > seconds):
                code = OUT_OF_TIME
    verdict = {0: "passed", OUT_OF_TIME: "out of time"}.get(code, "FAILED")
    sys.stdout.write(f"{verdict}: {done} of {cases} cases, {passed_s:.0f} s\n")
    return code


def _search(url: str, secret: str, *, finish: bool) -> str:
    """The id of a search, which has ended if `finish`."""
    with Client(url, secret) as client:
        return client.search(SUPERNET, DEVICE, latency_ms=0.8, wait=finish).id


def _run(
    url: str, secret: str, config: Path, examples: int, seed: int, quick: bool
) -> tuple[int, int]:
    """One run; its exit code and its number of cases."""
    less = ("--phases", "examples,fuzzing", "--exclude-path", EVENTS) if quick else ()
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)),
        *("run", f"{url}/openapi.json", "--checks", "all", "--no-color"),
        *("--header", f"Authorization: Bearer {secret}", "--request-timeout", str(PATIENCE_S)),
        *("--max-response-time", str(PATIENCE_S)),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
        *("--generation-database", "none", "--max-failures", "60"),
        *("--suppress-health-check", "all", *less),
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=config.parent)
    sys.stdout.write(result.stdout[-60_000:] + result.stderr[-3000:])
    found = re.search(r"(\d+) generated", result.stdout)
    return result.returncode, int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
