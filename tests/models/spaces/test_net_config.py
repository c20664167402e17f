"""`models.spaces.net_config`: the published form of a static network."""

import copy
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidDocument
from models.spaces import layer_plan, net_config_space, published_spaces
from models.spaces.net_config import lacks_resolution
from tests.net_configs import INNER, net_config
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

REFERENCE = Path(os.environ.get("SUBNET_REFERENCE", "nowhere")) / "specialized_configs.json.gz"
MOBILE = [space for space in published_spaces().values() if space.family == "mobile"]
W10 = published_spaces()["ofa-mbv3-w1.0"]


@pytest.mark.parametrize("space", [DEBUG, *MOBILE], ids=lambda s: s.name)
def test_what_the_twin_writes_is_read(space):
    for arch in space.decode(space.sample(8, np.random.default_rng(0))):
        config = net_config(space, arch)
        assert space.read_arch({**config, "image_size": arch.resolution}) == arch
        later = net_config(space, arch, inner="conv")
        run = {"image_size": arch.resolution, "lr": 0.05}
        assert space.read_arch({"net.config": later, "run.config": run}) == arch


def test_whether_the_resolution_is_missing():
    config = json.loads(json.dumps(net_config(FASHION_LIKE, FASHION_LIKE.largest)))
    assert lacks_resolution(config)
    assert not lacks_resolution({**config, "resolution": 28})
    assert not lacks_resolution(FASHION_LIKE.largest.to_json())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("blocks", [], "blocks: expected a list of at least two blocks, got []"),
        ("blocks.3", 7, "blocks[3]: expected an object, got 7"),
        (f"blocks.3.{INNER}", None, "blocks[3]: expected an inverted bottleneck in"),
        (f"blocks.3.{INNER}.kernel_size", 9, f"blocks[3].{INNER}.kernel_size: expected one of [3"),
        (f"blocks.3.{INNER}.kernel_size", "5", "kernel_size: expected a positive integer, got '5'"),
        (f"blocks.3.{INNER}.expand_ratio", 5, "expand_ratio: expected one of [3, 4, 6], got 5"),
        (f"blocks.3.{INNER}.mid_channels", 8, f"blocks[3].{INNER}.mid_channels: expected 64"),
        (f"blocks.3.{INNER}.use_se", True, f"blocks[3].{INNER}.use_se: expected false, got true"),
        (f"blocks.3.{INNER}.act_func", "h_swish", "act_func: expected 'relu', got 'h_swish'"),
        ("blocks.3.shortcut", None, "blocks[3].shortcut: expected an IdentityLayer, got None"),
        ("blocks.1.shortcut", {"name": "ConvLayer"}, "blocks[1].shortcut: expected null"),
        ("first_conv.out_channels", 24, "first_conv.out_channels: expected 8, got 24 (space 'fa"),
        ("first_conv.has_shuffle", True, "first_conv.has_shuffle: expected false, got true"),
        ("classifier.out_features", 100, "classifier.out_features: expected 10, got 100"),
        ("bn.eps", 1e-3, "bn.eps: expected 1e-05, got 0.001"),
        ("image_size", 30, "image_size: expected one of [16, 20, 24, 28], got 30"),
        ("final_expand_layer", None, "arch: expected modules ['classifier', "),
    ],
)
def test_what_the_space_does_not_hold_is_refused_with_its_place(place, value, words):
    config = net_config(FASHION_LIKE, FASHION_LIKE.uniform(28, -1, 5, 4)) | {"image_size": 28}
    *parents, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner: Any = config
    for part in parents:
        inner = inner[part]
    inner[last] = value
    with pytest.raises(InvalidDocument) as caught:
        FASHION_LIKE.read_arch(config)
    assert words in str(caught.value)


def test_other_depths_are_refused():
    config = net_config(W10, W10.largest) | {"image_size": 224}
    short, long, fewer = (copy.deepcopy(config) for _ in range(3))
    del short["blocks"][2:5]
    long["blocks"].insert(2, long["blocks"][2])
    del fewer["blocks"][1:5]
    for other, words in (
        (short, "arch.blocks[1]: expected a stage of one of [2, 3, 4] blocks, got 1"),
        (long, "arch.blocks[1]: expected a stage of one of [2, 3, 4] blocks, got 5"),
        (fewer, "arch.blocks: expected 5 stages for space 'ofa-mbv3-w1.0', each"),
    ):
        with pytest.raises(InvalidDocument) as caught:
            W10.read_arch(other)
        assert words in str(caught.value)


def test_the_resolution_must_be_given():
    config = net_config(W10, W10.largest)
    with pytest.raises(InvalidDocument, match=r"arch.image_size: is missing: add that of the run"):
        W10.read_arch(config)
    with pytest.raises(
        InvalidDocument, match=r"arch\['run.config'\]: expected an object, got None"
    ):
        W10.read_arch({"net.config": config})
    with pytest.raises(InvalidDocument, match="image_size: expected a positive integer, got true"):
        W10.read_arch({"net.config": config, "run.config": {"image_size": True}})


def test_a_network_of_another_family_is_refused():
    config = net_config(W10, W10.largest) | {"image_size": 224}
    with pytest.raises(InvalidDocument, match=r"expected modules \['classifier', 'input_stem'\]"):
        RESNET.read_arch(config)
    resnet = {"name": "ResNets", "input_stem": [], "blocks": [], "image_size": 40}
    with pytest.raises(InvalidDocument, match=r'a ResNet is read as {"d", "e", "w", "image_size"}'):
        RESNET.read_arch(resnet)


def test_the_space_is_found():
    for space in MOBILE:
        config = net_config(space, space.largest) | {"image_size": space.resolutions[-1]}
        assert net_config_space(config) == space
        config["blocks"][5][INNER]["kernel_size"] = 11
        with pytest.raises(InvalidDocument, match=r"blocks\[5\].mobile_inverted_conv.kernel_size"):
            net_config_space(config)


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs SUBNET_REFERENCE")
def test_the_published_fifty_are_networks_of_the_published_spaces():
    documents = json.loads(gzip.decompress(REFERENCE.read_bytes()))
    assert len(documents) == 50
    for document in documents.values():
        space = net_config_space(document)
        arch = space.read_arch(document)
        assert net_config(space, arch).keys() == document["net.config"].keys()
        widths = [block[INNER]["mid_channels"] for block in document["net.config"]["blocks"]]
        assert widths[1:] == [s.mid_channels for s in layer_plan(space, arch)[2:] if s.mid_channels]
