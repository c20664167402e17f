"""A table fitted to the times of whole networks.

The time of a network is the sum of its layers' non-negative unit costs (`layer_costs`) and an
overhead, fitted to relative errors by non-negative least squares. A few measurements do not
determine fifteen unit costs. The costs then have a Gaussian prior around a scaled copy of the costs
of a similar device, the *donor*; its spread is a share of a whole network's time. The part of the
donor's layer times that its unit costs do not explain (the *residual*) is scaled in the same way.

Shapes: N networks, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.fitting.layer_costs import Floats, layer_features
from latency_tables.fitting.screening import screen, trend
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.table import Conditions, LatencyTable, LayerLatency, at_resolution
from models.errors import InputError
from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan

SPREAD = 0.05
"""Share of a network's time by which one unit cost's part may differ from the scaled donor's
(standard deviation)."""
NOISE = 0.02
"""Relative error of fit and measurement together (standard deviation)."""
FOLDS = 20
LEAST_NETWORKS = 10
LEAST_WITH_DONOR = 3
FLOOR_SHARE = 0.05
"""Least time of a layer, as a share of the scaled donor's."""
FLOOR_MS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """A network takes `scale` times the donor's residual, plus its features times `unit_ms_F`, plus
    `overhead_ms`."""

    unit_ms_F: Floats
    overhead_ms: float = 0.0
    scale: float = 0.0

    def predict(self, features_NF: Floats, residual_N: Floats | float = 0.0) -> Floats:
        """Milliseconds of networks, (N,)."""
        time: Floats = self.scale * residual_N + features_NF @ self.unit_ms_F + self.overhead_ms
        return time


def fit_costs(
    features_NF: Floats,
    latency_ms_N: Floats,
    *,
    donor: Costs | None = None,
    residual_N: Floats | None = None,
    noise_N: Floats | float = NOISE,
    spread: float = SPREAD,
    overhead_spread: float = SPREAD,
) -> Costs:
    """Unit costs and overhead of measured networks, near those of `donor` if it is given.

    Args:
        residual_N: the donor's residual of each network, milliseconds.
        noise_N: standard deviation of each relative error.
        spread: prior standard deviation of each cost, as a share of a network's time.
        overhead_spread: the same of the overhead.
    """
    count, width = features_NF.shape
    typical_ms = float(np.exp(np.log(latency_ms_N).mean()))
    mean_F = features_NF.mean(axis=0)
    # Each cost is scaled to a whole network's time; 0 for features that no network has.
    unit_F = np.where(mean_F > 0, typical_ms / np.where(mean_F > 0, mean_F, 1.0), 0.0)
    design = np.column_stack(
        [
            np.zeros(count) if residual_N is None else residual_N,
            features_NF * unit_F,
            np.full(count, typical_ms),
        ]
    )
    weight_N = 1 / (latency_ms_N * noise_N)
    rows, target = [design * weight_N[:, None]], [latency_ms_N * weight_N]
    if donor is not None:
        # These rows are 0 if each cost is `scale` times the donor's.
        present_F = unit_F > 0
        donor_share_F = np.divide(donor.unit_ms_F, unit_F, out=np.zeros(width), where=present_F)
        prior = np.zeros((width + 1, width + 2))
        prior[:width, 0], prior[width, 0] = -donor_share_F, -donor.overhead_ms / typical_ms
        prior[:, 1:] = np.eye(width + 1)
        spread_R = np.append(np.full(width, spread), overhead_spread)
        rows.append(prior / spread_R[:, None])
        target.append(np.zeros(width + 1))
    solution = _least_squares(np.concatenate(rows), np.concatenate(target))
    unit_ms_F = solution[1:-1] * unit_F
    if donor is not None:
        unit_ms_F = np.where(unit_F > 0, unit_ms_F, solution[0] * donor.unit_ms_F)
    return Costs(unit_ms_F, float(solution[-1] * typical_ms), float(solution[0]))


def fit_layers(table: LatencyTable, layers: Iterable[LayerSpec]) -> Costs:
    """Unit costs fitted to a table's entries by relative error."""
    chosen = list(layers)
    latency_ms_L = np.array([max(table.layer_ms(layer), FLOOR_MS) for layer in chosen])
    # Relative errors of very fast layers count less, or they would dominate the fit.
    weight_L = 1 / np.maximum(latency_ms_L, 0.05 * float(np.median(latency_ms_L)))
    features_LF = layer_features(chosen)
    unit_F = 1 / np.maximum(features_LF.max(axis=0), 1.0)
    solution = _least_squares(features_LF * unit_F * weight_L[:, None], latency_ms_L * weight_L)
    return Costs(solution * unit_F, table.network_overhead_ms)


