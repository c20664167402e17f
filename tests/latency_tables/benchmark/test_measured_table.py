"""Measured tables are what their closed form predicts; measuring goes on where it was cut off."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from latency_tables.benchmark import table_assembly
from latency_tables.benchmark.measure import RuntimeStopwatch, measure_space, timed_model
from latency_tables.benchmark.models import random_tensors
from latency_tables.benchmark.plan import COLD, PREFIX, Timing, plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.benchmark.table_assembly import (
    MIN_ROUNDS_PER_PART,
    PARTS,
    Mix,
    _latency,
    fit_mix,
    times_in_parts,
)
from latency_tables.benchmark.table_validation import TableValidation, validate_table
from latency_tables.table.table import space_layers
from models.errors import InputError
from models.onnx.builder import build_onnx
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from tests.fake_stopwatch import CONDITIONS, FakeStopwatch
from tests.latency_tables.table.test_latency_table import every_arch
from tests.spaces import DEBUG, FASHION_LIKE

QUICK = MeasureOptions(target_s=0, min_rounds=2, runs=2, warmup=0, networks=10)


def chains_of(space):
    return plan_benchmark(space, networks=1, seed=0).chains


class TestErrorsAreOfParts:
    def test_each_network_is_seen_by_the_next_part(self):
        rng = np.random.default_rng(0)
        visits = [rng.uniform(1, 2, (PARTS * 7, 2)) for _ in range(2 * PARTS + 1)]
        seen = times_in_parts(visits)
        for n, each in enumerate(visits):
            start = 7 * (n % PARTS)
            assert seen[n] == sorted(each[start : start + 7, 0])[3]

    def test_a_device_that_drifts_is_not_said_to_be_steady(self):
        steady = np.ones((PARTS * MIN_ROUNDS_PER_PART, 2))
        drifting = steady * np.repeat([1.0, 1.0, 1.0, 1.2], MIN_ROUNDS_PER_PART)[:, None]
        assert set(times_in_parts([steady] * 8)) == {1.0}
        assert sorted(times_in_parts([drifting] * 8)) == [1.0] * 6 + [1.2] * 2

    def test_few_rounds_are_not_parted(self):
        visits = [np.arange(1.0, 2 * PARTS * MIN_ROUNDS_PER_PART - 1).reshape(-1, 2)] * 3
        assert set(times_in_parts(visits)) == {np.median(visits[0][:, 0])}


def test_chains_chain_and_cover_the_space() -> None:
    plan = plan_benchmark(FASHION_LIKE, networks=1, seed=0)
    assert set(plan.layers) == set(space_layers(FASHION_LIKE))
    for key, pair in plan.layers.items():
        *before, layer = plan.chains[pair.with_layer]
        assert layer.key == key
        if before:
            assert plan.chains[pair.without] == tuple(before)
            (prefix,) = before
            assert prefix.name == PREFIX
            assert (prefix.out_channels, prefix.out_size) == (layer.in_channels, layer.in_size)


@pytest.mark.slow
def test_measured_table_predicts_every_network_of_a_known_device() -> None:
    device = FakeStopwatch()
    table = measure_space(DEBUG, options=QUICK, stopwatch=device)
    assert table.missing(DEBUG) == []
    assert (table.origin, table.conditions) == ("measured", CONDITIONS)
    assert table.expected_error == pytest.approx(0, abs=1e-4)
    for arch in every_arch(DEBUG):
        plan = layer_plan(DEBUG, arch)
        assert table.network_ms(plan) == pytest.approx(device.chain_ms(plan), rel=1e-4)


def test_drift_and_interruptions_meet_all_layers_alike() -> None:
    """Twice as slow in one round of five, and a long pause at every hundredth visit."""
    n_timings = len(plan_benchmark(DEBUG, QUICK.networks, QUICK.seed).timings)

    def drift(visit: int) -> float:
        slow_round = (visit - 1) // n_timings == 3
        return (2.0 if slow_round else 1.0) * (50.0 if visit % 100 == 0 else 1.0)

    options = dataclasses.replace(QUICK, min_rounds=15)
    device = FakeStopwatch(drift=drift)
    table = measure_space(DEBUG, options=options, stopwatch=device)
    assert device.visits == 15 * n_timings
    plan = layer_plan(DEBUG, DEBUG.largest)
    assert table.network_ms(plan) == pytest.approx(device.chain_ms(plan), rel=1e-3)


@pytest.mark.slow
def test_what_a_user_times_is_predicted_where_neighbours_are_busy() -> None:
    """Most visits meet a neighbour: half of a network's runs are slower than predicted, no more."""
    rng = np.random.default_rng(0)
    device = FakeStopwatch(drift=lambda _: 1.0 if rng.random() < 0.3 else 1.1)
    table = measure_space(
        DEBUG, options=dataclasses.replace(QUICK, min_rounds=60), stopwatch=device
    )
    plan = layer_plan(DEBUG, DEBUG.largest)
    assert table.network_ms(plan) == pytest.approx(1.1 * device.chain_ms(plan), rel=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_weights_cost_from_far_is_found_however_often_networks_pay_it(share) -> None:
    device = FakeStopwatch(cold_ms=lambda layer: layer.params / 1e5, cold_share=share)
    options = QUICK
    table = measure_space(FASHION_LIKE, options=options, stopwatch=device)
    assert table.expected_error == pytest.approx(0, abs=1e-2)
    plan = layer_plan(FASHION_LIKE, FASHION_LIKE.largest)
    assert table.network_ms(plan) == pytest.approx(device.network_ms(plan), rel=1e-2)
    assert len(table.residual_ratios) == QUICK.networks


def test_chains_are_cold_behind_a_usual_network() -> None:
    plan = plan_benchmark(DEBUG, QUICK.networks, QUICK.seed)
    networks = sorted(plan.networks.values(), key=lambda n: sum(layer.params for layer in n))
    (after,) = {t.after for name, t in plan.timings.items() if name.startswith(COLD)}
    assert after is not None
    assert after in networks[3:-3]
    assert all(sum(x.macs for x in after) <= sum(x.macs for x in n) for n in networks[3:-3])
    for name, chain in plan.chains.items():
        assert plan.timings[name] == Timing(chain)
        assert plan.timings[COLD + name] == Timing(chain, after)
    assert all(plan.timings[name] == Timing(net) for name, net in plan.networks.items())


def test_a_layer_too_cheap_to_resolve_is_recorded_as_positive() -> None:
    latency = _latency(-0.1, np.full((3, 2), -0.1), runs=4)
    assert 0 < latency.p50_ms <= 1e-6
    assert latency.count == 12


def test_few_networks_leave_the_mix_near_what_is_usual() -> None:
    rng = np.random.default_rng(0)
    sums = rng.uniform(1, 2, (40, 2))
    exact = 0.2 * sums[:, 0] + 0.7 * sums[:, 1] + 0.3
    many = fit_mix(sums, exact)
    assert (many.warm, many.cold, many.overhead_ms) == pytest.approx((0.2, 0.7, 0.3), abs=0.01)
    alike = np.full((1, 2), 2.0)  # warm and cold cannot be told apart
    one = fit_mix(alike, np.array([2.0]))
    assert isinstance(one, Mix)
    assert one.warm == pytest.approx(one.cold)
    assert one.warm + one.cold == pytest.approx(1, abs=0.01)


def test_rounds_stop_when_their_time_is_over_and_progress_never_falls() -> None:
    device, chains = FakeStopwatch(), chains_of(DEBUG)
    shares: list[float] = []
    visits = time_chains(
        {name: Timing(chain) for name, chain in chains.items()},
        device,
        dataclasses.replace(QUICK, target_s=7),
        lambda share, doing="": shares.append(share),
        clock=lambda: device.visits / len(chains),  # every round takes one second
    )
    assert {rows.shape for rows in visits.values()} == {(7, 2)}
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(0 <= share <= 1 for share in shares)


def test_a_measurement_cut_off_goes_on(tmp_path) -> None:
    options = dataclasses.replace(QUICK, target_s=60, partial=tmp_path / "partial.json")
    chains = {name: Timing(chain) for name, chain in chains_of(DEBUG).items()}

    class Unplugged(Exception):
        pass

    def unplug(visit: int) -> float:
        if visit > 3.5 * len(chains):
            raise Unplugged
        return 1.0

    def clock_of(device: FakeStopwatch) -> Callable[[], float]:
        return lambda: 20 * device.visits / len(chains)  # every round takes 20 seconds

    endless = dataclasses.replace(options, target_s=1000)
    before, again = FakeStopwatch(drift=unplug), FakeStopwatch(drift=lambda visit: 2.0)
    with pytest.raises(Unplugged):
        time_chains(chains, before, endless, clock=clock_of(before))
    rest = dataclasses.replace(options, target_s=100)
    visits = time_chains(chains, again, rest, clock=clock_of(again))
    assert again.visits == 2 * len(chains)  # three of five rounds were kept
    rows = next(iter(visits.values()))
    assert len(rows) == 5
    assert rows[4, 0] == pytest.approx(2 * rows[0, 0])


def test_a_measurement_cut_off_ends_in_the_same_table(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("latency_tables.benchmark.runner.SAVE_EVERY_S", 0)
    options = dataclasses.replace(QUICK, min_rounds=5, partial=tmp_path / "partial.json")
    whole = FakeStopwatch()
    expected = measure_space(DEBUG, options=options, stopwatch=whole)
    (tmp_path / "partial.json").unlink()

    def unplug(visit: int) -> float:
        return 1.0 if visit < 0.7 * whole.visits else 1 / 0

    with pytest.raises(ZeroDivisionError):
        measure_space(DEBUG, options=options, stopwatch=FakeStopwatch(drift=unplug))
    assert [path.name for path in tmp_path.iterdir()] == ["partial.json"]
    resumed = FakeStopwatch()
    assert measure_space(DEBUG, options=options, stopwatch=resumed) == expected
    assert resumed.visits == whole.visits * 2 / 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged file"),
        ('{"fingerprint": 1}', "damaged file"),
        ("[]", "damaged file"),
        ('{"fingerprint": "x", "spent_s": 1, "visits": {}}', "another measurement"),
    ],
)
def test_a_wrong_partial_file_is_refused(tmp_path, content, message) -> None:
    path = tmp_path / "partial.json"
    path.write_text(content)
    options = dataclasses.replace(QUICK, partial=path)
    with pytest.raises(InputError, match=message):
        measure_space(DEBUG, options=options, stopwatch=FakeStopwatch())
    assert path.read_text() == content


