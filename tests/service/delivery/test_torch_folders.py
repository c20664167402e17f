"""Out as torch, fine-tuned, back as ONNX: one way through, and what is refused on it."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image

from models.onnx.export import run_outputs
from models.spaces.features import stage_features
from service.catalog.imported_networks import ImportedNetworks
from service.delivery import imported_network, verification
from tests.models.torch_folder.bad_folders import BAD
from tests.service.conftest import DEVICE, SUPERNET, keep, make_table
from tests.service.delivery.test_delivery import HERE, AbsoluteTimer
from tests.spaces import DEBUG, RESNET

CLASSES = ("circle", "cross", "square")


def pictures(folder, classes=CLASSES, count=6, suffix=".pgm"):
    """Grey images whose brightness tells their class, in class folders."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 60, (14, 14)) + 80 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}{suffix}")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("images") / "shapes")


@pytest.fixture
def exported(run_json, tmp_path):
    """A function that exports the smallest network, and where it was written."""
    (tmp_path / "arch.json").write_text(json.dumps(DEBUG.smallest.to_json()))
    on = ("export", "--supernet", SUPERNET, "--arch", tmp_path / "arch.json", "-o")

    def export(*args, to="folder"):
        return run_json(*on, tmp_path / to, *args), tmp_path / to

    return export


def fine_tuned(folder, images, monkeypatch, capsys):
    """What `finetune.py` prints; run in this process, which has torch loaded."""
    with monkeypatch.context() as patch:
        options = ["--epochs", "12", "--batch", "8", "--lr", "0.01"]
        patch.setattr(sys, "argv", ["finetune.py", str(images), *options])
        patch.syspath_prepend(str(folder))
        patch.delitem(sys.modules, "model", raising=False)
        runpy.run_path(str(folder / "finetune.py"), run_name="__main__")
    sys.modules.pop("model", None)
    return capsys.readouterr().out


def passed(document):
    return {check["name"]: check["passed"] for check in document["checks"]}


@pytest.mark.slow
def test_out_fine_tuned_and_back(
    run, run_json, exported, images, tmp_path, monkeypatch, home, capsys
):
    keep(home, make_table("host", conditions=HERE))
    for module in (imported_network, verification):
        monkeypatch.setattr(module, "HostTimer", lambda: AbsoluteTimer([0.5]))
    answer, folder = exported("--format", "torch", "--features", "--device", DEVICE)
    assert answer["files"].keys() == {path.name for path in folder.iterdir()}
    assert answer["verified"]["model_py"]["max_difference"] <= 1e-5
    assert answer["verified"]["recalibrated"] is True
    before = (folder / "weights.safetensors").read_bytes()
    assert answer["files"]["weights.safetensors"] == hashlib.sha256(before).hexdigest()

    printed = fine_tuned(folder, images, monkeypatch, capsys)
    assert "a new head for 3 classes" in printed
    assert "epoch 12: loss" in printed
    assert (folder / "weights.safetensors").read_bytes() != before

    back = run_json("networks", "import", folder, "--device", "host", "--images", images)
    assert (back["id"], back["classes"], back["class_names"]) == ("folder", 3, list(CLASSES))
    top1 = back["verified"]["top1"]
    assert (top1["origin"], top1["images"]) == ("measured", 18)
    assert top1["value"] > 80  # brightness is easy
    assert back["predicted"]["top1"] is None  # nobody predicts fine-tuned weights
    assert "10 classes, for which the table" in back["predicted"]["latency_of"]
    assert back["verified"]["latency_ms"]["value"] == 0.5
    assert [f["name"] for f in back["features"]] == ["features_stride2", "features_stride4"]
    (listed,) = run_json("networks", "list", "--imported")
    assert listed == back
    assert "folder" in run("networks", "list", "--imported", "--device", "host").stdout

    model = tmp_path / "back.onnx"
    written = run_json("networks", "export", "folder", "-o", model)
    assert written["sha256"] == back["files"]["model.onnx"]
    checks = passed(run_json("verify", model))
    wanted = ("structure", "network", "architecture", "parity", "features")
    assert all(checks[name] for name in wanted)
    stated = {p.key: p.value for p in onnx.load(model).metadata_props}
    assert json.loads(stated["subnet_search.classes"]) == list(CLASSES)

    proto = onnx.load(model)
    (head,) = (t for t in proto.graph.initializer if t.name == "classifier.bias")
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + 1, head.name))
    onnx.save(proto, model)
    assert "parity failed" in run("verify", model, code=1).stderr
    assert run_json("networks", "remove", "folder") == {"removed": "folder"}
    assert run_json("networks", "list", "--imported") == []
    assert "remove it" not in run("networks", "import", folder, "--images", images).stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--precision", "int8"), ("--batch", "1", "--device", DEVICE)])
def test_features_of_an_onnx_file(run, run_json, exported, how):
    answer, path = exported("--features", *how, to="model.onnx")
    features = stage_features(DEBUG, DEBUG.smallest)
    names = [f.name for f in features]
    proto = onnx.load(path)
    assert [v.name for v in proto.graph.input] == ["input"]
    assert [v.name for v in proto.graph.output] == ["logits", *names]
    stated = {p.key: p.value for p in proto.metadata_props}
    stated_features = json.loads(stated["subnet_search.features"])
    assert stated_features == [f.to_json() for f in features]
    verified = answer["verified"]
    found = verified["quantization" if "int8" in how else "parity"]["features"]
    assert found.keys() == set(names)
    images = np.random.default_rng(0).standard_normal((3, 1, 8, 8), np.float32)
    outputs = run_outputs(path.read_bytes(), images, ["logits", *names])
    for feature in features:
        shape = (3, feature.channels, feature.size, feature.size)
        assert outputs[feature.name].shape == shape
        assert feature.size * feature.stride == 8
    checks = passed(run_json("verify", path))
    assert checks["structure"]
    assert checks["parity"]
    assert checks["features"]

    del proto.graph.output[1:]
    onnx.save(proto, path)
    assert "structure failed" in run("verify", path, code=1).stderr


