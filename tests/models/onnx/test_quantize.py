"""An int8 file holds the float file's weights to half a step, and computes nearly the same."""

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.errors import InputError
from models.onnx.builder import IR_VERSION, OPSET, build_onnx, build_slice
from models.onnx.quantize import quantize_onnx
from models.spaces.plan import layer_plan
from tests.models.onnx.test_onnx_builder import images_of, random_arch, run, tensors_of
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

NETWORKS = [
    (DEBUG, DEBUG.largest),
    (FASHION_LIKE, random_arch(FASHION_LIKE, 3)),
    (RESNET, RESNET.smallest),
]


def batches_of(plan, count=4):
    return [images_of(plan, count=8, seed=seed) for seed in range(count)]


@cache
def quantized(number: int) -> tuple[bytes, bytes]:
    """A network of `NETWORKS` as a file, and the same at int8."""
    space, arch = NETWORKS[number]
    plan = layer_plan(space, arch)
    model = build_onnx(plan, tensors_of(plan), {}, bn_eps=space.bn_eps)
    return model, quantize_onnx(model, batches_of(plan))


def initializers(model: bytes):
    graph = onnx.load_from_string(model).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.mark.parametrize("number", range(len(NETWORKS)))
@pytest.mark.slow
def test_logits_are_near_those_in_float(number) -> None:
    model, at_int8 = quantized(number)
    x = images_of(layer_plan(*NETWORKS[number]), count=16, seed=99)
    expected, got = run(model, x), run(at_int8, x)
    assert np.abs(got - expected).mean() <= 0.05 * np.abs(expected).max()
    assert not np.array_equal(got, expected)


@pytest.mark.slow
def test_weights_are_rounded_channel_by_channel_to_seven_bits() -> None:
    given, kept = map(initializers, quantized(1))
    names = [name.removesuffix("_quantized") for name in kept if name.endswith("weight_quantized")]
    assert {f"{name}.weight" for name in ("stem.conv", "classifier")} < set(names)
    for name in names:
        weight, whole = given[name], kept[f"{name}_quantized"]
        scale = kept[f"{name}_scale"]
        assert whole.dtype == np.int8
        assert scale.shape == (len(weight),)
        assert np.abs(whole.astype(int)).max() <= 64
        back = whole * scale.reshape(-1, *[1] * (weight.ndim - 1))
        step = scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert (np.abs(back - weight) <= 0.501 * step + 1e-7).all(), name


@pytest.mark.slow
def test_squeeze_and_excitation_stays_float() -> None:
    given, kept = map(initializers, quantized(1))
    squeezing = [name for name in given if ".se_" in name]
    assert squeezing
    for name in squeezing:
        np.testing.assert_array_equal(kept[name], given[name])


@pytest.mark.slow
def test_every_layer_by_itself_is_quantized() -> None:
    for layer in layer_plan(FASHION_LIKE, random_arch(FASHION_LIKE, 3)):
        model = build_slice([layer], tensors_of([layer]))
        at_int8 = quantize_onnx(model, batches_of([layer], count=2))
        x = images_of([layer], count=2, seed=9)
        expected = run(model, x)
        assert np.abs(run(at_int8, x) - expected).mean() <= 0.05 * np.abs(expected).max()


@pytest.mark.slow
def test_file_is_valid_describes_itself_and_is_always_the_same() -> None:
    plan = layer_plan(DEBUG, DEBUG.largest)
    model = build_onnx(plan, tensors_of(plan), {"subnet_search.precision": "fp32"})
    first = quantize_onnx(model, batches_of(plan), {"subnet_search.precision": "int8"})
    assert quantize_onnx(model, batches_of(plan), {"subnet_search.precision": "int8"}) == first
    onnx.checker.check_model(first, full_check=True)
    parsed = onnx.load_from_string(first)
    assert {p.key: p.value for p in parsed.metadata_props} == {"subnet_search.precision": "int8"}
    assert parsed.ir_version == IR_VERSION
    assert [(entry.domain, entry.version) for entry in parsed.opset_import] == [("", OPSET)]
    assert [value.name for value in (*parsed.graph.input, *parsed.graph.output)] == [
        "input",
        "logits",
    ]
    assert run(first, images_of(plan, count=3)).shape == (3, 10)


def test_refuses_images_that_cannot_calibrate() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, tensors_of(plan), {})
    with pytest.raises(InputError, match="at least one batch"):
        quantize_onnx(model, [])
    with pytest.raises(InputError, match=r"shape \(1, \d+, \d+\), got float32 \(2, 3, 5, 5\)"):
        quantize_onnx(model, [np.zeros((2, 3, 5, 5), np.float32)])
    with pytest.raises(InputError, match="NaN"):
        quantize_onnx(model, [np.full_like(images_of(plan), np.nan)])