@pytest.mark.parametrize("field", ["min_rounds", "runs", "threads", "batch", "networks"])
def test_options_refuse_zero(field) -> None:
    zero: dict[str, Any] = {field: 0}
    with pytest.raises(InputError, match=f"{field}: expected at least 1, got 0"):
        dataclasses.replace(QUICK, **zero)


def test_validation_on_a_known_device() -> None:
    device = FakeStopwatch()
    table = measure_space(DEBUG, options=QUICK, stopwatch=device)
    exact = validate_table(DEBUG, table, count=8, options=QUICK, stopwatch=device)
    assert exact.mean_error == pytest.approx(0, abs=1e-4)
    assert exact.share_within(0.001) == 1
    for arch, predicted in zip(exact.archs, exact.predicted_ms, strict=True):
        plan = layer_plan(DEBUG, Arch.from_json(json.loads(arch)))
        assert predicted == table.network_ms(plan)
    slower = FakeStopwatch(drift=lambda visit: 1.25)
    off = validate_table(DEBUG, table, count=8, options=QUICK, stopwatch=slower)
    assert off.mean_error == pytest.approx(0.2, abs=1e-3)
    assert off.share_within(0.1) == 0
    assert off.archs == exact.archs
    assert off.drift == pytest.approx(1.25 * exact.drift)
    assert (off.share_below(1.2), off.without_drift().share_below(1.01)) == (0, 1)
    assert off.without_drift().mean_error == pytest.approx(exact.mean_error, abs=1e-4)
    alone = validate_table(DEBUG, table, count=8, references=0, options=QUICK, stopwatch=slower)
    assert alone.without_drift().mean_error == pytest.approx(off.mean_error)


