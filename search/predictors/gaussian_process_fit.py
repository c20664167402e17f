"""Fitting the Gaussian process: kernel weights by marginal likelihood, then one exact solve.

The weights minimise the negative log posterior (Rasmussen & Williams 2006, eqs. 5.8 and 5.9). Its
gradient over all bits takes two matrix products, because for a weight w_d

    sum_ij W_ij (x_id - x_jd)^2 = 2 sum_i (sum_j W_ij) x_id^2 - 2 (x^T W x)_dd.

The prior of the weights is log-normal and wide (one standard deviation is a factor of e^3): enough
to regularise 30 weights on 100 networks, and negligible on 1,000.

Shapes: M measured networks, D bits, W groups of bits that share a weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from models.errors import InputError
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats
from search.predictors.gaussian_process import KIND, Coding, GaussianProcess, Kernel
from search.predictors.metrics import prediction_agreement
from search.predictors.protocol import Provenance

MIN_ROWS = 20
MAX_ROWS = 6000
"""The exact solve holds a few matrices of this many rows squared."""
WEIGHT_ROWS = 1200
"""Most rows that the weights are fitted on: more change them little and take cubic time."""
MAX_ITERATIONS = 60
PRIOR_PRECISION = 0.1
JITTER = 1e-8
"""Keeps the covariance positive definite in float64, in units of the targets' variance."""


def fit_gaussian_process(
    space: SearchSpace,
    genes: GeneMatrix,
    top1: Floats,
    *,
    seed: int,
    target: str,
    on_share: Callable[[float], None] = lambda _: None,
) -> GaussianProcess:
    """Fit a predictor to measured networks; about 10 s for 1,200 of them on one core.

    Args:
        genes: measured networks, (M, n_genes), canonical.
        top1: their accuracies, percent, (M,).
        seed: draws the rows for the weights if there are more than `WEIGHT_ROWS`.
        target: what was measured, for the provenance: the data, the number of images.
        on_share: called with the share of `MAX_ITERATIONS` that is done, 0..1.

    Raises:
        InputError: if shapes differ, there are too few or too many rows, or an accuracy is
            not a percentage.
    """
    _check(space, genes, top1)
    coding = Coding(space, space)
    x_MD = coding(genes)
    mean, scale = float(top1.mean()), float(top1.std()) or 1.0
    t_M = (top1 - mean) / scale

    rows = np.arange(len(t_M))
    if len(rows) > WEIGHT_ROWS:
        rows = np.random.default_rng(seed).choice(rows, WEIGHT_ROWS, replace=False)
    kernel, noise = _fit_weights(x_MD[rows], t_M[rows], _group_ids(coding.groups), on_share)

    covariance = kernel.rbf_variance * kernel.rbf(x_MD, x_MD)
    covariance += (x_MD * kernel.linear_D) @ x_MD.T
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    inverse = cho_solve(cho_factor(covariance, lower=True), np.eye(len(t_M)))
    dual_M = inverse @ t_M
    # Leaving one out in closed form: Rasmussen & Williams 2006, eq. 5.12.
    held_out = prediction_agreement(top1 - scale * dual_M / np.diag(inverse), top1)
    provenance = Provenance(
        kind=KIND,
        space=space.name,
        resolutions=tuple(space.resolutions[r] for r in np.unique(genes[:, 0])),
        target=target,
        count=len(top1),
        rmse=held_out.rmse,
        spearman=held_out.spearman,
        kendall=held_out.kendall,
        method="leave-one-out",
    )
    return GaussianProcess(provenance, space, space, genes, scale * dual_M, mean, kernel)


