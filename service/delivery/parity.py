"""Whether a file computes what the torch network does, also under the runtime of its device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.runtimes import DEFAULT_RUNTIME, runtime_names
from latency_tables.table import Conditions
from models.errors import InputError
from service.delivery.accuracy_check import Unverified
from service.delivery.quantization_report import compare_logits
from service.delivery.timing import HostTimer

PARITY_NOISE = 4
"""Random images that logits are compared on, where there are no others."""
PARITY_TOLERANCE = 1e-3
"""Share of the largest logit: float32 sums are taken in another order over some fifty layers."""
INT8_TOLERANCE = 0.5
"""Share of the logits' spread: an int8 file whose mean difference is larger is broken."""

Images = npt.NDArray[np.float32]


def noise_images(channels: int, resolution: int) -> Images:
    """(images, channels, resolution, resolution): the same at every call."""
    shape = (PARITY_NOISE, channels, resolution, resolution)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def difference(found: Images, expected: Images) -> tuple[float, float]:
    """The largest difference of two arrays of logits, and the largest that is allowed."""
    allowed = PARITY_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()), allowed


def check_parity(model: bytes, images: Images, expected: Images, threads: int) -> dict[str, Any]:
    """The findings about a file whose logits should be `expected`.

    Raises:
        Unverified: if it is no valid ONNX model, or computes something else.
    """
    import onnx
    import torch

    from models.onnx import run_onnx

    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    found, allowed = difference(run_onnx(model, images, threads), expected)
    if not found <= allowed:  # also refuses NaN
        raise Unverified(
            f"the ONNX file's logits differ from the subnet's by {found:.3g} on "
            f"{len(images)} images, expected at most {allowed:.3g}: nothing was delivered"
        )
    return {
        "onnx_checker": "passed",
        "parity": {
            "max_difference": found,
            "allowed": allowed,
            "images": len(images),
            "against": f"torch {torch.__version__}",
        },
    }


def runtime_here(device: Conditions) -> Conditions | None:
    """The runtime of a device on this host, by its provider or else its usual one; None where it
    is not here."""
    timer = HostTimer()
    threads = device.threads or 1
    here = timer.conditions(device.runtime, device.provider, threads)
    here = here or timer.conditions(device.runtime, None, threads)
    return here and replace(here, precision=device.precision, batch=device.batch)


def runtime_difference(
    model: bytes, images: Images, float_logits: Images, here: Conditions
) -> dict[str, Any] | None:
    """How far a file's logits under a runtime are from the subnet's: at fp32 the largest
    difference, at int8 the mean. None where the runtime gives no logits.

    Args:
        float_logits: of the subnet, at fp32.

    Raises:
        InputError: the runtime does not run the file.
    """
    from latency_tables.benchmark import runtime_logits

    logits = runtime_logits(model, images, here)
    if logits is None:
        return None
    if here.precision == "int8":
        found = compare_logits(float_logits, logits)
        off, allowed = found["mean_difference"], INT8_TOLERANCE * found["logit_spread"]
    else:
        off, allowed = difference(logits, float_logits)
    return {
        "runtime": here.runtime,
        "runtime_version": here.runtime_version,
        "provider": here.provider,
        "mean_difference" if here.precision == "int8" else "max_difference": off,
        "allowed": allowed,
        "images": len(images),
        "passed": bool(off <= allowed),  # false for NaN
    }


def check_under_runtime(
    model: bytes, images: Images, float_logits: Images, device: Conditions
) -> tuple[dict[str, Any], list[str]]:
    """Findings about a file under the runtime of its device, `runtime_parity`, and warnings; none
    where that is ONNX Runtime, under which every file is compared, or not known here.

    Raises:
        Unverified: the file computes something else there, or does not run.
    """
    if device.runtime == DEFAULT_RUNTIME or device.runtime not in runtime_names():
        return {}, []
    if (here := runtime_here(device)) is None:
        return {}, [f"the file was not tried under {device.runtime}, which is not here"]
    try:
        found = runtime_difference(model, images, float_logits, here)
    except InputError as error:
        raise Unverified(
            f"the file does not run under {device.runtime}: {error}: nothing was delivered"
        ) from error
    if found is None:
        return {}, []
    if not found["passed"]:
        raise Unverified(
            f"the file's logits under {device.runtime} differ from the subnet's: {found}: nothing "
            "was delivered"
        )
    return {"runtime_parity": found}, []
