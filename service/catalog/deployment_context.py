"""One supernet on one device: the source of every number that an answer states."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from latency_tables.table import LatencyTable, Precision, space_layers
from models.bundle import PREDICTOR, Bundle
from models.errors import Infeasible, InputError
from models.layers import LayerSpec
from models.spaces import Arch, Frozen, GeneMatrix, SearchSpace, SpacePart, frozen_part
from search.costs import Cost, CostInputs, CostModel, Floats, registered_limits, scaled
from search.evolution import SubnetProblem
from search.predictors import (
    AccuracyPredictor,
    load_predictor,
    predictor_of_part,
    predictor_provenance,
)
from service.catalog.energy import footprint
from service.catalog.provenance import doubts, table_provenance, upper_bound

OnShare = Callable[[float], None]
CONFIDENCE = "latency_confidence"
"""Key among limits: the nominal confidence of the upper bound that the limit on latency limits."""


@dataclass(frozen=True, eq=False)
class DeploymentContext:
    """A supernet with the latency table of a device, and what both predict of its networks.

    The predictor and the table may each cover only some of the supernet's resolutions.
    """

    bundle: Bundle
    space: SearchSpace
    """The searchable networks: at resolutions that both the predictor and the table cover."""
    table: LatencyTable | None
    predictor: AccuracyPredictor | None
    """Over `space`."""
    costs: Mapping[str, Cost]
    """Cost models over `space`, by limit: every registered limit that is known on this device."""
    _evaluators: Mapping[str, tuple[SearchSpace, Callable[[GeneMatrix], Floats]]]
    """By number, "top1" among them: the space over which it is known, and its values there."""
    confidence: float | None = None
    """The cost "latency_ms" is the upper bound of the latency at this nominal confidence."""
    warnings: tuple[str, ...] = ()
    """What makes the table's latencies doubtful; `lint` finds more."""
    float_table: LatencyTable | None = None
    """Of the same device at fp32, to compare with, where `table` is of another precision."""
    front_genes: Callable[[OnShare], GeneMatrix] | None = None
    """The networks of the front, of the space before parts were frozen; None where no front is
    kept."""

    @property
    def precision(self) -> Precision:
        """Precision of the networks that the table times."""
        return "fp32" if self.table is None else self.table.conditions.precision

    @property
    def runtime(self) -> str | None:
        """What runs the networks that the table times; None without a table."""
        return None if self.table is None else self.table.conditions.runtime

    @property
    def batch(self) -> int:
        """Images of one forward pass, for which the table's milliseconds are."""
        return 1 if self.table is None else self.table.conditions.batch

    @contextmanager
    def naming_batch(self) -> Iterator[None]:
        """An infeasible budget says for how many images it is, if for more than one."""
        try:
            yield
        except Infeasible as error:
            if self.batch > 1:
                error.noted(f"Latencies of this device are for a batch of {self.batch} images")
            raise

    @classmethod
    def open(
        cls, bundle: Bundle, table: LatencyTable | None, float_table: LatencyTable | None = None
    ) -> DeploymentContext:
        """Compile the costs of `bundle`'s space on the device of `table`.

        Raises:
            InputError: if the table is of another space, lacks layers of it, or is for other
                resolutions than the predictor.
            CorruptBundle: if the predictor is not the file that the card names.
        """
        whole = bundle.space
        if table is not None:
            _check_table(table, bundle)
        names = json.dumps(bundle.class_names or [])  # as `service.delivery.stated` writes them
        inputs = CostInputs(whole, table, len(names))
        space = inputs.covered
        made = {name: limit.make_cost(inputs) for name, limit in registered_limits().items()}
        models = {name: model for name, model in made.items() if model is not None}
        evaluators = {name: (model.space, model.evaluate) for name, model in models.items()}
        predictor = None
        if bundle.has(PREDICTOR):
            with bundle.pinned(PREDICTOR) as path:
                valid = whole.at(predictor_provenance(path).resolutions)
                evaluators["top1"] = (valid, load_predictor(path, valid).predict)
                space = _common(space, valid, bundle, table)
                predictor = load_predictor(path, space)
        costs = {name: model.at(space) for name, model in models.items()}
        warnings = () if table is None else doubts(table, whole)
        return cls(
            bundle,
            space,
            table,
            predictor,
            costs,
            evaluators,
            warnings=warnings,
            float_table=float_table,
        )

    def predict(self, archs: Sequence[Arch]) -> list[dict[str, Any]]:
        """Accuracy, latency and counts of each network, without building it, in order.

        Without a table `latency_ms` is left out; `top1` and `latency_ms` are None at a
        resolution that the predictor or the table does not cover.

        Raises:
            InputError: if a network is not in the space.
        """
        for arch in archs:
            self.bundle.space.validate(arch)
        names = ["top1", *(["latency_ms"] if self.table else []), "macs", "params"]
        return self._describe(archs, names)

    def describe(self, arch: Arch) -> dict[str, Any]:
        """One network: its accuracy, every limited quantity that is known, the upper bound of its
        latency where there is one, and its footprint."""
        limits = registered_limits().items()
        names = ["top1", *(name for name, limit in limits if not limit.in_file)]
        found = self._describe([arch], [n for n in names if n in self._evaluators])[0]
        bound = self.table and upper_bound(self.table, self.confidence)
        if bound and found["latency_ms"] is not None:
            found["latency_upper_ms"] = found["latency_ms"] * bound["factor"]
        found["footprint"] = footprint(found.get("energy_mj"), self.bundle.card)
        if (interval := self._top1_interval(found["top1"])) is not None:
            found["top1_interval"] = interval
        return found

    def _top1_interval(self, top1: float | None) -> dict[str, float] | None:
        """Where the top-1 of a network that a search found lies, percent; None if not known."""
        judged = None if self.predictor is None else self.predictor.provenance.found
        if judged is None or top1 is None:
            return None
        low, high = top1 - judged["interval"], min(100.0, top1 + judged["interval"])
        return {"low": low, "high": high, "confidence": judged["confidence"]}

    @property
    def top1_error(self) -> float | None:
        """Expected error of a predicted top-1, percentage points (RMSE): of networks that searches
        find, or where none was measured of networks drawn at random; None if not known."""
        if self.predictor is None:
            return None
        origin = self.predictor.provenance
        return origin.rmse if origin.found is None else float(origin.found["rmse"])

    def _describe(self, archs: Sequence[Arch], names: Sequence[str]) -> list[dict[str, Any]]:
        columns = {name: self._evaluate(name, archs) for name in names}
        for name in columns.keys() & registered_limits().keys():
            if registered_limits()[name].is_integer:
                columns[name] = [None if v is None else round(v) for v in columns[name]]
        found: list[dict[str, Any]] = [
            {"arch": arch.to_json(), **{name: columns[name][row] for name in names}}
            for row, arch in enumerate(archs)
        ]
        for row in found if "latency_ms" in names else ():
            ms = row["latency_ms"]
            row["batch"], row["runtime"] = self.batch, self.runtime
            row["latency_ms_per_image"] = None if ms is None else ms / self.batch
        return found

    def _evaluate(self, name: str, archs: Sequence[Arch]) -> list[float | None]:
        """One number of each network; None where it is not known."""
        values: list[float | None] = [None] * len(archs)
        if name not in self._evaluators:
            return values
        space, evaluate = self._evaluators[name]
        rows = [row for row, arch in enumerate(archs) if arch.resolution in space.resolutions]
        genes = space.encode([archs[row] for row in rows])
        for row, value in zip(rows, evaluate(genes).tolist() if rows else [], strict=True):
            values[row] = value
        return values

    def with_confidence(
        self, limits: Mapping[str, Any]
    ) -> tuple[DeploymentContext, dict[str, Any]]:
        """The context and the limits to search with, where `limits` may hold "latency_confidence".

        The latency cost of that context is the upper bound of the latency at that confidence.

        Raises:
            InputError: if too few networks were measured on the device for that confidence.
        """
        given = dict(limits)
        if (confidence := given.pop(CONFIDENCE, None)) is None:
            return self, given
        latency = self.costs.get("latency_ms")
        assert self.table is not None
        assert isinstance(latency, CostModel)
        bound = scaled(latency, self.table.upper_factor(confidence))
        costs = {**self.costs, "latency_ms": bound}
        return replace(self, costs=costs, confidence=confidence), given

    def with_frozen(self, frozen: Frozen) -> DeploymentContext:
        """The context to search with, where `frozen` keeps only some choices of some genes.

        Raises:
            InvalidDocument: if a key or choice of `frozen` is none of this space's.
        """
        part = frozen_part(self.space, frozen)
        if not isinstance(part, SpacePart):
            return self
        predictor = self.predictor and predictor_of_part(self.predictor, part)
        costs = {name: model.at(part) for name, model in self.costs.items()}
        return replace(self, space=part, predictor=predictor, costs=costs)

    def known_networks(self, on_share: OnShare = lambda _: None) -> GeneMatrix:
        """Good networks that searches start from, those of the device's front, (N, G), canonical;
        none where no front is kept.

        They do not depend on what was searched before, so the same search has the same answer.

        Args:
            on_share: told how much is done, 0..1, while a front that is not kept is computed.
        """
        if self.front_genes is None or self.table is None or self.predictor is None:
            return self.space.encode([])
        genes = self.front_genes(on_share)
        if isinstance(self.space, SpacePart):
            return np.unique(self.space.of_whole(genes), axis=0)
        return genes

    def check_limits(
        self, limits: Mapping[str, float], minimums: Mapping[str, float] | None = None
    ) -> None:
        """Refuse limits that no network can meet, each by itself or all together.

        Raises:
            Infeasible: with the floor of the limit that binds.
            InputError: if the supernet has no accuracy predictor to search with, or a limited
                quantity is unknown on this device.
        """
        for name in (*limits, *(minimums or {})):
            self.require_known(name)
        with self.naming_batch():
            self.problem(limits, minimums).anchor()

    def problem(
        self, limits: Mapping[str, float], minimums: Mapping[str, float] | None = None
    ) -> SubnetProblem:
        """The problem of a search within `limits`."""
        predictor = self.require_predictor()
        return SubnetProblem(self.space, predictor, self.costs, limits, minimums or {})

    def require_known(self, name: str) -> None:
        """Check that a limited quantity is known on this device.

        Raises:
            InputError: with what a request needs.
        """
        if name not in self.costs and name in registered_limits():
            raise InputError(f"constraints.{name}: expected {registered_limits()[name].needs}")

    def require_predictor(self) -> AccuracyPredictor:
        """The predictor.

        Raises:
            InputError: if the supernet has none.
        """
        if self.predictor is None:
            raise InputError(
                f"supernet {self.bundle.name!r} has no accuracy predictor, so it cannot be "
                f"searched: add one with {self.bundle.how_to('search')}"
            )
        return self.predictor

    def provenance(self) -> dict[str, Any]:
        """Origin, conditions and expected error of each number, by its name."""
        sources: dict[str, Any] = {
            name: {"origin": limit.origin, **limit.provenance(self.table)}
            for name, limit in registered_limits().items()
            if name in self.costs and not limit.in_file
        }
        if self.predictor is not None:
            origin = self.predictor.provenance
            sources["top1"] = {
                "origin": "predicted",
                "expected_error": self.top1_error,
                "expected_error_unit": "percentage points (RMSE)",
                "predictor": origin.to_json(),
            }
            if (judged := origin.found) is not None:
                sources["top1"]["expected_error_of"] = "networks that searches find"
                sources["top1"]["interval"] = {
                    "points": judged["interval"],
                    "confidence": judged["confidence"],
                }
            if self.precision == "int8":
                sources["top1"]["of"] = "the network at fp32; int8's loss is measured on the file"
        if self.table is not None:
            sources["latency_ms"] = table_provenance(self.table)
            if self.warnings:  # left out if there are none, as in answers of old versions
                sources["latency_ms"]["warnings"] = list(self.warnings)
            if (bound := upper_bound(self.table, self.confidence)) is not None:
                sources["latency_upper_ms"] = bound
        # Delivered files hold this as text, so the order of the names is part of their bytes.
        last = ("top1", "latency_ms", "latency_upper_ms", "energy_mj")
        order = sorted(sources, key=lambda name: last.index(name) if name in last else -1)
        return {name: sources[name] for name in order}


