"""Which counters a search that ended adds to, against a loop over the buckets."""

from __future__ import annotations

import math

import pytest

from service.storage.counters import BUCKETS_S, of_ended


@pytest.mark.parametrize("bound", [*BUCKETS_S, math.inf])
@pytest.mark.parametrize("beyond", [False, True])
def test_a_search_is_in_the_first_bucket_that_holds_it(bound, beyond):
    """A bucket holds its own bound, as Prometheus has it ("le")."""
    seconds = math.nextafter(bound, math.inf) if beyond else min(bound, 1e6)
    (first,) = [b for b in (*BUCKETS_S, math.inf) if seconds <= b][:1]
    label = "+Inf" if first == math.inf else f"{first:g}"
    assert of_ended("failed", seconds) == {
        ("searches_ended", "failed"): 1,
        ("search_seconds", label): 1,
        ("search_seconds", "sum"): seconds,
    }
