"""Requests and answers about searches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from service.contracts.fields import Arch, DeviceName, FileBatch, Moment, Name, Schema
from service.contracts.latency import BATCH, RUNTIME
from service.contracts.limits import (
    FROZEN,
    Constraints,
    Effort,
    FrozenChoices,
    LimitNumbers,
    TargetRequest,
    limit_names,
)
from service.contracts.records import Search, Sort, Status

DEPRECATED_CERTIFICATE = {"kind": "none"}
"""Of every answer, until 2.0.0: searches prove nothing any more (ADR 0030)."""


class SearchRequest(Schema):
    """Ask for the most accurate network of a supernet within limits on a device, or with `target`
    for the cheapest one."""

    supernet: Name = Field(description="A name from /v1/supernets.")
    device: DeviceName | dict[str, Any] = Field(
        description="A name from /v1/devices, or a whole device profile as POST /v1/devices takes."
    )
    target: TargetRequest | None = Field(
        None,
        description="Instead of the most accurate network within the limits, the one of least "
        "latency (or another quantity) that has at least this accuracy.",
    )
    frozen: FrozenChoices | None = Field(None, min_length=1, max_length=1000, description=FROZEN)
    constraints: Constraints = Field(
        default_factory=lambda: Constraints.model_validate({}),
        validate_default=True,
        description="At least one, or a target.",
    )
    runtime: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="What will run the network, such as onnxruntime or openvino: the device's "
        "table must be of it. Default: whatever the table is of. No part of what makes requests "
        "the same.",
    )
    precision: Literal["fp32", "int8"] = Field(
        "fp32",
        description="Of the ONNX file. int8 needs a device with a latency table at int8, and "
        "calibration images; the network is searched by that table, and what int8 loses and "
        "saves is measured (`verified.quantization`, `int8`).",
    )
    effort: Effort = Field(
        "normal",
        description="How many networks are evaluated: more of them find a better one more often. "
        "It is no limit of time; about 0.1, 0.5 and 3 s on a core, twice that with several "
        "limits.",
    )
    seed: int = Field(
        0,
        strict=True,
        ge=0,
        le=2**53 - 1,
        description="The same request and seed: the same answer.",
    )

    batch: FileBatch | None = Field(
        None,
        description="Images that the ONNX file is fixed to, as mobile runtimes need it: the "
        "batch of the device's table; or `dynamic`, any number. Default: fixed where the table "
        "was measured by such a provider (NNAPI, CoreML, QNN, TensorRT), else dynamic.",
    )
    allow_low_top1: bool = Field(
        False,
        strict=True,
        description="Deliver the model also if its measured accuracy is far below the predicted "
        "one; the search fails otherwise.",
    )
    shared: bool = Field(
        False, strict=True, description="Whether everybody with a key sees it; yours alone if not."
    )
    webhook: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="An http(s) URL that is posted the search's id, status and links once it has "
        "ended, at least once, signed (`Subnet-Search-Signature: t=UNIX,v1=HEX`, HMAC-SHA256 of "
        "`t.body`). Only hosts that the operator allows. No part of what makes requests the same.",
    )

    @field_validator("frozen")
    @classmethod
    def _canonical_frozen(cls, frozen: dict[str, Any] | None) -> Mapping[str, Any] | None:
        from models.spaces import read_frozen  # with numpy, which a client may do without

        return None if frozen is None else read_frozen(frozen)

    @field_validator("constraints")
    @classmethod
    def _limit_or_target(cls, given: Constraints, info: ValidationInfo) -> Constraints:
        limits = given.limits().keys() - {"latency_confidence"}
        if not limits and info.data.get("target") is None:
            raise ValueError("expected at least one limit, such as latency_ms")
        return given

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "supernet": "fashion-mbv3",
                    "device": "cpu-x86-64-ort",
                    "constraints": {"latency_ms": 1.0},
                    "seed": 0,
                }
            ]
        }
    )


class SearchResult(LimitNumbers):
    """A network that meets the limits, and what is known about it."""

    arch: Arch
    top1: float = Field(
        description="Predicted accuracy, percent; error and origin in `provenance.top1`. "
        "What was measured on held-out images is in `verified.top1`."
    )
    top1_interval: dict[str, float] | None = Field(
        None,
        description="`low` and `high`, percent: between them lies the top-1 on the images of the "
        "prediction (`provenance.top1.predictor.target`) with probability `confidence`, for a "
        "network that a search found; null where no such network was measured.",
    )
    latency_ms: float = Field(
        description="Predicted from the device's table; error, conditions and origin in "
        "`provenance.latency_ms`. What was timed, if this host is the device, is in "
        "`verified.latency_ms`."
    )
    batch: int = Field(1, description=BATCH)
    runtime: str | None = Field(None, description=RUNTIME)
    latency_ms_per_image: float | None = Field(
        None, description="`latency_ms` divided by `batch`: what a single image takes of a batch."
    )
    latency_upper_ms: float | None = Field(
        None,
        description="Upper bound of the latency at the nominal confidence in "
        "`provenance.latency_upper_ms`; null where no networks were measured on the device.",
    )
    macs: int = Field(description="Multiply-accumulates of one image, exact.")
    params: int = Field(description="Trainable values, exact.")
    peak_memory_bytes: int | None = Field(
        None,
        description="Largest sum of activations alive together, estimated, at the precision asked.",
    )
    energy_mj: float | None = Field(
        None, description="Energy of one image, estimated, where the device states its power."
    )
    footprint: dict[str, Any] | None = Field(
        None,
        description="Energy and CO2e of a year of a million inferences a day, estimated; null, and "
        "what is missing in `method`, where the device's power is not known.",
    )
    layers: list[dict[str, Any]] = Field(
        description="Image to logits: name, kind, shape, predicted latency_ms, macs, each with its "
        "share of the sum over all layers, params."
    )
    prices: dict[str, Any] | None = Field(
        None,
        description="What single changes cost, predicted. `shrink_first`: for each block, depth, "
        "width or the resolution the change that loses least accuracy a saved millisecond; "
        "`grow_first`: the one that gains most. `extra_ms` and `gain` (points) are differences.",
    )
    verified: dict[str, Any] = Field(
        description="What was checked of the ONNX file: the checker, logits against the torch "
        "subnet, measured top1, and measured latency where this host is the device: `value` is "
        "the p50, the statistic that the table predicts, with `p90`, `p99`, `budget_ms` and "
        "`outcome`: `met`, `met_within_error` (by no more than `stated_error`, the table's) or, of "
        "`stepped_down` networks, `missed`. Of an int8 "
        "file, `quantization` compares it with the file that it was made from."
    )
    file: dict[str, Any] | None = Field(
        None,
        description="The ONNX file's `batch`, the number of images that it is fixed to, or "
        "`dynamic`; and `providers`, which of a phone's accelerators takes how much of the graph, "
        "estimated by ONNX Runtime's checker: `nodes`, `nodes_taken`, `partitions`, `suited` (yes, "
        "maybe or no), `not_taken` (operators) and `dynamic_nodes`.",
    )
    int8: dict[str, Any] | None = Field(
        None,
        description="Of an int8 file: its latency and that of the same network at fp32, "
        "predicted and, where this host is the device, measured; whether it is `faster`, null if "
        "not known; and the same in words.",
    )
    provenance: dict[str, Any] = Field(
        description="For each number: predicted, measured, fitted, estimated or exact, with its "
        "expected error and conditions."
    )
    search: dict[str, Any] = Field(
        description="seed, effort, evaluations, seconds; `certificate` is deprecated, always "
        '`{"kind": "none"}`, and goes with 2.0.0.'
    )
    warnings: list[str] = Field(
        [],
        description="What to know before trusting the answer: budgets that do not limit, a weak "
        "accuracy predictor, an accuracy that was not measured.",
    )
    model_bytes: int = Field(description="Size of the ONNX file, exact.")
    sha256: str = Field(description="Of the ONNX file, which is also its ETag.")

    @model_validator(mode="after")
    def _name_batch_and_runtime(self) -> Self:
        """Results stored by earlier versions say them in their provenance alone."""
        conditions = (self.provenance.get("latency_ms") or {}).get("conditions") or {}
        self.runtime = self.runtime or conditions.get("runtime")
        if self.latency_ms_per_image is None:
            self.batch = conditions.get("batch") or 1
            self.latency_ms_per_image = self.latency_ms / self.batch
        return self

    @field_validator("search")
    @classmethod
    def _with_effort_and_certificate(cls, search: dict[str, Any]) -> dict[str, Any]:
        # Earlier versions knew one effort, and stored none.
        return {"effort": "normal", **search, "certificate": DEPRECATED_CERTIFICATE}


class SearchRead(BaseModel):
    """One search as it is now."""

    id: str
    status: Status
    request: dict[str, Any] = Field(
        description="What was asked, with the sha256 of the weights, of the accuracy predictor "
        "and of the latency table that it was asked of. `constraints` are upper limits and "
        "`minimums` lower ones, in their units; `asked` is what was given, where that had shares "
        "or ranges. `effort` is there where it is not normal."
    )
    result: SearchResult | None = Field(description="Once it has succeeded.")
    error: dict[str, Any] | None = Field(description="A problem document, once it has failed.")
    current: bool = Field(
        description="Whether the latencies that it was found by are still the device's: false once "
        "the device was measured again, or its table replaced or corrected. A check that changes "
        "only the error of the table counts if the limit is on an upper bound of the latency."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, search: Search, current: bool) -> SearchRead:
        """The public side of a stored search."""
        names = cls.model_fields.keys() - {"current"}
        fields = {name: getattr(search, name) for name in names}
        return cls.model_validate({**fields, "current": current})


class SearchPage(BaseModel):
    """Some searches, and how to get the next."""

    items: list[SearchRead]
    next_cursor: str | None = Field(description="For `cursor`; null after the last page.")


class SearchQuery(Schema):
    """Which searches to list."""

    supernet: str | None = Field(None, max_length=64)
    device: str | None = Field(None, max_length=64)
    status: Status | None = None
    latency_ms_max: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Finished with at most this latency."
    )
    top1_min: float | None = Field(
        None, ge=0, le=100, description="Finished with at least this predicted accuracy, percent."
    )
    created_after: Moment | None = Field(
        None,
        description="Asked then or later: ISO 8601 with a time zone; a date alone is its midnight "
        "in UTC. In a URL + is written %2B.",
    )
    created_before: Moment | None = Field(
        None, description="Asked earlier than that; written as created_after."
    )
    sort: Sort = Field("-created_at", description="A leading minus: descending.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=500, description="next_cursor of the page before.")


def search_row(search: SearchRead) -> dict[str, Any]:
    """A search as a row of a table; what is not known is left out. Columns: `search_columns`."""
    request, result = search.request, search.result
    limits = dict(request["constraints"])
    confidence = limits.pop("latency_confidence", None)
    target = request.get("target") or {}
    row = {
        "id": search.id,
        "status": search.status,
        "supernet": request["supernet"],
        "device": request["device"],
        "precision": request["precision"],
        "seed": request["seed"],
        "effort": request.get("effort", "normal"),
        **{f"limit_{name}": limit for name, limit in limits.items()},
        **{f"minimum_{name}": least for name, least in request.get("minimums", {}).items()},
        "latency_confidence": confidence,
        "target_top1": target.get("top1"),
        "minimize": target.get("minimize"),
        "frozen": request.get("frozen"),
        "current": search.current,
        "created_at": search.created_at,
        "finished_at": search.finished_at,
    }
    if result is None:
        return row
    verified = {name: result.verified.get(name) or {} for name in ("top1", "latency_ms")}
    return {
        **row,
        "top1": result.top1,
        **result.limit_numbers(),
        "sha256": result.sha256,
        **{f"measured_{name}": found.get("value") for name, found in verified.items()},
        "batch": result.batch,
        "runtime": result.runtime,
        "latency_ms_per_image": result.latency_ms_per_image,
        "latency_outcome": verified["latency_ms"].get("outcome"),
        "arch": result.arch.model_dump(),
    }


def search_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of every table of searches, then those of limits that only the service knows."""
    limits = limit_names()
    known = [
        *("id", "status", "supernet", "device", "precision", "seed"),
        *(f"{end}_{name}" for end in ("limit", "minimum") for name in limits),
        *("latency_confidence", "target_top1", "minimize", "frozen"),
        *("top1", "latency_ms", "measured_top1", "measured_latency_ms"),
        *(name for name in limits if name != "latency_ms"),
        *("batch", "runtime", "latency_ms_per_image", "latency_outcome"),
        *("current", "created_at", "finished_at", "sha256", "arch", "effort"),
    ]
    further = dict.fromkeys(name for row in rows for name in row if name not in known)
    return [*known, *further]