LAYER_FIELDS = tuple(field.name for field in fields(LayerSpec))


def describe_layer(layer: LayerSpec, table: LatencyTable | None) -> dict[str, Any]:
    """One layer with its shape and costs; `latency_ms` is None without a table.

    Raises:
        NotFound: if the table lacks it.
    """
    return {
        **{name: getattr(layer, name) for name in LAYER_FIELDS},  # asdict takes 30 times as long
        "out_size": layer.out_size,
        "latency_ms": None if table is None else table.layer_ms(layer),
        "macs": layer.macs,
        "params": layer.params,
    }


def _common(
    space: SearchSpace, valid: SearchSpace, bundle: Bundle, table: LatencyTable | None
) -> SearchSpace:
    """`space` at the resolutions that it shares with `valid`.

    Raises:
        InputError: if they share none.
    """
    if set(space.resolutions) & set(valid.resolutions):
        return space.at(valid.resolutions)
    device = table.device if table else ""
    raise InputError(
        f"device {device!r}: its table is for resolutions {list(space.resolutions)}, the accuracy "
        f"predictor of {bundle.name!r} is valid at {list(valid.resolutions)}: measure the device "
        "at one of those, or import another predictor"
    )


def _check_table(table: LatencyTable, bundle: Bundle) -> None:
    if table.space != bundle.space.name:
        raise InputError(
            f"device {table.device!r}: expected a table for space {bundle.space.name!r} of "
            f"supernet {bundle.name!r}, got one for {table.space!r}"
        )
    if missing := table.missing(bundle.space):
        layers = len(space_layers(bundle.space))
        raise InputError(
            f"device {table.device!r}: its table lacks {len(missing)} of the {layers} layers of "
            f"space {bundle.space.name!r}, first {', '.join(missing[:3])}; measure and add them"
        )
