"""One supernet on one device: what every answer about networks is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from latency_tables.table import LatencyTable, Precision, space_layers
from models.bundle import Bundle
from models.errors import InputError
from models.spaces import Arch, GeneMatrix, LayerSpec, SearchSpace
from search.costs import (
    Cost,
    CostModel,
    Floats,
    latency_costs,
    macs_costs,
    params_costs,
    peak_memory_costs,
    scaled,
)
from search.evolution import SubnetProblem
from search.predictors import AccuracyPredictor, load_predictor, predictor_provenance
from service.catalog.footprint import footprint
from service.catalog.provenance import table_provenance, upper_bound

CONFIDENCE = "latency_confidence"
"""Among limits: with which probability the one on latency is to hold."""
METADATA_BYTES = 4096
"""What a file's metadata may take, so that a limit on its size holds for the whole file."""


@dataclass(frozen=True, eq=False)
class DeploymentContext:
    """A supernet, a device's table for it, and what they say about networks.

    A predictor and a table may each be valid at some of the supernet's resolutions alone.
    """

    bundle: Bundle
    space: SearchSpace
    """What can be searched: resolutions at which the predictor and the table are both valid."""
    table: LatencyTable | None
    predictor: AccuracyPredictor | None
    """Answers for `space`."""
    costs: Mapping[str, Cost]
    """By limit, over `space`: "macs", "params", "model_bytes", "peak_memory_bytes", with a table
    "latency_ms", and "energy_mj" where its conditions state the device's power."""
    _evaluators: Mapping[str, tuple[SearchSpace, Callable[[GeneMatrix], Floats]]]
    """Each number of a network, with the space over which it is known."""
    confidence: float | None = None
    """With which latency limits are to hold: then the cost "latency_ms" is its upper bound."""
    float_table: LatencyTable | None = None
    """Of the same device at fp32, where `table` is of another precision: to compare with."""

    @property
    def precision(self) -> Precision:
        """Of the networks that the table is about."""
        return "fp32" if self.table is None else self.table.conditions.precision

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
        # Slow to load, and an API process that only reads the store never needs it.
        from models.onnx import ENVELOPE_BYTES, stored_bytes

        whole = space = bundle.space
        models: dict[str, Cost] = {
            "macs": macs_costs(whole),
            "params": params_costs(whole),
            "model_bytes": CostModel.compile(whole, stored_bytes, ENVELOPE_BYTES + METADATA_BYTES),
            "peak_memory_bytes": peak_memory_costs(whole),
        }
        if table is not None:
            _check_table(table, bundle)
            space = table.covered(whole)
            latency = latency_costs(space, table)
            models = {"latency_ms": latency, **models}
            if (power_w := table.conditions.power_w) is not None:
                # A watt for a millisecond is a millijoule.
                models["energy_mj"] = scaled(latency, power_w / table.conditions.batch)
        everywhere = {name: (model.space, model.evaluate) for name, model in models.items()}
        predictor = None
        if bundle.has(bundle.predictor_path.name):
            bundle.check(bundle.predictor_path.name)
            valid = whole.at(predictor_provenance(bundle.predictor_path).resolutions)
            everywhere["top1"] = (valid, load_predictor(bundle.predictor_path, valid).predict)
            space = _common(space, valid, bundle, table)
            predictor = load_predictor(bundle.predictor_path, space)
        costs = {name: model.at(space) for name, model in models.items()}
        return cls(bundle, space, table, predictor, costs, everywhere, float_table=float_table)

    def predict(self, archs: Sequence[Arch]) -> list[dict[str, Any]]:
        """What is known of each network without making it, in order.

        Without a table `latency_ms` is left out; `top1` and `latency_ms` are None at a
        resolution where the predictor or the table is not valid.

        Raises:
            InputError: if one is not in the space.
        """
        for arch in archs:
            self.bundle.space.validate(arch)
        names = ["top1", *(["latency_ms"] if self.table else []), "macs", "params"]
        return self._describe(archs, names)

    def describe(self, arch: Arch) -> dict[str, Any]:
        """One network as `predict` has it, with memory, its footprint, and where they are known,
        energy and the upper bound of its latency."""
        names = ["top1", "latency_ms", "macs", "params", "peak_memory_bytes", "energy_mj"]
        found = self._describe([arch], [n for n in names if n in self._evaluators])[0]
        bound = self.table and upper_bound(self.table, self.confidence)
        if bound and found["latency_ms"] is not None:
            found["latency_upper_ms"] = found["latency_ms"] * bound["factor"]
        found["footprint"] = footprint(found.get("energy_mj"), self.bundle.card)
        return found

    def _describe(self, archs: Sequence[Arch], names: Sequence[str]) -> list[dict[str, Any]]:
        columns = {name: self._evaluate(name, archs) for name in names}
        for name in {"macs", "params", "peak_memory_bytes"} & columns.keys():
            columns[name] = [None if v is None else round(v) for v in columns[name]]
        return [
            {"arch": arch.to_json(), **{name: columns[name][row] for name in names}}
            for row, arch in enumerate(archs)
        ]

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
        self, limits: Mapping[str, float]
    ) -> tuple[DeploymentContext, dict[str, float]]:
        """What to search, and under which limits, where they may say "latency_confidence".

        Raises:
            InputError: if the networks measured on the device cannot promise so much.
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

    def check_limits(self, limits: Mapping[str, float]) -> None:
        """Refuse at once what no network can meet, alone or together.

        Raises:
            Infeasible: with the floor of the limit that binds.
            InputError: if the supernet has no accuracy predictor to search with, or the device's
                power is not known and energy is limited.
        """
        for name in limits:
            if name == "energy_mj" and name not in self.costs:
                raise InputError(
                    "constraints.energy_mj: expected a device whose table's conditions state "
                    "power_w, the watts that it draws when busy; measure it with --power-w, or "
                    "limit latency_ms instead"
                )
        SubnetProblem(self.space, self.require_predictor(), self.costs, limits).anchor()

    def require_predictor(self) -> AccuracyPredictor:
        """The predictor.

        Raises:
            InputError: if the supernet has none.
        """
        if self.predictor is None:
            raise InputError(
                f"supernet {self.bundle.name!r} has no accuracy predictor, so it cannot be "
                "searched: fit one with `subnet-search supernets fit-predictor`, or import one"
            )
        return self.predictor

    def provenance(self) -> dict[str, Any]:
        """Where predicted numbers come from, under what conditions, how far they may be off."""
        sources: dict[str, Any] = {
            "macs": {"origin": "exact"},
            "params": {"origin": "exact"},
            "peak_memory_bytes": {
                "origin": "estimated",
                "method": "largest set of float32 activations alive together, for one image; "
                "weights and the runtime's own memory come on top",
                "expected_error": None,
            },
        }
        if self.predictor is not None:
            origin = self.predictor.provenance
            sources["top1"] = {
                "origin": "predicted",
                "expected_error": origin.rmse,
                "expected_error_unit": "percentage points (RMSE)",
                "predictor": origin.to_json(),
            }
            if self.precision == "int8":
                sources["top1"]["of"] = "the network at fp32; int8's loss is measured on the file"
        if self.table is not None:
            sources["latency_ms"] = table_provenance(self.table)
            if (bound := upper_bound(self.table, self.confidence)) is not None:
                sources["latency_upper_ms"] = bound
        if self.table is not None and "energy_mj" in self.costs:
            sources["energy_mj"] = {
                "origin": "estimated",
                "method": f"latency of one image x {self.table.conditions.power_w:g} W",
                "expected_error": self.table.expected_error,
                "expected_error_unit": "fraction of the energy (mean), if the power holds",
            }
        return sources


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
    """Resolutions of both.

    Raises:
        InputError: if there is none.
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
