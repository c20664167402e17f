"""The catalogue of published networks: every one is proved by the blob ids of its public files."""

import os
from collections import Counter
from pathlib import Path

import pytest

from models.errors import NotFound
from models.published import published_network, published_networks
from models.published.files import published_files
from models.published.networks import DATA
from models.published.publish import publish
from models.spaces import layer_plan, published_spaces
from tests.net_configs import published_configs

REFERENCE = Path(os.environ.get("SUBNET_REFERENCE", "nowhere"))


def test_every_architecture_is_the_published_one():
    """The twin writes the `net.config` and the `run.config` again, byte for byte."""
    for network in published_networks().values():
        assert published_configs(network).keys() < published_files().keys()


def test_names_say_what_the_catalogue_says():
    networks = published_networks()
    assert len(networks) == 50
    devices = Counter(network.device for network in networks.values())
    assert devices.pop(None) == 3
    assert len(devices) == 10
    for id, network in networks.items():
        assert network.id == id
        assert f"top1-{network.top1}_finetune-{network.finetune_epochs}" in id
        if network.device is None:
            assert network.latency_ms is network.batch is None
            assert not network.latency_fitted
            plan = layer_plan(published_spaces()[network.space], network.arch)
            assert f"flops-{sum(layer.macs for layer in plan) // 10**6}M" in id
        else:
            assert f"-{network.latency_ms:.0f}ms_" in id
            assert (f"gpu{network.batch}-" in id) == (network.batch != 1)


def test_a_network_is_found_by_either_name():
    id = "note10_lat-30ms_top1-78.4_finetune-75"
    assert published_network(id.replace("-", "@")).id == id
    with pytest.raises(NotFound, match=r"'note10_lat-30ms': did you mean 'note10_.*networks list"):
        published_network("note10_lat-30ms")


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs SUBNET_REFERENCE")
def test_the_catalogue_is_what_publish_makes(tmp_path):
    publish(REFERENCE, tmp_path / "networks.json")
    assert (tmp_path / "networks.json").read_bytes() == DATA.read_bytes()
