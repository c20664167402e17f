"""The limits that a search can have: one entry each, read by every part that names limits.

To add a limit, call `register_limit(Limit(...))` before the command line or the service starts. It
is then an option of `subnet-search search`, a constraint of the REST API and of the client, a
number in every answer and on every point of a front, and a field of the page.

Cost models are imported when they are made: the command line reads this registry to build its
options, and should not load numpy for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from models.errors import InputError
from models.registry import Registry

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from models.spaces import SearchSpace
    from search.costs.costs import Cost, CostModel

METADATA_BYTES = 4096
"""Allowance for the metadata of an ONNX file, so that a limit on its size holds for all of it."""
CLASS_NAMES_BYTES = 256
"""Of that, for the names of the classes: of many, the rest comes on top."""


@dataclass(frozen=True)
class CostInputs:
    """What the cost models of a supernet on a device are made from."""

    space: SearchSpace
    table: LatencyTable | None
    """Of the device, complete for `space`; None where no device is given."""
    class_names_bytes: int = 0
    """Of the names of the classes, as the metadata of an ONNX file has them."""

    @property
    def precision(self) -> str:
        """Of the networks: that of the table, fp32 without one."""
        return "fp32" if self.table is None else self.table.conditions.precision

    @cached_property
    def covered(self) -> SearchSpace:
        """`space` at the resolutions of the table."""
        return self.space if self.table is None else self.table.covered(self.space)

    @cached_property
    def latency(self) -> CostModel | None:
        """Latency over `covered`, shared by all limits that derive from it."""
        from search.costs.costs import latency_costs

        if self.table is None:
            return None
        return latency_costs(self.covered, self.table)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A quantity of a network that a search can bound from above."""

    name: str
    """Key in requests and answers, with the unit in it: "energy_mj"."""
    unit: str
    """As people write it: "ms", "B", "mJ"; empty for a count."""
    label: str
    """Heading of the number: "Peak memory"."""
    noun: str = ""
    """What follows number and unit in a list of limits: "10 M MACs"; may be empty."""
    description: str
    """A sentence of the REST API."""
    help: str
    """A sentence of the command line's help."""
    origin: Literal["exact", "estimated", "predicted"]
    is_integer: bool
    in_millions: bool = False
    """Whether the page asks for it in millions of its unit."""
    in_file: bool = False
    """Whether the delivered file states the exact value: then the description of a network leaves
    the estimate out."""
    make_cost: Callable[[CostInputs], Cost | None]
    """The cost model, or None where the quantity is unknown."""
    needs: str = "another device"
    """What a request needs where the quantity is unknown; follows "expected"."""
    if_unknown: str = "unknown"
    """What the page says where it is unknown."""
    provenance: Callable[[LatencyTable | None], Mapping[str, Any]] = lambda _: {}
    """What an answer states beside the origin: method, expected_error, expected_error_unit."""

    @property
    def option(self) -> str:
        """On the command line."""
        return f"--max-{self.name.replace('_', '-')}"


def registered_limits() -> Mapping[str, Limit]:
    """Every limit by its name, in the order of registration."""
    return MappingProxyType(_LIMITS)


