"""Fronts on disk: the same as computed anew, and never one of another table or predictor."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.bundle.bundle import BundleRegistry, add_to_bundle
from models.errors import Infeasible, InputError
from search.evolution.run import search_subnet
from search.pareto import non_dominated
from search.predictors.gaussian_process_fit import fit_gaussian_process
from service.catalog import fronts
from service.catalog.fronts import FrontQuery, FrontStore, front_json, read_front
from service.contracts.fronts import FrontRead
from tests.fakes import LinearAccuracy
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table
from tests.spaces import DEBUG


@pytest.fixture
def store(home):
    return FrontStore.of(home)


@pytest.fixture
def computed(monkeypatch):
    """How often a front was computed."""
    calls: list[object] = []
    front = fronts.front  # type: ignore[attr-defined] # as tests shorten it

    def counted(*args, **kwargs):
        calls.append(args)
        return front(*args, **kwargs)

    monkeypatch.setattr(fronts, "front", counted)
    return calls


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("genes", "latency_ms", "top1")
    )


@pytest.mark.slow
def test_a_kept_front_is_the_computed_one(home, store, computed):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    first, second = store.get(context), store.get(catalog_of(home).context(SUPERNET, DEVICE))
    assert same(first, second)
    assert len(computed) == 1


@pytest.mark.slow
def test_another_table_or_predictor_has_another_front(home, store, computed):
    store.get(catalog_of(home).context(SUPERNET, DEVICE))
    slower = make_table(network_overhead_ms=2.0)
    keep(home, slower, replace=True)
    points = store.get(catalog_of(home).context(SUPERNET, DEVICE))
    assert points.latency_ms[0] >= 2
    assert len(computed) == 2
    genes = DEBUG.sample(60, np.random.default_rng(9))
    other = fit_gaussian_process(
        DEBUG, genes, LinearAccuracy(DEBUG, 9).predict(genes), target="x", seed=0
    )
    bundle = BundleRegistry(home).get(SUPERNET)
    path = home / "other.safetensors"
    other.save(path)
    add_to_bundle(bundle, {}, {"predictor.safetensors": path.read_bytes()})
    again = store.get(catalog_of(home).context(SUPERNET, DEVICE))
    assert len(computed) == 3
    assert not same(points, again)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_a_torn_file_is_computed_again(home, store, computed, content):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    expected = store.get(context)
    (path,) = store.folder.iterdir()
    path.write_bytes(content)
    assert same(store.get(context), expected)
    assert len(computed) == 2
    assert same(store.get(context), expected)
    assert len(computed) == 2


@pytest.mark.slow
def test_a_folder_that_takes_nothing_still_answers(home, computed):
    (home / "fronts").write_text("in the way")
    assert read_front(home, catalog_of(home).context(SUPERNET, DEVICE))["points"]


RATIOS = tuple(1 + i / 100 for i in range(9))
"""Nine networks: the ninth, 8 % over, bounds at 90 %, the fifth at 50 %."""


@pytest.mark.slow
@pytest.mark.parametrize(("confidence", "factor"), [(0.9, 1.08), (0.5, 1.04)])
def test_a_bound_is_the_prediction_times_its_factor(home, confidence, factor):
    keep(home, make_table("bounded", residual_ratios=RATIOS))
    context = catalog_of(home).context(SUPERNET, "bounded")
    usual, asked = read_front(home, context), read_front(home, context, confidence=confidence)
    assert asked["provenance"]["latency_upper_ms"]["confidence"] == confidence
    for point, same in zip(asked["points"], usual["points"], strict=True):
        assert point["latency_ms"] == same["latency_ms"]
        assert point["latency_upper_ms"] == pytest.approx(factor * point["latency_ms"])
        assert same["latency_upper_ms"] == pytest.approx(1.08 * same["latency_ms"])
    for budget in np.linspace(0.99, 2, 9) * asked["points"][0]["latency_upper_ms"]:
        fits = [p for p in asked["points"] if p["latency_upper_ms"] <= budget]
        if fits:
            found = read_front(home, context, budget, confidence=confidence)
            assert found["points"] == [fits[-1]]
        else:
            with pytest.raises(Infeasible) as info:
                read_front(home, context, budget, confidence=confidence)
            assert info.value.floor == asked["points"][0]["latency_upper_ms"]
    with pytest.raises(InputError, match="9 measured networks support at most 0.9"):
        read_front(home, context, confidence=0.95)


@pytest.mark.slow
def test_answers_kept_as_json_are_those_of_their_front(home, monkeypatch):
    keep(home, make_table("bounded", residual_ratios=RATIOS))
    context = catalog_of(home).context(SUPERNET, "bounded")
    budget = read_front(home, context)["points"][-1]["latency_ms"]
    every = [
        FrontQuery(*asked)
        for asked in itertools.product((None, budget), (None, 0.5, 0.7), (False, True))
    ]
    for asked in (*every, *every):
        answer = front_json(home, context, asked)
        plain = read_front(
            home, context, asked.budget_ms, confidence=asked.confidence, layers=asked.layers
        )
        assert answer.content == FrontRead(**plain).model_dump_json().encode()
    assert len({front_json(home, context, asked).sha256 for asked in every}) == len(every)
    keep(home, make_table("bounded", residual_ratios=RATIOS, network_overhead_ms=9.0), replace=True)
    slower = catalog_of(home).context(SUPERNET, "bounded")
    assert (
        json.loads(front_json(home, slower, FrontQuery()).content)["points"][0]["latency_ms"] >= 9.0
    )
    monkeypatch.setattr(fronts, "ANSWERS_KEPT", 1)
    monkeypatch.setattr(fronts, "_ANSWERS", {})
    for asked in every:
        front_json(home, context, asked)
    assert len(fronts._ANSWERS) == 1


@pytest.fixture
def short(monkeypatch):
    """Fronts that lack most of their points, as one that stopped early would."""
    front = fronts.front  # type: ignore[attr-defined] # as tests shorten it

    def stopped(*args, **kwargs):
        points = front(*args, **kwargs)
        return points[::4]

    monkeypatch.setattr(fronts, "front", stopped)
    monkeypatch.setattr(fronts, "_ANSWERS", {})  # of whole fronts that other tests have asked for


@pytest.mark.slow
def test_a_front_is_never_below_what_searches_found(home, store, short):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    latency, predictor = context.costs["latency_ms"], context.require_predictor()
    before = json.loads(front_json(home, context, FrontQuery()).content)["points"]
    for budget in np.linspace(latency.floor(), latency.ceiling(), 7).tolist():
        found = search_subnet(context.space, predictor, context.costs, {"latency_ms": budget}, 0)
        store.add(context, found.arch)
        (point,) = read_front(home, context, budget)["points"]
        assert point["latency_ms"] <= budget
        assert point["top1"] >= found.top1
        held = (home / "fronts").glob("*.found")
        sizes = [path.stat().st_size for path in held]
        store.add(context, found.arch)
        assert sizes == [path.stat().st_size for path in (home / "fronts").glob("*.found")]
    after = json.loads(front_json(home, context, FrontQuery()).content)["points"]
    assert len(after) > len(before), "the answer kept in memory is of the front before"


@pytest.mark.slow
def test_networks_that_are_not_the_best_any_more_are_dropped(home, store):
    """So the file stays as small as a front, whatever is searched; also by several at once."""
    context = catalog_of(home).context(SUPERNET, DEVICE)
    genes = np.unique(DEBUG.sample(40, np.random.default_rng(0)), axis=0)
    cost = context.costs["latency_ms"].evaluate(genes)
    top1 = np.array([context.require_predictor().predict(row[None])[0] for row in genes])
    best = {bytes(genes[row]) for row in non_dominated(cost, top1)}
    assert 1 < len(best) < len(genes)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda arch: store.add(context, arch), DEBUG.decode(genes)))
    content = (store.folder / f"{fronts.front_sha256(context)}.found").read_bytes()
    width = len(DEBUG.genes)
    rows = [content[start : start + width] for start in range(0, len(content), width)]
    assert (len(rows), set(rows)) == (len(best), best)


@pytest.mark.slow
def test_networks_found_before_the_front_belong_to_it(home, store, short):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    limits = {"latency_ms": context.costs["latency_ms"].ceiling()}
    best = search_subnet(context.space, context.require_predictor(), context.costs, limits, 0)
    store.add(context, best.arch)
    last = read_front(home, context)["points"][-1]
    assert (last["arch"], last["top1"]) == (best.arch.to_json(), best.top1)


@pytest.mark.slow
def test_a_torn_list_of_found_networks_is_read_up_to_there(home, store):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    expected = store.get(context)
    path = store.folder / f"{fronts.front_sha256(context)}.found"
    whole = DEBUG.encode([DEBUG.largest]).tobytes()
    path.write_bytes(whole + b"\xff" * len(DEBUG.genes) + b"\x00")
    assert same(store.get(context), expected)


@pytest.mark.slow
def test_a_budget_beyond_the_front_no_longer_limits(home):
    context = catalog_of(home).context(SUPERNET, DEVICE)
    last = read_front(home, context)["points"][-1]["latency_ms"]
    (warning,) = [w for w in read_front(home, context, 3 * last)["warnings"] if "limits" in w]
    assert f"no longer limits: the most accurate network known needs {last:.4g} ms" in warning
    assert not any("limits" in w for w in read_front(home, context, last)["warnings"])
