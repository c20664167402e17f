"""A real server on the shipped supernet, and Debian's Chromium to open it with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from service.links.web_runtime import WebRuntime
from service.settings import Settings
from tests.processes import PATIENCE_S, server
from tests.service import conftest as made_up

CHROMIUM = Path("/usr/bin/chromium")
SUPERNET, DEVICE = "fashion-mbv3", "cpu-x86-64-ort"
TINY, TINY_DEVICE = made_up.SUPERNET, made_up.DEVICE
EXPLORE = f"/?supernet={SUPERNET}&devices={DEVICE}"
EXPLORE_TINY = f"/?supernet={TINY}&devices={TINY_DEVICE}"
BOUNDED = "bounded-device"
RATIOS = [0.9, 0.95, 0.98, 1.0, 1.0, 1.02, 1.05, 1.1, 1.2]
"""Its whole networks, measured over predicted: the ninth of nine bounds at 90 %."""
PATIENCE_MS = 1000 * PATIENCE_S
expect.set_options(timeout=PATIENCE_MS)
# Without these it looks for updates and other services of its makers.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


LONG_S = 250
"""Seconds for which an answer is waited for beside other tests, where a user would say 60."""


@contextmanager
def serve(home: Path, **environment: str) -> Iterator[str]:
    """The URL of a server process with this home."""
    with server(home, SUBNET_MAX_WAIT_S=str(LONG_S), **environment) as (_, client):
        yield str(client.base_url).rstrip("/")


def web_runtimes() -> Path | None:
    """The folder of runtimes in which this installation has onnxruntime-web, if it has it."""
    settings = Settings()
    folders = [settings.home.resolve() / "runtimes", settings.runtimes]
    return next((each for each in folders if each and WebRuntime(each).folder), None)


def tiny_search(url: str, latency_ms: float, seed: int = 0) -> dict[str, Any]:
    """A finished search of the made-up supernet and device."""
    limits = {"latency_ms": latency_ms}
    body = {"supernet": TINY, "device": TINY_DEVICE, "constraints": limits, "seed": seed}
    headers = {"Prefer": f"wait={LONG_S}"}
    answer = httpx.post(f"{url}/v1/searches", json=body, headers=headers, timeout=PATIENCE_S)
    search: dict[str, Any] = answer.json()
    assert search["status"] == "succeeded", search
    return search


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


def headline(page: Page) -> list[float]:
    """Top-1 and latency of the chosen network, as shown."""
    values = page.locator("#chosen-body .headline .value").all_inner_texts()
    return [float(value) for value in values]


def open_explore(page: Page, path: str = EXPLORE) -> None:
    """Go there and wait for the chosen network."""
    page.goto(path)
    expect(page.locator("#chosen-body .headline")).to_be_visible()


def search_id(page: Page) -> str:
    """Of the search that the page shows."""
    expect(page).to_have_url(re.compile("search="))
    return httpx.URL(page.url).params["search"]
