"""Published networks have their published sizes, and train and export like any subnet."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.errors import InputError, NotFound
from models.layers.modules.elastic import channels_last
from models.onnx.builder import build_onnx
from models.supernet.extraction import plain
from tests.benchmarks.headline.families import FAMILIES, SMALL_IMAGE_STRIDES, family_plan

# Without the bias of MobileNetV3's feature layer (1,280 and 1,024 values), which ours lacks.
PUBLISHED_PARAMS = {
    "mobilenet-v3-large": 5_483_032 - 1280,
    "mobilenet-v3-small": 2_542_856 - 1024,
    "efficientnet-b0": 5_288_548,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_params_are_the_published_ones(family):
    plan = family_plan(family, 1.0, 224, channels=3, classes=1000)
    assert sum(layer.params for layer in plan) == PUBLISHED_PARAMS[family]
    assert plan[-4 if FAMILIES[family].feature else -3].in_size == 7


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("width", [0.25, 0.35, 1.0])
def test_a_small_one_computes_in_onnx_what_it_does_in_torch(family, width):
    strides = SMALL_IMAGE_STRIDES[family]
    plan = family_plan(family, width, 20, channels=1, classes=10, strides=strides)
    subnet = channels_last(plain(plan, 1e-5)).eval()
    assert sum(p.numel() for p in subnet.parameters()) == sum(layer.params for layer in plan)
    images = np.random.default_rng(0).standard_normal((2, 1, 20, 20), np.float32)
    with torch.no_grad():
        expected = subnet(torch.from_numpy(images)).numpy()
    tensors = {name: tensor.numpy() for name, tensor in subnet.state_dict().items()}
    session = ort.InferenceSession(build_onnx(plan, tensors, {}, bn_eps=1e-5))
    (logits,) = session.run(["logits"], {"input": images})
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_what_does_not_hold_is_refused():
    with pytest.raises(NotFound, match="mobilenet-v3-small"):
        family_plan("mobilenet-v3-smal", 1.0, 28, channels=1, classes=10)
    with pytest.raises(InputError, match="width"):
        family_plan("efficientnet-b0", 0.0, 28, channels=1, classes=10)
    with pytest.raises(InputError, match="strides: expected 8"):
        family_plan("efficientnet-b0", 1.0, 28, channels=1, classes=10, strides=(1, 2))
