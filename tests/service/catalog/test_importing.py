"""Importing through the command line: what is refused stores nothing, what is kept stays."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models.bundle.bundle import BundleRegistry
from models.errors import Conflict, InputError
from models.supernet.checkpoint import key_map, to_published
from models.supernet.supernet import Supernet
from service.catalog.supernets.importing import import_supernet
from service.cli import app
from tests.models.supernet.test_supernet import worn
from tests.spaces import DEBUG

SPACE = """
name = "mine"
channels = 1
classes = 10
resolutions = [8, 12]
kernels = [3, 5]
expands = [3, 4]
stem_width = 8
stem_stride = 1
first_width = 8
first_act = "relu"
head_width = 32
feature_width = 48
act = "hswish"

[[stages]]
width = 8
stride = 2
act = "relu"
se = false
depths = [1, 2]

[[stages]]
width = 16
stride = 2
act = "hswish"
se = true
depths = [1, 2]
"""
"""The debug space as a user writes it."""


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """A checkpoint of the user's space in the released format."""
    return to_published(DEBUG, worn(Supernet(DEBUG)).state_dict(), "released")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images in class folders, of many sizes."""
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "photos" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20 + number, 40 - number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def stored(home: Path) -> list[str]:
    folder = home / "supernets"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.slow
def test_a_space_of_ones_own_from_file_to_onnx(tmp_path, space_file, state, photos, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("SUBNET_HOME", str(home))
    checkpoint, arch, out = tmp_path / "c.pth", tmp_path / "arch.json", tmp_path / "out.onnx"
    save({"state_dict": state}, checkpoint)
    arch.write_text(json.dumps(DEBUG.largest.to_json()))
    run = CliRunner()
    options = ["--space", str(space_file), "--calibration", str(photos)]
    done = run.invoke(app, ["supernets", "import", "mine", str(checkpoint), *options])
    assert done.exit_code == 0, done.output
    done = run.invoke(
        app, ["export", "--supernet", "mine", "--arch", str(arch), "-o", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["verified"]["recalibrated"] is True
    logits = ort.InferenceSession(out).run(None, {"input": np.zeros((3, 1, 12, 12), np.float32)})
    assert logits[0].shape == (3, 10)
    done = run.invoke(app, ["supernets", "export-checkpoint", "mine", "-o", str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    back = torch.load(tmp_path / "b", weights_only=True)["state_dict"]
    newer = dict(zip(key_map(DEBUG, "released").values(), back, strict=True))
    assert all(torch.equal(back[newer[name]], tensor) for name, tensor in state.items())


@pytest.mark.slow
def test_other_images_recalibrate_otherwise(tmp_path, space_file, state, photos):
    import_supernet(tmp_path, "mine", save(state, tmp_path / "c"), space_file=space_file)
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(DEBUG.smallest.to_json()))
    outs: list[bytes] = []
    for extra in (["--no-recalibrate"], ["--calibration", str(photos)]):
        out = tmp_path / f"{len(outs)}.onnx"
        command = ["export", "--supernet", "mine", "--arch", str(arch), "-o", str(out), *extra]
        done = CliRunner(env={"SUBNET_HOME": str(tmp_path)}).invoke(app, command)
        assert done.exit_code == 0, done.output
        outs.append(out.read_bytes())
    assert outs[0] != outs[1]


class Runs:
    """What a malicious pickle does."""

    def __reduce__(self):
        return (os.mkdir, ("run",))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s.pop("first_conv.conv.weight"), "first_conv.conv.weight is missing, .*8x1x3x3"),
        (lambda s: s.update(extra=torch.zeros(2)), "'extra' is unknown, got 2"),
        (
            lambda s: s.update({"classifier.linear.bias": torch.zeros(7)}),
            r"classifier.linear.bias: expected 10 torch.float32, got 7 torch.float32",
        ),
        (
            lambda s: s.update({"classifier.linear.bias": torch.zeros(10).int()}),
            "expected 10 torch.float32, got 10 torch.int32",
        ),
        (
            lambda s: s.update({"classifier.linear.bias": torch.full((10,), torch.nan)}),
            "expected finite values",
        ),
        (lambda s: s.update({"a.b": 3}), "expected tensors by name, got int at 'a.b'"),
        (lambda s: s.clear(), "expected a state dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit_stores_nothing(tmp_path, space_file, state, spoil, words):
    spoil(state)
    path = save({"state_dict": state} if state else state, tmp_path / "c")
    with pytest.raises(InputError, match=words):
        import_supernet(tmp_path, "mine", path, space_file=space_file)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, space_file, state, kept):
    path = save(state, tmp_path / "c")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(InputError, match="checkpoint c: "):
        import_supernet(tmp_path, "mine", path, space_file=space_file)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_with_code_is_refused_unrun(tmp_path, space_file, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c"
    if legacy:
        path.write_bytes(pickle.dumps({"state_dict": Runs()}))
    else:
        torch.save({"state_dict": Runs()}, path)
    with pytest.raises(InputError, match="refused"):
        import_supernet(tmp_path, "mine", path, space_file=space_file)
    assert not (tmp_path / "run").exists()
    assert stored(tmp_path) == []


def test_what_was_done_to_a_file_is_said_and_kept_on_the_card(tmp_path, space_file, state):
    half = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in state.items()}
    path = save({"state_dict": half, "epoch": 3}, tmp_path / "c.pth")
    done = CliRunner(env={"SUBNET_HOME": str(tmp_path)}).invoke(
        app, ["supernets", "import", "mine", str(path), "--space", str(space_file)]
    )
    assert done.exit_code == 0, done.output
    source = BundleRegistry(tmp_path).get("mine").card["source"]
    assert [text.split(",")[0] for text in source["changes"]] == [
        "c.pth: took the weights in 'state_dict'",
        f"the names of {len(state)} tensors begin with 'module.'",
        f"{sum(v.is_floating_point() for v in state.values())} tensors are torch.float16",
    ]
    assert all(f"warning: {text}" in done.stderr for text in source["changes"])


def test_other_weights_need_a_word(tmp_path, space_file, state):
    first = save(state, tmp_path / "c")
    one = import_supernet(tmp_path, "mine", first, space_file=space_file)
    assert import_supernet(tmp_path, "mine", first).sha256 == one.sha256
    state["classifier.linear.bias"] = state["classifier.linear.bias"] + 1
    second = save(state, tmp_path / "d")
    with pytest.raises(Conflict, match="--replace"):
        import_supernet(tmp_path, "mine", second)
    assert BundleRegistry(tmp_path).get("mine").sha256 == one.sha256
    assert import_supernet(tmp_path, "mine", second, replace=True).sha256 != one.sha256
    assert stored(tmp_path) == ["mine"]


def test_another_space_under_a_known_name_is_refused(tmp_path, space_file, state):
    path = save(state, tmp_path / "c")
    with pytest.raises(Conflict, match="another space"):
        import_supernet(tmp_path, "ofa-mbv3-w1.0", path, space_file=space_file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "expected a TOML file"),
        ('family = "vit"', "family: expected one of"),
        (SPACE.replace("stem_width = 8\n", ""), "stem_width"),
        (SPACE + "colour = 3\n", "colour"),
        (
            SPACE.replace("kernels = [3, 5]", "kernels = [3, 4]"),
            r"kernels\[1\]: expected an odd",
        ),
    ],
)
def test_a_file_that_is_no_space_is_refused(tmp_path, state, text, words):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        import_supernet(
            tmp_path, "mine", save(state, tmp_path / "c"), space_file=tmp_path / "bad.toml"
        )
    assert stored(tmp_path) == []


def test_images_that_cannot_be_read_are_named(tmp_path, photos):
    (photos / "class0" / "0.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"0\.png: not an image"):
        import_supernet(tmp_path, "ofa-mbv3-w1.2", None, calibration=photos)
    with pytest.raises(InputError, match="expected a folder"):
        import_supernet(tmp_path, "ofa-mbv3-w1.2", None, calibration=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        import_supernet(tmp_path, "ofa-mbv3-w1.2", None, calibration=tmp_path / "empty")
    assert stored(tmp_path) == []