def register_limit(limit: Limit) -> None:
    """Add a limit.

    Raises:
        InputError: if its name cannot be a Python keyword argument, or is another limit's.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", limit.name):
        raise InputError(f"limit {limit.name!r}: expected a name of a-z, 0-9 and _")
    _LIMITS.register(limit.name, limit)


def unregister_limit(name: str) -> None:
    """Remove a limit; there may be none of that name."""
    _LIMITS.unregister(name)


def _macs(inputs: CostInputs) -> Cost:
    from search.costs.costs import macs_costs

    return macs_costs(inputs.space)


def _params(inputs: CostInputs) -> Cost:
    from search.costs.costs import params_costs

    return params_costs(inputs.space)


def _model_bytes(inputs: CostInputs) -> Cost:
    from models.onnx import ENVELOPE_BYTES, stored_bytes
    from search.costs.costs import CostModel

    # Only fp32 and int8 files are written: a device of another precision gets the float file.
    precision = "int8" if inputs.precision == "int8" else "fp32"
    names = max(0, inputs.class_names_bytes - CLASS_NAMES_BYTES)
    constant = ENVELOPE_BYTES[precision] + METADATA_BYTES + names
    return CostModel.compile(inputs.space, lambda layer: stored_bytes(layer, precision), constant)


def _peak_memory(inputs: CostInputs) -> Cost:
    from search.costs.peak_memory import peak_memory_costs

    return peak_memory_costs(inputs.space, inputs.precision)


def _peak_memory_provenance(table: LatencyTable | None) -> Mapping[str, Any]:
    precision = "fp32" if table is None else table.conditions.precision
    words = {"fp32": "float32", "int8": "uint8"}.get(precision, precision)
    islands = ", with float32 where an operator has no int8 form" if precision == "int8" else ""
    return {
        "method": f"largest set of {words} activations alive together{islands}, for one image; "
        "weights and the runtime's own memory come on top",
        "expected_error": None,
    }


def _energy(inputs: CostInputs) -> Cost | None:
    from search.costs.costs import scaled

    if inputs.table is None or (power_w := inputs.table.conditions.power_w) is None:
        return None
    assert inputs.latency is not None
    # A watt for a millisecond is a millijoule.
    return scaled(inputs.latency, power_w / inputs.table.conditions.batch)


def _energy_provenance(table: LatencyTable | None) -> Mapping[str, Any]:
    assert table is not None
    return {
        "method": f"latency of one image x {table.conditions.power_w:g} W",
        "expected_error": table.expected_error,
        "expected_error_unit": "fraction of the energy (mean), if the power holds",
    }


_LIMITS: Registry[Limit] = Registry("limit")
for _limit in (
    Limit(
        name="latency_ms",
        unit="ms",
        label="Latency",
        description="Latency on the device, milliseconds.",
        help="Budget, milliseconds.",
        origin="predicted",
        is_integer=False,
        make_cost=lambda inputs: inputs.latency,
    ),
    Limit(
        name="macs",
        unit="",
        label="MACs",
        noun="MACs",
        description="Multiply-accumulates of one image.",
        help="Budget of multiply-accumulates.",
        origin="exact",
        is_integer=True,
        in_millions=True,
        make_cost=_macs,
    ),
    Limit(
        name="params",
        unit="",
        label="Parameters",
        noun="parameters",
        description="Trainable values.",
        help="Budget of parameters.",
        origin="exact",
        is_integer=True,
        in_millions=True,
        make_cost=_params,
    ),
    Limit(
        name="model_bytes",
        unit="B",
        label="ONNX file",
        noun="file",
        description="Size of the ONNX file at the precision asked, bytes, its metadata included.",
        help="Budget of the ONNX file, bytes, at the precision asked.",
        origin="estimated",
        is_integer=True,
        in_millions=True,
        in_file=True,
        make_cost=_model_bytes,
    ),
    Limit(
        name="peak_memory_bytes",
        unit="B",
        label="Peak memory",
        noun="memory",
        description="Largest sum of activations alive together, one image, at the precision asked, "
        "bytes.",
        help="Budget of activations alive together, one image, bytes, at the precision asked.",
        origin="estimated",
        is_integer=True,
        in_millions=True,
        make_cost=_peak_memory,
        provenance=_peak_memory_provenance,
    ),
    Limit(
        name="energy_mj",
        unit="mJ",
        label="Energy",
        description="Energy of one image, millijoules; the device's conditions must state power_w.",
        help="Budget of one image's energy, millijoules.",
        origin="estimated",
        is_integer=False,
        make_cost=_energy,
        if_unknown="power not stated",
        needs="a device whose table's conditions state power_w, the watts that it draws when "
        "busy; measure it with --power-w, or limit latency_ms instead",
        provenance=_energy_provenance,
    ),
):
    register_limit(_limit)
