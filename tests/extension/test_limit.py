"""A new limit, added from outside: one entry, and every face of the product has it."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from search.costs import CostModel, Limit, register_limit, unregister_limit
from service.cli import app
from service.client import Client, Infeasible
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET, busy_on, keep, make_bundle, make_table
from tests.service.serving import serving

pytestmark = pytest.mark.anyio
LAYER_COUNT = Limit(
    name="layer_count",
    unit="",
    label="Layers",
    noun="layers",
    description="Layers of the network, a block being one.",
    help="Budget of layers.",
    origin="exact",
    is_integer=True,
    make_cost=lambda inputs: CostModel.compile(inputs.space, lambda layer: 1.0),
)
FEWEST, MOST = 8, 10
"""Layers of the smallest and the largest network."""
LIMITS = {"latency_ms": 1000.0, "layer_count": FEWEST + 1}
ON = ("--supernet", SUPERNET, "--device", DEVICE)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    make_bundle(home / "supernets" / SUPERNET)
    keep(home, make_table())
    return Settings(home=home, workers=0, poll_interval_s=0.01)


@pytest.fixture
def registered():
    register_limit(LAYER_COUNT)
    yield
    unregister_limit(LAYER_COUNT.name)


@pytest.fixture
def command(settings, monkeypatch):
    monkeypatch.setenv("SUBNET_HOME", str(settings.home))
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def asked(**limits):
    return {"supernet": SUPERNET, "device": DEVICE, "constraints": limits}


@pytest.mark.slow
async def test_it_is_in_the_api_and_the_client(settings, registered):
    async with busy_on(settings) as api:
        wait = {"Prefer": "wait=60"}
        answer = await api.post("/v1/searches", json=asked(**LIMITS), headers=wait)
        few = await api.post("/v1/searches", json=asked(layer_count=FEWEST - 1))
        path = f"/v1/supernets/{SUPERNET}/devices/{DEVICE}/front"
        points = (await api.get(path)).json()["points"]
        schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
        assert "&quot;layer_count&quot;" in (await api.get("/")).text, "the page is told of it"

    assert answer.status_code == 201, answer.text
    result = answer.json()["result"]
    assert result["layer_count"] == len(result["layers"]) == FEWEST + 1
    assert result["provenance"]["layer_count"] == {"origin": "exact"}
    assert (few.status_code, few.json()["limit"], few.json()["floor"]) == (422, "layer_count", 8)
    assert {point["layer_count"] for point in points} <= set(range(FEWEST, MOST + 1))
    assert max(point["layer_count"] for point in points) == MOST
    for schema in ("Constraints", "SearchResult", "FrontPoint"):
        assert "layer_count" in schemas[schema]["properties"]

    with serving(settings) as url, Client(url) as client:
        found = client.search(SUPERNET, DEVICE, latency_ms=1000.0, limits={"layer_count": 9})
        assert found.id == answer.json()["id"], "the same question"
        assert found.found.limit_numbers()["layer_count"] == 9
        assert "layer_count" in found._repr_html_()
        assert set(client.front(SUPERNET, DEVICE).to_pandas().layer_count) >= {MOST}
        assert client.searches(status="succeeded").to_pandas().limit_layer_count.tolist() == [9]
        with pytest.raises(Infeasible, match="layer_count"):
            client.search(SUPERNET, DEVICE, limits={"layer_count": 1})


@pytest.mark.slow
def test_it_is_on_the_command_line(command, registered):
    assert "Budget of layers." in command("search", "--help").stdout
    budgets = ("--latency-ms", 1000, "--max-layer-count", FEWEST + 1)
    found = json.loads(command("search", *ON, *budgets, "--json").stdout)
    assert (found["layer_count"], found["limits"]) == (FEWEST + 1, LIMITS)
    rows = [line.split() for line in command("search", *ON, *budgets).stdout.splitlines()]
    assert ["layer_count", str(FEWEST + 1), "exact", "none"] in rows


@pytest.mark.slow
async def test_it_is_gone_once_it_is_no_longer_registered(settings, command):
    register_limit(LAYER_COUNT)
    async with busy_on(settings) as api:
        await api.post("/v1/searches", json=asked(**LIMITS), headers={"Prefer": "wait=60"})
        unregister_limit(LAYER_COUNT.name)
        answer = await api.post("/v1/searches", json=asked(layer_count=FEWEST))
        document = (await api.get("/openapi.json")).text
    assert answer.status_code == 422
    assert "layer_count" not in document
    assert "--max-layer-count" not in command("search", "--help").stdout
    with serving(settings) as url, Client(url) as client:
        stored = client.searches(status="succeeded").to_pandas()
    assert stored.layer_count.tolist() == [FEWEST + 1], "a client keeps what it does not know"


@pytest.mark.parametrize("name", ["macs", "Layers", "layer-count", ""])
def test_a_name_that_cannot_be_one(name):
    with pytest.raises(ValueError, match="expected a name|registered already"):
        register_limit(replace(LAYER_COUNT, name=name))
