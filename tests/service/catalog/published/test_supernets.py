"""A supernet downloaded in one go, from a real server, under ids of its own."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models import published
from models.bundle.bundle import BundleRegistry, write_bundle
from models.bundle.card import CALIBRATION, WEIGHTS, published_card
from models.published import PublishedFile, PublishedSupernet
from models.supernet.checkpoint import to_published
from models.supernet.supernet import Supernet, initialize
from service.cli import app
from tests.models.supernet.test_supernet import worn
from tests.service.file_server import FileServer, file_server
from tests.spaces import DEBUG

NAME = "tiny"


def contents() -> dict[str, bytes]:
    """Weights and predictor of the tiny supernet, in the published forms."""
    checkpoint = io.BytesIO()
    torch.save(
        {"state_dict": to_published(DEBUG, worn(Supernet(DEBUG)).state_dict(), "released")},
        checkpoint,
    )
    return {"ofa/nets/tiny": checkpoint.getvalue()}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return contents()


@pytest.fixture
def server(files):
    with file_server() as running:
        running.files = dict(files)
        yield running


@pytest.fixture
def home(tmp_path: Path, files, monkeypatch) -> Path:
    """A home that knows the tiny supernet as published, without any file."""
    home = tmp_path / "home"
    card = {**published_card(DEBUG), "name": NAME}
    card["preprocess"] = {"channels": 1, "mean": [0.5], "std": [0.5], "interpolation": "bilinear"}
    write_bundle(home / "supernets" / NAME, card, {})
    known = {
        path: PublishedFile(path, hashlib.sha1(b"blob %d\0" % len(c) + c).hexdigest())
        for path, c in files.items()
    }
    supernet = PublishedSupernet(NAME, known["ofa/nets/tiny"], None)
    monkeypatch.setattr(published, "published_supernets", lambda: {NAME: supernet})
    monkeypatch.setenv("SUBNET_HOME", str(home))
    return home


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(10):
        folder = tmp_path / "photos" / f"class{number}"
        folder.mkdir(parents=True)
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "0.png")
    return tmp_path / "photos"


def download(*options: str, name: str = NAME):
    return CliRunner().invoke(app, ["supernets", "download", name, *options])


@pytest.mark.slow
def test_all_of_it_in_one_command(server: FileServer, home, photos):
    done = download("--from", server.url, "--calibration", str(photos), "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["capabilities"] == {"search": False, "deliver": True, "verify": True}
    assert [step["adds"] for step in answer["next_steps"]] == [["search"]]
    assert [file["path"] for file in answer["downloaded"]] == ["ofa/nets/tiny"]
    bundle = BundleRegistry(home).get(NAME)
    assert set(bundle.card["files"]) == {WEIGHTS, CALIBRATION} == set(answer["files"])
    assert bundle.card["source"]["git_blob"] == answer["downloaded"][0]["git_blob"]
    assert bundle.card["source"]["file"] == "tiny"


def test_twice_is_cheap_and_says_so(server, home, photos):
    assert download("--from", server.url).exit_code == 0
    asked = len(server.requests)
    done = download("--from", server.url)
    assert done.exit_code == 0
    assert "all that was published of tiny is here already" in done.stdout
    assert "can now: verify" in done.stdout
    assert "--calibration FOLDER" in done.stdout
    assert len(server.requests) == asked
    done = download("--from", server.url, "--calibration", str(photos))
    assert "can now: deliver, verify" in done.stdout
    assert len(server.requests) == asked


def test_after_an_interruption_it_goes_on(server, home, monkeypatch):
    from service.catalog.published import supernets

    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(supernets, "import_supernet", stopped)
        assert download("--from", server.url).exit_code != 0
    assert len(server.requests) == 1
    assert download("--from", server.url).exit_code == 0
    assert len(server.requests) == 1


def test_a_spoilt_file_is_refused_before_it_is_read(server, home, monkeypatch):
    from service.catalog.published import supernets

    spoilt = bytearray(server.files["ofa/nets/tiny"])
    spoilt[len(spoilt) // 2] ^= 4
    server.files["ofa/nets/tiny"] = bytes(spoilt)
    monkeypatch.setattr(supernets, "import_supernet", None)
    done = download("--from", server.url)
    assert done.exit_code == 1
    assert "not the published file: expected git blob id" in done.stderr
    assert BundleRegistry(home).get(NAME).card["files"] == {}
    assert not (home / "published").exists()


def test_mirrors_of_the_setting_are_asked(server, home, tmp_path, monkeypatch, files):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "tiny").write_bytes(files["ofa/nets/tiny"])
    monkeypatch.setenv("SUBNET_MIRRORS", f"unmounted, {server.url}/none, {tmp_path / 'mirror'}")
    assert download().exit_code == 0
    assert {path for path, _ in server.requests} == {
        f"/none/{tail}" for tail in ("ofa/nets/tiny", "nets/tiny", "tiny")
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--from", "nowhere"), "--from: expected an http or https URL or a folder"),
        (("--calibration", "nowhere"), "--calibration: expected a folder"),
        (("--predictor-only",), "no accuracy predictor was published for 'tiny'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(home, options, text):
    done = download(*options)
    assert done.exit_code == 2
    assert text in done.stderr


def test_an_unknown_name_lists_what_can_be_downloaded(home):
    done = download(name="fashion-mbv3")
    assert done.exit_code == 2
    assert "known: tiny" in done.stderr


def test_a_disk_that_is_full_when_the_bundle_is_written_is_said(server, home, monkeypatch):
    from service.catalog.published import supernets

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.safetensors")

    monkeypatch.setattr(supernets, "import_supernet", full)
    done = download("--from", server.url)
    assert done.exit_code == 1
    assert done.stderr == "error: weights.safetensors: No space left on device\n"


def test_weights_from_elsewhere_are_kept(server, home, tmp_path):
    path, other = tmp_path / "other.pth", Supernet(DEBUG)
    initialize(other, 1)
    torch.save({"state_dict": to_published(DEBUG, other.state_dict(), "newer")}, path)
    run = CliRunner()
    done = run.invoke(app, ["supernets", "import", NAME, str(path)])
    assert done.exit_code == 0, done.output
    before = BundleRegistry(home).get(NAME).sha256
    done = download("--from", server.url)
    assert done.exit_code == 0
    assert "weights from elsewhere already, which were kept" in done.stderr
    assert BundleRegistry(home).get(NAME).sha256 == before
