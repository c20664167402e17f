"""Requests and answers about devices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from latency_tables.table import FindingKind
from models.errors import InputError
from service.contracts.fields import Arch, DescribedAs, Measurements

UNFINISHED = {"fingerprint", "spent_s", "visits"}
"""Fields of the file of finished rounds (`latency_tables.benchmark`), `*.partial`."""


def check_finished(value: object) -> None:
    """Refuse the file of a measurement that was stopped, which is easily taken for its result.

    Raises:
        InputError: it is such a file; says how to go on.
    """
    if isinstance(value, dict) and set(value) == UNFINISHED:
        raise InputError(
            "profile: this is an unfinished measurement (NAME.json.partial), not a device: run "
            "`python measure.py NAME` in the kit's folder again, or `subnet-search devices measure "
            "NAME --supernet S --resume` where that was stopped; it goes on, and writes the result"
        )


class DeviceProfile(BaseModel):
    """A device that explains itself. Its parts are checked one by one when it is read."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="1 to 64 of a-z 0-9 . _ -")
    runtime: str = Field(description='What ran the network, such as "onnxruntime".')
    precision: str = Field(description="fp32, fp16, bf16 or int8.")
    batch: int = Field(description="Images of one forward pass.", strict=True)
    conditions: dict[str, Any] = Field(
        description="runtime_version, provider, threads, processor, io (host or device), "
        "measured_at, power_w (mean watts when busy); each optional."
    )
    space: str = Field(description="The search space whose layers these are.")
    shared: bool = Field(
        False, strict=True, description="Whether everybody with a key sees it; yours alone if not."
    )
    origin: Literal["measured", "fitted", "estimated"] = Field(
        "measured", description="What the numbers of a table are."
    )
    table: dict[str, Any] | None = Field(
        None, description='By layer key: {"p50_ms"}, optionally "mean_ms", "std_ms", "count".'
    )
    rounds: dict[str, Any] | None = Field(
        None, description="Instead of a table: what a measuring kit wrote."
    )
    measurements: Annotated[dict[str, Any], DescribedAs(Measurements)] | None = Field(
        None,
        description='Instead of a table, whole networks: {"arch": [...], "latency_ms": [...]}. At '
        "least 10, or 3 with a donor.",
    )
    donor: str | None = Field(
        None, description="A device like it: the table is fitted near that one's."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_finished(cls, value: object) -> object:
        check_finished(value)
        return value


class TableRevision(BaseModel):
    """One revision of a user's table."""

    revision: int
    sha256: str
    created_at: datetime
    networks: int | None = Field(
        description="Whole networks by which the revision before was corrected; null where the "
        "table itself was given."
    )


class DeviceTable(BaseModel):
    """A latency table without its entries."""

    space: str
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    revision: int | None = Field(
        description="Counts from 1, and grows when the table is replaced or corrected; null for a "
        "table that comes with the program."
    )
    sha256: str = Field(
        description="Of the table. A search keeps its own in request.device_sha256."
    )
    origin: Literal["measured", "fitted", "estimated"]
    source: str
    conditions: dict[str, Any]
    shared: bool = Field(description="Whether everybody with a key sees it.")
    layers: int = Field(description="Number of entries.")
    network_overhead_ms: float
    expected_error: float | None = Field(
        description="Mean relative error on whole networks; null if none were timed."
    )
    sittings: int = Field(
        1, description="How often it was measured or checked: its own sitting, and later ones."
    )
    drift_fraction: float | None = Field(
        None,
        description="Standard deviation of the device's speed between sittings, a fraction of the "
        "latency; null where it is unknown: with fewer than three sittings.",
    )
    residual_ratios: list[float] = Field(
        [],
        description="Measured over predicted latency of whole networks, each predicted without "
        "itself; ascending.",
    )
    revisions: list[TableRevision] = Field(
        [], description="The newest first; none of a table that comes with the program."
    )


class DeviceFinding(BaseModel):
    """Something that is wrong with a latency table (an error), or odd about it (a warning)."""

    space: str
    precision: str
    severity: Literal["error", "warning"]
    kind: FindingKind
    detail: str


class DeviceRead(BaseModel):
    """A device and the spaces that it has latency tables for."""

    name: str
    tables: list[DeviceTable]
    lint: list[DeviceFinding] = Field(
        description="What is odd about its tables. A table with errors is refused when it is "
        "posted, so these are warnings, unless it is older than the check that finds them."
    )


class MeasuredNetwork(BaseModel):
    """A network as it was timed and as it is predicted."""

    arch: Arch
    measured_ms: float
    predicted_before_ms: float = Field(description="By the revision before.")
    predicted_after_ms: float = Field(description="By the new revision, which was fitted to it.")


class CorrectionRead(DeviceRead):
    """A device whose table was corrected by whole networks."""

    space: str
    precision: str
    revision: int = Field(description="The new one.")
    sha256: str
    networks: list[MeasuredNetwork]
    mean_error_before: float = Field(
        description="Mean relative error of the revision before on these networks."
    )
    expected_error: float | None = Field(
        description="Of the new revision: each network predicted by a fit without it."
    )


class TableRemoved(BaseModel):
    """A user's table that was removed, with the revisions before it."""

    space: str
    precision: str
    revision: int = Field(description="The current one; those before it are removed, too.")
    sha256: str
    owner: str | None = Field(
        None, description="Who added it; null: somebody at the service's machine, without a key."
    )


class DeviceRemoved(BaseModel):
    """What was removed of a device. Searches keep the tables that they were asked with."""

    name: str
    removed: list[TableRemoved]
    remaining: list[DeviceTable] = Field(
        description="The tables that the name stands for now: others of it, those that come with "
        "the program, or those of a shared device of this name."
    )


class DeviceSummary(BaseModel):
    """A device in a list."""

    name: str
    spaces: list[str] = Field(description="Those that it has latency tables for.")
    precisions: dict[str, list[str]] = Field(description="Of its tables, by space.")
    runtimes: dict[str, dict[str, str | None]] = Field(
        {}, description="What runs the networks that its tables time, by space and precision."
    )


class DeviceList(BaseModel):
    """The devices of this installation."""

    items: list[DeviceSummary]
