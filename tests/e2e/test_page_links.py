"""An address of the page shows what was shown where it was copied."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from datetime import datetime, timedelta

import httpx
import pytest
from playwright.sync_api import expect

from service.client import Client
from service.contracts import search_columns
from tests.e2e.browser import CHROMIUM, EXPLORE_TINY, TINY, TINY_DEVICE, open_explore, tiny_search

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
]

PUBLISHED = "note10_lat-8ms_top1-71.4_finetune-25"


def publish_for_the_tiny_device(page, url):
    """Have the service answer one of the published networks as if it were for that device."""
    answer = httpx.get(f"{url}/v1/networks", params={"device": "samsung-note10"}).json()
    item = answer["items"][0]
    item |= {"supernet": TINY, "device": TINY_DEVICE}
    item["published"]["latency_ms"] = 0.8
    answer = {"items": [item]}
    page.route(f"**/v1/networks?device={TINY_DEVICE}", lambda route: route.fulfill(json=answer))


def test_a_link_reproduces_the_view(page, url):
    search = tiny_search(url, 0.8)
    publish_for_the_tiny_device(page, url)
    open_explore(page, f"{EXPLORE_TINY}&budget=0.8765")
    # The published network, by name: on the chart, in its tooltip, in words, in a table.
    expect(page.locator("g.published text")).to_have_text("lat-8ms")
    tooltip = f"{PUBLISHED}: 0.800 ms, 71.4 %, published"
    expect(page.locator("g.published title")).to_have_text(tooltip)
    expect(page.locator("#chart svg.chart")).to_have_attribute("aria-label", re.compile(tooltip))
    expect(page.locator("#published .hint").first).to_contain_text("after fine-tuning each network")
    page.locator("summary", has_text="1 published network as a table").click()
    expect(page.locator("#published tbody tr")).to_contain_text("0.800")
    expect(page.get_by_label("Latency budget", exact=True)).to_have_value("0.876")
    expect(page.locator(".budget-line text")).to_have_text("0.876 ms")

    page.goto(f"/?search={search['id']}")
    expect(page.locator(".sha code")).to_have_text(search["result"]["sha256"])

    page.goto("/?view=searches&f.status=succeeded&f.latency_ms_max=0.81&f.sort=latency_ms")
    expect(page.get_by_label("Status")).to_have_value("succeeded")
    expect(page.get_by_label("Latency, ms, at most")).to_have_value("0.81")
    expect(page.locator("tbody tr").first).to_be_visible()
    cells = page.locator('tbody td[data-label^="Latency"]').all_inner_texts()
    times = [float(text) for text in cells]
    assert times
    assert times == sorted(times)
    assert max(times) <= 0.81
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Latency")
    page.get_by_label("Latency, ms, at most").fill("0.0001")
    page.get_by_label("Latency, ms, at most").blur()
    expect(page.locator("#searches")).to_contain_text("No search matches these filters")
    page.go_back()
    expect(page.get_by_label("Latency, ms, at most")).to_have_value("0.81")
    expect(page.locator("tbody tr").first).to_be_visible()


def test_searches_are_found_by_when_they_were_asked(page, url):
    search = tiny_search(url, 0.7)
    day = datetime.fromisoformat(search["created_at"]).date()
    found = page.locator(f'a[href="/?search={search["id"]}"]')
    page.goto(f"/?view=searches&f.device={TINY_DEVICE}")
    expect(found).to_be_visible()
    before, since = page.get_by_label("Asked before, UTC"), page.get_by_label("Asked since, UTC")
    before.fill(f"{day}T00:00:00")
    before.blur()
    expect(found).not_to_be_visible()
    expect(page).to_have_url(re.compile(f"&created_before={day}"))
    before.fill(f"{day + timedelta(days=1)}T00:00:00")
    since.fill(f"{day}T00:00:00")
    since.blur()
    expect(found).to_be_visible()
    expect(page.get_by_label("Device", exact=True)).to_have_value(TINY_DEVICE)
    page.reload()
    expect(found).to_be_visible()
    expect(since).to_have_value(re.compile(f"{day}T00:00"))
    # So long ago, instead of a moment.
    page.get_by_label("Asked within").select_option("1h")
    expect(page).to_have_url(re.compile("&since=1h"))
    expect(since).to_have_value("")
    expect(found).to_be_visible()
    # A fraction of a second, which the field cannot show, is kept when another filter changes.
    later = datetime.fromisoformat(search["created_at"]) + timedelta(seconds=1.5)
    moment = httpx.QueryParams({"f.created_after": later.isoformat()})
    page.goto(f"/?view=searches&{moment}")
    expect(since).to_have_value(re.compile(later.isoformat()[:16]))
    page.get_by_label("Device", exact=True).select_option(TINY_DEVICE)
    expect(page).to_have_url(re.compile("&device="))
    expect(page.locator("#searches .card")).to_be_visible()
    expect(found).not_to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(found).to_be_visible()


def test_searches_side_by_side_and_as_csv(page, url, tmp_path):
    """One of them on a device that came with its request: listed, and its snippet is whole."""
    with Client(url) as client:
        device = client.device_table(TINY_DEVICE) | {"name": "inline-board"}
        within = {"min": 0.1, "max": 0.85}
        found = [
            client.search(TINY, TINY_DEVICE, latency_ms=0.85),
            client.search(TINY, device, latency_ms=within, frozen={"resolution": 12}),
        ]
    page.goto("/?view=searches&status=succeeded&latency_ms_max=0.85")
    for search in found:
        row = page.locator("tbody tr", has=page.locator(f'a[href="/?search={search.id}"]'))
        measured = row.locator('td[data-label="Top-1, %, measured"]')
        expect(measured).to_have_text(f"{search.found.verified['top1']['value']:.2f}")
        row.get_by_role("checkbox").check()
    others = page.get_by_label("Device", exact=True).locator("optgroup option")
    assert others.all_inner_texts() == ["inline-board"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    with open(download.value.path(), newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {search.id for search in found} <= rows.keys()
    assert set(rows[found[0].id]) == set(search_columns([]))
    assert json.loads(rows[found[0].id]["arch"]) == found[0].found.arch.model_dump()
    told = {name: cell for name, cell in rows[found[1].id].items() if cell}
    assert (told["limit_latency_ms"], told["minimum_latency_ms"]) == ("0.85", "0.1")
    assert (told["precision"], json.loads(told["frozen"])) == ("fp32", {"resolution": [12]})

    page.get_by_role("button", name="Compare 2 searches").click()
    expect(page).to_have_url(re.compile(f"compare=({found[0].id}|{found[1].id})"))
    top1 = page.get_by_role("row", name=re.compile("^Top-1, %, predicted")).locator("td")
    expect(top1).to_have_count(2)
    shown = {f"{search.top1:.2f}" for search in found}
    assert set(top1.all_inner_texts()) == shown
    expect(page.locator("figure.network svg.subnet")).to_have_count(2)
    page.get_by_role("button", name="Back to the list").click()
    expect(page.locator("tbody tr").first).to_be_visible()

    page.goto(f"/?search={found[1].id}")
    page.locator("summary", has_text="curl").click()
    code = page.locator(".snippet code").first
    expect(code).to_contain_text("p50_ms")
    command = ["bash", "-ec", code.inner_text()]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found[1].id in ran.stdout, ran.stderr
