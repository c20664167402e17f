"""Prices of choices, against predictions of every network one change away."""

import numpy as np
import pytest

from search.costs.costs import CostModel, latency_costs
from search.evolution.operators import neighbours
from search.front import Front
from search.sensitivity import changes, grow_first, more_time, shrink_first
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG, RESNET

SPACES = pytest.mark.parametrize("space", [DEBUG, RESNET], ids=lambda space: space.name)


def priced(space, seed):
    (arch,) = space.decode(space.sample(1, np.random.default_rng(seed)))
    latency, predictor = latency_costs(space, FakeTable()), LinearAccuracy(space)
    return arch, latency, predictor, changes(space, predictor, latency, arch)


@SPACES
@pytest.mark.parametrize("seed", range(3))
def test_a_change_is_the_difference_of_two_predictions(space, seed):
    arch, latency, predictor, found = priced(space, seed)
    near = neighbours(space, space.encode([arch])[0]).genes
    (now,) = latency.evaluate(space.encode([arch]))
    # Widths are rounded, so some changes leave the network and its latency as they are.
    expected = space.decode(near[latency.evaluate(near) != now])
    assert [change.arch for change in found] == expected != []
    for change in found:
        genes = space.encode([arch, change.arch])
        before, after = latency.evaluate(genes)
        assert change.extra_ms == after - before != 0
        worse, better = predictor.predict(genes)
        assert change.gain == pytest.approx(better - worse, abs=1e-9)


@SPACES
def test_units_are_ranked_by_points_for_time(space):
    for seed in range(3):
        *_, found = priced(space, seed)
        for ranked, sign in ((shrink_first(found), 1), (grow_first(found), -1)):
            prices = [sign * change.points_per_ms for change in ranked]
            assert prices == sorted(prices)
            assert len({change.unit for change in ranked}) == len(ranked)
        for change in shrink_first(found):
            rivals = [c for c in found if c.unit == change.unit and c.extra_ms < 0]
            assert change.points_per_ms == min(c.points_per_ms for c in rivals)
        assert all(c.gain > 0 and c.extra_ms > 0 for c in grow_first(found))


def test_a_change_is_named_by_what_differs():
    arch = DEBUG.uniform(12, -1, 5, 4)
    latency, predictor = latency_costs(DEBUG, FakeTable()), LinearAccuracy(DEBUG)
    words = {(c.unit, c.change) for c in changes(DEBUG, predictor, latency, arch)}
    assert ("resolution", "resolution 12 to 8") in words
    assert ("stage1", "depth 2 to 1") in words
    assert ("stage2_block1", "kernel 5 to 3, expand 4 to 3") in words
    small = changes(DEBUG, predictor, latency, DEBUG.smallest)
    assert ("stage2", "depth 1 to 2 (kernel 5, expand 4)") in {(c.unit, c.change) for c in small}


def test_a_residual_networks_stem_is_no_stage():
    latency, predictor = latency_costs(RESNET, FakeTable()), LinearAccuracy(RESNET)
    found = changes(RESNET, predictor, latency, RESNET.largest)
    words = {(c.unit, c.change) for c in found}
    assert ("stem", "depth 1 to 0") in words
    assert ("stem", "width 1 to 0.5") in words
    assert ("stage1", "width 1 to 0.5") in words
    assert ("stage2", "depth 1 to 0") in words
    assert ("stage2_block1", "expand 0.5 to 0.25") in words


def test_more_time_is_the_fronts_best_for_it():
    rng = np.random.default_rng(0)
    genes = DEBUG.sample(40, rng)
    ms, top1 = np.sort(rng.uniform(1, 3, 40)), np.sort(rng.uniform(80, 90, 40))
    points = Front(genes, ms, top1)
    for latency_ms in (ms[0], 1.7, ms[-1]):
        steps = more_time(DEBUG, points, latency_ms)
        now = max(t for m, t in zip(ms, top1, strict=True) if m <= latency_ms)
        seen = []
        for extra in sorted([1.0, *(share * latency_ms for share in (0.05, 0.1, 0.25, 0.5))]):
            best = max(t for m, t in zip(ms, top1, strict=True) if m <= latency_ms + extra)
            if best > now and best not in seen:
                seen.append(best)
        assert [step.top1 for step in steps] == seen
        assert all(step.gain == step.top1 - now > 0 for step in steps)
        assert all(step.latency_ms <= latency_ms + step.extra_ms for step in steps)
    assert more_time(DEBUG, points, ms[-1]) == []


def test_what_costs_no_time_has_no_price():
    """On a device where blocks take no time, only a change of the resolution is told."""
    latency = CostModel.compile(
        DEBUG, lambda layer: 0.0 if layer.kind == "mbconv" else float(layer.resolution), 1.0
    )
    found = changes(DEBUG, LinearAccuracy(DEBUG), latency, DEBUG.largest)
    assert [change.unit for change in found] == ["resolution"]
    assert np.isfinite(found[0].points_per_ms)
