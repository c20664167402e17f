"""The client's answers in a notebook: HTML that is well formed and says what the numbers are."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pandas
import pytest

from models.errors import SubnetSearchError
from models.spaces.plan import layer_plan
from service.client.answers import Front, Search
from service.client.client import Client
from service.client.notebook import HEIGHT, LEFT, RIGHT, WIDTH, _ticks
from service.contracts.searches import search_columns
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET
from tests.service.serving import serving
from tests.spaces import DEBUG

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def client(template, tmp_path_factory):
    home = shutil.copytree(template, tmp_path_factory.mktemp("notebook") / "home")
    settings = Settings(home=home, workers=0, poll_interval_s=0.01)
    with serving(settings, worker_thread=True) as url, Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def front(client):
    return client.front(SUPERNET, DEVICE)


@pytest.fixture(scope="module")
def found(client):
    return client.search(SUPERNET, DEVICE, latency_ms=0.8)


def parsed(html):
    """A whole and well-formed fragment: all of ours is XML, too."""
    return ElementTree.fromstring(html)


def test_a_front_shows_itself_as_a_staircase(front):
    html = front._repr_html_()
    root = parsed(html)
    stairs = root.findall(".//{*}path")[-1].get("d")
    corners = [tuple(map(float, pair.split())) for pair in stairs[1:].split("L")]
    assert len(corners) == 2 * len(front.points), "a step up at every network but the first"
    fastest, slowest = front.points[0].latency_ms, front.points[-1].latency_ms
    scale = (WIDTH - LEFT - RIGHT) / (1.04 * (slowest - fastest))
    for point, (across, _) in zip(front.points[1:], corners[1::2], strict=False):
        assert across == pytest.approx(LEFT + scale * (point.latency_ms - fastest), abs=0.1)
    ups = [up for _, up in corners]
    assert ups == sorted(ups, reverse=True)
    assert 0 <= min(ups) < max(ups) <= HEIGHT
    words = "".join(root.itertext())
    assert f"{len(front.points)} networks" in words
    assert "latency 4 %" in words
    assert "predicted" in words


def test_a_front_of_one_point_and_of_none(client, front):
    one = client.front(SUPERNET, DEVICE, front.points[0].latency_ms)
    assert len(one.points) == 1
    parsed(one._repr_html_())
    parsed(Front(**{**front.model_dump(), "points": []})._repr_html_())


@pytest.mark.slow
def test_a_search_shows_its_numbers_and_its_network(found):
    root = parsed(found._repr_html_())
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")][1:]
    by_origin = {
        (name.split(",")[0], origin): (value, error) for name, value, origin, error in rows
    }
    assert by_origin["latency_ms", "predicted"][0] == f"{found.latency_ms:.4g}"
    assert by_origin["latency_ms", "predicted"][1] == "4 % of the latency (mean)"
    assert by_origin["macs", "exact"] == (f"{found.macs:,}", "none")
    top1 = found.result.verified["top1"]
    assert by_origin["top1", "measured"][0] == f"{top1['value']:.4g}"
    titles = ["".join(title.itertext()) for title in root.iter("{http://www.w3.org/2000/svg}title")]
    for layer in layer_plan(DEBUG, found.arch):
        assert any(title.startswith(layer.name + ":") for title in titles)


def test_searches_without_a_result_say_so(found):
    document = found.model_dump()
    queued = Search(**{**document, "status": "queued", "result": None})
    assert "queued" in queued._repr_html_()
    failed = {"detail": "a <b>bad</b> day", "status": 500}
    html = Search(**{**document, "status": "failed", "result": None, "error": failed})._repr_html_()
    assert "a &lt;b&gt;bad&lt;/b&gt; day" in html


def test_what_users_wrote_is_escaped(found):
    document = found.model_dump()
    request = {**document["request"], "device": "<script>alert(1)</script>"}
    html = Search(**{**document, "request": request})._repr_html_()
    assert "<script" not in html
    parsed(html)


def test_a_front_as_a_table(front):
    frame = front.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.latency_ms) == [point.latency_ms for point in front.points]
    assert list(frame.top1) == [point.top1 for point in front.points]
    assert frame.macs.dtype.kind == "i"
    assert frame.arch[0] == front.points[0].arch.model_dump()
    assert frame.attrs["expected_error"] == front.expected_error


@pytest.mark.slow
def test_stored_searches_as_a_table(client, found):
    other = client.search(SUPERNET, DEVICE, latency_ms=0.7, macs=10**9, seed=1)
    frame = client.searches(sort="created_at").to_pandas()
    assert [frame.index.name, *frame.columns] == search_columns([])
    assert list(frame.index) == [found.id, other.id]
    assert frame.loc[found.id, "top1"] == found.top1
    assert frame.loc[found.id, "measured_top1"] == found.result.verified["top1"]["value"]
    assert frame.limit_latency_ms.tolist() == [0.8, 0.7]
    assert pandas.isna(frame.loc[found.id, "limit_macs"])
    assert str(frame.created_at.dtype).startswith("datetime64")
    assert frame.sort_values("latency_ms").index[0] == other.id
    assert client.searches(device="another").to_pandas().empty


def test_without_pandas_it_says_what_to_do(front, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SubnetSearchError, match="extra `notebook`"):
        front.to_pandas()


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (91.7, 93.4, [92, 92.5, 93]),
        (13, 62, [20, 30, 40, 50, 60]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert _ticks(low, high) == ticks
