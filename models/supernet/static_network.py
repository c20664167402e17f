"""Published weights of one network, which was fine-tuned by itself: no supernet is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from models.layers import COUNTER, kind_of, tensor_shapes
from models.layers.modules import channels_last
from models.spaces import Arch, SearchSpace, layer_plan
from models.supernet.checkpoint import block_name_of, detect_format, matched_tensors
from models.supernet.extraction import Subnet, plain


def static_key_map(space: SearchSpace, arch: Arch, block: str) -> dict[str, str]:
    """Published name of each tensor of the network `arch` by itself, by our name.

    Modules that are elastic in a supernet are plain ones here, without a module inside a module,
    and its blocks are counted without gaps.

    Args:
        block: what the checkpoint calls the inner module of a block.
    """
    modules, blocks, names = space.published_modules(block), 0, {}
    for spec in layer_plan(space, arch):
        if spec.name not in modules:
            continue
        path, in_block = re.subn(r"^blocks\.\d+", f"blocks.{blocks}", modules[spec.name].path)
        blocks += in_block
        module = replace(modules[spec.name], path=path, elastic=False, kernels=())
        for ours, theirs in kind_of(spec).published_names(spec, module):
            names[f"{spec.name}.{ours}"] = theirs
    return names


def load_static(space: SearchSpace, arch: Arch, tensors: Mapping[str, Tensor]) -> Subnet:
    """The network with its published weights and batch-norm statistics, in eval mode.

    Args:
        tensors: by their published names, of either release. Counters of batch norms may be left
            out, since nothing computes with them.

    Raises:
        InputError: naming the missing, unknown, misshapen or unusable tensors.
    """
    plan = layer_plan(space, arch)
    names = static_key_map(space, arch, block_name_of(detect_format(tensors)))
    subnet = plain(plan, space.bn_eps)
    found = matched_tensors(space, names, tensor_shapes(plan), tensors)
    counters = {n: t for n, t in subnet.state_dict().items() if n.endswith(COUNTER)}
    subnet.load_state_dict({**counters, **found})
    return channels_last(subnet).eval()
