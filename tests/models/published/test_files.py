"""The list of published files, and the proof that a file is one of them."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.published import blob_id, published_supernets
from models.published.files import published_files
from models.spaces import published_spaces


@given(content=st.binary(max_size=2000))
def test_a_blob_id_is_the_hash_of_size_and_content(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("blob") / "file"
    path.write_bytes(content)
    assert blob_id(path) == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_git_computes_the_same(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    told = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True)
    assert blob_id(path) == told.stdout.strip()


def test_every_published_supernet_is_listed():
    assert published_supernets().keys() == published_spaces().keys()
    for supernet in published_supernets().values():
        assert supernet.weights or supernet.predictor
        assert supernet.weights or supernet.weights_elsewhere


def test_the_list_is_complete():
    files = published_files()
    networks = {path.split("/")[2] for path in files if "/ofa_specialized/" in path}
    assert len(networks) == 50
    for network in networks:
        for name in ("init", "net.config", "run.config"):
            assert f"ofa/ofa_specialized/{network}/{name}" in files
    assert len(files) == 3 + 2 + 3 * 50
    for path, file in files.items():
        assert file.path == path
        assert re.fullmatch(r"[0-9a-f]{40}", file.blob)


def test_a_copy_is_found_by_every_tail_of_its_path_that_is_its_own():
    files = published_files()
    assert files["ofa/acc_predictor.pth"].tails == ["ofa/acc_predictor.pth", "acc_predictor.pth"]
    network = next(path for path in files if path.endswith("/init"))
    tails = files[network].tails
    assert tails[-1] == "/".join(network.split("/")[-2:])
    assert "init" not in tails
    shared = [tail for file in files.values() for tail in file.tails]
    assert len(shared) == len(set(shared))


def test_kinds_of_files_are_limited_in_size():
    files = published_files()
    assert files["ofa/acc_predictor.pth"].max_bytes == 16 * 2**20
    assert files["ofa/ofa_nets/ofa_mbv3_d234_e346_k357_w1.0"].max_bytes == 256 * 2**20
    config = next(file for path, file in files.items() if path.endswith("net.config"))
    assert config.max_bytes == 2**20
