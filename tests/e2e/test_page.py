"""The page in a real browser, on a real server with the shipped supernet."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.e2e.browser import (
    BOUNDED,
    CHROMIUM,
    DEVICE,
    EXPLORE,
    EXPLORE_TINY,
    SUPERNET,
    TINY,
    TINY_DEVICE,
    headline,
    open_explore,
    search_id,
)
from tests.service.conftest import make_profile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
]


def set_budget(page, budget_ms):
    page.get_by_label("Latency budget", exact=True).fill(str(budget_ms))


def test_from_opening_the_page_to_a_model_that_runs(page, url, tmp_path):
    late: list[Route] = []
    page.route("**/v1/networks?device=*", lambda route: late.append(route))
    page.goto("/")
    expect(page.get_by_role("heading", name="Chosen network")).to_be_visible()
    expect(page.locator("#chosen-body .on")).to_contain_text(" under fake")
    expect(page.locator("#chips .chip.focus")).to_contain_text(" under fake")
    # Drag the line from where it is towards the left, while the chart is drawn anew under it.
    before = headline(page)
    grip = page.locator(".budget-line .grip").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 60)
    page.mouse.down()
    drawn = page.locator("#chart svg.chart").element_handle()
    for route in late:
        route.fallback()
    page.wait_for_function("(drawn) => !drawn.isConnected", arg=drawn)
    page.mouse.move(grip["x"] - 60, grip["y"] + 60, steps=4)
    page.mouse.up()
    after = headline(page)
    assert after[0] < before[0]
    assert after[1] < before[1]
    expect(page).to_have_url(re.compile("latency_ms="))

    page.get_by_role("button", name="Search within").click()
    button = page.get_by_role("button", name="Download ONNX")
    expect(button).to_be_visible()
    with page.expect_download() as download:
        button.click()
    model = download.value.path().read_bytes()
    sha256 = hashlib.sha256(model).hexdigest()
    assert sha256 == page.locator(".sha code").inner_text()
    expect(page.get_by_text("its sha256 is the one stated")).to_be_visible()
    assert download.value.suggested_filename.endswith(f"{sha256[:8]}.onnx")

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["subnet_search.preprocess"])
    size = about["resolution"]
    (logits,) = session.run(None, {"input": np.zeros((2, 1, size, size), np.float32)})
    assert logits.shape == (2, 10)
    result = httpx.get(f"{url}/v1/searches/{search_id(page)}").json()["result"]
    shown = page.locator("#search-body .headline").inner_text()
    assert f"{result['verified']['top1']['value']:.2f}" in shown
    assert f"{result['top1']:.2f}" in shown
    expect(page.locator("#picture-title")).to_have_text(re.compile("delivered"))

    # Both snippets do what they say, to the letter.
    for summary in ("curl", "Python"):
        page.locator("summary", has_text=summary).click()
    curl, python, javascript, cpp, kotlin = page.locator(".snippet code").all_text_contents()
    (size,) = result["file"]["preprocess"]["sizes"]
    for text, own in ((javascript, '"sizes":[%d]'), (cpp, "sizes{%d}"), (kotlin, "listOf(%d)")):
        assert own % size in text
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "image.png")
    ran = subprocess.run(
        [sys.executable, "-c", python, "image.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert re.fullmatch(r"class \d of 10 \(without a name\)\n", ran.stdout), ran.stderr
    ran = subprocess.run(["bash", "-ec", curl], cwd=tmp_path, capture_output=True, text=True)
    assert "model.onnx: OK" in ran.stdout, ran.stderr
    assert search_id(page) in ran.stdout


def test_a_budget_is_answered_from_the_front_as_the_service_answers_it(page, url):
    open_explore(page)
    front = f"{url}/v1/supernets/{SUPERNET}/devices/{DEVICE}/front"
    ends = [point["latency_ms"] for point in httpx.get(front).json()["points"]]
    for budget in np.linspace(ends[0], 1.1 * ends[-1], 7).round(4) + 1e-4:
        set_budget(page, budget)
        (point,) = httpx.get(front, params={"latency_ms": budget}).json()["points"]
        assert headline(page) == [round(point["top1"], 2), round(point["latency_ms"], 3)]
    set_budget(page, 0.9 * ends[0])
    expect(page.locator("#chosen-body")).to_contain_text("No network of this supernet is that fast")
    page.get_by_role("button", name="Set the budget").click()
    assert headline(page)[1] == round(ends[0], 3)


def test_a_budget_that_is_to_hold_with_a_probability(page, url):
    front = f"{url}/v1/supernets/{TINY}/devices/{BOUNDED}/front"
    points = httpx.get(front, params={"latency_confidence": 0.9}).json()["points"]
    open_explore(page, f"/?supernet={TINY}&devices={BOUNDED},{TINY_DEVICE}")
    expect(page.locator("path.curve")).to_have_count(2)
    page.get_by_label("Latency confidence, %").fill("90")
    page.get_by_label("Latency confidence, %").blur()
    # Of the other device no network was measured, and it says so.
    expect(page.get_by_role("alert")).to_contain_text("no whole network")
    expect(page.locator("path.curve")).to_have_count(1)
    expect(page.locator("#chart")).to_contain_text("Upper bound of the latency, ms, nominal 90 %")
    expect(page).to_have_url(re.compile("confidence=0.9"))
    for budget in (
        np.linspace(points[0]["latency_upper_ms"], 1.1 * points[-1]["latency_ms"], 4) + 1e-4
    ):
        set_budget(page, budget.round(4))
        params = {"latency_ms": budget.round(4), "latency_confidence": 0.9}
        (point,) = httpx.get(front, params=params).json()["points"]
        assert headline(page) == [round(point["top1"], 2), round(point["latency_ms"], 3)]
        bound = f"≤ {point['latency_upper_ms']:.3f} ms, nominal 90 %"
        expect(page.locator("#chosen-body .bound")).to_have_text(bound)
    # Predicted to be fast enough, but not for nine of ten.
    set_budget(page, (points[0]["latency_ms"] + points[0]["latency_upper_ms"]) / 2)
    expect(page.locator("#chosen-body")).to_contain_text("has an upper bound (nominal 90 %) of")
    page.get_by_role("button", name="Set the budget").click()
    page.get_by_text("More limits, effort, seed").click()
    page.get_by_label("Effort").select_option("quick")
    page.get_by_label("MACs, millions, at most").fill("1%..100%")
    page.get_by_label("Keep only").fill("stage1.depth=1,2")
    page.get_by_role("button", name="Search within").click()
    expect(page.get_by_role("button", name="Download ONNX")).to_be_visible()
    for words in ("1% to 100% MACs", "stage1.depth=", "quick effort"):
        expect(page.locator(".result .on")).to_contain_text(words)
    search = httpx.get(f"{url}/v1/searches/{search_id(page)}").json()
    limits = search["request"]["constraints"]
    assert limits["latency_confidence"] == 0.9
    assert search["result"]["latency_upper_ms"] <= limits["latency_ms"]

    # A link to the search brings both, and the fields say so.
    page.goto(f"/?search={search['id']}")
    expect(page.get_by_label("Latency confidence, %")).to_have_value("90")
    expect(page.locator("#chosen-body .on")).to_contain_text("by the upper bound, nominal 90 %")
    page.get_by_label("Latency confidence, %").fill("99")
    page.get_by_label("Latency confidence, %").blur()
    expect(page.get_by_role("alert")).to_contain_text("9 measured networks support at most 0.9")


def test_int8_curves_and_searches_where_there_is_a_table(page, url):
    front = f"{url}/v1/supernets/{TINY}/devices/{BOUNDED}/front"
    open_explore(page, f"/?supernet={TINY}&devices={BOUNDED},{TINY_DEVICE}")
    expect(page.locator("path.curve")).to_have_count(2)
    page.get_by_label("Precision", exact=True).select_option("int8")
    expect(page.get_by_role("alert")).to_contain_text(f"{TINY_DEVICE} has no latency table at int8")
    expect(page.locator("path.curve")).to_have_count(1)
    points = httpx.get(front, params={"precision": "int8"}).json()["points"]
    set_budget(page, points[-1]["latency_ms"] + 1e-3)
    assert headline(page)[1] == round(points[-1]["latency_ms"], 3)
    expect(page.locator("#chosen-body .on")).to_contain_text("int8")
    page.get_by_role("button", name="build the int8 ONNX").click()
    expect(page.get_by_role("button", name="Download ONNX")).to_be_visible()
    search = httpx.get(f"{url}/v1/searches/{search_id(page)}").json()
    assert search["request"]["precision"] == "int8"
    expect(page.locator("#search-body .on")).to_contain_text("int8")
    page.reload()
    expect(page.get_by_label("Precision", exact=True)).to_have_value("int8")

    page.goto(f"/?supernet={TINY}&devices={TINY_DEVICE}&precision=int8")
    expect(page.get_by_role("alert")).to_contain_text("--precision int8")
    expect(page.locator("#search-button")).to_have_count(0)
    page.get_by_label("Precision", exact=True).select_option("fp32")
    expect(page.locator("#chosen-body .headline")).to_be_visible()


def test_bisecting_is_looking_at_every_point(page):
    page.goto("/assets/front.js")
    wrong = page.evaluate(
        """async () => {
          const { within } = await import("/assets/front.js");
          let wrong = 0;
          for (let n = 0; n < 300; n++) {
            const points = Array.from({ length: n % 40 }, () => ({ limited_ms: Math.random() }));
            points.sort((a, b) => a.limited_ms - b.limited_ms);
            const budgets = [-1, 2, Math.random(), points[n % 7]?.limited_ms ?? 0];
            for (const budget of budgets) {
              const slow = points.filter((p) => p.limited_ms <= budget).length - 1;
              if (within(points, budget) !== slow) wrong += 1;
            }
          }
          return wrong;
        }"""
    )
    assert wrong == 0


def test_the_layers_shown_add_up_to_the_latency_shown(page):
    open_explore(page)
    page.locator("summary", has_text="Every layer").click()
    rows = page.locator("#picture details tbody tr")
    rows.first.wait_for()
    rows = rows.all()
    cells = [row.locator("td").all_inner_texts() for row in rows]
    # A layer's time is its fifth figure; a network's overhead, where there is one, has two.
    times = [float(texts[4] if len(texts) == 8 else texts[1]) for texts in cells]
    assert len(times) > 10
    # Each is rounded to a microsecond.
    assert sum(times) == pytest.approx(headline(page)[1], abs=0.0005 * (len(times) + 1))


def test_the_picture_is_the_services_in_the_colours_of_the_page(page, url):
    refused: list[str] = []
    page.on("console", lambda said: refused.extend([said.text] if said.type == "error" else []))
    with page.expect_response(re.compile("architecture.svg")) as answer:
        open_explore(page)
    drawn = page.locator("#picture svg.subnet")
    expect(drawn).to_be_visible()
    boxes = re.findall(r'<rect class="(\w+)" x="([\d.]+)"', answer.value.text())
    shown = drawn.locator("rect").evaluate_all(
        "(rects) => rects.map((rect) => [rect.getAttribute('class'), rect.getAttribute('x')])"
    )
    assert len(boxes) > 20
    assert [tuple(box) for box in shown] == boxes
    colour = "(element) => getComputedStyle(element).fill"
    styled = drawn.locator("rect:not(.absent)").evaluate_all(f"(all) => all.map({colour})")
    assert "rgb(0, 0, 0)" not in styled, "a class without a colour in figures.css"
    for theme in ("Theme: system", "Theme: light"):
        page.get_by_role("button", name=theme).click()
    assert drawn.locator(".time").first.evaluate(colour) not in styled, "the theme's switch"
    assert not refused


def test_the_last_picture_stays_until_the_one_of_the_last_budget_is_there(page):
    page.goto(EXPLORE_TINY)
    words = page.locator("#picture svg.subnet > desc")
    first = words.text_content()
    held, passed = list[Route](), list[Route]()

    def hold_the_first(route):
        if not held:
            held.append(route)
        else:
            passed.append(route)
            route.fallback()

    page.route("**/architecture.svg*", hold_the_first)
    ends = [float(page.locator("#slider").get_attribute(end)) for end in ("min", "max")]
    for budget in np.linspace(ends[0], ends[1], 7)[1:]:
        set_budget(page, budget + 1e-3)
    expect(page.locator("#picture [aria-busy]")).to_have_count(1)
    assert words.text_content() == first
    held[0].continue_()
    expect(page.locator("#picture [aria-busy]")).to_have_count(0)
    assert words.text_content() != first
    assert len(passed) == 1, "budgets passed over were asked for"


def test_the_energy_of_many_devices_is_the_ledgers(page, url):
    """Of a supernet whose card has energies; of one without, the card stays away."""
    page.goto(EXPLORE)
    page.get_by_label("Number of devices").fill("1000")
    page.get_by_label("Number of devices").press("Tab")
    total = page.locator("#energy-total")
    expect(total).to_contain_text("1000 devices")
    found = httpx.get(f"{url}/v1/supernets/{SUPERNET}/ledger?devices=1000").json()
    shared = f"{1e3 * found['total']['shared_kwh']:.3g}"
    assert f"{float(shared):g} Wh" in total.inner_text()
    rows = page.locator("#energy tbody tr")
    assert rows.count() == len(found["once"]) + len(found["per_device"]) + sum(
        found[name] is not None for name in ("alone", "alone_search")
    )
    page.goto(EXPLORE_TINY)
    expect(page.locator("#picture svg")).to_be_visible()
    expect(page.locator("#energy-card")).to_be_hidden()


def test_uploading_a_good_and_a_bad_device_file(page, tmp_path):
    good, bad, broken = (tmp_path / name for name in ("board.json", "slip.json", "half.json"))
    good.write_text(json.dumps(make_profile("small-board", conditions={"power_w": 4.0})))
    profile = make_profile("slip-board")
    for entry in profile["table"].values():
        entry["p50_ms"] /= 1e6
    bad.write_text(json.dumps(profile))
    broken.write_text('{"name": "half')
    page.goto("/?view=devices")
    expect(page.get_by_role("row", name=re.compile(DEVICE))).to_be_visible()

    page.locator("#device-file").set_input_files([bad, broken])
    results = page.locator("#upload-results")
    expect(results).to_contain_text("slip.json was refused")
    expect(results).to_contain_text("milliseconds?")
    expect(results).to_contain_text("half.json was refused")
    assert httpx.get(page.url.split("/?")[0] + "/v1/devices/slip-board").status_code == 404

    # Dropped, as from a file manager.
    content = page.evaluate_handle(
        """(text) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], "board.json", { type: "application/json" }));
          return transfer;
        }""",
        good.read_text(),
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": content})
    expect(results).to_contain_text("small-board was added")
    expect(results.locator(".findings")).to_contain_text("no whole network was timed")
    expect(page.get_by_role("row", name=re.compile("small-board"))).to_be_visible()

    results.get_by_role("button", name="See it under Explore").click()
    expect(page.locator("#chosen-body .on")).to_contain_text("small-board")
    # Its power is stated, so there is energy: milliseconds times watts.
    energy = page.locator(".figure", has_text="Energy").locator(".value").inner_text()
    assert float(energy) == pytest.approx(4 * headline(page)[1], rel=0.01)
    page.get_by_label("Add a device").select_option(TINY_DEVICE)
    expect(page.locator("#compare tbody tr")).to_have_count(2)
    expect(page.locator("path.curve")).to_have_count(2)

    # Taken out whole, replaced by another file of its own, and removed when asked for twice.
    page.goto("/?view=devices&device=small-board")
    with page.expect_download() as download:
        page.get_by_role("button", name="Take it out as JSON").click()
    taken = json.loads(download.value.path().read_text())
    assert (taken["name"], taken["conditions"]["power_w"]) == ("small-board", 4)
    for name, overhead in (("other-board", 0.0), ("small-board", 0.75)):
        other = tmp_path / f"{name}-again.json"
        other.write_text(json.dumps({**taken, "name": name, "network_overhead_ms": overhead}))
        page.locator("#replacement").set_input_files(other)
        if name == "other-board":
            expect(page.get_by_role("alert")).to_contain_text("not of small-board")
    expect(page.locator("#devices .rows tbody tr")).to_have_count(2)
    expect(page.locator("#devices .figure", has_text="Beyond the layers")).to_contain_text("0.75")
    sure = page.get_by_role("button", name="Remove small-board")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    expect(sure).to_be_hidden()
    page.get_by_role("button", name="Remove", exact=True).click()
    sure.click()
    expect(page.get_by_role("row", name=re.compile(TINY_DEVICE))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("small-board"))).to_have_count(0)
    assert httpx.get(page.url.split("/?")[0] + "/v1/devices/small-board").status_code == 404
