"""The torch module that a `net.config` describes, with the names of a published `init` file.

A dumb twin, straight from the document: no plan and no layer of ours is used.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tests.net_configs import INNER


class StaticNetwork(nn.Module):
    """What a `net.config` describes, (B, channels, r, r) -> (B, classes), after its publishers'
    `MobileNetV3` and `ProxylessNASNets`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        eps = config["bn"]["eps"]
        self.first_conv = Conv(config["first_conv"], eps)
        self.blocks = nn.ModuleList(Block(block, eps) for block in config["blocks"])
        self.v3 = "final_expand_layer" in config
        if self.v3:
            self.final_expand_layer = Conv(config["final_expand_layer"], eps)
        self.feature_mix_layer = Conv(config["feature_mix_layer"], eps)
        shape = config["classifier"]["in_features"], config["classifier"]["out_features"]
        self.classifier = nn.ModuleDict({"linear": nn.Linear(*shape)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_conv(x)
        for block in self.blocks:
            x = block(x)
        if self.v3:
            x = self.final_expand_layer(x).mean((2, 3), keepdim=True)
            x = self.feature_mix_layer(x).flatten(1)
        else:
            x = self.feature_mix_layer(x).mean((2, 3))
        return self.classifier["linear"](x)


def act_of(name: str | None) -> nn.Module:
    modules = {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "h_swish": nn.Hardswish()}
    return nn.Identity() if name is None else modules[name]


class Conv(nn.Module):
    def __init__(self, config: dict[str, Any], eps: float) -> None:
        super().__init__()
        k = config["kernel_size"]
        wide_in, wide_out = config["in_channels"], config["out_channels"]
        self.conv = nn.Conv2d(wide_in, wide_out, k, config["stride"], k // 2, bias=False)
        self.bn = nn.BatchNorm2d(wide_out, eps) if config["use_bn"] else nn.Identity()
        self.act = act_of(config["act_func"])

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Block(nn.Module):
    def __init__(self, config: dict[str, Any], eps: float) -> None:
        super().__init__()
        self.mobile_inverted_conv = Bottleneck(config[INNER], eps)
        self.skips = config["shortcut"] is not None

    def forward(self, x: Tensor) -> Tensor:
        y = self.mobile_inverted_conv(x)
        return x + y if self.skips else y


class ConvNorm(nn.Module):
    def __init__(self, wide_in: int, wide_out: int, k: int, stride: int, groups: int, eps: float):
        super().__init__()
        self.conv = nn.Conv2d(wide_in, wide_out, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(wide_out, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        small = max(8, (channels // 4 + 4) // 8 * 8)
        small += 8 if small < 0.9 * (channels // 4) else 0
        self.fc = nn.Sequential()
        self.fc.add_module("reduce", nn.Conv2d(channels, small, 1))
        self.fc.add_module("relu", nn.ReLU())
        self.fc.add_module("expand", nn.Conv2d(small, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * (nn.functional.relu6(self.fc(x.mean((2, 3), keepdim=True)) + 3) / 6)


class Bottleneck(nn.Module):
    def __init__(self, config: dict[str, Any], eps: float) -> None:
        super().__init__()
        wide_in, wide_out = config["in_channels"], config["out_channels"]
        mid = config["mid_channels"] or wide_in * config["expand_ratio"]
        self.act = act_of(config["act_func"])
        self.expands = config["expand_ratio"] != 1
        if self.expands:
            self.inverted_bottleneck = ConvNorm(wide_in, mid, 1, 1, 1, eps)
        k, stride = config["kernel_size"], config["stride"]
        self.depth_conv = ConvNorm(mid, mid, k, stride, mid, eps)
        self.squeezes = config["use_se"]
        if self.squeezes:
            self.depth_conv.add_module("se", Squeeze(mid))
        self.point_linear = ConvNorm(mid, wide_out, 1, 1, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        if self.expands:
            x = self.act(self.inverted_bottleneck(x))
        x = self.act(self.depth_conv(x))
        if self.squeezes:
            x = self.depth_conv.get_submodule("se")(x)
        return self.point_linear(x)
