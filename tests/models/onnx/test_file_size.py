"""The size of a file, counted layer by layer, against files that were really written."""

import numpy as np
import pytest

from models.onnx.builder import build_onnx
from models.onnx.file_size import ENVELOPE_BYTES, stored_bytes
from models.onnx.quantize import quantize_onnx
from models.spaces.files import read_space
from models.spaces.plan import layer_plan
from tests.models.onnx.test_onnx_builder import images_of, tensors_of
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

RELU6 = read_space({**DEBUG.to_json(), "name": "relu6", "first_act": "relu6", "act": "relu6"})


def counted(plan, precision: str) -> int:
    return ENVELOPE_BYTES[precision] + sum(stored_bytes(layer, precision) for layer in plan)


@pytest.mark.parametrize("space", [DEBUG, FASHION_LIKE, RESNET], ids=lambda space: space.name)
def test_a_float_file_is_the_sum_of_its_layers(space) -> None:
    """To a few bytes a layer: names and lengths are written with more or fewer digits."""
    for arch in space.decode(space.sample(5, np.random.default_rng(0))):
        plan = layer_plan(space, arch)
        whole = len(build_onnx(plan, tensors_of(plan), {}))
        assert abs(counted(plan, "fp32") - whole) <= 40 * len(plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    "space", [DEBUG, RELU6, FASHION_LIKE, RESNET], ids=lambda space: space.name
)
def test_an_int8_file_is_the_sum_of_its_quantized_layers(space) -> None:
    """Scales, zero points and the operators around every tensor are counted as they are written."""
    for arch in space.decode(space.sample(2, np.random.default_rng(0))):
        plan = layer_plan(space, arch)
        model = build_onnx(plan, tensors_of(plan), {}, bn_eps=space.bn_eps)
        whole = len(quantize_onnx(model, [images_of(plan, count=2)]))
        # Too much where the last operator of a layer is one that the next does not read as int8.
        assert -16 <= counted(plan, "int8") - whole <= 600


def test_an_int8_layer_takes_about_a_quarter_of_its_weights() -> None:
    plan = layer_plan(FASHION_LIKE, FASHION_LIKE.largest)
    (feature,) = (layer for layer in plan if layer.name == "feature")
    at_int8, at_fp32 = (stored_bytes(feature, precision) for precision in ("int8", "fp32"))
    assert 0.25 < at_int8 / at_fp32 < 0.35
