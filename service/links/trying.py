"""A finished model tried on a device: is it as fast there as asked, and does it answer the same?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.table import MAX_MS, expect_object
from models.errors import Conflict, InputError, show_value
from service.catalog import Catalog
from service.contracts import Search
from service.delivery import LatencyBudget, describe_times, difference
from service.links.plans import RUNTIME
from service.links.results import read_conditions

Floats = npt.NDArray[np.float64]

TARGET_S = 10.0
IMAGES = 64
"""Images that answers are compared on, at most."""
INT8_TOLERANCE = 0.05
"""Share of the largest logit, at int8: processors round a sum differently, which moves a value by a
step of 1/255 of its range."""
MIN_VISITS, MAX_VISITS, MAX_RUNS = 4, 400, 1000
FIELDS = ("backend", "conditions", "times_ms", "logits")
OPTIONAL = ("model_sha256", "last", "stopped", "runtime", "precision", "batch")


def request_of(search: Search) -> dict[str, Any]:
    """What a link to try a search's model asks for.

    Raises:
        Conflict: if there is no model.
    """
    if search.status != "succeeded" or search.artifact_sha256 is None or search.result is None:
        raise Conflict(
            f"search {search.id} is {search.status}: a model exists once it has succeeded"
        )
    result, limits = search.result, search.request["constraints"]
    said = (result.get("provenance") or {}).get("latency_ms") or {}
    conditions = said.get("conditions") or {}
    in_browser = conditions.get("runtime") == RUNTIME
    budget_ms = limits.get("latency_ms")
    judged = None
    if budget_ms is not None and in_browser:
        stated = 0.0 if "latency_confidence" in limits else said.get("expected_error") or 0.0
        judged = {"ms": budget_ms, "stated_error": stated}
    provider = conditions.get("provider")
    return {
        "purpose": "try",
        "supernet": search.request["supernet"],
        "device": search.request["device"],
        "mode": None,
        "precision": search.request["precision"],
        "backends": [provider if in_browser and provider in ("wasm", "webgpu") else "wasm"],
        "threads": (conditions.get("threads") or 1) if in_browser else 1,
        "replace": False,
        "shared": None,
        "search": search.id,
        "sha256": search.artifact_sha256,
        "resolution": result["arch"]["resolution"],
        "judged": judged,
        "tried": {
            "id": search.id,
            "latency_ms": result["latency_ms"],
            "budget_ms": budget_ms,
            "top1": result["top1"],
        },
    }


def images_of(catalog: Catalog, request: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """The first validation images of the model's supernet as it takes them, (N, C, r, r); N is 0
    where there are none."""
    from models.onnx import ImageSet

    bundle = catalog.supernets.get(request["supernet"])
    resolution = request["resolution"]
    if not bundle.has("validation.npz"):
        return np.empty((0, bundle.space.channels, resolution, resolution), np.float32)
    few = ImageSet(bundle.validation().images[:IMAGES], bundle.mean, bundle.std)
    return np.ascontiguousarray(few.at(resolution), np.float32)


def judge(
    value: object,
    request: Mapping[str, Any],
    model: bytes,
    images: npt.NDArray[np.float32],
    *,
    measured_at: datetime,
) -> dict[str, Any]:
    """What is stated of a model that a device tried, with `warnings`.

    Args:
        request: as `request_of` has it, with the processor.
        model, images: what the device got.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    fields = expect_object(value, "result", FIELDS, OPTIONAL)
    if fields.get("model_sha256") not in (None, request["sha256"]):
        raise InputError(
            f"result.model_sha256: expected {request['sha256']}, the model of search "
            f"{request['search']}, got {show_value(fields['model_sha256'])}"
        )
    conditions = read_conditions(
        fields["conditions"],
        fields["backend"],
        request["precision"],
        processor=request["processor"],
        measured_at=measured_at,
    )
    times_ms = _numbers(fields["times_ms"], "result.times_ms", MAX_MS, positive=True)
    if len(times_ms) < MIN_VISITS or len(times_ms) > MAX_VISITS or times_ms.shape[1] > MAX_RUNS:
        raise InputError(
            f"result.times_ms: expected {MIN_VISITS} to {MAX_VISITS} visits of up to {MAX_RUNS} "
            f"runs, got {len(times_ms)} of {times_ms.shape[1]}"
        )
    judged = request["judged"]
    budget = None if judged is None else LatencyBudget(judged["ms"], judged["stated_error"])
    latency = describe_times(times_ms, conditions, budget)
    answers = _answers(fields["logits"], model, images, request["precision"])
    return {
        "latency_ms": latency,
        "answers": answers,
        "passed": answers["passed"] is not False and latency.get("outcome") != "missed",
        "warnings": _warnings(request, answers),
    }


def _warnings(request: Mapping[str, Any], answers: Mapping[str, Any]) -> list[str]:
    warnings = []
    if answers["passed"] is None:
        warnings.append(
            f"supernet {request['supernet']!r} has no validation images: whether the model answers "
            "the same on the device was not checked"
        )
    if request["judged"] is None and request["tried"]["budget_ms"] is not None:
        warnings.append(
            f"the search was for device {request['device']!r}, whose table is not of a browser: "
            "its budget says nothing about the time here"
        )
    return warnings


def _answers(
    value: object, model: bytes, images: npt.NDArray[np.float32], precision: str
) -> dict[str, Any]:
    """The device's logits against those of this machine."""
    from models.onnx import run_onnx

    where = "result.logits"
    if not len(images):
        if value not in ([], None):
            raise InputError(f"{where}: expected none, since there are no images")
        return {
            **{"images": 0, "largest_difference": None, "same_top1": None},
            **{"tolerance": None, "passed": None},
        }
    expected = run_onnx(model, images)
    found = _numbers(value, where, 1e12)
    if found.shape != expected.shape:
        raise InputError(
            f"{where}: expected {len(expected)} lists of {expected.shape[1]} numbers, one an "
            f"image, got {found.shape[0]} of {found.shape[1]}"
        )
    off, allowed = difference(found.astype(np.float32), expected)
    if precision == "int8":
        allowed = INT8_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    return {
        "images": len(images),
        "largest_difference": off,
        "same_top1": int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
        "tolerance": allowed,
        "passed": bool(off <= allowed),
    }


def _numbers(value: object, where: str, most: float, *, positive: bool = False) -> Floats:
    """A matrix of finite numbers.

    Raises:
        InputError: if it is anything else.
    """
    rows = value if isinstance(value, list) else []
    width = len(rows[0]) if rows and isinstance(rows[0], list) else 0
    if not width or any(not _is_row(row, width, most, positive) for row in rows):
        kind = "positive numbers" if positive else "numbers"
        raise InputError(f"{where}: expected lists of equally many {kind} up to {most:g}")
    return np.array(rows, np.float64)


def _is_row(row: object, width: int, most: float, positive: bool) -> bool:
    least: float = 0.0 if positive else -most
    return (
        isinstance(row, Sequence)
        and len(row) == width
        and all(
            isinstance(x, int | float)
            and not isinstance(x, bool)
            and least <= x <= most
            and (x != 0 or not positive)
            for x in row
        )
    )
