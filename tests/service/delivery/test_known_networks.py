"""Searches start from the front of the device: never worse than it, the same whenever asked."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.evolution.effort import DEFAULT_EFFORT, EFFORTS
from search.front import front
from service.catalog import fronts
from service.catalog.fronts import FrontStore
from service.catalog.goal import Goal
from service.contracts.limits import Effort
from service.contracts.searches import SearchRequest
from service.delivery.delivery import run_search
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.service.conftest import DEVICE, SUPERNET, catalog_of
from tests.spaces import DEBUG

GENES = all_genes(DEBUG)


@pytest.fixture(scope="module")
def context(template):
    return catalog_of(template).context(SUPERNET, DEVICE)


def test_efforts_are_those_of_searches():
    assert get_args(Effort) == tuple(EFFORTS)
    assert SearchRequest.model_fields["effort"].default == Goal().effort == DEFAULT_EFFORT


@pytest.mark.slow
@given(
    rows=st.sets(st.integers(0, len(GENES) - 1), max_size=8),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    effort=st.sampled_from([*EFFORTS]),
    seed=st.integers(0, 9),
)
@settings(max_examples=15)
def test_a_search_is_never_worse_than_the_front(context, rows, shares, effort, seed):
    """For a predictor of which a search learns nothing: only networks of the front are any good.
    A further limit keeps some of them out."""
    known = GENES[sorted(rows)]
    good = {row.tobytes(): 90.0 + n for n, row in enumerate(known)}

    class Needles(LinearAccuracy):
        def predict(self, genes):
            return np.array([good.get(row.tobytes(), 50.0) for row in genes])

    searched = replace(context, predictor=Needles(DEBUG), front_genes=lambda told: known)
    costs = {name: context.costs[name] for name in ("latency_ms", "macs")}
    limits = {
        name: float(np.quantile(cost.evaluate(GENES), share))
        for (name, cost), share in zip(costs.items(), shares, strict=True)
    }
    met = np.all([cost.evaluate(GENES) <= limits[n] for n, cost in costs.items()], axis=0)
    if not met.any():
        return
    found = run_search(searched, limits, seed, Goal(effort=effort))
    best = max(
        [good[row.tobytes()] for row in known if (GENES[met] == row).all(1).any()], default=50
    )
    assert found.top1 >= best
    assert all(found.costs[name] <= limit for name, limit in limits.items())


def test_a_front_is_brought_into_what_frozen_parts_leave(context):
    """A network of the front that has no frozen choice against it is known as it is."""
    whole = replace(context, front_genes=lambda told: GENES[::7])
    part = whole.with_frozen({"resolution": [DEBUG.resolutions[0]], "stage1.kernel": [3]})
    known = set(part.space.decode(part.known_networks()))
    kept = [
        arch
        for arch in DEBUG.decode(GENES[::7])
        if arch.resolution == DEBUG.resolutions[0] and set(arch.kernel[0]) == {3}
    ]
    assert kept
    assert known.issuperset(kept)
    assert len(known) <= len(GENES[::7])


@pytest.mark.slow
def test_an_answer_hangs_on_no_earlier_search_and_no_file(home, monkeypatch):
    """With the front computed, kept, grown by what others found, or gone: the same network, after
    the same work. Progress says when the front is computed."""
    real, steps = front, []
    monkeypatch.setattr(fronts, "front", lambda *args, **kwargs: real(*args, **kwargs)[::4])

    def answer():
        context = catalog_of(home).context(SUPERNET, DEVICE)
        latency = context.costs["latency_ms"]
        limits = {"latency_ms": 0.5 * (latency.floor() + latency.ceiling())}
        found = run_search(context, limits, 1, report=lambda step, share: steps.append(step))
        FrontStore.of(home).add(context, found.arch)
        return found.genes.tolist(), found.evaluations

    first = answer()
    assert steps[0] == "front"
    steps.clear()
    assert answer() == first
    assert "front" not in steps
    for path in (home / "fronts").glob("*.npz"):
        path.unlink()
    assert answer() == first
