"""Whether a file computes what the torch network does, also under the runtime of its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latency_tables.runtimes import DEFAULT_RUNTIME, runtime_names
from latency_tables.table import Conditions
from models.errors import InputError
from models.spaces import Arch, Feature, SearchSpace, layer_plan
from service.delivery.accuracy_check import Unverified
from service.delivery.quantization_report import compare_logits
from service.delivery.timing import HostTimer

if TYPE_CHECKING:
    from models.supernet import Subnet

PARITY_NOISE = 4
"""Random images that logits are compared on, where there are no others."""
PARITY_TOLERANCE = 1e-3
"""Share of the largest logit: float32 sums are taken in another order over some fifty layers."""
INT8_TOLERANCE = 0.5
"""Share of the logits' spread: an int8 file whose mean difference is larger is broken."""

Images = npt.NDArray[np.float32]
NO_FEATURES: Mapping[str, Images] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check. `passed` is None where this host cannot judge it."""

    name: str
    passed: bool | None
    detail: str
    stated: float | None = None
    found: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As `verify --json` prints it."""
        return asdict(self)


def noise_images(channels: int, resolution: int) -> Images:
    """(images, channels, resolution, resolution): the same at every call."""
    shape = (PARITY_NOISE, channels, resolution, resolution)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def difference(found: Images, expected: Images) -> tuple[float, float]:
    """The largest difference of two arrays of logits, and the largest that is allowed."""
    allowed = PARITY_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()), allowed


def torch_outputs(
    network: Subnet, images: Images, features: Sequence[Feature] = ()
) -> tuple[Images, dict[str, Images]]:
    """The logits that a file of the network should compute, and its further outputs by name."""
    import torch

    with torch.no_grad():
        x_BCHW = torch.from_numpy(images)
        logits = network(x_BCHW).numpy()
        outputs = network.outputs_of(x_BCHW, [f.layer for f in features]) if features else {}
    return logits, {f.name: outputs[f.layer].contiguous().numpy() for f in features}


def check_parity(
    model: bytes,
    images: Images,
    expected: Images,
    threads: int,
    features: Mapping[str, Images] = NO_FEATURES,
) -> dict[str, Any]:
    """The findings about a file whose logits should be `expected`.

    Args:
        features: what its further outputs should be, by their names.

    Raises:
        Unverified: if it is no valid ONNX model, or computes something else.
    """
    import onnx
    import torch

    from models.onnx import run_outputs

    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    found = run_outputs(model, images, ["logits", *features], threads)
    off = {name: difference(found[name], x) for name, x in {"logits": expected, **features}.items()}
    for name, (largest, allowed) in off.items():
        if not largest <= allowed:  # also refuses NaN
            raise Unverified(
                f"the ONNX file's {name} differ from the subnet's by {largest:.3g} on "
                f"{len(images)} images, expected at most {allowed:.3g}: nothing was delivered"
            )
    parity = {
        "max_difference": off["logits"][0],
        "allowed": off["logits"][1],
        "images": len(images),
        "against": f"torch {torch.__version__}",
    }
    if features:
        parity["features"] = {
            name: {"max_difference": off[name][0], "allowed": off[name][1]} for name in features
        }
    return {"onnx_checker": "passed", "parity": parity}


def check_int8(
    model: bytes,
    images: Images,
    float_logits: Images,
    threads: int,
    features: Mapping[str, Images] = NO_FEATURES,
) -> dict[str, Any]:
    """How far an int8 file is from the same network at fp32.

    Args:
        features: the network's further outputs, by their names.

    Raises:
        Unverified: if an output differs by more than `INT8_TOLERANCE` of its spread.
    """
    import onnx

    from models.onnx import run_outputs

    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    found = run_outputs(model, images, ["logits", *features], threads)
    answer = compare_logits(float_logits, found["logits"])
    off = {"logits": (answer["mean_difference"], answer["logit_spread"])}
    for name, expected in features.items():
        off[name] = float(np.abs(found[name] - expected).mean()), float(expected.std())
    for name, (mean_difference, spread) in off.items():
        if not mean_difference <= INT8_TOLERANCE * spread:  # or NaN
            raise Unverified(
                f"the int8 file's {name} differ from the float file's by {mean_difference:.3g} on "
                f"average, expected at most {INT8_TOLERANCE:g} of their spread, {spread:.3g}: "
                "nothing was delivered; ask for fp32"
            )
    if features:
        answer["features"] = {
            name: {"mean_difference": off[name][0], "spread": off[name][1]} for name in features
        }
    return answer


def outputs_parity(
    content: bytes, images: Images, expected: Mapping[str, Images], against: str, threads: int = 1
) -> list[Check]:
    """The logits, and of further outputs the one that is farthest off."""
    from models.onnx import run_outputs

    found = run_outputs(content, images, [*expected], threads)
    off = {name: difference(found[name], x) for name, x in expected.items()}
    checks = [
        Check(
            name="parity",
            passed=off["logits"][0] <= off["logits"][1],
            detail=f"logits {against}",
            stated=off["logits"][1],
            found=off["logits"][0],
        )
    ]
    if others := [name for name in expected if name != "logits"]:
        worst = max(others, key=lambda name: off[name][0] / off[name][1])
        largest, allowed = off[worst]
        passed = all(off[name][0] <= off[name][1] for name in others)  # false for NaN
        detail = f"{len(others)} outputs {against}, the worst {worst}"
        checks.append(
            Check(name="features", passed=passed, detail=detail, stated=allowed, found=largest)
        )
    return checks


def input_shape(content: bytes, space: SearchSpace, arch: Arch) -> Check:
    """Whether the graph's input has the shape of the architecture that it states."""
    import onnx

    graph = onnx.load_from_string(content).graph
    first = layer_plan(space, arch)[0]
    dims = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
    expected = [first.in_channels, first.in_size, first.in_size]
    detail = f"input {dims}, the architecture's {expected}"
    return Check(name="architecture", passed=dims == expected, detail=detail)


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
