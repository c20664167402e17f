"""Bundles are whole, checked against their card, and written all or nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save

from models.bundle.bundle import Bundle, BundleRegistry, add_to_bundle, write_bundle
from models.errors import Conflict, CorruptBundle, NotFound
from models.supernet.supernet import Supernet, initialize
from tests.spaces import DEBUG


def make(path):
    supernet = Supernet(DEBUG)
    initialize(supernet, 0)
    card = {
        "name": path.name,
        "space": DEBUG.to_json(),
        "preprocess": {"mean": [0.286], "std": [0.353]},
    }
    weights = {k: v.contiguous() for k, v in supernet.state_dict().items()}
    return write_bundle(path, card, {"weights.safetensors": save(weights), "note.txt": b"hello"})


@pytest.mark.slow
def test_round_trip(tmp_path):
    bundle = make(tmp_path / "tiny")
    assert Bundle.open(bundle.path).space == DEBUG
    x = torch.zeros(1, 1, 12, 12)
    expected = Supernet(DEBUG)
    initialize(expected, 0)
    with torch.no_grad():
        ours, theirs = (net.eval()(x, DEBUG.largest) for net in (bundle.load_supernet(), expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
def test_writing_to_mapped_weights_leaves_their_file_alone(tmp_path):
    bundle = make(tmp_path / "tiny")
    before = (bundle.path / "weights.safetensors").read_bytes()
    first, second = bundle.load_supernet(), bundle.load_supernet()
    expected = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    with torch.no_grad():
        for tensor in first.state_dict().values():
            tensor.fill_(7.0)
    assert (bundle.path / "weights.safetensors").read_bytes() == before
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, expected[name])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda raw: raw[:-100], lambda raw: b"\0" + raw[1:]])
def test_altered_weights_are_named(tmp_path, damage):
    bundle = make(tmp_path / "tiny")
    path = bundle.path / "weights.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptBundle, match=r"weights\.safetensors does not match its card"):
        bundle.load_supernet()


def test_missing_file_is_named(tmp_path):
    bundle = make(tmp_path / "tiny")
    (bundle.path / "weights.safetensors").unlink()
    with pytest.raises(CorruptBundle, match=r"weights\.safetensors is missing"):
        bundle.load_supernet()
    with pytest.raises(CorruptBundle, match=r"calibration\.npz is missing"):
        bundle.calibration()


def test_unreadable_card(tmp_path):
    bundle = make(tmp_path / "tiny")
    (bundle.path / "card.json").write_text("{")
    with pytest.raises(CorruptBundle, match=r"unreadable card\.json"):
        Bundle.open(bundle.path)


def test_failed_write_leaves_nothing(tmp_path):
    card = {"name": "x", "space": DEBUG.to_json(), "bad": object()}
    with pytest.raises(TypeError):
        write_bundle(tmp_path / "x", card, {"a": b"b"})
    assert list(tmp_path.iterdir()) == []


def test_existing_bundle_is_kept(tmp_path):
    make(tmp_path / "tiny")
    with pytest.raises(Conflict, match="exists already"):
        make(tmp_path / "tiny")


def test_files_are_added_with_their_hashes(tmp_path):
    bundle = make(tmp_path / "tiny")
    added = add_to_bundle(bundle, {"predictor": {"rmse": 0.1}}, {"more.bin": b"1234"})
    assert added.has("more.bin")
    assert added.has("weights.safetensors")
    assert added.card["predictor"] == {"rmse": 0.1}
    added.check("more.bin")
    assert json.loads((bundle.path / "card.json").read_text())["files"]["more.bin"]


def test_registry_finds_mine_before_shipped(tmp_path):
    registry = BundleRegistry(tmp_path)
    make(tmp_path / "supernets" / "tiny")
    assert "tiny" in registry.names()
    assert registry.get("tiny").name == "tiny"
    with pytest.raises(NotFound, match="did you mean 'tiny'"):
        registry.get("tinny")
    shutil.rmtree(tmp_path / "supernets" / "tiny")
    assert "tiny" not in registry.names()


def test_no_pickle_is_read(tmp_path):
    bundle = make(tmp_path / "tiny")
    np.savez(tmp_path / "evil.npz", images=np.array([object()], object))
    bundle = add_to_bundle(bundle, {}, {"calibration.npz": (tmp_path / "evil.npz").read_bytes()})
    with pytest.raises(ValueError, match="allow_pickle"):
        bundle.calibration()
