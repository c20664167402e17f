"""The wheel does the main job in an empty folder, and takes one name."""

from __future__ import annotations

import json
import subprocess
import tomllib
from zipfile import ZipFile

import httpx
import onnx
import pytest

from service import __version__
from tests.packaging.conftest import ROOT, Installed

pytestmark = pytest.mark.release
SUPERNET, DEVICE = "fashion-mbv3", "cpu-x86-64-ort"
EXTENSION = """
from models.layers import LayerKind  # as docs/architecture.md says, whatever the installation is
from search.costs import Limit, register_limit, registered_limits
import subnet_search.search.costs
assert Limit is subnet_search.search.costs.Limit
"""


def test_it_takes_one_name_and_says_what_it_is(product: Installed):
    assert product.names() == {"subnet_search"}
    with ZipFile(product.wheel) as archive:
        files = archive.namelist()
        info = f"subnet_search-{__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
    assert f"{info}/licenses/LICENSE" in files
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata.count("Requires-Dist: ") >= len(project["dependencies"])
    assert product.run("subnet-search", "--version").stdout.split()[-1] == __version__


def test_it_holds_every_file_of_the_packages(product: Installed):
    with ZipFile(product.wheel) as archive:
        files = {name.partition("/")[2] for name in archive.namelist()}
    listed = subprocess.run(
        ["git", "ls-files", "models", "latency_tables", "search", "service"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert set(listed.stdout.splitlines()) <= files


def test_a_network_is_searched_and_exported(product: Installed):
    budget = ("--supernet", SUPERNET, "--device", DEVICE, "--latency-ms", "0.4", "--json")
    found = json.loads(product.run("subnet-search", "search", *budget).stdout)
    assert found["feasible"]
    (product.folder / "arch.json").write_text(json.dumps(found["arch"]))
    arguments = ("export", "--supernet", SUPERNET, "--arch", "arch.json", "-o", "subnet.onnx")
    product.run("python", "-m", "subnet_search", *arguments)
    model = onnx.load(product.folder / "subnet.onnx")
    assert json.loads({p.key: p.value for p in model.metadata_props}["subnet_search.verified"])


def test_it_serves_with_a_worker_and_the_client_gets_a_model(product: Installed, service_url: str):
    assert httpx.get(f"{service_url}/readyz").json() == {"status": "ready"}
    assert "Subnet Search" in httpx.get(service_url).text
    assert httpx.get(f"{service_url}/assets/app.js").status_code == 200
    script = (
        "from subnet_search import Client\n"
        f"with Client({service_url!r}) as client:\n"
        f"    search = client.search({SUPERNET!r}, {DEVICE!r}, latency_ms=0.4)\n"
        "    client.download(search, 'model.onnx')\n"
    )
    (product.folder / "ten_lines.py").write_text(script)
    product.run("python", "ten_lines.py")
    assert onnx.load(product.folder / "model.onnx").graph.output[0].name == "logits"


def test_a_users_own_modules_keep_their_names(product: Installed):
    script = (
        "from subnet_search import Client\n"
        "import models, search, service, latency_tables\n"
        "assert {m.WHOSE for m in (models, search, service, latency_tables)} == {'the user'}\n"
    )
    product.run("python", "-c", script)


def test_an_extension_imports_what_the_docs_say(product: Installed):
    (product.folder / "extension.py").write_text(EXTENSION)
    product.run("subnet-search", "supernets", "list", SUBNET_EXTENSIONS="extension.py")


def test_a_module_that_a_wheel_cannot_hold_is_refused():
    from wheels.build_hook import relocate

    text = "from models.errors import InputError\nimport models.spaces as spaces\n"
    assert relocate(text, "a", "x.py") == text.replace("models.", "a.models.")
    for wrong in ("import models.spaces", "NAME = 'search.costs'", "import os; import search"):
        with pytest.raises(ValueError, match=r"x\.py"):
            relocate(wrong, "a", "x.py")
