"""The page's bars: first view with ten devices, answers while a budget is dragged, transfer.

`make bench ARGS=tests/benchmarks/bench_page.py`, or pytest on this file with `-s` and
`-o python_files='bench_*.py'`.
"""

from __future__ import annotations

import statistics

import httpx
import numpy as np
import pytest

from latency_tables.published.builtin import BuiltinDevices
from tests.e2e.browser import CHROMIUM, chromium, serve

SUPERNET, DEVICE, DEVICES = "fashion-mbv3", "cpu-x86-64-ort", 10
VIEWS = 7
TRANSFERRED = """() => performance.getEntriesByType("navigation")
  .concat(performance.getEntriesByType("resource"))
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""
FIRST_VIEW_MS = """() => performance.getEntriesByName("usable")[0].startTime
  - performance.getEntriesByType("navigation")[0].responseStart"""
# From the event to the frame after it, as the user sees it.
TO_FRAME_MS = """(value) => new Promise((resolve) => {
  const slider = document.querySelector("#slider");
  const started = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - started)));
})"""


def add_devices(url):
    """Nine more devices, whose layers are somewhat faster or slower each."""
    table = BuiltinDevices().get(DEVICE).table(SUPERNET)
    rng = np.random.default_rng(0)
    for number in range(1, DEVICES):
        profile = {
            "name": f"board-{number}",
            "runtime": "made up",
            "precision": "fp32",
            "batch": 1,
            "conditions": {},
            "space": SUPERNET,
            "table": {
                key: {"p50_ms": number * entry.p50_ms * rng.uniform(0.9, 1.1)}
                for key, entry in table.entries.items()
            },
        }
        httpx.post(f"{url}/v1/devices", json=profile).raise_for_status()


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine")
def test_page(tmp_path):
    with serve(tmp_path) as url, chromium() as browser:
        add_devices(url)

        def first_view(path):
            context = browser.new_context(base_url=url)  # with an empty cache
            page = context.new_page()
            page.goto(path)
            page.wait_for_selector("#chosen-body .headline", timeout=120_000)
            # Not "networkidle", which an aborted request now and then keeps from coming.
            page.locator("path.curve").nth(path.count(",")).wait_for(timeout=120_000)
            page.wait_for_selector(".sensitivity table", timeout=120_000)
            return context, page

        names = [DEVICE, *(f"board-{number}" for number in range(1, 5))]
        context, page = first_view("/")
        cold = page.evaluate(FIRST_VIEW_MS)
        context.close()
        context, page = first_view(f"/?devices={','.join(names)}")  # their fronts are computed
        page.locator("path.curve").nth(4).wait_for(timeout=120_000)
        context.close()
        for title, path in (("one curve", "/"), ("five curves", f"/?devices={','.join(names)}")):
            shown = []
            for _ in range(VIEWS):
                context, page = first_view(path)
                shown.append(page.evaluate(FIRST_VIEW_MS))
                transferred = page.evaluate(TRANSFERRED)
                context.close()
            print(
                f"\nfirst view, {DEVICES} devices, {title}: median {statistics.median(shown):.0f} "
                f"ms after the first byte, worst {max(shown):.0f} ms (bar 1000); "
                f"transferred {transferred / 1e6:.3f} MB (bar 1.5)"
            )
        print(f"first view whose front was not computed before: {cold:.0f} ms")

        context, page = first_view(f"/?devices={','.join(names)}")
        low, high = (float(page.locator("#slider").get_attribute(end)) for end in ("min", "max"))
        budgets = np.random.default_rng(1).uniform(low, high, 200)
        to_frame = [page.evaluate(TO_FRAME_MS, budget) for budget in budgets.tolist()]
        script = page.evaluate("performance.getEntriesByName('budget').map((e) => e.duration)")
        for title, times in (("its script alone", script), ("event to frame", to_frame)):
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"budget drag, five curves, {title}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
                f"worst {max(times):.1f} ms (bar 50)"
            )
