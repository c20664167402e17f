"""What a user gets is what was recorded: to the bit on a machine that computes the same bits."""

from __future__ import annotations

import json

import pytest

from tests.golden.commands import has_fashion_mnist
from tests.golden.record import RECORDS, record

pytestmark = [pytest.mark.golden, pytest.mark.record]
NEAR = {"top1": 0.1, "latency_ms": 0.05, "macs": 0.1, "params": 0.2}
"""How far another machine's answer may be off, a share: one other last bit is another search."""


def recorded(name):
    return json.loads((RECORDS / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def now():
    return json.loads(json.dumps(record()))


@pytest.fixture(scope="module")
def same_bits(now):
    return now["machine"] == recorded("machine")


def test_the_api_is_described_as_before(now):
    assert now["openapi"] == recorded("openapi")


@pytest.mark.parametrize("name", ["searches", "fronts", "commands"])
def test_answers_are_the_same_to_the_bit(now, same_bits, name):
    if not same_bits:
        pytest.skip("this machine rounds otherwise: the next test compares what it can")
    before = recorded(name)
    if name == "commands" and not has_fashion_mnist():
        before = {key: value for key, value in before.items() if key in now[name]}
    assert now[name] == before


def test_answers_are_the_same_as_far_as_machines_agree(now):
    for found, before in zip(now["searches"], recorded("searches"), strict=True):
        assert found["request"] == before["request"]
        for name, share in NEAR.items():
            assert found[name] == pytest.approx(before[name], rel=share), found["request"]
        for name, budget in found["request"]["constraints"].items():
            if name in found:
                assert found[name] <= budget
    for found, before in zip(now["fronts"], recorded("fronts"), strict=True):
        ends = [point for front in (found, before) for point in (front["points"][0],)]
        assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6), "the floor is exact"


def test_commands_answer_in_the_same_form(now):
    before = recorded("commands")
    for name, answer in now["commands"].items():
        assert shape(answer) == shape(before[name]), name


def shape(value):
    """Names and kinds of values, of a list its first item's."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_every_record_is_looked_at():
    assert {path.stem for path in RECORDS.glob("*.json")} == {
        *("machine", "openapi", "searches", "fronts", "commands"),
    }
