"""What a device sends: each place is checked; a slowed device is told apart from a noisy one."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from latency_tables.benchmark.remote_plan import quick_plan, thorough_plan
from latency_tables.fitting.design import design_networks
from models.errors import InputError
from models.spaces import layer_plan
from service.links import results
from service.links.plans import RUNTIME
from tests.service.conftest import make_table
from tests.service.links.phone import Phone
from tests.spaces import DEBUG

PLAN = quick_plan(DEBUG, design_networks(DEBUG, 24), "fp32")
READ_PLAN = {**PLAN.to_json([{} for _ in PLAN.chains]), "runtime": RUNTIME}
NAME = next(iter(PLAN.networks))
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def body(**changes):
    phone = Phone(None, make_table(), DEBUG)  # type: ignore[arg-type]
    return phone.result(READ_PLAN, **changes)


def read(value, plan=PLAN):
    return results.read_result(value, plan, ["wasm"], processor="a phone", measured_at=NOW)


def changed(path, value):
    tampered = copy.deepcopy(body())
    *way, last = path
    place = tampered
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return tampered


TIMES = ("rounds", "times_ms", NAME, "p50")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["plan"], "0" * 64, "result.plan: expected"),
        (["plan"], ..., "field 'plan' is missing"),
        (["more"], 1, "unknown field 'more'"),
        (["backend"], "webgpu", "result.backend: expected one of ['wasm'], got 'webgpu'"),
        (["backend"], ["wasm"], "result.backend"),
        (["batch"], True, "result.batch: expected 1, got true"),
        (["space"], "another", "result.space"),
        (["precision"], "int8", "result.precision"),
        (["runtime"], "onnxruntime", "result.runtime"),
        (["conditions"], [], "result.conditions: expected an object"),
        (["conditions", "provider"], "webgpu", "result.conditions.provider: expected 'wasm'"),
        (["conditions", "threads"], ..., "result.conditions: field 'threads' is missing"),
        (["conditions", "threads"], "2", "result.conditions.threads: expected an integer"),
        (["conditions", "user_agent"], "x" * 501, "result.conditions.user_agent"),
        (["conditions", "cross_origin_isolated"], 1, "cross_origin_isolated: expected true or"),
        (["conditions", "run_ms"], -1.0, "result.conditions.run_ms"),
        (["rounds", "seed"], 1, "result.rounds.seed: expected 0 as in the plan, got 1"),
        (["rounds", "times_ms"], [], "result.rounds.times_ms: expected an object"),
        (["rounds", "times_ms", NAME], ..., "result.rounds.times_ms: 1 models are missing"),
        (["rounds", "times_ms", "another"], {}, "'another' is not in the plan"),
        (TIMES, [1.0] * 7, "as many rounds|lists of 1 to"),
        (TIMES, [0.0] * 8, "positive milliseconds"),
        (TIMES, [1e9] * 8, "positive milliseconds"),
        (TIMES, ["1"] * 8, None),
        (TIMES, [None] * 8, "positive milliseconds"),
        (["canary_ms"], [1.0] * 7, "result.canary_ms: expected 8, as many as rounds, got 7"),
        (["canary_ms"], [True] * 8, "result.canary_ms: expected positive"),
        (["canary_ms"], "x", "result.canary_ms: expected positive"),
        (["orders"], "x", "result.orders: expected 8 lists, as many as rounds"),
        (["orders"], [[0, 0]] * 8, "result.orders[0]: expected each of 0 to"),
        (["orders"], [["0"]] * 8, "result.orders[0]: expected each of 0 to"),
        (["orders"], [[True]] * 8, "result.orders[0]: expected each of 0 to"),
        (["stopped"], "x" * 201, "result.stopped"),
        (["stopped"], 3, "result.stopped"),
    ],
)
def test_each_place_is_checked(path, value, words):
    if words is None:
        read(changed(path, value))  # a number as text is a number
        return
    with pytest.raises(InputError) as caught:
        read(changed(path, value))
    assert any(word in str(caught.value) for word in words.split("|")), str(caught.value)


def slowed(after, factor, rounds=12):
    return [1.0] * after + [factor] * (rounds - after)


@pytest.mark.parametrize(
    ("canary", "used"),
    [
        (slowed(12, 1.0), 12),
        (slowed(6, 1.3), 6),
        (slowed(3, 2.0), 3),
        (slowed(6, 1.1), 12),
        ([1, 1, 1, 5, 1, 1, 1, 1, 1, 1, 1, 1], 12),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3], 12),
        ([3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 12),
    ],
)
def test_the_rounds_before_a_device_slows_down_count(canary, used):
    measured = read(body(rounds=12, canary_ms=canary))
    assert {len(visits) for visits in measured.times.values()} == {used}
    assert [note.kind for note in measured.notes] == (["trend"] if used < 12 else [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rounds": 12, "canary_ms": slowed(2, 2.5)}, "slowed down (it did after 2 of 12), got 2"),
        ({"rounds": 2}, "expected at least 3 rounds, got 2"),
    ],
)
def test_too_few_rounds_are_refused(changes, words):
    with pytest.raises(InputError) as caught:
        read(body(**changes))
    assert words in str(caught.value)


def test_a_warning_stays_with_the_device(home):
    from tests.service.conftest import catalog_of

    catalog = catalog_of(home)
    for changes, words in (
        ({"rounds": 12, "canary_ms": slowed(6, 1.5)}, "1.5 times as slow after 6 of 12 rounds"),
        ({"stopped": "throttled"}, "stopped after 8 rounds (the device slowed down"),
        ({"stopped": "ti\nme"}, "stopped after 8 rounds (ti me)"),
    ):
        table = results.fit("hot", PLAN, read(body(**changes)), catalog)
        catalog.keep_device(table, replace=True)
        (kept,) = catalog.devices.get("hot")
        findings = [finding.text for finding in catalog.findings(kept)]
        assert any(words in text for text in findings), findings


def test_a_donor_is_taken_where_it_helps(home):
    from tests.service.conftest import catalog_of, keep

    catalog = catalog_of(home)
    measured = read(body())
    near = results.fit("new", PLAN, measured, catalog)
    assert "near the costs of device 'debug-device'" in near.source
    alone = results.fit("debug-device", PLAN, measured, catalog)
    assert "near" not in alone.source, "no device is its own donor"
    assert near.expected_error is not None
    assert alone.expected_error is not None
    assert near.expected_error <= alone.expected_error
    keep(home, make_table("no-donor-at-all", space="another"))
    assert len(list(results.donors(catalog_of(home), DEBUG, "fp32", "new"))) == 1


@pytest.mark.slow
def test_a_thorough_measurement_is_that_of_a_kit():
    """Times of layers that add up give the table of which they are."""
    plan = thorough_plan(DEBUG, "fp32")
    truth = make_table()
    rng = np.random.default_rng(0)

    def chain_ms(chain):
        return 0.01 + sum(
            truth.layer_ms(layer) if layer.key in truth.entries else 0.02 for layer in chain
        )

    times = {}
    for name, timing in plan.timings.items():
        network = plan.networks.get(name)
        ms = truth.network_ms(network) if network else chain_ms(timing.chain)
        p50 = (ms * rng.normal(1, 0.005, 8)).tolist()
        times[name] = {"p50": p50, "mean": p50}
    sent = {
        **{name: body()[name] for name in ("backend", "runtime", "precision", "batch", "space")},
        "plan": plan.id,
        "conditions": body()["conditions"],
        "rounds": {**plan.rounds, "times_ms": times},
    }
    table = results.assemble("thorough", plan, read(json.loads(json.dumps(sent)), plan))
    assert table.origin == "measured"
    unseen = DEBUG.decode(DEBUG.sample(30, np.random.default_rng(9)))
    plans = [layer_plan(DEBUG, arch) for arch in unseen]
    errors = [abs(table.network_ms(p) / truth.network_ms(p) - 1) for p in plans]
    assert np.mean(errors) < 0.02
