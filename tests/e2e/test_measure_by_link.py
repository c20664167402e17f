"""Another device by a link, in a real browser: measured, searched for, and a model tried there."""

from __future__ import annotations

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from models.spaces import Arch, layer_plan
from tests.e2e.browser import CHROMIUM, PATIENCE_MS, TINY, web_runtimes
from tests.service.conftest import make_table
from tests.spaces import DEBUG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
    pytest.mark.skipif(
        web_runtimes() is None,
        reason="onnxruntime-web is not installed (subnet-search runtimes install onnxruntime-web)",
    ),
]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "reduced_motion": "reduce"}
ENDLESS_S = 1200
"""A measurement goes on until the test has seen what it looks for, however busy the machine is."""
NOW_ENOUGH = """async () => {
  const { Storage } = await import("/assets/measure/storage.js");
  const storage = await Storage.open();
  await storage.put("notes", "plan", { ...(await storage.get("notes", "plan")), target_s: 0 });
}"""
HIDE = """Object.defineProperty(document, "hidden", { configurable: true, get: () => IS_HIDDEN });
  document.dispatchEvent(new Event("visibilitychange"));"""
DEVICE = "pocket-phone"


@pytest.fixture
def phone(browser, url):
    """A page on another device. Its measurement does not end by itself, and sends known figures:
    what a moment says beside other tests is noise, of which no table can be made."""
    context = browser.new_context(**PHONE)
    context.set_default_timeout(PATIENCE_MS)

    def lengthen(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "target_s": ENDLESS_S})

    def quieten(route):
        sent = route.request.post_data_json
        for name, times in sent.get("rounds", {}).get("times_ms", {}).items():
            plan = layer_plan(DEBUG, Arch.from_json(json.loads(name)))
            visits = [make_table().network_ms(plan)] * len(times["p50"])
            times |= {"p50": visits, "mean": visits}
            sent["canary_ms"] = [1.0] * len(visits)
        route.continue_(post_data=json.dumps(sent))

    context.route("**/link-sessions/current/plan", lengthen)
    context.route("**/link-sessions/current/result", quieten)
    phone = context.new_page()
    errors = []
    phone.on("pageerror", lambda error: errors.append(str(error)))
    yield phone
    context.close()
    assert not errors


def violations(page):
    """What axe finds at both themes, and whether the page is wider than the screen, at twice the
    text's size too."""
    found = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found += [(theme, v["id"], v["nodes"]) for v in Axe().run(page).response["violations"]]
    wider = """(size) => {
      document.documentElement.style.fontSize = size;
      return document.documentElement.scrollWidth - innerWidth;
    }"""
    return found + [(size, "wider") for size in ("30px", "") if page.evaluate(wider, size) > 0]


def open_link(phone, address):
    """Open an address on the device and start; its code is then gone from the address."""
    phone.goto(address)
    start = phone.get_by_role("button", name="Start")
    expect(start).to_be_visible()
    assert not violations(phone)
    start.click()
    expect(phone).to_have_url(re.compile("/measure$"))


def test_a_phone_is_measured_by_a_link_searched_for_and_tries_the_model(page, phone):
    page.goto("/?view=devices")
    page.locator("summary", has_text="Measure a phone").click()
    form = page.get_by_role("form", name="Measure a phone")
    form.get_by_label("Supernet").select_option(TINY)
    form.get_by_label("Name of the device").fill(DEVICE)
    form.get_by_role("button", name="Make a link").click()
    expect(page.get_by_alt_text("QR code")).to_be_visible()
    address = page.locator(".link-address code").inner_text()

    open_link(phone, address)
    expect(phone.locator("#phase")).to_have_text(re.compile(r"round ([2-9]|\d\d)"))
    assert not violations(phone)
    phone.context.set_offline(True)
    expect(phone.locator("#view")).to_contain_text("No connection to the service at the moment")
    phone.context.set_offline(False)
    expect(phone.locator("#view")).not_to_contain_text("No connection to the service")
    expect(page.locator(".link-card .small-chart circle").nth(9)).to_be_visible()
    expect(page.locator(".link-card .step")).to_contain_text("left")
    for is_hidden, said in (("true", "Paused"), ("false", "This page was hidden for a while")):
        phone.evaluate(HIDE.replace("IS_HIDDEN", is_hidden))
        expect(phone.locator("#view")).to_contain_text(said)
    phone.evaluate(NOW_ENOUGH)
    fetched: list[str] = []
    phone.on("request", lambda request: fetched.append(request.url))
    phone.reload()
    expect(phone.get_by_role("heading", name=f"{DEVICE} is measured")).to_be_visible()
    assert not [url for url in fetched if "/models/" in url], "they were kept"
    assert not violations(phone)

    page.locator(".link-card").get_by_role("button", name="See it under Explore").click()
    expect(page.locator("#chosen-body .on")).to_contain_text(DEVICE)
    expect(page.locator("#chosen-body .conditions").last).to_contain_text("onnxruntime-web")
    page.get_by_role("button", name="Search within").click()
    expect(page.get_by_role("button", name="Download ONNX")).to_be_visible()
    page.get_by_role("button", name="Try it on the device").click()
    open_link(phone, page.locator(".link-address code").inner_text())
    # Whether it is as fast as predicted depends on what else this machine does.
    expect(phone.get_by_role("heading", name=re.compile("runs? here as found"))).to_be_visible()
    expect(phone.locator(".verdict").last).to_contain_text("answers to 64 images are those of")
    assert not violations(phone)
    verdict = page.locator("#search-body .notice").filter(has_text="on the device.").first
    expect(verdict).to_contain_text("Its answers to 64 images are equal")
    page.reload()
    expect(verdict).to_contain_text("Its answers to 64 images are equal")

    # The link was for one device, once.
    phone.goto(address)
    phone.get_by_role("button", name="Start").click()
    expect(phone.get_by_role("alert")).to_be_visible()
    expect(phone.locator("#view")).to_contain_text("A link works once")
