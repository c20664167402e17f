"""`networks list` and `networks export`: from a real server, with filled weights."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from models.onnx import run_onnx
from models.published import networks, published_network
from models.published.files import published_files
from models.published.networks import published_networks
from models.spaces import published_spaces
from tests.golden.fill import filled, images
from tests.net_configs import blob_id, net_config, published_configs
from tests.service.file_server import file_server
from tests.static_network import StaticNetwork

ID = "note10_lat-8ms_top1-71.4_finetune-25"


@pytest.fixture(scope="module")
def twin():
    network = published_network(ID)
    twin = StaticNetwork(net_config(published_spaces()[network.space], network.arch)).eval()
    state = {name: filled(name, tuple(t.shape), 7) for name, t in twin.state_dict().items()}
    twin.load_state_dict(state)
    return twin


@pytest.fixture
def server(twin, monkeypatch):
    """The published configurations, and weights under a blob id of their own."""
    network, weights = published_network(ID), io.BytesIO()
    torch.save({"state_dict": twin.state_dict()}, weights)
    init = replace(network.weights, blob=blob_id(weights.getvalue()))
    known = {**published_files(), init.path: init}
    monkeypatch.setattr(networks, "published_files", lambda: known)
    with file_server() as running:
        running.files = {**published_configs(network), init.path: weights.getvalue()}
        yield running


@pytest.mark.slow
def test_export_and_verify(run, run_json, server, twin, tmp_path):
    out = tmp_path / "x.onnx"
    answer = run_json("networks", "export", ID.replace("-", "@"), "-o", out, "--from", server.url)
    assert answer["id"] == ID
    assert answer["verified"]["onnx_checker"] == "passed"
    assert answer["verified"]["recalibrated"] is False
    assert answer["published"]["top1"] == 71.4
    content = out.read_bytes()
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()

    x = images(2, 160, 3)
    with torch.no_grad():
        expected = twin(x).numpy()
    assert np.abs(run_onnx(content, x.numpy()) - expected).max() <= 1e-5 * np.abs(expected).max()

    props = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
    stated = {key.removeprefix("subnet_search."): value for key, value in props.items()}
    assert json.loads(stated["arch"]) == published_network(ID).arch.to_json()
    assert (stated["network"], stated["device"]) == (ID, "samsung-note10")
    preprocess = json.loads(stated["preprocess"])
    assert preprocess["resize_shorter_side"] == 183  # 160 / 0.875, rounded up
    assert (preprocess["center_crop"], preprocess["mean"][0]) == (160, 0.485)
    assert (preprocess["fit"], preprocess["crop_share"]) == ("center_crop", 0.875)
    assert json.loads(stated["published"])["latency_ms"] == 8

    checks = {check["name"]: check["passed"] for check in run_json("verify", out)["checks"]}
    assert (checks["network"], checks["architecture"], checks["parity"]) == (True, True, True)


@pytest.mark.slow
def test_a_file_that_is_not_the_published_one_is_refused(run, server, tmp_path):
    path = f"ofa/ofa_specialized/{ID}/net.config"
    server.files[path] = server.files[path].replace(b'"kernel_size": 5', b'"kernel_size": 3', 1)
    on = ("networks", "export", ID, "-o", tmp_path / "x.onnx")
    stderr = run(*on, "--from", server.url, code=1).stderr
    assert "net.config" in stderr
    assert published_network(ID).net_config.blob in stderr
    (tmp_path / "empty").mkdir()
    assert "init" not in run(*on, "--from", tmp_path / "empty", code=2).stderr.partition(";")[0]
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
def test_list(run, run_json):
    rows = run_json("networks", "list")
    assert [row["id"] for row in rows] == list(published_networks())
    on_note10 = run_json("networks", "list", "--device", "samsung-note10")
    assert on_note10 == [row for row in rows if row["device"] == "samsung-note10"]
    assert len(on_note10) == 8
    shown = run("networks", "list", "--device", "samsung-note10")
    assert len(shown.stdout.splitlines()) == 9
    assert "published, top1 on ImageNet's validation images after fine-tuning" in shown.stderr
    nobody = run("networks", "list", "--device", "cpu-x86-64-ort")
    assert "no network was published for cpu-x86-64-ort" in nobody.stderr
    assert (
        "did you mean 'samsung-note10'"
        in run("networks", "list", "--device", "note10", code=2).stderr
    )