def test_validation_figures() -> None:
    result = TableValidation(("a", "b"), np.array([1.0, 3.0]), np.array([1.0, 2.0]), CONDITIONS)
    assert result.mean_error == pytest.approx(0.25)
    assert result.share_within(0.1) == 0.5


# -- with the runtime itself (no figures: the machine may be busy) ---------------------------


@pytest.mark.slow
def test_a_measurement_too_disturbed_to_add_up_says_so(monkeypatch) -> None:
    monkeypatch.setattr(
        table_assembly, "leave_one_out_ms", lambda sums_N2, measured_N: 0 - measured_N
    )
    with pytest.raises(InputError, match="measure for longer, on an idle machine"):
        measure_space(DEBUG, options=QUICK)


@pytest.mark.slow
def test_onnx_runtime_measures_a_whole_space() -> None:
    options = dataclasses.replace(QUICK, min_rounds=8, device="host", batch=2)
    table = measure_space(DEBUG, options=options)
    assert table.missing(DEBUG) == []
    conditions = table.conditions
    assert (conditions.runtime, conditions.batch, conditions.threads) == ("onnxruntime", 2, 1)
    assert conditions.processor
    assert conditions.measured_at


def test_random_weights_keep_activations_ordinary() -> None:
    plan = layer_plan(FASHION_LIKE, FASHION_LIKE.largest)
    session = onnxruntime.InferenceSession(
        build_onnx(plan, random_tensors(plan), {}), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).standard_normal((4, 1, 28, 28), np.float32)
    (logits,) = session.run(None, {"input": x})
    assert 1e-3 < np.abs(logits).max() < 1e3


