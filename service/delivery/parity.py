"""Whether a model file computes what the torch network does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.delivery.accuracy_check import Unverified

PARITY_NOISE = 4
"""Random images that logits are compared on, where there are no others."""
PARITY_TOLERANCE = 1e-3
"""Share of the largest logit: float32 sums are taken in another order over some fifty layers."""

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