@pytest.mark.slow
def test_logits_are_those_without_features(exported):
    plain, features = (exported(*how, to=f"{len(how)}.onnx")[1] for how in ((), ("--features",)))
    images = np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)
    logits = [run_outputs(p.read_bytes(), images, ["logits"]) for p in (plain, features)]
    np.testing.assert_array_equal(logits[0]["logits"], logits[1]["logits"])


def test_what_a_torch_folder_cannot_be(run, exported, tmp_path):
    on = ("export", "--supernet", SUPERNET, "--arch", tmp_path / "arch.json", "--format", "torch")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    for args, words in (
        (("-o", tmp_path / "x", "--precision", "int8"), "for training, at fp32"),
        (("-o", tmp_path / "x", "--batch", "4"), "takes any number of images"),
        (("-o", full), "found files in it"),
        (("-o", tmp_path / "x.onnx"), "expected the name of a folder"),
        (("-o", tmp_path / "gone" / "x"), "a folder that exists"),
    ):
        assert words in run(*on, *args, code=2).stderr
    assert "expected onnx or torch" in run(*on[:-1], "tf", "-o", tmp_path / "x", code=2).stderr
    assert [p.name for p in full.iterdir()] == ["mine"]
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def returned(tmp_path_factory):
    """A folder that would be taken."""
    from models.machine.files import write_folder
    from models.torch_folder.contents import folder_files
    from tests.models.torch_folder.test_torch_folder import random_network

    folder = tmp_path_factory.mktemp("returned") / "net"
    write_folder(folder, folder_files(random_network(DEBUG, DEBUG.smallest)))
    return folder


@pytest.mark.slow
def test_what_does_not_come_back(run, home, returned, images, tmp_path):
    ten = pictures(tmp_path / "ten", [f"c{n}" for n in range(10)], 1)
    mixed = pictures(tmp_path / "mixed", CLASSES, 1)
    shutil.copy(next((mixed / "circle").iterdir()), mixed / "loose.pgm")
    damaged = pictures(tmp_path / "damaged", [f"c{n}" for n in range(10)], 1)
    (damaged / "c3" / "0.pgm").write_bytes(b"P5 9 9 255 x")
    other = tmp_path / "other"
    shutil.copytree(returned, other)
    BAD["missing tensor"][0](other)
    keep(home, make_table("of-resnet", RESNET))
    for args, words in (
        ((tmp_path / "gone",), "expected a folder that"),
        ((other,), "1 missing"),
        ((returned, "--device", "nobody"), "unknown device"),
        ((returned, "--device", "of-resnet"), "no fp32 latency table for space 'debug'"),
        ((returned, "--images", images), "expected 10 class folders"),
        ((returned, "--images", mixed), "in the folder of its class"),
        ((returned, "--images", damaged), "0.pgm: not an image"),
        ((returned, "--images", tmp_path / "gone"), "expected a folder"),
        ((returned, "--name", "../up"), "network name '../up'"),
        ((returned, "--name", "flops-389M_top1-79.1_finetune-75"), "expected 1 to 64 of a-z"),
    ):
        assert words in run("networks", "import", *args, code=2).stderr
    assert ImportedNetworks(home).names() == []
    assert list(home.glob("networks/*")) == []
    assert "accuracy of this network is unknown" in run("networks", "import", returned).stderr
    assert "already" in run("networks", "import", returned, code=2).stderr
    said = run("networks", "import", returned, "--name", "again", "--images", ten).stderr
    assert "taken in their order" in said
    for asked, words in (
        (("export", "again", "-o", tmp_path / "x", "--format", "torch"), "written as ONNX"),
        (("export", "again", "-o", tmp_path / "x.onnx", "--features"), "without --features"),
        (("remove", "agian"), "did you mean 'again'"),
        (("list", "--imported", "--server", "http://localhost:1"), "of one machine"),
    ):
        assert words in run("networks", *asked, code=2).stderr


def test_a_kept_file_that_was_changed_is_told(run, home, returned, tmp_path):
    run("networks", "import", returned)
    path = home / "networks" / "net" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    said = run("networks", "export", "net", "-o", tmp_path / "x.onnx", code=1).stderr
    assert "was changed; import it again" in said
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
def test_a_published_network_becomes_a_folder(tmp_path, monkeypatch):
    """With weights of this test's own in place of the downloaded ones."""
    from models.published import published_network
    from models.spaces import published_spaces
    from models.torch_folder.contents import module_of
    from models.torch_folder.reading import read_folder
    from service.catalog.published import describe_network
    from service.delivery import torch_export
    from tests.models.torch_folder.test_torch_folder import random_network
    from tests.service.conftest import catalog_of

    network = published_network("LG-G8_lat-8ms_top1-71.1_finetune-25")
    space = published_spaces()[network.space]
    module = module_of(space, network.arch, random_network(space, network.arch).tensors)
    monkeypatch.setattr(torch_export, "load_published", lambda *args, **options: module)
    described = describe_network(catalog_of(tmp_path), network.id)
    made = torch_export.export_published_torch(network, described, tmp_path, features=True)
    assert made.findings["model_py"]["max_difference"] <= made.findings["model_py"]["allowed"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    back = read_folder(folder)
    assert (back.arch, back.supernet, back.has_features) == (network.arch, network.space, True)
    assert all(torch.equal(back.tensors[n], t) for n, t in module.state_dict().items() if t.ndim)
