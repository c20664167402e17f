"""How pages are served: policy, compression, nothing outside their folders; and what they read."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from models.spaces.arch import Arch
from service.catalog.explanation import describe_layers
from service.catalog.fronts import read_front
from service.http import pages
from service.http.pages import GUIDE, SWAGGER, WEB
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, client_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(settings):
    async with client_on(settings) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/app.js", "/assets/swagger/swagger-ui.css"])
async def test_pages_run_scripts_of_this_host_alone(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code in (200, 304)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index.html", "docs.html", "measure/index.html"])
async def test_pages_name_files_that_are_there_and_no_script_inline(client, page):
    html = (WEB / page).read_text()
    links = re.findall(r'(?:src|href)="(/[^"#]*)"', html)
    assert links
    for link in links:
        built = link != "/docs/guide/" or (GUIDE / "index.html").exists()
        assert (await client.get(link)).status_code == (200 if built else 404), link
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=|https?://", html)


async def test_a_guide_that_is_not_built_says_how_to_build_it(client, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "GUIDE", tmp_path)
    answer = await client.get("/docs/guide/")
    assert answer.status_code == 404
    assert "make guide" in answer.text


def test_a_page_of_the_guide_may_run_the_scripts_that_it_was_built_with():
    script = "document.title = 'é'"
    policy = pages.guide_policy(f"<script>{script}</script><script src='a.js'></script>")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}'; worker-src 'self'" in policy
    assert policy.count("sha256") == 1


@pytest.mark.skipif(not (GUIDE / "index.html").exists(), reason="`make guide` has not built it")
async def test_a_browser_keeps_the_policy_of_a_page_that_is_not_modified(client):
    page = await client.get("/docs/guide/")
    assert "sha256" in page.headers["content-security-policy"]
    again = await client.get("/docs/guide/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert "content-security-policy" not in again.headers


def named_modules(page):
    """Those that a page loads by itself, by their paths under the folder of pages."""
    html = (WEB / page).read_text()
    return set(re.findall(r'(?:modulepreload" href|module" src)="/assets/([^"]+)"', html))


def test_every_module_is_loaded_at_once():
    """One that is found by reading another costs a round trip more."""
    modules = {path.name for path in WEB.glob("*.js")} - {"theme.js", "docs.js"}
    assert named_modules("index.html") == modules


def test_a_devices_page_loads_what_it_imports_and_no_more():
    """What its worker alone imports is loaded when it starts."""
    wanted, known = ["measure/main.js"], set()
    while wanted:
        path = wanted.pop()
        known.add(path)
        text = (WEB / path).read_text()
        imported = re.findall(r'^import .* from "(\.{1,2}/[^"]+)";$', text, re.MULTILINE)
        found = {
            str((WEB / path).parent.joinpath(name).resolve().relative_to(WEB)) for name in imported
        }
        wanted += found - known
    assert named_modules("measure/index.html") == known


def test_no_file_of_the_page_names_another_host():
    for path in filter(Path.is_file, WEB.rglob("*")):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not a place
        assert "://" not in text, path.name


async def test_nothing_outside_the_folders_is_served(client):
    """Files that are there, and are found if a path is followed upwards."""
    for folder, path in (
        (WEB, "/assets/../settings.py"),
        (WEB, "/assets/%2e%2e/settings.py"),
        (SWAGGER, "/assets/swagger/../core.py"),
    ):
        assert (folder.parent / path.rpartition("/")[2]).is_file(), path
        answer = await client.get(httpx.URL(f"http://localhost{path}"))
        assert answer.status_code == 404, path


@pytest.mark.slow
async def test_json_is_compressed_and_said_to_depend_on_it(client):
    path = f"/v1/supernets/{SUPERNET}/devices/{DEVICE}/front?layers=true"
    packed = await client.get(path)
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


@pytest.mark.slow
def test_a_fronts_numbers_are_those_of_its_networks(home):
    """Each is computed for the whole front at once, and layers are shared: one by one instead."""
    context = catalog_of(home).context(SUPERNET, DEVICE)
    front = read_front(home, context, layers=True)
    known_layers = front["layers"]["known"]
    assert len(known_layers) < sum(map(len, front["layers"]["points"]))
    for point, positions in zip(front["points"], front["layers"]["points"], strict=True):
        arch = Arch.from_json(point["arch"])
        known = context.describe(arch)
        for name in ("macs", "params", "peak_memory_bytes"):
            assert point[name] == known[name]
        for name in ("latency_ms", "top1"):  # float64 sums of other lengths round otherwise
            assert point[name] == pytest.approx(known[name], rel=1e-9)
        layers = [known_layers[i] for i in positions]
        for layer, one in zip(
            layers, describe_layers(context.bundle, context.table, arch), strict=True
        ):
            assert layer.items() <= one.items()
        total = sum(layer["latency_ms"] for layer in layers) + front["network_overhead_ms"]
        assert total == pytest.approx(point["latency_ms"], rel=1e-9)


@pytest.mark.slow
def test_layers_are_left_out_unless_asked_for(home):
    assert read_front(home, catalog_of(home).context(SUPERNET, DEVICE))["layers"] is None
