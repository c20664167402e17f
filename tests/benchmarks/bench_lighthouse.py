"""Lighthouse on every view of the page, on a server of the shipped supernet.

    python -m tests.benchmarks.bench_lighthouse [--view NAME ...] [--keep FOLDER]

Needs Debian's Chromium and Lighthouse (`npm install --global lighthouse`, or npx, which fetches
it). Each view is opened once before, so that its front comes from the store, as for every visitor
but the first.

Bar, on an idle machine: performance, accessibility and best practices at least 95 on every view.
Exits with 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import expect

from tests.e2e.browser import CHROMIUM, DEVICE, EXPLORE, QUIET, SUPERNET, chromium, serve

VERSION = "lighthouse@12"
BAR = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
VIEWS = {
    "explore": (EXPLORE, "#picture svg.subnet"),
    "searches": ("/?view=searches", "#searches tbody tr, #searches .empty"),
    "devices": ("/?view=devices", "#devices tbody tr"),
    "device": (f"/?view=devices&device={DEVICE}", "#devices .figures"),
    "supernets": ("/?view=supernets", "#supernets tbody tr"),
    "supernet": (f"/?view=supernets&supernet={SUPERNET}", "#supernets .pairs"),
}
"""Address, and what is there once the view is."""
PATIENCE_S = 600


def scores(address: str, report: Path) -> dict[str, float]:
    """Lighthouse's scores of a page, 0 to 100, by category."""
    found = shutil.which("lighthouse")
    command = [found] if found else ["npx", "--yes", VERSION]
    options = [
        *("--quiet", "--output=json", f"--output-path={report}", "--preset=desktop"),
        f"--only-categories={','.join(CATEGORIES)}",
        f"--chrome-flags=--headless=new {' '.join(QUIET)}",
    ]
    environment = {**os.environ, "CHROME_PATH": str(CHROMIUM)}
    subprocess.run([*command, address, *options], env=environment, check=True, timeout=PATIENCE_S)
    categories = json.loads(report.read_text())["categories"]
    return {name: 100 * categories[name]["score"] for name in CATEGORIES}


def open_once(url: str, views: list[str]) -> None:
    """Open each view, and wait until it is there."""
    with chromium() as browser:
        page = browser.new_page(base_url=url)
        for view in views:
            path, ready = VIEWS[view]
            page.goto(path)
            expect(page.locator(ready).first).to_be_visible()


def main() -> int:
    """Print a line a view; 1 if one misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--view", action="append", choices=VIEWS, help="repeatable; default: all")
    parser.add_argument("--keep", type=Path, help="folder for Lighthouse's reports")
    given = parser.parse_args()
    views = given.view or list(VIEWS)
    missed = 0
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "home") as url:
        reports = given.keep or Path(folder)
        reports.mkdir(parents=True, exist_ok=True)
        body = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.4}}
        headers = {"Prefer": "wait=60"}
        httpx.post(f"{url}/v1/searches", json=body, headers=headers, timeout=PATIENCE_S)
        open_once(url, views)
        for number, view in enumerate(views, 1):
            print(f"{number} of {len(views)}: {view}", file=sys.stderr, flush=True)
            found = scores(url + VIEWS[view][0], reports / f"{view}.json")
            misses = [name for name, score in found.items() if score < BAR]
            missed += bool(misses)
            line = ", ".join(f"{name} {score:.0f}" for name, score in found.items())
            print(f"{view}: {line}{' MISSED' if misses else ''}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
