"""The conditions under which latencies hold: the device, and how networks were run on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from latency_tables.table.checks import check_number, check_text
from models.errors import InputError

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")

Io = Literal["host", "device"]
ALIKE = ("runtime", "provider", "processor", "threads", "io")
"""Conditions that must be equal for latencies to be comparable."""
CONDITION_TEXTS = (
    *("runtime_version", "provider", "ran_on", "processor", "io", "measured_at"),
    *("user_agent", "gpu_adapter"),
)
"""Conditions that are a line of text or not known."""
LATER = (
    *("ran_on", "io", "user_agent", "cross_origin_isolated", "gpu_adapter"),
    *("first_session_ms", "first_run_ms", "session_ms", "run_ms"),
)
"""Conditions that are left out of JSON where they are not known, as in files of older versions."""
MAX_MS = 1e6
"""A quarter of an hour: a larger latency is in another unit."""
MAX_COUNT = 10**9
MAX_W = 1e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions under which a table holds; None where its source does not say."""

    runtime: str
    """What ran the network, such as "onnxruntime"."""
    precision: Precision
    batch: int
    """Images of one forward pass."""
    runtime_version: str | None = None
    provider: str | None = None
    """The runtime's backend with its options, such as "CPUExecutionProvider"."""
    ran_on: str | None = None
    """The backend that ran every node, without options, where the runtime tells."""
    threads: int | None = None
    processor: str | None = None
    io: Io | None = None
    """Where input and output of an inference lie: this machine's memory, from which each run copies
    them, or the device's. Not stated is compared as "host", which it used to be always."""
    measured_at: str | None = None
    """ISO 8601 date or time."""
    power_w: float | None = None
    """Mean power of the device while it runs networks, watts; energies are estimated from it."""
    user_agent: str | None = None
    """What a browser says of itself."""
    cross_origin_isolated: bool | None = None
    """Whether a browser's page had a fine clock and threads."""
    gpu_adapter: str | None = None
    """The GPU, as the runtime names it."""
    first_session_ms: float | None = None
    """Time to open the first model, when nothing of the runtime was ready yet."""
    first_run_ms: float | None = None
    """Time of that model's first run."""
    session_ms: float | None = None
    """Time to open a model later."""
    run_ms: float | None = None
    """Time of a model's first run later."""

    def alike(self, other: Conditions) -> bool:
        """Whether both have the same machine, runtime, provider, threads and io."""
        return not differing_conditions(self.to_json(), other.to_json())

    def to_json(self) -> dict[str, Any]:
        """The fields by name; of `LATER`, those that are known."""
        fields = asdict(self)
        return {
            name: fields[name] for name in fields if not (name in LATER and fields[name] is None)
        }

    def __post_init__(self) -> None:
        check_text(self.runtime, "runtime")
        for name in CONDITION_TEXTS:
            if getattr(self, name) is not None:
                check_text(getattr(self, name), name)
        for name in ("first_session_ms", "first_run_ms", "session_ms", "run_ms"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, MAX_MS)
        if self.precision not in PRECISIONS:
            raise InputError(f"precision: expected one of {PRECISIONS}, got {self.precision!r}")
        if self.io not in (None, *get_args(Io)):
            raise InputError(f"io: expected one of {get_args(Io)}, got {self.io!r}")
        check_number(self.batch, "batch", MAX_COUNT, positive=True)
        if self.threads is not None:
            check_number(self.threads, "threads", MAX_COUNT, positive=True)
        if self.power_w is not None:
            check_number(self.power_w, "power_w", MAX_W, positive=True)
        if self.measured_at is not None:
            try:
                datetime.fromisoformat(self.measured_at)
            except ValueError as error:
                raise InputError(
                    f"measured_at: expected ISO 8601 such as 2025-01-31T12:00:00Z, "
                    f"got {self.measured_at!r}"
                ) from error


def differing_conditions(
    one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str] = ALIKE
) -> list[str]:
    """Names of the conditions, as `Conditions.to_json` gives them, that differ."""
    usual = {"io": "host"}
    return [
        name
        for name in names
        if (one.get(name) or usual.get(name)) != (other.get(name) or usual.get(name))
    ]
