"""Published weights of one network, against a plain module written straight from its net.config."""

import numpy as np
import pytest
import torch

from models.errors import InputError
from models.onnx import network_onnx, run_onnx
from models.published import published_networks
from models.spaces import Arch, SearchSpace, published_spaces
from models.supernet import load_static
from tests.golden.fill import filled, images
from tests.net_configs import net_config
from tests.spaces import DEBUG
from tests.static_network import StaticNetwork

BY_SPACE = {n.space: n for n in published_networks().values() if n.device is not None}
"""One network of each space."""
TOLERANCE = 1e-5
"""Of the largest logit."""


def twin_of(space: SearchSpace, arch: Arch) -> StaticNetwork:
    """The plain module, each tensor filled from its name."""
    twin = StaticNetwork(net_config(space, arch)).eval()
    state = {name: filled(name, tuple(t.shape), 7) for name, t in twin.state_dict().items()}
    twin.load_state_dict(state)
    return twin


def check(space: SearchSpace, arch: Arch, twin: StaticNetwork) -> None:
    subnet = load_static(space, arch, twin.state_dict())
    x = images(1, arch.resolution, 3)[:, : space.channels]
    with torch.no_grad():
        expected = twin(x).numpy()
        found = subnet(x).numpy()
    allowed = TOLERANCE * np.abs(expected).max()
    assert np.abs(found - expected).max() <= allowed
    in_file = run_onnx(network_onnx(space, arch, subnet, {}), x.numpy())
    assert np.abs(in_file - expected).max() <= allowed


@pytest.mark.parametrize("arch", [DEBUG.smallest, DEBUG.largest], ids=["smallest", "largest"])
def test_module_and_file_equal_the_twin(arch):
    check(DEBUG, arch, twin_of(DEBUG, arch))


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("network", BY_SPACE.values(), ids=lambda n: n.id)
def test_a_published_network_equals_its_twin(network):
    space = published_spaces()[network.space]
    check(space, network.arch, twin_of(space, network.arch))


def test_both_releases_are_read_and_counters_may_be_missing():
    twin = twin_of(DEBUG, DEBUG.largest)
    state = twin.state_dict()
    later = {name.replace(".mobile_inverted_conv.", ".conv."): t for name, t in state.items()}
    bare = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    expected = load_static(DEBUG, DEBUG.largest, state).state_dict()
    for other in (later, bare):
        found = load_static(DEBUG, DEBUG.largest, other).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_weights_of_another_network_are_refused():
    state = twin_of(DEBUG, DEBUG.largest).state_dict()
    with pytest.raises(InputError, match=r"blocks.1.mobile_inverted_conv.*expected 24x8x1x1"):
        load_static(DEBUG, DEBUG.smallest, state)
    del state["classifier.linear.bias"]
    with pytest.raises(InputError, match=r"classifier.linear.bias is missing, expected 10 "):
        load_static(DEBUG, DEBUG.largest, state)
