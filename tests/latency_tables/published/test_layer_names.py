"""What is read from a name, in many spellings of the same layer."""

from __future__ import annotations

import pytest

from latency_tables.published.layer_names import NotSquare, describe

BLOCK = {
    "group": "block",
    "in_size": 56,
    "in_channels": 32,
    "out_size": 28,
    "out_channels": 48,
    "kernel": 5,
    "stride": 2,
    "expand": 3,
    "se": 1,
    "act": "hswish",
    "skip": False,
}


@pytest.mark.parametrize(
    "name",
    [
        "expanded_conv-input:56x56x32-output:28x28x48-expand:3-kernel:5-stride:2-idskip:0-se:1-hs:1",
        "EXPANDED_CONV-INPUT:56X56X32-OUTPUT:28X28X48-EXPAND:3-KERNEL:5-STRIDE:2-IDSKIP:0-SE:1-HS:1",
        " Expanded_Conv - input: 56 x 56 x 32, output: 28x28x48, expand: 3.0, kernel=5x5, stride=2,"
        " id_skip=false, se=true, act=h_swish ",
        "MBConv_in-32x56x56_out-48x28x28_e-3_k-5_s-2_skip-0_use_se-True_act-hard_swish",
        "InvertedResidual(input=[1, 32, 56, 56], output=[1, 48, 28, 28], exp=3, ks=5, stride=2,"
        " shortcut=no, se=1, activation=HSwish)",
        "block input_shape:(1,56,56,32) output_shape:(1,28,28,48) expansion:3 kernel_size:5 s:2"
        " residual:false se:yes hs:1",
    ],
)
def test_spellings_of_one_block(name):
    said = describe(name)
    assert {field: getattr(said, field) for field in BLOCK} == BLOCK
    assert (said.ratio, said.mid_channels) == (None, None)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("first_conv", {"word": "firstconv", "group": "conv", "in_channels": None}),
        ("Logits-input:7x7x1664-output:1000", {"group": "linear", "in_size": 7, "out_size": None}),
        ("classifier_in-1536_out-1000", {"group": "linear", "in_channels": 1536}),
        ("AvgPool2D-input:7x7x64-output:1x1x64", {"group": "pool", "out_size": 1}),
        ("maxpool-in56x56x64-out28x28x64-k3-s2", {"group": "pool", "kernel": 3, "stride": 2}),
        ("final_expand_layer-input:7x7x192-output:7x7x960", {"group": "conv", "expand": None}),
        ("LinearBottleneck-in:14x14x96-expand_ratio:4.5", {"group": "block", "ratio": 4.5}),
        ("b-in14x14x96-out14x14x96-mid288", {"group": "block", "mid_channels": 288}),
        ("x-input:14x14x96-se:24-hs:0", {"group": None, "se": 24, "act": "no hswish"}),
        ("conv-input:\u0661x\u0661x3", {"in_channels": None, "group": "conv"}),
        ("x" * 100_000 + "-input:" + "9" * 100_000, {"in_channels": None}),
        ("", {"word": "", "group": None}),
    ],
)
def test_what_a_name_states(name, fields):
    said = describe(name)
    assert {field: getattr(said, field) for field in fields} == fields


@pytest.mark.parametrize("shape", ["7x5x3", "2x7x7x3", "7x7", "1x7x5x3"])
def test_shapes_that_are_not_square(shape):
    with pytest.raises(NotSquare, match=shape):
        describe(f"conv-input:{shape}")
