"""What int8 loses in accuracy and gains in latency against the same network at fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.spaces import Arch, layer_plan
from service.catalog import DeploymentContext

Logits = npt.NDArray[np.float32]


def compare_logits(float_logits: Logits, logits: Logits) -> dict[str, Any]:
    """How far an int8 file's logits are from the float file's; both (images, classes)."""
    difference = np.abs(logits - float_logits)
    return {
        "images": len(logits),
        "mean_difference": float(difference.mean()),
        "max_difference": float(difference.max()),
        "logit_spread": float(float_logits.std()),
        "same_answer": float((logits.argmax(1) == float_logits.argmax(1)).mean()),
    }


def compare(context: DeploymentContext, arch: Arch, verified: Mapping[str, Any]) -> dict[str, Any]:
    """Whether int8 is faster than fp32 on this device, for one and the same network.

    Measured latencies take precedence over predicted ones.
    """
    (row,) = context.predict([arch])
    predicted = {"int8_ms": row["latency_ms"], "fp32_ms": _float_latency_ms(context, arch)}
    answer: dict[str, Any] = {"predicted": {**predicted, "origin": "predicted"}}
    numbers, origin = predicted, "predicted"
    if (timed := verified.get("latency_ms")) is not None:
        float_timed = verified["quantization"]["fp32_latency_ms"]
        numbers = {"int8_ms": timed["value"], "fp32_ms": float_timed["value"]}
        answer["measured"] = {**numbers, "origin": "measured"}
        origin = "measured"
    int8_ms, fp32_ms = numbers["int8_ms"], numbers["fp32_ms"]
    device = context.table.device if context.table else "this device"
    if int8_ms is None or fp32_ms is None:
        return {
            **answer,
            "faster": None,
            "in_words": f"whether int8 is faster than fp32 on {device} is not known: it has no "
            "latency table at fp32 for this space",
        }
    faster = int8_ms < fp32_ms
    word = "faster" if faster else "not faster"
    end = "" if faster else "; ask for fp32, unless it is the size of the file that matters"
    return {
        **answer,
        "faster": faster,
        "in_words": f"int8 is {word} than fp32 on {device} for this network, {origin}: "
        f"{int8_ms:.3g} ms against {fp32_ms:.3g} ms{end}",
    }


def _float_latency_ms(context: DeploymentContext, arch: Arch) -> float | None:
    """Predicted latency of the same network at fp32; None if a table entry is missing."""
    table, space = context.float_table, context.bundle.space
    if table is None or arch.resolution not in table.covered(space).resolutions:
        return None
    plan = layer_plan(space, arch)
    if any(table.entry(layer) is None for layer in plan):
        return None
    return table.network_ms(plan)
