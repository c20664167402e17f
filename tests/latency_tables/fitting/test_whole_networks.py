"""`latency_tables.fitting.whole_networks`: measured networks are read strictly."""

from __future__ import annotations

import pytest

from latency_tables.fitting.whole_networks import WholeNetworks
from models.errors import InputError
from tests.spaces import DEBUG

SMALL, LARGE = DEBUG.uniform(8, 0, 3, 3), DEBUG.uniform(12, -1, 5, 4)


def document(**changes):
    return {"arch": [SMALL.to_json(), LARGE.to_json()], "latency_ms": [1.5, 4], **changes}


def test_reads_networks_and_their_times():
    found = WholeNetworks.from_json(document(batch=2), DEBUG, batch=2)
    assert found.archs == (SMALL, LARGE)
    assert found.latency_ms_N.tolist() == [1.5, 4.0]


def test_a_network_measured_again_counts_once_with_the_median():
    archs = [arch.to_json() for arch in (SMALL, LARGE, SMALL, SMALL)]
    found = WholeNetworks.from_json({"arch": archs, "latency_ms": [1, 9, 30, 2]}, DEBUG)
    assert found.archs == (SMALL, LARGE)
    assert found.latency_ms_N.tolist() == [2.0, 9.0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object with .* got list"),
        ({"arch": []}, "field 'latency_ms' is missing"),
        (document(unit="s"), "unknown field 'unit'"),
        (document(arch="x"), "expected lists"),
        (document(latency_ms=[1.0]), "expected as many latency_ms as arch, got 1 and 2"),
        ({"arch": [], "latency_ms": []}, "expected 1 to 100000 networks, got 0"),
        (document(batch=True), "batch: expected an integer, got True"),
        (document(batch=2), "batch: expected 1 as in the profile, got 2"),
        (document(latency_ms=[1.0, -4.0]), r"latency_ms\[1\]: .*above 0"),
        (document(latency_ms=[1.0, float("nan")]), r"latency_ms\[1\]: .*got nan"),
        (
            document(latency_ms=["1", 2]),
            r"latency_ms\[0\]: expected a number .*, got '1'",
        ),
        (document(latency_ms=[1.0, 1e9]), r"latency_ms\[1\]: .*at most 1e"),
        (
            document(arch=[SMALL.to_json(), {}]),
            r"arch\[1\]: field 'resolution' is missing",
        ),
        (
            document(arch=[SMALL.to_json() | {"resolution": 9}] * 2),
            r"arch\[0\].resolution",
        ),
    ],
)
def test_what_does_not_hold_is_refused_with_its_place(value, message):
    with pytest.raises(InputError, match=f"measurements.*{message}"):
        WholeNetworks.from_json(value, DEBUG, batch=1)


def test_a_document_and_a_profile_have_one_batch():
    for stated, batch in ((1, 2), (2, 1)):
        with pytest.raises(InputError, match=f"expected {batch} as in the profile, got {stated}"):
            WholeNetworks.from_json(document(batch=stated), DEBUG, batch=batch)
    for profiles in (2, None):
        assert WholeNetworks.from_json(document(batch=2), DEBUG, batch=profiles).archs
    with pytest.raises(InputError, match="batch: expected an integer, got '2'"):
        WholeNetworks.from_json(document(batch="2"), DEBUG)


@pytest.mark.parametrize(("most", "allowed"), [(1, False), (2, True), (3, True)])
def test_so_many_networks_are_read_and_no_more(monkeypatch, most, allowed):
    monkeypatch.setattr("latency_tables.fitting.whole_networks.MAX_NETWORKS", most)
    if allowed:
        assert len(WholeNetworks.from_json(document(), DEBUG).archs) == 2
    else:
        with pytest.raises(InputError, match="expected 1 to 1 networks, got 2"):
            WholeNetworks.from_json(document(), DEBUG)