def _check(space: SearchSpace, genes: GeneMatrix, top1: Floats) -> None:
    if genes.shape != (len(top1), len(space.genes)):
        raise InputError(
            f"genes: expected ({len(top1)}, {len(space.genes)}), one row per accuracy, "
            f"got {genes.shape}"
        )
    if not MIN_ROWS <= len(top1) <= MAX_ROWS:
        raise InputError(
            f"top1: expected {MIN_ROWS} to {MAX_ROWS} measured networks, got {len(top1)}"
        )
    if not ((top1 >= 0) & (top1 <= 100)).all():
        raise InputError("top1: expected percentages from 0 to 100; found one outside, or NaN")
    if (genes != space.canonical(genes)).any():
        raise InputError("genes: expected canonical rows; pass them through space.canonical")


def _group_ids(groups: list[tuple[str, int]]) -> npt.NDArray[np.int64]:
    """Index of each bit's group, numbered in order of appearance, (D,)."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups])


def _fit_weights(
    x_MD: Floats,
    t_M: Floats,
    group_D: npt.NDArray[np.int64],
    on_share: Callable[[float], None],
) -> tuple[Kernel, float]:
    """Most probable kernel and noise variance, for targets of variance 1."""
    n_groups = int(group_D.max()) + 1
    start = prior_mean(n_groups)
    low = np.r_[np.full(2 * n_groups, -9.0), -6.0, -9.0]
    high = np.r_[np.full(2 * n_groups, 3.0), 5.0, 2.0]
    iteration = itertools.count(1)
    solution = minimize(
        negative_log_posterior,
        start,
        args=(x_MD, t_M, group_D),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        options={"maxiter": MAX_ITERATIONS},
        callback=lambda _: on_share(next(iteration) / MAX_ITERATIONS),
    )
    return unpack(solution.x, group_D)


def prior_mean(n_groups: int) -> Floats:
    """Means of the logarithms of all weights a priori, (2 W + 2,).

    All bits are equal, the linear part explains most, and 5 % of the variance is noise.
    """
    weights: Floats = np.r_[np.full(n_groups, 0.02), np.full(n_groups, 0.05), 1.0, 0.05]
    return np.log(weights)


def unpack(theta: Floats, group_D: npt.NDArray[np.int64]) -> tuple[Kernel, float]:
    """Kernel and noise variance of the log weights: linear (W), rbf (W), variance, noise."""
    weights = np.exp(theta)
    n_groups = (len(theta) - 2) // 2
    linear_D, rbf_D = weights[:n_groups][group_D], weights[n_groups:-2][group_D]
    return Kernel(linear_D, rbf_D, float(weights[-2])), float(weights[-1])


def negative_log_posterior(
    theta: Floats, x_MD: Floats, t_M: Floats, group_D: npt.NDArray[np.int64]
) -> tuple[float, Floats]:
    """Its value for log weights `theta`, up to a constant, and its gradient."""
    kernel, noise = unpack(theta, group_D)
    rbf = kernel.rbf_variance * kernel.rbf(x_MD, x_MD)
    covariance = rbf + (x_MD * kernel.linear_D) @ x_MD.T
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
    log_determinant = 2 * np.log(np.diag(factor[0])).sum()
    inverse = cho_solve(factor, np.eye(len(t_M)), overwrite_b=True, check_finite=False)
    dual_M = inverse @ t_M
    # d value / d covariance; the other derivatives follow by the chain rule.
    slope = 0.5 * (inverse - np.outer(dual_M, dual_M))
    slope_rbf = slope * rbf
    by_linear_D = ((slope @ x_MD) * x_MD).sum(0) * kernel.linear_D
    squared_D = slope_rbf.sum(1) @ x_MD**2 - ((slope_rbf @ x_MD) * x_MD).sum(0)
    n_groups = (len(theta) - 2) // 2
    gradient = np.concatenate(
        [
            np.bincount(group_D, by_linear_D, n_groups),
            np.bincount(group_D, -squared_D * kernel.rbf_D, n_groups),
            [slope_rbf.sum(), np.trace(slope) * noise],
        ]
    )
    deviation = theta - prior_mean(n_groups)
    value = 0.5 * (t_M @ dual_M + log_determinant + PRIOR_PRECISION * deviation @ deviation)
    return float(value), gradient + PRIOR_PRECISION * deviation
