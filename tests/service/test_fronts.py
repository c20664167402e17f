"""Fronts on disk: the same as computed anew, and never one of another table or predictor."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle import BundleRegistry, add_to_bundle
from search.front import front
from search.gaussian_process_fit import fit
from service import fronts
from service.fronts import FrontStore, read_front
from tests.fakes import LinearAccuracy
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table
from tests.spaces import DEBUG


@pytest.fixture
def store(home):
    return FrontStore(home / "fronts")


@pytest.fixture
def computed(monkeypatch):
    """How often a front was computed."""
    calls = []

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


def test_a_kept_front_is_the_computed_one(home, store, computed):
    pairing = catalog_of(home).pairing(SUPERNET, DEVICE)
    first, second = store.get(pairing), store.get(catalog_of(home).pairing(SUPERNET, DEVICE))
    assert same(first, second)
    assert len(computed) == 1


def test_another_table_or_predictor_has_another_front(home, store, computed):
    store.get(catalog_of(home).pairing(SUPERNET, DEVICE))
    slower = make_table(network_overhead_ms=2.0)
    keep(home, slower, replace=True)
    points = store.get(catalog_of(home).pairing(SUPERNET, DEVICE))
    assert points.latency_ms[0] >= 2
    assert len(computed) == 2
    genes = DEBUG.sample(60, np.random.default_rng(9))
    other = fit(DEBUG, genes, LinearAccuracy(DEBUG, 9).predict(genes), target="x", seed=0)
    bundle = BundleRegistry(home).get(SUPERNET)
    path = home / "other.safetensors"
    other.save(path)
    add_to_bundle(bundle, {}, {"predictor.safetensors": path.read_bytes()})
    again = store.get(catalog_of(home).pairing(SUPERNET, DEVICE))
    assert len(computed) == 3
    assert not same(points, again)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_a_torn_file_is_computed_again(home, store, computed, content):
    pairing = catalog_of(home).pairing(SUPERNET, DEVICE)
    expected = store.get(pairing)
    (path,) = store.folder.iterdir()
    path.write_bytes(content)
    assert same(store.get(pairing), expected)
    assert len(computed) == 2
    assert same(store.get(pairing), expected)
    assert len(computed) == 2


def test_a_folder_that_takes_nothing_still_answers(home, computed):
    (home / "fronts").write_text("in the way")
    assert read_front(home, catalog_of(home).pairing(SUPERNET, DEVICE))["points"]
