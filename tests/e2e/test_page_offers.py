"""What the page offers is what works; what it does not offer, it explains."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import CHROMIUM, TINY, open_explore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
]


def test_supernets_without_a_predictor_are_not_offered_but_explained(page):
    open_explore(page)
    expect(page.locator("#trainings")).to_contain_text("phase depth, step 120 of 400")
    expect(page.locator("#trainings svg circle")).to_have_count(4)
    offered = page.get_by_label("Supernet", exact=True).locator("option:not([disabled])")
    assert "ofa-resnet50" not in offered.all_inner_texts()
    assert TINY in offered.all_inner_texts()
    page.goto("/?supernet=ofa-resnet50")
    expect(page.locator("#chart")).to_contain_text("subnet-search supernets download ofa-resnet50")
    expect(page.locator("#supernet-lacks summary")).to_contain_text("cannot be searched yet")
    expect(page.get_by_role("alert")).to_have_count(0)
