"""OFA's `net.config`, written by a dumb twin from a space's choices: no plan of ours is used."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from models.published import PublishedNetwork
from models.spaces import Arch, MobileSpace, SearchSpace, published_spaces

DROPOUTS = (0.1, 0.2, 0)
"""Of the classifier, in the published configurations."""
INNER = "mobile_inverted_conv"
ACTS = {"relu": "relu", "relu6": "relu6", "hswish": "h_swish"}


def blob_id(content: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def published_configs(network: PublishedNetwork) -> dict[str, bytes]:
    """The published `net.config` and `run.config`, written again, byte for byte, by path.

    The authors indented by four; some files end with a line break.
    """
    space = published_spaces()[network.space]
    size = {"image_size": network.arch.resolution}
    candidates = {
        network.net_config: [net_config(space, network.arch, dropout=rate) for rate in DROPOUTS],
        network.run_config: [size],
    }
    found: dict[str, bytes] = {}
    for file, documents in candidates.items():
        texts = [json.dumps(document, indent=4).encode() for document in documents]
        contents = [content for text in texts for content in (text, text + b"\n")]
        proved = [content for content in contents if blob_id(content) == file.blob]
        found.update((file.path, content) for content in proved)
    assert len(found) == 2, f"{network.id}: not what was published"
    return found


def net_config(
    space: SearchSpace, arch: Arch, inner: str = INNER, dropout: float = 0.1
) -> dict[str, Any]:
    """The published form of a network, with its fields in the published order.

    Args:
        inner: what a block calls its inverted bottleneck.
        dropout: in the classifier, while it was fine-tuned.
    """
    assert isinstance(space, MobileSpace)
    v3 = space.feature_width > 0
    act = ACTS[space.act]
    first = _mbconv(space.stem_width, space.first_width, 3, 1, 1, None, ACTS[space.first_act])
    blocks = [_block(first, inner)]
    width = space.first_width
    for stage, kernels, expands in zip(space.stages, arch.kernel, arch.expand, strict=True):
        for b, (kernel, expand) in enumerate(zip(kernels, expands, strict=True)):
            stride, mid = stage.stride if b == 0 else 1, int(width * expand + 4) // 8 * 8
            act_se = ACTS[stage.act], stage.se
            conv = _mbconv(width, stage.width, kernel, stride, expand, mid, *act_se)
            blocks.append(_block(conv, inner))
            width = stage.width
    last = {"feature_mix_layer": _conv(width, space.head_width, act)}
    if v3:
        last = {
            "final_expand_layer": _conv(width, space.head_width, act),
            "feature_mix_layer": _conv(space.head_width, space.feature_width, act, use_bn=False),
        }
    features = space.feature_width or space.head_width
    stem = _conv(space.channels, space.stem_width, act)
    return {
        "name": "MobileNetV3" if v3 else "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": space.bn_eps},
        "first_conv": stem | {"kernel_size": 3, "stride": space.stem_stride},
        "blocks": blocks,
        **last,
        "classifier": {
            "name": "LinearLayer", "in_features": features, "out_features": space.classes,
            "bias": True, "use_bn": False, "act_func": None, "dropout_rate": dropout,
            "ops_order": "weight_bn_act",
        },
    }  # fmt: skip


def _conv(wide_in: int, wide_out: int, act: str, use_bn: bool = True) -> dict[str, Any]:
    return {
        "name": "ConvLayer", "kernel_size": 1, "stride": 1, "dilation": 1, "groups": 1,
        "bias": False, "has_shuffle": False, "in_channels": wide_in, "out_channels": wide_out,
        "use_bn": use_bn, "act_func": act, "dropout_rate": 0, "ops_order": "weight_bn_act",
    }  # fmt: skip


def _mbconv(
    wide_in: int, wide_out: int, kernel: int, stride: int, expand: float, mid: int | None,
    act: str, se: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": "MBInvertedConvLayer", "in_channels": wide_in, "out_channels": wide_out,
        "kernel_size": kernel, "stride": stride, "expand_ratio": expand, "mid_channels": mid,
        "act_func": act, "use_se": se,
    }  # fmt: skip


def _block(conv: dict[str, Any], inner: str) -> dict[str, Any]:
    skips = conv["stride"] == 1 and conv["in_channels"] == conv["out_channels"]
    shortcut = None
    if skips:
        shortcut = {
            "name": "IdentityLayer", "in_channels": [conv["in_channels"]],
            "out_channels": [conv["out_channels"]], "use_bn": False, "act_func": None,
            "dropout_rate": 0, "ops_order": "weight_bn_act",
        }  # fmt: skip
    name = "MobileInvertedResidualBlock" if inner == INNER else "ResidualBlock"
    return {"name": name, inner: conv, "shortcut": shortcut}
