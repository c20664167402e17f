"""`latency_tables.fitting.fit`: made-up devices, whose costs are known, are found again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares, nnls

from latency_tables.fitting.fit import (
    FOLDS,
    Costs,
    _CostModel,
    fit_costs,
    fit_layers,
    fit_table,
    folds,
)
from latency_tables.fitting.layer_costs import FEATURES, layer_features
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import Conditions
from latency_tables.table.table import LatencyTable, LayerLatency, space_layers, table_to_json
from models.errors import InputError
from models.spaces.plan import layer_plan
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

CONDITIONS = Conditions(runtime="made up", precision="fp32", batch=8)
UNIT_MS = {"pointwise_macs": 2e-6, "depthwise_k3_macs": 9e-6, "depthwise_values": 4e-6,
           "weights": 1e-6, "blocks": 0.02, "dense_macs": 3e-6}  # fmt: skip


def true_table(space, unit_ms=UNIT_MS, overhead_ms=0.3, seed=None, scale=1.0) -> LatencyTable:
    """A device whose layers take what the costs say; with a seed, each times its own factor."""
    layers = space_layers(space)
    times = layer_features(layers.values()) @ [unit_ms.get(name, 0.0) for name in FEATURES]
    if seed is not None:
        times = times * np.exp(0.2 * np.random.default_rng(seed).standard_normal(len(times)))
    entries = {
        key: LayerLatency(p50_ms=scale * ms + 1e-9, mean_ms=scale * ms + 1e-9, std_ms=0.0, count=1)
        for key, ms in zip(layers, times.tolist(), strict=True)
    }
    return LatencyTable(
        device="truth", space=space.name, origin="measured", source="made up",
        conditions=CONDITIONS, entries=entries, network_overhead_ms=scale * overhead_ms,
    )  # fmt: skip


def measured_on(table, space, count, seed=0, noise=0.0) -> WholeNetworks:
    """`count` random networks, timed on `table` with relative noise."""
    rng = np.random.default_rng(seed)
    archs = tuple(dict.fromkeys(space.decode(space.sample(2 * count, rng))))[:count]
    times = np.array([table.network_ms(layer_plan(space, arch)) for arch in archs])
    return WholeNetworks(archs, times * np.exp(noise * rng.standard_normal(len(archs))))


def errors(fitted, truth, space, seed=99) -> np.ndarray:
    unseen = measured_on(truth, space, 200, seed)
    plans = (layer_plan(space, arch) for arch in unseen.archs)
    predicted = np.array([fitted.network_ms(plan) for plan in plans])
    return np.abs(predicted / unseen.latency_ms_N - 1)


@pytest.mark.slow
@pytest.mark.parametrize("space", [FASHION_LIKE, RESNET], ids=lambda space: space.name)
def test_exact_times_are_predicted_exactly(space):
    truth = true_table(space)
    fitted = fit_table(
        space, measured_on(truth, space, 150), device="fit", conditions=CONDITIONS, source="a lab"
    )
    assert errors(fitted, truth, space).max() < 2e-3
    assert fitted.expected_error is not None
    assert fitted.expected_error < 2e-3
    assert not fitted.missing(space)
    assert (fitted.origin, fitted.device, fitted.conditions) == ("fitted", "fit", CONDITIONS)
    assert fitted.source == "a lab; layer costs fitted to 150 whole networks"
    assert table_from_json(table_to_json(fitted)) == fitted


@pytest.mark.slow
def test_expected_error_and_bounds_are_those_of_unseen_networks():
    truth = true_table(FASHION_LIKE)
    seen = measured_on(truth, FASHION_LIKE, 300, noise=0.03)
    fitted = fit_table(FASHION_LIKE, seen, device="fit", conditions=CONDITIONS)
    assert fitted.expected_error == pytest.approx(0.03 * np.sqrt(2 / np.pi), rel=0.15)
    ratios = np.array(fitted.residual_ratios)
    assert ratios.shape == (300,)
    assert fitted.expected_error == pytest.approx(np.abs(1 / ratios - 1).mean(), abs=2e-5)
    for numbers in (ratios, np.array(fitted.expected_error)):
        assert (numbers == np.round(numbers, 5)).all(), "five digits"
    assert (ratios != np.round(ratios, 4)).any()
    unseen = measured_on(truth, FASHION_LIKE, 600, seed=5, noise=0.03)
    for confidence in (0.6, 0.9):
        held = [
            ms
            <= fitted.upper_factor(confidence) * fitted.network_ms(layer_plan(FASHION_LIKE, arch))
            for arch, ms in zip(unseen.archs, unseen.latency_ms_N, strict=True)
        ]
        assert np.mean(held) == pytest.approx(confidence, abs=0.05)


@pytest.mark.parametrize("factor", [0.3, 1.0, 40.0])
def test_a_device_that_is_its_donor_times_a_factor_needs_three_networks(factor):
    donor, truth = true_table(DEBUG, seed=1), true_table(DEBUG, seed=1, scale=factor)
    few = measured_on(truth, DEBUG, 3)
    fitted = fit_table(DEBUG, few, device="fit", conditions=CONDITIONS, donor=donor)
    assert errors(fitted, truth, DEBUG).max() < 0.02
    assert "near the costs of device 'truth'" in fitted.source
    assert len(fitted.residual_ratios) == 3


def test_a_donor_with_other_costs_is_left_where_the_measurements_say_so():
    """Better than scale and offset alone, and with more networks better still."""
    donor = true_table(FASHION_LIKE, seed=1)
    other = UNIT_MS | {"pointwise_macs": 6e-6, "blocks": 0.3, "weights": 0.0}
    truth = true_table(FASHION_LIKE, other, seed=1)
    mean_errors = {}
    for count in (5, 20):
        few = measured_on(truth, FASHION_LIKE, count, seed=count)
        fitted = fit_table(FASHION_LIKE, few, device="fit", conditions=CONDITIONS, donor=donor)
        mean_errors[count] = errors(fitted, truth, FASHION_LIKE).mean()
        assert min(entry.p50_ms for entry in fitted.entries.values()) > 0
    plans = [layer_plan(FASHION_LIKE, arch) for arch in few.archs]
    design = np.array([[donor.network_ms(plan), 1.0] for plan in plans])
    slope, offset = np.linalg.lstsq(design, few.latency_ms_N, rcond=None)[0]
    entries = {
        key: LayerLatency(p50_ms=slope * e.p50_ms, mean_ms=1.0, std_ms=0.0, count=1)
        for key, e in donor.entries.items()
    }
    overhead = slope * donor.network_overhead_ms + offset
    simple = replace(donor, entries=entries, network_overhead_ms=max(overhead, 0.0))
    assert mean_errors[20] < mean_errors[5]
    assert mean_errors[20] < 0.8 * errors(simple, truth, FASHION_LIKE).mean()


def test_a_donor_measured_network_by_network_keeps_its_resolutions():
    """Entries "key@resolution" are scaled one by one, and no other resolution is promised."""
    part = DEBUG.at([12])
    donor = true_table(part, seed=3)
    donor = replace(donor, entries={f"{key}@12": e for key, e in donor.entries.items()})
    few = measured_on(true_table(part, seed=3, scale=2.0), part, 6)
    fitted = fit_table(DEBUG, few, device="fit", conditions=CONDITIONS, donor=donor)
    assert fitted.entries.keys() == donor.entries.keys()
    assert fitted.covered(DEBUG).resolutions == (12,)
    elsewhere = measured_on(true_table(DEBUG), DEBUG.at([8]), 6)
    with pytest.raises(InputError, match=r"no layers at resolutions \[8\], it has them at \[12\]"):
        fit_table(DEBUG, elsewhere, device="fit", conditions=CONDITIONS, donor=donor)


def test_too_few_networks_and_gaps_of_a_donor_are_refused():
    donor = true_table(DEBUG)
    with pytest.raises(InputError, match="at least 10 different networks without a donor, got 9"):
        fit_table(DEBUG, measured_on(donor, DEBUG, 9), device="f", conditions=CONDITIONS)
    two = measured_on(donor, DEBUG, 2)
    with pytest.raises(InputError, match="at least 3 different networks with a donor, got 2"):
        fit_table(DEBUG, two, device="f", conditions=CONDITIONS, donor=donor)
    gaps = replace(donor, entries=dict(list(donor.entries.items())[:-2]))
    with pytest.raises(InputError, match="donor 'truth': its table lacks 2 layers"):
        fit_table(
            DEBUG, measured_on(donor, DEBUG, 5), device="f", conditions=CONDITIONS, donor=gaps
        )


def test_same_measurements_same_bits():
    few = measured_on(true_table(DEBUG), DEBUG, 30, noise=0.1)
    texts = {
        table_to_json(fit_table(DEBUG, few, device="f", conditions=CONDITIONS)) for _ in range(2)
    }
    assert len(texts) == 1


# -- the parts ---------------------------------------------------------------------------


def test_costs_without_a_donor_are_plain_non_negative_least_squares():
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 1, (60, len(FEATURES)))
    times = features @ rng.uniform(0, 3, len(FEATURES)) + 0.5 + 0.1 * rng.standard_normal(60)
    design = np.column_stack([features, np.ones(60)]) / times[:, None]
    expected, _ = nnls(design, np.ones(60))
    found = fit_costs(features, times)
    np.testing.assert_allclose(found.unit_ms_F, expected[:-1], rtol=1e-6, atol=1e-9)
    assert found.overhead_ms == pytest.approx(expected[-1], abs=1e-9)


def test_what_no_measured_network_has_costs_what_it_costs_the_scaled_donor():
    rng = np.random.default_rng(1)
    features = rng.uniform(0, 1, (4, len(FEATURES)))
    features[:, 3] = 0.0
    donor = Costs(rng.uniform(1, 2, len(FEATURES)), 0.5)
    found = fit_costs(features, 3.0 * donor.predict(features), donor=donor)
    np.testing.assert_allclose(found.unit_ms_F, 3.0 * donor.unit_ms_F, rtol=1e-6)
    assert (found.overhead_ms, found.scale) == pytest.approx((1.5, 3.0), rel=1e-6)


def test_costs_near_a_donor_weigh_measurements_and_prior_as_stated():
    """Twin: each squared error in its own standard deviation, summed by a loop, and minimised by
    an optimiser that knows nothing else."""
    rng = np.random.default_rng(2)
    count, width = 6, len(FEATURES)
    features = rng.uniform(0.5, 1, (count, width))
    residual = rng.uniform(0.1, 0.3, count)
    donor = Costs(rng.uniform(1, 2, width), 2.0, 1.0)
    times = 3 * donor.predict(features, residual) * np.exp(0.1 * rng.standard_normal(count))
    noise, spread, overhead_spread = 0.05, 0.02, 0.04
    found = fit_costs(
        features, times, donor=donor, residual_N=residual,
        noise_N=noise, spread=spread, overhead_spread=overhead_spread,
    )  # fmt: skip
    whole_ms = np.exp(np.log(times).mean())

    def errors_of(scale, unit_ms, overhead_ms):
        for row, rest, ms in zip(features, residual, times, strict=True):
            yield (scale * rest + row @ unit_ms + overhead_ms - ms) / (noise * ms)
        for mean, unit, known in zip(features.mean(axis=0), unit_ms, donor.unit_ms_F, strict=True):
            yield mean * (unit - scale * known) / (spread * whole_ms)
        yield (overhead_ms - scale * donor.overhead_ms) / (overhead_spread * whole_ms)

    def flat(x):
        return list(errors_of(x[0], x[1:-1], x[-1]))

    start = np.concatenate([[1.0], donor.unit_ms_F, [1.0]])
    best = least_squares(flat, start, bounds=(0, np.inf), xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    mine = [found.scale, *found.unit_ms_F, found.overhead_ms]
    assert sum(np.square(flat(mine))) == pytest.approx(sum(np.square(flat(best))), rel=1e-6)
    np.testing.assert_allclose(mine, best, rtol=1e-3)


def test_a_layer_takes_at_least_a_twentieth_of_the_scaled_donors_time():
    """Costs of 0 leave the scaled residuals alone, half of which are negative."""
    donor = true_table(DEBUG, seed=1)
    layers = space_layers(DEBUG)
    known = fit_layers(donor, layers.values())
    entries = _CostModel(DEBUG, donor).entries(Costs(np.zeros(len(FEATURES)), scale=2.0))
    floors = 0
    for key, layer in layers.items():
        donor_ms = donor.entries[key].p50_ms
        residual_ms = donor_ms - float(layer_features([layer])[0] @ known.unit_ms_F)
        floors += residual_ms < 0.05 * donor_ms
        expected = 2 * max(residual_ms, 0.05 * donor_ms)
        assert entries[key].p50_ms == pytest.approx(expected, rel=1e-6), key
    assert 0 < floors < len(layers)


def test_without_a_donor_no_layer_takes_no_time():
    """Where networks take nothing but overhead, the fit would give layers none."""
    free = true_table(DEBUG, {}, overhead_ms=5.0)
    fitted = fit_table(DEBUG, measured_on(free, DEBUG, 40), device="f", conditions=CONDITIONS)
    assert min(entry.p50_ms for entry in fitted.entries.values()) == 1e-6
    assert fitted.network_overhead_ms == pytest.approx(5.0, rel=1e-4)


def test_fast_layers_count_by_their_share_of_a_twentieth_of_the_median():
    """Twin: relative errors, whose divisor is never below that; a least-squares line by hand."""
    table = true_table(DEBUG, {"blocks": 1.0})
    layers = space_layers(DEBUG)
    blocks = {key: layer.kind == "mbconv" for key, layer in layers.items()}
    times = {key: 1.0 if blocks[key] else 1e-4 for key in layers}
    times[next(key for key in layers if blocks[key])] = 2.0
    entries = {
        key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.0, count=1) for key, ms in times.items()
    }
    found = fit_layers(replace(table, entries=entries), layers.values())
    median = float(np.median(list(times.values())))
    features = layer_features(layers.values())
    target = np.array(list(times.values()))
    weights = np.array([1 / max(ms, 0.05 * median) for ms in target])
    unit = 1 / features.max(axis=0).clip(min=1.0)
    expected, _ = nnls(features * unit * weights[:, None], target * weights)
    np.testing.assert_allclose(found.unit_ms_F, expected * unit, rtol=1e-6, atol=1e-12)


def test_costs_of_layers():
    table = true_table(FASHION_LIKE)
    found = fit_layers(table, space_layers(FASHION_LIKE).values())
    features = layer_features(space_layers(FASHION_LIKE).values())
    expected = [entry.p50_ms for entry in table.entries.values()]
    np.testing.assert_allclose(features @ found.unit_ms_F, expected, rtol=1e-3, atol=1e-6)
    assert found.overhead_ms == 0.3


@pytest.mark.parametrize("count", [3, 20, 21, 500])
def test_every_network_is_left_out_once(count):
    parts = folds(count)
    assert len(parts) == min(count, FOLDS)
    assert np.sum(parts, axis=0).tolist() == [1] * count
    assert max(map(np.sum, parts)) - min(map(np.sum, parts)) <= 1