def fit_table(
    space: SearchSpace,
    measured: WholeNetworks,
    *,
    device: str,
    conditions: Conditions,
    source: str | None = None,
    donor: LatencyTable | None = None,
) -> LatencyTable:
    """A table of `device` from the times of whole networks, near a donor's if one is given.

    Expected error and upper bounds are from networks that were left out of the fit: one at a time
    if there are at most 20, else in 20 parts.

    Raises:
        InputError: too few networks, networks that the donor lacks, or times that cannot be right.
    """
    _check_enough(measured, donor)
    part = space if donor is None else _covered_by(donor, space, measured)
    model = _CostModel(part, donor)
    plans = [[_key(layer, donor) for layer in layer_plan(space, arch)] for arch in measured.archs]
    features_NF = np.array(
        [np.sum([model.features[key] for key in plan], axis=0) for plan in plans]
    )
    residual_N = np.array([sum(model.residual_ms[key] for key in plan) for plan in plans])
    notes = screen(
        measured,
        np.array([sum(model.macs[key] for key in plan) for plan in plans], np.float64),
        donor=None if donor is None else donor.device,
        donor_ms_N=None if donor is None else model.donor_network_ms(plans),
    )

    def fitted(rows: np.ndarray) -> Costs:
        return fit_costs(
            features_NF[rows],
            measured.latency_ms_N[rows],
            donor=model.costs,
            residual_N=None if donor is None else residual_N[rows],
        )

    predicted_N = np.empty(len(plans))
    for held_out in folds(len(plans)):
        costs = fitted(~held_out)
        predicted_N[held_out] = costs.predict(features_NF[held_out], residual_N[held_out])
    ratios_N = measured.latency_ms_N / predicted_N
    costs = fitted(np.ones(len(plans), bool))
    method = f"layer costs fitted{_near(donor, conditions.runtime)} to {len(plans)} whole networks"
    return LatencyTable(
        device=device,
        space=space.name,
        origin="fitted",
        source=method if source is None else f"{source}; {method}",
        conditions=conditions,
        entries=model.entries(costs),
        network_overhead_ms=float(f"{costs.overhead_ms:.7g}"),
        expected_error=round(float(np.abs(1 / ratios_N - 1).mean()), 5),
        residual_ratios=tuple(np.round(ratios_N, 5).tolist()),
        notes=(*notes, *trend(ratios_N)),
    )


def _near(donor: LatencyTable | None, runtime: str) -> str:
    """The donor in words, with its runtime where that is another one."""
    if donor is None:
        return ""
    there = donor.conditions.runtime
    how = "" if there == runtime else f" under another runtime ({there})"
    return f" near the costs of device {donor.device!r}{how}"


def _check_enough(measured: WholeNetworks, donor: LatencyTable | None) -> None:
    least = LEAST_NETWORKS if donor is None else LEAST_WITH_DONOR
    if len(measured.archs) < least:
        raise InputError(
            f"measurements: expected at least {least} different networks "
            f"{'without' if donor is None else 'with'} a donor, got {len(measured.archs)}; "
            f"measure more{'' if donor is not None else ', or name a donor'}"
        )


class _CostModel:
    """Features of the layers of a space, and the donor's times and costs of them, by their keys."""

    def __init__(self, space: SearchSpace, donor: LatencyTable | None) -> None:
        layers = {
            _key(layer, donor): layer
            for arch in space.covering()
            for layer in layer_plan(space, arch)
        }
        self.features = dict(zip(layers, layer_features(layers.values()), strict=True))
        self.macs = {key: layer.macs for key, layer in layers.items()}
        self.costs: Costs | None = None
        self.donor_overhead_ms = 0.0 if donor is None else donor.network_overhead_ms
        self.donor_ms = dict.fromkeys(layers, 0.0)
        self.residual_ms = dict.fromkeys(layers, 0.0)
        if donor is not None:
            self.costs = fit_layers(donor, layers.values())
            self.donor_ms = {key: donor.layer_ms(layer) for key, layer in layers.items()}
            self.residual_ms = {
                key: ms - float(self.features[key] @ self.costs.unit_ms_F)
                for key, ms in self.donor_ms.items()
            }

    def donor_network_ms(self, plans: Sequence[Sequence[str]]) -> Floats:
        """What the donor takes for each network, given by the keys of its layers, (N,)."""
        sums = [sum(self.donor_ms[key] for key in plan) for plan in plans]
        return np.array(sums) + self.donor_overhead_ms

    def entries(self, costs: Costs) -> dict[str, LayerLatency]:
        """The entries of a table with these costs."""
        entries = {}
        for key, features_F in self.features.items():
            ms = costs.scale * self.residual_ms[key] + float(features_F @ costs.unit_ms_F)
            ms = max(ms, FLOOR_SHARE * costs.scale * self.donor_ms[key], FLOOR_MS)
            ms = float(f"{ms:.7g}")
            entries[key] = LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.0, count=1)
        return entries


def folds(count: int) -> list[np.ndarray]:
    """The networks that each fold leaves out, (N,) bool; each network is left out once."""
    parts = min(count, FOLDS)
    fold_N = np.random.default_rng(0).permutation(count) % parts
    return [fold_N == fold for fold in range(parts)]


def _least_squares(design: Floats, target: Floats) -> Floats:
    """Non-negative least squares, on the triangular factor of what may be thousands of rows."""
    from scipy.optimize import nnls  # slow to import

    triangle: Floats = np.linalg.qr(np.column_stack([design, target])).R
    solution: Floats = nnls(triangle[:, :-1], triangle[:, -1])[0]
    return solution


def _covered_by(donor: LatencyTable, space: SearchSpace, measured: WholeNetworks) -> SearchSpace:
    if missing := donor.missing(space):
        raise InputError(
            f"donor {donor.device!r}: its table lacks {len(missing)} layers of space "
            f"{space.name!r}, first {missing[0]}; take another donor"
        )
    part = donor.covered(space)
    wrong = sorted({a.resolution for a in measured.archs} - set(part.resolutions))
    if wrong:
        raise InputError(
            f"measurements: donor {donor.device!r} has no layers at resolutions {wrong}, it has "
            f"them at {list(part.resolutions)}; measure there, or take another donor"
        )
    return part


def _key(layer: LayerSpec, donor: LatencyTable | None) -> str:
    """The key of a layer's entry: at each network resolution if the donor's entries are."""
    by_resolution = at_resolution(layer)
    return by_resolution if donor is not None and by_resolution in donor.entries else layer.key
