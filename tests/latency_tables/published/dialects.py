"""Layers' names in the dialects of others, written here by hand from the layers of a space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from models.layers.spec import LayerSpec
from models.spaces import SearchSpace, layer_plan

Name = Callable[[SearchSpace, LayerSpec, float, int], str | None]
"""From a space, a layer, its expansion ratio, and height and width before the mean."""


def flat(layer: LayerSpec) -> str:
    """Shapes as the published code writes them."""
    size, out = layer.in_size, layer.out_size
    ends = f"input:{size}x{size}x{layer.in_channels}-output:{out}x{out}x{layer.out_channels}"
    return (
        ends if layer.kind != "linear" else f"{ends.partition('-')[0]}-output:{layer.out_channels}"
    )


WORDS = {
    "stem": "Conv",
    "head": "Conv_1",
    "feature": "Conv_2",
    "pool": "AvgPool2D",
    "classifier": "Logits",
}
MODULES = {
    "stem": "first_conv",
    "head": "final_expand_layer",
    "feature": "feature_mix_layer",
    "pool": None,
    "classifier": "classifier",
}


def by_channels(space: SearchSpace, layer: LayerSpec, ratio: float, pooled: int) -> str | None:
    """The published MobileNetV3 dialect."""
    if layer.name in WORDS:
        return f"{WORDS[layer.name]}-{flat(layer)}"
    return (
        f"expanded_conv-{flat(layer)}-expand:{layer.mid_channels}-kernel:{layer.kernel}"
        f"-stride:{layer.stride}-idskip:{int(layer.skip)}-se:{int(layer.se_channels > 0)}"
        f"-hs:{int(layer.act == 'hswish')}"
    )


def by_ratio(space: SearchSpace, layer: LayerSpec, ratio: float, pooled: int) -> str | None:
    """The published ProxylessNAS dialect: the mean is part of the logits."""
    if layer.name == "pool":
        return None
    if layer.name == "classifier":
        shape = f"input:{pooled}x{pooled}x{layer.in_channels}"
        return f"Logits-{shape}-output:{layer.out_channels}"
    if layer.name in WORDS:
        return f"{WORDS[layer.name]}-{flat(layer)}"
    return (
        f"expanded_conv-{flat(layer)}-expand:{ratio:g}-kernel:{layer.kernel}"
        f"-stride:{layer.stride}-idskip:{int(layer.skip)}"
    )


def by_modules(space: SearchSpace, layer: LayerSpec, ratio: float, pooled: int) -> str | None:
    """Names of modules, spaces, a float ratio, no shortcut and no mean."""
    if layer.name in MODULES:
        word = MODULES[layer.name]
        return word and f"{word} - {flat(layer)}"
    ratio = layer.mid_channels / layer.in_channels
    return (
        f"MBConv - {flat(layer)} - expand_ratio: {ratio:.4f} - kernel: {layer.kernel}"
        f" - stride: {layer.stride} - se: {bool(layer.se_channels)} - act: {layer.act}"
    )


def channels_first(space: SearchSpace, layer: LayerSpec, ratio: float, pooled: int) -> str | None:
    """As an FPGA's tool names them: CHW, and the output's channels alone."""
    size = layer.in_size
    if layer.name == "pool":
        return None
    if layer.kind == "linear":
        return f"Linear_in-{layer.in_channels}_out-{layer.out_channels}"
    shape = f"{layer.in_channels}x{size}x{size}"
    if layer.kind == "conv":
        return f"Conv_in-{shape}_out-{layer.out_channels}_k-{layer.kernel}_act-h_swish"
    act = {"hswish": "h_swish"}.get(str(layer.act), layer.act)
    return (
        f"ResidualBlock-in_{shape}-out_{layer.out_channels}-k_{layer.kernel}-e_{ratio:g}"
        f"-s_{layer.stride}-act_{act}-use_se_{bool(layer.se_channels)}"
    )


def named(space: SearchSpace, dialect: Name) -> Iterator[tuple[int, LayerSpec, str]]:
    """Resolution, layer and name of every layer of a space that a dialect has."""
    for arch in space.covering():
        ratios = iter(ratio for stage in arch.expand for ratio in stage)
        pooled = 1
        for layer in layer_plan(space, arch):
            ratio = float(next(ratios)) if layer.name.startswith("stage") else 1.0
            if layer.name == "pool":
                pooled = layer.in_size
            name = dialect(space, layer, ratio, pooled)
            if name is not None:
                yield arch.resolution, layer, name
