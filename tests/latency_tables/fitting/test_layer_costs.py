"""What `layer_costs` counts, by hand and against the plan's own counts."""

from __future__ import annotations

import numpy as np
import pytest

from latency_tables.fitting.layer_costs import FEATURES, as_costs, as_vector, layer_features
from latency_tables.table.table import space_layers
from models.layers import LayerSpec
from models.spaces.files import published_spaces
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

SPACES = [DEBUG, FASHION_LIKE, RESNET, *published_spaces().values()]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_multiplication_is_in_one_feature(space):
    """All but the depthwise ones with a stride, which are in two; and those of squeezing."""
    layers = list(space_layers(space).values())
    features = layer_features(layers)
    columns = [i for i, n in enumerate(FEATURES) if n.endswith("_macs") and "strided" not in n]
    for layer, row in zip(layers, features, strict=True):
        aside = 2 * layer.mid_channels * layer.se_channels
        aside += layer.in_channels * layer.out_channels * (layer.kind == "linear")
        assert row[columns].sum() == layer.macs - aside, layer.key
    assert (features >= 0).all()
    assert features[:, FEATURES.index("weights")].tolist() == [layer.params for layer in layers]


def test_a_block_by_hand():
    block = LayerSpec(
        name="b", kind="mbconv", in_channels=16, out_channels=24, in_size=10, mid_channels=48,
        kernel=5, stride=2, act="hswish", norm=True, se_channels=16,
    )  # fmt: skip
    found = dict(zip(FEATURES, layer_features([block])[0].tolist(), strict=True))
    assert {name: value for name, value in found.items() if value} == {
        "pointwise_macs": 16 * 48 * 100 + 48 * 24 * 25,
        "depthwise_k5_macs": 25 * 48 * 25,
        "depthwise_strided_macs": 25 * 48 * 25,
        "dense_values": 16 * 100 + 48 * 100 + 48 * 25 + 24 * 25,
        "depthwise_values": 48 * 100 + 48 * 25,
        "weights": block.params,
        "squeezes": 1,
        "squeezed_values": 48 * 25,
        "hswish_values": 48 * 125,
        "dense_layers": 2,
        "depthwise_layers": 1,
        "blocks": 1,
    }


def test_costs_by_name_and_as_a_vector():
    vector = np.arange(len(FEATURES)) / 7
    assert as_vector(as_costs(vector)) == pytest.approx(vector, rel=1e-6)
    assert "pointwise_macs" not in as_costs(vector)  # it costs nothing
    assert as_costs(np.full(len(FEATURES), 1 / 3))["weights"] == 0.3333333, "seven digits"
    assert layer_features([]).shape == (0, len(FEATURES))