def test_weights_of_the_callers_are_used() -> None:
    asked: list[str] = []

    def tensors_for(layers):
        asked.extend(layer.name for layer in layers)
        return random_tensors(layers)

    chain = chains_of(DEBUG)[layer_plan(DEBUG, DEBUG.largest)[1].key]
    (elapsed_ms,) = RuntimeStopwatch(QUICK, tensors_for).prepare(chain)(0, 1)
    assert elapsed_ms > 0
    assert asked == ["first"]


def test_whole_model_is_timed_at_the_batch_asked() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    times_ms = timed_model(model, batch=3)(1, 4)
    assert times_ms.shape == (4,)
    assert (times_ms > 0).all()


def test_models_that_take_long_to_make_are_kept(tmp_path) -> None:
    chain = chains_of(DEBUG)[layer_plan(DEBUG, DEBUG.largest)[1].key]
    asked: list[int] = []

    def tensors_for(layers):
        asked.append(len(layers))
        return random_tensors(layers)

    options = dataclasses.replace(QUICK, precision="int8", partial=tmp_path / "partial.json")
    for _ in range(2):  # the second one as after a stop
        stopwatch = RuntimeStopwatch(options, tensors_for)
        assert stopwatch.conditions.precision == "int8"
        assert (stopwatch.prepare(chain, after=chain)(0, 2) > 0).all()
    assert len(asked) == 1
    assert len(list((tmp_path / "partial.models").iterdir())) == 1


@pytest.mark.parametrize(("change", "named"), [(0.0, False), (0.05, False), (0.5, True)])
def test_a_machine_that_throttles_while_it_is_measured_is_named(change, named):
    options = dataclasses.replace(QUICK, min_rounds=12, runs=1)
    visits = 12 * len(plan_benchmark(DEBUG, options.networks, options.seed).timings)
    device = FakeStopwatch(drift=lambda visit: 1 + change * visit / visits)
    notes = measure_space(DEBUG, options=options, stopwatch=device).notes
    assert [note.kind for note in notes] == ["trend"] * named
    assert not named or re.search(r"over its 12 rounds, networks take 1\.[34]", notes[0].text)
