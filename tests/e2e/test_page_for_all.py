"""The page by keyboard, for a screen reader, on a phone, behind a key, without other hosts."""

from __future__ import annotations

import re

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from service.http.pages import GUIDE
from service.settings import Settings
from service.storage.access.api_keys import KeyStore
from service.storage.database import migrate, open_database
from tests.e2e.browser import (
    BOUNDED,
    CHROMIUM,
    EXPLORE,
    EXPLORE_TINY,
    SUPERNET,
    TINY,
    headline,
    open_explore,
)
from tests.e2e.layout import LAYOUT, SIZES, WIDTHS, views
from tests.service.conftest import keep, make_bundle, make_table
from tests.service.serving import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
]


def test_everything_by_keyboard(page):
    open_explore(page, EXPLORE_TINY)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    assert tab_to(page, "#slider")
    before = headline(page)
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    after = headline(page)
    assert after[1] < before[1]
    assert page.locator("#slider").get_attribute("aria-valuetext").endswith(f"{after[0]} percent")
    assert tab_to(page, "#search-button")
    page.keyboard.press("Enter")
    expect(page.locator("#download")).to_be_visible()
    assert tab_to(page, "#download")
    with page.expect_download():
        page.keyboard.press("Enter")


def tab_to(page, selector):
    """Press Tab until that has the focus; False if it is never reached."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator(f"{selector}:focus").count():
            return True
    return False


def test_no_request_leaves_for_another_host(page, url, hosts):
    for path in ("/", "/?view=searches", "/?view=devices", "/?view=supernets", "/docs"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
    expect(page.get_by_text("/v1/searches/{search_id}/model.onnx", exact=True)).to_be_visible()
    assert hosts == {httpx.URL(url).netloc.decode()}


@pytest.mark.skipif(not (GUIDE / "index.html").exists(), reason="`make guide` has not built it")
def test_the_guide_is_read_and_searched_without_another_host(page, url, hosts):
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto("/docs/guide/numbers.html")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("recalibrated")
    expect(page.get_by_role("option", name="Taking one")).to_be_visible()
    assert hosts == {httpx.URL(url).netloc.decode()}
    assert not [text for text in refused if "Content Security Policy" in text]


def test_axe_finds_nothing_serious(page):
    found = []
    for path, ready in (
        (EXPLORE, ".sensitivity table"),
        ("/?view=searches", "#searches tbody tr, #searches .empty"),
        ("/?view=devices", "#devices tbody tr td"),
        (f"/?view=devices&device={BOUNDED}", "#devices .plot svg"),
        (f"/?view=supernets&supernet={SUPERNET}", "#supernets .pairs"),
    ):
        page.goto(path)
        expect(page.locator(ready).first).to_be_visible()
        for details in page.locator("details").all():
            details.evaluate("(element) => (element.open = true)")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            found += [
                (path, theme, v["id"], v["impact"], [node["html"] for node in v["nodes"]][:3])
                for v in Axe().run(page).response["violations"]
                if v["impact"] in ("serious", "critical")
            ]
    assert not found


def test_nothing_overlaps_and_nothing_leaves_its_box(page, url):
    """Every view at every width, with text as it is and twice as large."""
    found = []
    for path, ready in views(url):
        page.goto(path)
        expect(page.locator(ready).first).to_be_visible()
        page.wait_for_load_state("networkidle")
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        for text in SIZES:
            page.evaluate("(size) => (document.documentElement.style.fontSize = size)", text)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.evaluate(TWO_FRAMES)  # of what is drawn anew when its box changes
                found += [(path, width, text, fault) for fault in page.evaluate(LAYOUT)]
    assert not found


TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def test_a_key_is_asked_for_where_one_is_required(page, tmp_path):
    make_bundle(tmp_path / "supernets" / TINY)
    keep(tmp_path, make_table())
    settings = Settings(home=tmp_path, workers=0, access="required")
    engine = open_database(settings.database)
    migrate(engine)
    secret, _ = KeyStore(engine, rate_per_s=100, burst=100).create("ann", "read")
    engine.dispose()
    dialog = page.get_by_role("dialog")
    with serving(settings) as url:
        page.context.unroute_all()
        page.goto(url + EXPLORE_TINY)
        for key in ("wrong", secret):
            expect(dialog.locator("#key-said")).to_have_text(
                re.compile(r"^The service says: .*\.$")
            )
            dialog.get_by_label("Key", exact=True).fill(key)
            dialog.get_by_role("button", name="Use key").click()
        expect(page.locator("#chosen-body .headline")).to_be_visible()
        page.reload()  # kept in the tab
        expect(page.locator("#chosen-body .headline")).to_be_visible()
        expect(dialog).not_to_be_visible()
        page.get_by_role("button", name="Search within").click()
        expect(page.get_by_role("alert")).to_contain_text("search")  # the scope that it lacks
