"""The client's wheel works where nothing but its own requirements is installed."""

from __future__ import annotations

from email.parser import Parser
from zipfile import ZipFile

import pytest

from service import __version__, client
from tests.packaging.conftest import Installed

pytestmark = pytest.mark.release
SCRIPT = """
import sys
from subnet_search_client import Client, Infeasible

with Client({url!r}) as client:
    front = client.front("fashion-mbv3", "cpu-x86-64-ort")
    search = client.search("fashion-mbv3", "cpu-x86-64-ort", latency_ms=0.4)
    client.download(search, "model.onnx")
    assert "<svg" in search._repr_html_() and "<svg" in front._repr_html_()
    try:
        client.search("fashion-mbv3", "cpu-x86-64-ort", latency_ms=0.001)
    except Infeasible as error:
        assert error.floor
print(*sys.modules)
"""


def test_it_takes_one_name_and_asks_for_little(client_alone: Installed):
    assert client_alone.names() == {"subnet_search_client"}
    with ZipFile(client_alone.wheel) as archive:
        assert "subnet_search_client/LICENSE" in archive.namelist()
        info = f"subnet_search_client-{__version__}.dist-info/METADATA"
        headers = Parser().parsestr(archive.read(info).decode())
    required = [line for line in headers.get_all("Requires-Dist", []) if "extra" not in line]
    names = {line.partition(">")[0] for line in required}
    assert names == {"annotated-types", "httpx", "lazy-loader", "numpy", "pydantic"}


def test_every_name_of_the_client_is_found(client_alone: Installed):
    names = ", ".join(dir(client))
    client_alone.run("python", "-c", f"from subnet_search_client import {names}")


def test_it_searches_downloads_and_draws(client_alone: Installed, service_url: str):
    (client_alone.folder / "script.py").write_text(SCRIPT.format(url=service_url))
    loaded = client_alone.run("python", "script.py").stdout.split()
    assert (client_alone.folder / "model.onnx").stat().st_size > 100_000
    assert {"subnet_search_client.service.client"} <= set(loaded)
    assert not {"models", "service", "torch", "sqlalchemy", "pandas"} & set(loaded)
