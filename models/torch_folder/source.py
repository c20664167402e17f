"""`model.py`: a network as a program that needs only torch and safetensors, for people to read."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from models.layers import LayerSpec, TorchLayer, kind_of
from models.layers.modules import ChannelsLast
from models.spaces import Arch, Feature, SearchSpace, layer_plan
from models.supernet import LAYOUT, STEM

HEAD = '''"""A network of {space}, {params:,} weights, {macs:,} multiply-accumulates an image.

Input: (batch, {channels}, {size}, {size}) float32, normalized as preprocessing.json says. Output:
logits, (batch, classes). `load()` gives the network with the weights beside this file; `save`
replaces them.
"""

import ctypes
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
HEAD = "{head}"  # the layer that gives the logits
'''
FEATURES = '''FEATURES = {{
{lines}
}}
"""Outputs of `forward_features` by layer."""
'''
NETWORK = '''class Network(nn.Sequential):
    """The layers in their order; behind each its output, channels x height x width."""

    def __init__(self, classes: int = {classes}) -> None:
        super().__init__()
{lines}
'''
FORWARD_FEATURES = '''
    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The logits, and the stages' outputs by their names."""
        found = {}
        for name, layer in self.named_children():
            x = layer(x)
            if name in FEATURES:
                found[FEATURES[name]] = x
        return {"logits": x, **found}
'''
LOAD = '''def load(folder: Path = HERE, classes: int | None = None) -> Network:
    """The network with the weights of a folder, ready for inference.

    Args:
        classes: replace the head by a new one, untrained, for so many classes.
    """
    weights = load_file(Path(folder) / "weights.safetensors")
    network = Network(classes or len(weights[f"{HEAD}.bias"]))
    if classes is not None:
        weights = {name: t for name, t in weights.items() if not name.startswith(f"{HEAD}.")}
    network.load_state_dict(weights, strict=classes is None)
    return network.eval()


def save(network: nn.Module, folder: Path = HERE) -> None:
    """Replace the weights of a folder (`safetensors.torch.save_file` would need numpy)."""
    tensors = sorted(network.state_dict().items(), key=lambda item: -item[1].element_size())
    stated = json.loads((Path(folder) / "architecture.json").read_text())
    header, end = {"__metadata__": {"architecture_sha256": stated["sha256"]}}, 0
    for name, t in tensors:
        kind = {torch.float32: "F32", torch.int64: "I64"}[t.dtype]
        offsets = [end, end := end + t.nbytes]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = Path(folder) / "weights.partial"
    with partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, t in tensors:
            values = t.detach().cpu().contiguous()
            file.write(ctypes.string_at(values.data_ptr(), values.nbytes))
    partial.replace(Path(folder) / "weights.safetensors")
'''


def model_source(space: SearchSpace, arch: Arch, features: Sequence[Feature] = ()) -> str:
    """The text of `model.py`. Its classes are the sources of `LayerKind.standalone`'s.

    Args:
        features: what `forward_features` gives; without any there is no such method.

    Raises:
        InputError: if a layer's kind has no module that needs only torch.
    """
    plan = layer_plan(space, arch)
    layers = {spec.name: kind_of(spec).standalone(spec, space.bn_eps) for spec in plan}
    types = dict.fromkeys(layer.module_type for layer in layers.values())
    lines = []
    for spec in plan:
        lines.append(
            f"        self.{spec.name} = {_call(layers[spec.name], spec)}  # {_shape(spec)}"
        )
        if spec.name == STEM:
            types[ChannelsLast] = None
            lines.append(f"        self.{LAYOUT} = ChannelsLast()")
    sources = [inspect.getsource(kind).rstrip() for kind in types if not _is_torchs(kind)]
    head = HEAD.format(
        space=space.name,
        params=sum(spec.params for spec in plan),
        macs=sum(spec.macs for spec in plan),
        channels=space.channels,
        size=arch.resolution,
        head=plan[-1].name,
    )
    network = NETWORK.format(classes=space.classes, lines="\n".join(lines))
    if features:
        named = (
            f'    "{f.layer}": "{f.name}",  # {f.channels} x {f.size} x {f.size}' for f in features
        )
        head += FEATURES.format(lines="\n".join(named))
        network += FORWARD_FEATURES
    return "\n\n\n".join(part.rstrip() for part in (head, *sources, network, LOAD)) + "\n"


def _call(layer: TorchLayer, spec: LayerSpec) -> str:
    """The call that makes a layer, without options that are as the class has them anyway."""
    usual = inspect.signature(layer.module_type).parameters
    arguments = [str(argument) for argument in layer.arguments]
    if kind_of(spec).flattens:
        arguments[1] = "classes"
    options = [
        f"{name}={_text(value)}"
        for name, value in layer.options.items()
        if name not in usual or usual[name].default != value
    ]
    name = layer.module_type.__name__
    prefix = "nn." if _is_torchs(layer.module_type) else ""
    return f"{prefix}{name}({', '.join([*arguments, *options])})"


def _text(value: Any) -> str:
    return f"nn.{value.__name__}" if isinstance(value, type) else repr(value)


def _is_torchs(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith("torch.nn.")


def _shape(spec: LayerSpec) -> str:
    flat = kind_of(spec).flattens
    return "classes" if flat else f"{spec.out_channels} x {spec.out_size} x {spec.out_size}"
