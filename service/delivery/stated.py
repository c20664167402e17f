"""What a finished file states of itself in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from latency_tables.runtimes import DEFAULT_RUNTIME
from models.errors import InputError, InvalidDocument
from models.schema import parse_strict, validate
from models.spaces import Arch, Feature
from service.contracts import MAX_BATCH

if TYPE_CHECKING:
    import onnx

    from models.bundle import Bundle

PREFIX = "subnet_search."
_JSON = (
    *("arch", "predicted", "verified", "preprocess", "space", "features"),
    *("classes", "not_stated"),
)
_OPTIONAL = {
    **{"network": "", "network_sha256": "", "space": "{}", "features": "[]"},
    **{"device": "", "classes": "null", "not_stated": "{}"},
}
"""What not every file states, and what stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number:
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conditions:
    """What `verify` reads of them."""

    runtime: str = DEFAULT_RUNTIME
    provider: str | None = None
    processor: str | None = None
    io: str | None = None
    threads: int | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    conditions: _Conditions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provenance:
    latency_ms: _Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    latency_ms: float | None = None
    provenance: _Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency:
    value: float
    conditions: _Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    recalibrated: bool
    top1: _Number | None = None
    latency_ms: _Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feature:
    """What `verify` reads of a further output."""

    name: str
    stride: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    arch: dict[str, Any]
    supernet: str
    supernet_sha256: str
    device: str
    """For which its latency was predicted; empty where none was named."""
    precision: str
    predicted: _Predicted
    verified: _Verified
    preprocess: dict[str, Any]
    network: str
    """Id of a published or an imported network, of which the file has the weights; empty for a
    subnet."""
    network_sha256: str
    """Of an imported network's weights; empty for others."""
    space: dict[str, Any]
    """Of an imported network; empty for others."""
    features: list[_Feature]
    """Outputs besides the logits."""
    classes: list[str] | None
    """Names of the logits, in their order."""
    not_stated: dict[str, str]
    """What is left out, and why."""


def read_stated(model: onnx.ModelProto) -> dict[str, Any]:
    """The metadata of a file of this project, by name without prefix.

    Raises:
        InputError: naming what is missing or of another kind.
    """
    texts = {p.key.removeprefix(PREFIX): p.value for p in model.metadata_props}
    stated: dict[str, Any] = {}
    texts = {**_OPTIONAL, **texts}
    for name in (field.name for field in fields(_Stated)):
        if name not in texts:
            raise InputError(f"metadata {PREFIX}{name} is missing")
        try:
            stated[name] = parse_strict(texts[name]) if name in _JSON else texts[name]
        except (ValueError, RecursionError) as error:
            raise InvalidDocument.at("metadata", (name,), f"expected JSON: {error}") from error
    validate(_Stated, stated, "metadata")
    return stated


def stated_features(features: Sequence[Feature]) -> dict[str, str]:
    """The metadata of a file's further outputs; empty without any."""
    text = json.dumps([feature.to_json() for feature in features])
    return {f"{PREFIX}features": text} if features else {}


def stated_classes(names: Sequence[str] | None) -> dict[str, str]:
    """The metadata of what the outputs mean: a name for each, in their order; empty if unknown."""
    return {} if names is None else {f"{PREFIX}classes": json.dumps(list(names))}


def stated_preprocess(bundle: Bundle, arch: Arch) -> dict[str, Any]:
    """How photos become a network's input: the value of `preprocess`."""
    return {
        "channels": bundle.space.channels,
        "resolution": arch.resolution,
        "interpolation": "bilinear",
        "mean": list(bundle.mean),
        "std": list(bundle.std),
        **bundle.photo_fit.to_json(arch.resolution),
    }


def stated_gaps(device: str | None, latency_ms: float | None) -> dict[str, str]:
    """The metadata of what a file lacks that was made for no device, or for one on which its
    latency is not known: `{"latency_ms": "why", ...}`; empty if it states both."""
    gaps = {} if device else {"device": "none was named"}
    if latency_ms is None:
        gaps["latency_ms"] = f"none is known on {device}" if device else "it is that of a device"
    return {f"{PREFIX}not_stated": json.dumps(gaps)} if gaps else {}


def with_stated(model: bytes, name: str, value: str) -> bytes:
    """The file with one more metadata entry; entries are sorted, so the bytes do not depend on
    their order."""
    import onnx

    proto = onnx.load_from_string(model)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata[f"{PREFIX}{name}"] = value
    onnx.helper.set_model_props(proto, dict(sorted(metadata.items())))
    return bytes(proto.SerializeToString(deterministic=True))


def fixed_batch(model: onnx.ModelProto) -> int | None:
    """Images that the file takes at once; None where it takes any number.

    Raises:
        InputError: if there are too many to be tried.
    """
    batch: int = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if batch > MAX_BATCH:
        raise InputError(f"expected a batch of at most {MAX_BATCH} images, got {batch}")
    return batch or None


def stated_conditions(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """The conditions of the latency that a file states: the measured, else the predicted one.
    Empty for a file that was made for no device."""
    measured = stated["verified"].get("latency_ms")
    predicted = (stated["predicted"].get("provenance") or {}).get("latency_ms") or {}
    conditions: Mapping[str, Any] = (measured or predicted).get("conditions") or {}
    return conditions
