"""The Gaussian process against its textbook form, its files, and bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.errors import CorruptBundle, InputError, NotFound
from search.predictors.files import load_predictor
from search.predictors.gaussian_process import CHUNK, Coding, GaussianProcess
from search.predictors.gaussian_process_fit import (
    JITTER,
    fit_gaussian_process,
    negative_log_posterior,
    prior_mean,
)
from search.predictors.metrics import prediction_agreement
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE

GENES = all_genes(DEBUG)
NOISE = 0.05


@pytest.fixture(scope="module")
def truth() -> LinearAccuracy:
    return LinearAccuracy(DEBUG, seed=1, interaction=0.2)


@pytest.fixture(scope="module")
def measured(truth):
    """120 networks of the space and their accuracies."""
    rng = np.random.default_rng(0)
    genes = GENES[rng.choice(len(GENES), 120, replace=False)]
    return genes, truth.predict(genes) + NOISE * rng.standard_normal(120)


@pytest.fixture(scope="module")
def predictor(measured) -> GaussianProcess:
    return fit_gaussian_process(DEBUG, *measured, seed=0, target="made up")


def test_it_predicts_networks_that_were_not_measured(predictor, truth, measured):
    unseen = np.array([row for row in GENES if not (row == measured[0]).all(axis=1).any()])
    quality = prediction_agreement(predictor.predict(unseen), truth.predict(unseen))
    spread = truth.predict(unseen).std()
    assert quality.rmse < 0.1 * spread
    assert quality.spearman > 0.99
    assert quality.count == 800 - 120


def test_it_beats_least_squares_on_the_same_bits(predictor, truth, measured):
    genes, top1 = measured
    coding = Coding(DEBUG, DEBUG)
    weights, *_ = np.linalg.lstsq(np.c_[coding(genes), np.ones(len(genes))], top1)
    linear = np.c_[coding(GENES), np.ones(len(GENES))] @ weights
    expected = truth.predict(GENES)
    ours = prediction_agreement(predictor.predict(GENES), expected).rmse
    assert ours < 0.7 * prediction_agreement(linear, expected).rmse


def test_provenance_tells_the_expected_error(predictor, truth):
    """Leaving one out sees the noise of the measurements, the error on the truth does not."""
    real = prediction_agreement(predictor.predict(GENES), truth.predict(GENES)).rmse
    assert real < predictor.provenance.rmse < 5 * real
    provenance = predictor.provenance
    assert (provenance.kind, provenance.space) == ("gaussian-process", "debug")
    assert (provenance.count, provenance.resolutions) == (120, (8, 12))
    assert (provenance.target, provenance.method) == ("made up", "leave-one-out")


@pytest.mark.slow
def test_prediction_is_the_textbook_posterior_mean(predictor, measured):
    """Rasmussen & Williams, eq. 2.25, with the covariance written as two loops."""
    genes, top1 = measured
    kernel, coding = predictor.kernel, Coding(DEBUG, DEBUG)

    def covariance(a, b):
        return np.array(
            [
                [
                    (kernel.linear_D * x * z).sum()
                    + kernel.rbf_variance * np.exp(-0.5 * (kernel.rbf_D * (x - z) ** 2).sum())
                    for z in b
                ]
                for x in a
            ]
        )

    measured_bits, asked_bits = coding(genes), coding(GENES[:30])
    # The noise is not kept: it is what makes the dual reproduce the targets.
    residual = top1 - predictor.mean - covariance(measured_bits, measured_bits) @ predictor.dual_M
    noise = (residual / predictor.dual_M).mean()
    np.testing.assert_allclose(residual, noise * predictor.dual_M, atol=1e-8)
    system = covariance(measured_bits, measured_bits) + noise * np.eye(len(genes))
    dual = np.linalg.solve(system, top1 - predictor.mean)
    expected = predictor.mean + covariance(asked_bits, measured_bits) @ dual
    # Predicted in float32: what cancels between the networks is lost to its rounding.
    cancelled = predictor.kernel.rbf_variance * np.abs(dual).sum()
    assert np.abs(predictor.predict(GENES[:30]) - expected).max() < 1e-7 * cancelled < 1e-3


def test_slopes_are_the_gains_of_single_steps(predictor):
    """Against predicting each change of one active gene by one choice; DEBUG has two of each."""
    rows = GENES[::37]
    slopes_NGK = predictor.slopes(rows)
    assert predictor.slopes(rows[:0]).shape == (0, *slopes_NGK.shape[1:])
    for row, slopes_GK in zip(rows, slopes_NGK, strict=True):
        for column in np.flatnonzero(DEBUG.active(row[None])[0]):
            if column in DEBUG.depth_columns:
                continue
            other = row.copy()
            other[column] = 1 - row[column]
            before, after = predictor.predict(np.stack([row, other]))
            told = slopes_GK[column, other[column]] - slopes_GK[column, row[column]]
            assert told == pytest.approx(after - before, abs=1e-3)


def test_leave_one_out_is_what_leaving_out_gives(predictor, measured):
    """The closed form against solving without each network in turn."""
    genes, top1 = measured
    bits, kernel = Coding(DEBUG, DEBUG)(genes), predictor.kernel
    covariance = kernel.rbf_variance * kernel.rbf(bits, bits) + (bits * kernel.linear_D) @ bits.T
    residual = top1 - predictor.mean - covariance @ predictor.dual_M
    noise = (residual / predictor.dual_M).mean()
    left_out = []
    for n in range(len(top1)):
        rest = np.arange(len(top1)) != n
        system = covariance[np.ix_(rest, rest)] + noise * np.eye(rest.sum())
        dual = np.linalg.solve(system, top1[rest] - predictor.mean)
        left_out.append(predictor.mean + covariance[n, rest] @ dual)
    assert predictor.provenance.rmse == pytest.approx(
        prediction_agreement(np.array(left_out), top1).rmse, rel=1e-6
    )


def test_gradient_is_the_slope():
    rng = np.random.default_rng(0)
    bits = (rng.random((30, 6)) < 0.5).astype(float)
    targets, groups = rng.standard_normal(30), np.array([0, 0, 1, 1, 2, 2])
    theta = prior_mean(3) + 0.3 * rng.standard_normal(8)
    _, gradient = negative_log_posterior(theta, bits, targets, groups)
    step = 1e-5
    slopes = [
        (
            negative_log_posterior(theta + shift, bits, targets, groups)[0]
            - negative_log_posterior(theta - shift, bits, targets, groups)[0]
        )
        / (2 * step)
        for shift in step * np.eye(8)
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)
    assert step > JITTER


def test_coding_is_a_thermometer():
    """Distance counts steps; absent lies one step below the smallest choice."""
    bits = Coding(FASHION_LIKE, FASHION_LIKE)
    smallest = FASHION_LIKE.encode([FASHION_LIKE.smallest])
    kernel = FASHION_LIKE.column["kernel", 0, 0]

    def distance(column: int, a: int, b: int) -> float:
        rows = np.repeat(smallest, 2, axis=0)
        rows[:, column] = a, b
        x, z = bits(rows)
        return float(np.abs(x - z).sum())

    assert [distance(kernel, 0, 1), distance(kernel, 1, 2), distance(kernel, 0, 2)] == [1, 1, 2]
    # A block more: one bit of depth, one of its kernel, one of its expansion.
    assert distance(1, 0, 1) == 3
    assert distance(0, 0, 3) == 3


def test_fit_is_deterministic(predictor, measured):
    again = fit_gaussian_process(DEBUG, *measured, seed=0, target="made up")
    assert (again.predict(GENES) == predictor.predict(GENES)).all()


def test_constant_accuracies_are_learnt():
    genes = GENES[:40]
    flat = fit_gaussian_process(DEBUG, genes, np.full(40, 71.5), seed=0, target="made up")
    np.testing.assert_allclose(flat.predict(genes), 71.5, atol=1e-9)


def test_long_batches_are_predicted_in_chunks(predictor):
    genes = np.tile(GENES, (4, 1))
    assert len(genes) > CHUNK
    # BLAS adds float32 products in another order for another number of rows, on some processors.
    np.testing.assert_allclose(
        predictor.predict(genes), np.tile(predictor.predict(GENES), 4), rtol=2e-5
    )
    assert predictor.predict(GENES[:0]).shape == (0,)


def test_a_file_holds_all_of_it(predictor, tmp_path):
    path = tmp_path / "predictor.safetensors"
    predictor.save(path)
    loaded = load_predictor(path, DEBUG)
    assert (loaded.predict(GENES) == predictor.predict(GENES)).all()
    assert loaded.provenance == predictor.provenance


def test_it_answers_for_a_part_of_its_space(predictor, tmp_path):
    path = tmp_path / "predictor.safetensors"
    predictor.save(path)
    shallow = (replace(DEBUG.stages[0], depths=(1,)), DEBUG.stages[1])
    part = replace(DEBUG, resolutions=(12,), kernels=(5,), stages=shallow)
    genes = all_genes(part)
    whole = DEBUG.encode(part.decode(genes))
    expected = predictor.predict(whole)
    np.testing.assert_allclose(load_predictor(path, part).predict(genes), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (replace(DEBUG, kernels=(3, 7)), "kernel of stage 1 .* got 7"),
        (replace(DEBUG, resolutions=(8, 16)), "resolution .* got 16"),
        (replace(DEBUG, stages=DEBUG.stages[:1]), "fitted on 2 stages"),
        (FASHION_LIKE, "got 16"),
    ],
)
def test_another_space_is_refused(predictor, tmp_path, space, message):
    path = tmp_path / "predictor.safetensors"
    predictor.save(path)
    with pytest.raises(InputError, match=message):
        load_predictor(path, space)


def test_a_resolution_never_measured_is_refused(measured):
    genes, top1 = measured
    at_8 = genes[:, 0] == 0
    predictor = fit_gaussian_process(DEBUG, genes[at_8], top1[at_8], seed=0, target="made up")
    assert predictor.provenance.resolutions == (8,)
    with pytest.raises(InputError, match=r"resolution 12 was measured; expected one of \[8\]"):
        predictor.predict(GENES)


def test_files_that_are_no_predictor_are_refused(predictor, tmp_path):
    path = tmp_path / "predictor.safetensors"
    with pytest.raises(NotFound, match="no such file"):
        load_predictor(path, DEBUG)
    path.write_bytes(b"not safetensors")
    with pytest.raises(CorruptBundle, match="not a predictor file"):
        load_predictor(path, DEBUG)
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(CorruptBundle):
        load_predictor(path, DEBUG)
    predictor.save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptBundle):
        load_predictor(path, DEBUG)


def _write(path, predictor, kind=None, **tensors):
    contents = {
        "genes": predictor.genes_MG,
        "dual": predictor.dual_M,
        "linear": predictor.kernel.linear_D,
        "rbf": predictor.kernel.rbf_D,
        "scalars": np.array([predictor.mean, predictor.kernel.rbf_variance]),
    }
    provenance = predictor.provenance.to_json() | ({"kind": kind} if kind else {})
    metadata = {"provenance": provenance, "space": DEBUG.to_json()}
    kept = {name: value for name, value in (contents | tensors).items() if value is not None}
    save_file(kept, path, {key: json.dumps(value) for key, value in metadata.items()})


def test_unknown_kinds_are_named(predictor, tmp_path):
    _write(tmp_path / "p", predictor, kind="gaussian-proces")
    with pytest.raises(NotFound, match="did you mean 'gaussian-process'"):
        load_predictor(tmp_path / "p", DEBUG)


@pytest.mark.parametrize(
    "tensors",
    [{"dual": None}, {"rbf": np.zeros(3)}, {"dual": np.zeros(7)}, {"scalars": np.ones(3)}],
)
def test_tensors_of_another_shape_are_refused(predictor, tmp_path, tensors):
    _write(tmp_path / "p", predictor, **tensors)
    with pytest.raises(CorruptBundle, match="predictor"):
        load_predictor(tmp_path / "p", DEBUG)


@pytest.mark.parametrize(
    ("rows", "top1", "message"),
    [
        (slice(30), np.full(29, 50.0), r"expected \(29, 11\), one row per accuracy"),
        (slice(10), np.full(10, 50.0), "expected 20 to 6000 measured networks, got 10"),
        (slice(30), np.r_[np.full(29, 50.0), np.nan], "percentages"),
        (slice(30), np.full(30, 101.0), "percentages"),
    ],
)
def test_bad_measurements_are_refused(rows, top1, message):
    with pytest.raises(InputError, match=message):
        fit_gaussian_process(DEBUG, GENES[rows], top1, seed=0, target="made up")


def test_rows_that_are_not_canonical_are_refused():
    genes = GENES[:30].copy()
    genes[:, 1] = 0
    genes[:, DEBUG.column["kernel", 0, 1]] = 1
    with pytest.raises(InputError, match="canonical"):
        fit_gaussian_process(DEBUG, genes, np.linspace(50, 60, 30), seed=0, target="made up")


def test_agreement_of_a_case_done_by_hand():
    """Pairs: 5 in order, 1 swapped, so tau = 4/6; ranks differ by 1, 1: rho = 1 - 6*2/60."""
    quality = prediction_agreement(np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.0, 2.0, 3.0, 5.0]))
    assert quality.kendall == pytest.approx(4 / 6)
    assert quality.spearman == pytest.approx(1 - 12 / 60)
    assert quality.rmse == pytest.approx(np.sqrt((1 + 4) / 4))
    assert quality.max_error == 2


def test_agreement_without_ranks_is_zero():
    assert prediction_agreement(np.ones(3), np.arange(3.0)).kendall == 0
    with pytest.raises(InputError, match="one length"):
        prediction_agreement(np.ones(3), np.ones(4))
