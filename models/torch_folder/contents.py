"""The files of a torch folder, and what can be said of a network in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from models.data import PhotoFit
from models.errors import InputError
from models.layers import COUNTER
from models.layers.modules import channels_last
from models.spaces import Arch, Feature, SearchSpace, layer_plan, stage_features
from models.supernet import Subnet, plain
from models.torch_folder.source import model_source

WEIGHTS, ARCHITECTURE, PREPROCESSING = (
    "weights.safetensors",
    "architecture.json",
    "preprocessing.json",
)
ARCHITECTURE_SHA256 = "architecture_sha256"
"""Of the metadata of the weights: the architecture that they belong to."""
FORMAT = 1

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class TorchNetwork:
    """One network with weights of its own, apart from any supernet."""

    space: SearchSpace
    """With as many classes as the network has."""
    arch: Arch
    tensors: Mapping[str, Tensor]
    """Float32, by the names of an extracted subnet, without counters of batch norms."""
    supernet: str
    """What it was taken from."""
    supernet_sha256: str = ""
    """Of the supernet's weights; empty for weights that are no supernet's."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of each channel, on the 0..1 scale."""
    photo_fit: PhotoFit = PhotoFit()
    """How photos of any shape become its input."""
    class_names: tuple[str, ...] | None = None
    """In the order of the logits, where they are known."""
    has_features: bool = False
    """Whether the stages' outputs are given too."""
    recalibrated: bool = False
    """Whether the batch-norm statistics were recomputed for this network."""
    licence: str = "see the publisher of the supernet"
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else `architecture.json` states; nothing reads it."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The stages' outputs, if they are given."""
        return stage_features(self.space, self.arch) if self.has_features else ()

    @property
    def preprocess(self) -> dict[str, Any]:
        """As files state it."""
        return {
            "channels": self.space.channels,
            "resolution": self.arch.resolution,
            "interpolation": "bilinear",
            "mean": list(self.mean),
            "std": list(self.std),
            **self.photo_fit.to_json(self.arch.resolution),
        }


def tensors_of(network: Subnet) -> dict[str, Tensor]:
    """The tensors of a network as a `TorchNetwork` has them."""
    state = network.state_dict().items()
    return {name: tensor.contiguous() for name, tensor in state if not name.endswith(COUNTER)}


def architecture_sha256(space: SearchSpace, arch: Arch) -> str:
    """Of an architecture of a space, whatever its number of classes, hex."""
    stated = {"space": {**space.to_json(), "classes": 0}, "arch": arch.to_json()}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def folder_files(network: TorchNetwork) -> dict[str, bytes]:
    """The content of each file of the folder, by name.

    Raises:
        InputError: if a layer's kind has no module that needs only torch.
    """
    space, arch = network.space, network.arch
    sha256 = architecture_sha256(space, arch)
    stated = {
        "format": FORMAT,
        "supernet": network.supernet,
        "supernet_sha256": network.supernet_sha256,
        "sha256": sha256,
        "arch": arch.to_json(),
        "features": [feature.to_json() for feature in network.features],
        "recalibrated": network.recalibrated,
        "licence": network.licence,
        "about": dict(network.about),
        "space": space.to_json(),
    }
    names = network.class_names
    preprocessing = {**network.preprocess, "class_names": None if names is None else list(names)}
    with_features = (
        "    load().forward_features(images)  # the stages' outputs too, by name\n"
        if network.features
        else ""
    )
    readme = (_HERE / "readme.txt").read_text()
    readme = readme.format(
        space=space.name,
        channels=space.channels,
        size=arch.resolution,
        recalibrated=", recomputed for this network" if network.recalibrated else "",
        features=with_features,
        licence=network.licence,
    )
    return {
        WEIGHTS: state_bytes(network.tensors, sha256),
        ARCHITECTURE: (json.dumps(stated, indent=1) + "\n").encode(),
        PREPROCESSING: (json.dumps(preprocessing, indent=1) + "\n").encode(),
        "model.py": model_source(space, arch, network.features).encode(),
        "finetune.py": (_HERE / "finetune.txt").read_bytes(),
        "README.md": readme.encode(),
    }


def state_bytes(tensors: Mapping[str, Tensor], sha256: str) -> bytes:
    """The weights' file, with a counter for each batch norm, as torch's own modules have one."""
    state = dict(tensors)
    for name in tensors:
        if name.endswith("running_mean"):
            state[f"{name.removesuffix('running_mean')}{COUNTER}"] = torch.zeros(
                (), dtype=torch.int64
            )
    return bytes(save(state, {ARCHITECTURE_SHA256: sha256}))


@torch.no_grad()
def logits_of_source(source: bytes, network: TorchNetwork, images: Tensor) -> Tensor:
    """What the text of a `model.py` that was just written here computes of images (B, C, r, r)."""
    module: dict[str, Any] = {"__name__": "model", "__file__": "model.py"}
    exec(compile(source, "model.py", "exec"), module)  # our own text: see `model_source`
    made = module["Network"](network.space.classes)
    counters = {n: t for n, t in made.state_dict().items() if n.endswith(COUNTER)}
    made.load_state_dict({**counters, **network.tensors})
    logits: Tensor = made.eval()(images)
    return logits


def check_new_folder(path: Path) -> None:
    """Check that a folder can be written at `path`.

    Raises:
        InputError: if there is something already, or no folder to write it in.
    """
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: expected a new folder in a folder that exists")
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            raise InputError(
                f"{path}: expected a new or an empty folder, found files in it: name another one"
            )
    elif path.exists() or path.is_symlink():
        raise InputError(f"{path}: expected a new or an empty folder, found a file or a link")


def module_of(space: SearchSpace, arch: Arch, tensors: Mapping[str, Tensor]) -> Subnet:
    """A network with weights of its own as an ordinary module, in eval mode.

    Args:
        tensors: as a `TorchNetwork` has them.
    """
    module = plain(layer_plan(space, arch), space.bn_eps)
    counters = {n: t for n, t in module.state_dict().items() if n.endswith(COUNTER)}
    module.load_state_dict({**counters, **tensors})
    return channels_last(module).eval()
