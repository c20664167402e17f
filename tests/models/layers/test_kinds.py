"""Layer kinds: what holds for every registered kind, and that none of them loads torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.errors import NotFound
from models.layers import LayerSpec, kind_of
from models.spaces import layer_plan
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

LAYERS = {
    layer.key: layer
    for space in (DEBUG, FASHION_LIKE, RESNET)
    for arch in space.covering()
    for layer in layer_plan(space, arch)
}


@pytest.mark.slow
def test_params_are_the_trainable_values_of_the_plain_module():
    for layer in LAYERS.values():
        module = kind_of(layer).plain(layer, 1e-5)
        assert layer.params == sum(weight.numel() for weight in module.parameters()), layer


@pytest.mark.slow
def test_tensor_shapes_are_those_of_the_plain_module():
    for layer in LAYERS.values():
        kind = kind_of(layer)
        state = kind.plain(layer, 1e-5).state_dict()
        shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
        assert kind.tensor_shapes(layer) == shapes, layer


def test_an_unknown_kind_is_named_with_the_nearest():
    layer = LayerSpec(name="x", kind="mbcon", in_channels=1, out_channels=1, in_size=1)
    with pytest.raises(NotFound, match="did you mean 'mbconv'"):
        _ = layer.macs


@pytest.mark.slow
def test_plans_costs_and_search_load_no_torch():
    code = """
import importlib, sys
for room in ("models.layers", "models.spaces", "search.costs", "search.predictors",
             "search.evolution", "latency_tables.table", "latency_tables.fitting"):
    face = importlib.import_module(room)
    [getattr(face, name) for name in face.__all__]
from models.spaces import layer_plan, published_spaces
from models.layers import tensor_shapes
for space in published_spaces().values():
    plan = layer_plan(space, space.largest)
    assert sum(layer.macs + layer.params + layer.live_values for layer in plan)
    assert tensor_shapes(plan)
assert not {"torch", "onnx", "onnxruntime"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
