"""Published networks, and what is predicted of them on an installation without anything added."""

import pytest

from service.catalog import Catalog
from service.catalog.published import summarize_networks
from tests.service.catalog.published.networks_table import BEGIN, END, PAGE, table

pytestmark = pytest.mark.slow  # the tables of ten devices are compiled


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return summarize_networks(Catalog(tmp_path_factory.mktemp("home")))


def test_every_predicted_latency_is_near_the_published_one(rows):
    """Within 8 % on all ten devices, also of networks that no table was fitted to."""
    timed = [row for row in rows if row.device is not None]
    off = {row.id: abs(row.predicted.latency_ms / row.published.latency_ms - 1) for row in timed}
    assert len(off) == 47
    assert max(off.values()) <= 0.08, off
    assert all(row.predicted.batch == row.published.batch for row in timed)
    assert sum(not row.predicted.latency_fitted for row in timed) == 14


def test_those_that_were_made_for_macs_have_no_latency(rows):
    others = [row for row in rows if row.device is None]
    assert len(others) == 3
    for row in others:
        assert row.published.latency_ms is row.predicted.latency_ms is None
        assert row.published.conditions == {}


def test_top1_is_predicted_only_where_a_predictor_is_valid(rows):
    known = [row for row in rows if row.predicted.top1 is not None]
    assert {(row.supernet, row.arch.resolution) for row in known} == {("ofa-mbv3-w1.0", 224)}
    for row in known:
        assert abs(row.predicted.top1 - row.published.top1) < 1
        assert "published weights" in row.predicted.top1_stands_for


def test_the_table_of_the_docs_is_current(rows):
    """`python -m tests.service.catalog.published.networks_table` writes it anew."""
    text = PAGE.read_text()
    assert text.partition(BEGIN)[2].partition(END)[0] == table(rows)
