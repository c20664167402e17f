"""`model.py` alone computes what the network here does, and a folder comes back as it was."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from models.errors import InputError
from models.layers import LayerKind, tensor_shapes
from models.layers.kind import KINDS
from models.layers.modules import channels_last
from models.machine.files import write_folder
from models.spaces import published_spaces
from models.spaces.features import stage_features
from models.spaces.plan import layer_plan
from models.supernet.extraction import plain
from models.torch_folder.contents import (
    TorchNetwork,
    check_new_folder,
    folder_files,
    logits_of_source,
    module_of,
    tensors_of,
)
from models.torch_folder.reading import read_folder
from models.torch_folder.source import model_source
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

PROXYLESS_LIKE = replace(DEBUG, name="debug-proxyless", channels=3, feature_width=0, bn_eps=1e-3)
FAMILIES = (DEBUG, PROXYLESS_LIKE, RESNET)


def random_network(space, arch, seed=0, **fields):
    """A network of random weights whose activations neither vanish nor explode."""
    module = plain(layer_plan(space, arch), space.bn_eps)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in tensors_of(module).items():
            values = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                values *= (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("running_var") or name.endswith("norm.weight"):
                values = 0.8 + 0.2 * values.abs()
            else:
                values *= 0.1
            module.state_dict()[name].copy_(values)
    facts = {"supernet": "net", "mean": (0.5,) * space.channels, "std": (0.5,) * space.channels}
    tensors = tensors_of(channels_last(module))
    return TorchNetwork(space=space, arch=arch, tensors=tensors, **{**facts, **fields})


def images_for(network, count=3):
    shape = (count, network.space.channels, *[network.arch.resolution] * 2)
    return torch.from_numpy(np.random.default_rng(1).standard_normal(shape, np.float32))


def logits_here(network, images):
    with torch.no_grad():
        return module_of(network.space, network.arch, network.tensors)(images)


def close(found, expected):
    return (found - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each family, with features."""
    root, made = tmp_path_factory.mktemp("folders"), {}
    for space in FAMILIES:
        network = random_network(space, space.largest, has_features=True)
        write_folder(root / space.name, folder_files(network))
        made[space.name] = network
    return root, made


@pytest.mark.slow
def test_the_folders_need_only_torch(folders):
    """In a process that finds nothing of this project."""
    root, made = folders
    inputs = {name: images_for(network) for name, network in made.items()}
    torch.save(inputs, root / "inputs.pt")
    program = (
        "import sys, importlib, torch; from pathlib import Path\n"
        "root, found = Path(sys.argv[1]), {}\n"
        "for name, x in torch.load(root / 'inputs.pt').items():\n"
        "    sys.path.insert(0, str(root / name)); sys.modules.pop('model', None)\n"
        "    with torch.no_grad(): found[name] = importlib.import_module('model').load()"
        ".forward_features(x)\n"
        "    sys.path.pop(0)\n"
        "loaded = {'models', 'service', 'search', 'numpy.onnx', 'onnx'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
        "torch.save(found, root / 'found.pt')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", program, str(root)]
    subprocess.run(command, check=True, env=environment, cwd=root)
    for name, outputs in torch.load(root / "found.pt").items():
        network, x = made[name], inputs[name]
        assert close(outputs["logits"], logits_here(network, x))
        module = module_of(network.space, network.arch, network.tensors)
        with torch.no_grad():
            here = module.outputs_of(x, [f.layer for f in network.features])
        assert [*outputs] == ["logits", *(f.name for f in network.features)]
        for feature in network.features:
            assert close(outputs[feature.name], here[feature.layer])
            shape = (3, feature.channels, feature.size, feature.size)
            assert tuple(outputs[feature.name].shape) == shape


@pytest.mark.slow
@hypothesis_settings(max_examples=12)
@given(seed=st.integers(0, 2**31), space=st.sampled_from(FAMILIES), features=st.booleans())
def test_any_architecture_computes_the_same_and_comes_back(seed, space, features, tmp_path_factory):
    (arch,) = space.decode(space.sample(1, np.random.default_rng(seed)))
    names = tuple(f"class {i}" for i in range(space.classes))
    network = random_network(space, arch, seed, has_features=features, class_names=names)
    files, x = folder_files(network), images_for(network)
    assert close(logits_of_source(files["model.py"], network, x), logits_here(network, x))
    assert (b"def forward_features" in files["model.py"]) == features
    folder = tmp_path_factory.mktemp("any") / "folder"
    write_folder(folder, files)
    back = read_folder(folder)
    for field in ("space", "arch", "mean", "std", "class_names", "has_features", "supernet"):
        assert getattr(back, field) == getattr(network, field)
    assert back.tensors.keys() == network.tensors.keys()
    assert all(torch.equal(back.tensors[name], t) for name, t in network.tensors.items())


@pytest.mark.parametrize(
    "space", [*published_spaces().values(), FASHION_LIKE], ids=lambda s: s.name
)
def test_the_source_is_short_and_has_a_line_a_layer(space):
    source = model_source(space, space.largest, stage_features(space, space.largest))
    lines = source.splitlines()
    assert len(lines) < 200
    compile(source, "model.py", "exec")
    plan = layer_plan(space, space.largest)
    made = [line.split()[0] for line in lines if line.startswith("        self.") and "#" in line]
    assert made == [f"self.{spec.name}" for spec in plan]
    assert f"# {plan[0].out_channels} x {plan[0].out_size} x {plan[0].out_size}" in source
    imported = {line.split()[1] for line in lines if line.startswith(("import", "from"))}
    assert imported == {"ctypes", "json", "pathlib", "torch", "safetensors.torch", "torch.nn"}


def test_stages_are_named_by_strides():
    space = published_spaces()["ofa-mbv3-w1.0"]
    found = stage_features(space, space.largest)
    assert [f.name for f in found] == [f"features_stride{2**n}" for n in (2, 3, 4, 5)]
    assert [f.channels for f in found] == [24, 40, 112, 160]
    assert [f.size for f in found] == [-(-space.largest.resolution // f.stride) for f in found]
    assert [f.stride for f in stage_features(RESNET, RESNET.smallest)] == [4, 8]
    # The last stage of a stride is taken: stages 3 and 4 have stride 16.
    assert found[2].layer == "stage4_block4"


def test_a_kind_without_a_standalone_module_is_refused(monkeypatch):
    monkeypatch.setattr(type(KINDS["mbconv"]), "standalone", LayerKind.standalone)
    with pytest.raises(InputError, match="kind 'mbconv' has no module that needs only torch"):
        model_source(DEBUG, DEBUG.smallest)


def test_tensors_are_named_as_the_plan_has_them():
    for space in FAMILIES:
        network = random_network(space, space.smallest)
        assert network.tensors.keys() == tensor_shapes(layer_plan(space, space.smallest)).keys()


def test_a_new_head_keeps_the_rest(folders):
    root, made = folders
    network = runpy.run_path(str(root / DEBUG.name / "model.py"))["load"](classes=3)
    state, before = network.state_dict(), made[DEBUG.name].tensors
    assert tuple(state["classifier.bias"].shape) == (3,)
    assert torch.equal(state["stem.conv.weight"], before["stem.conv.weight"])


def test_a_program_saves_what_is_read(folders, tmp_path):
    """Without the library that reads it; the norms' counters are 8 bytes wide."""
    root, made = folders
    model = runpy.run_path(str(root / DEBUG.name / "model.py"))
    network = model["load"]()
    network.stem.norm.num_batches_tracked += 7
    shutil.copytree(root / DEBUG.name, tmp_path / "folder")
    model["save"](network, tmp_path / "folder")
    state = load_file(tmp_path / "folder" / "weights.safetensors")
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], t) for name, t in network.state_dict().items())
    assert read_folder(tmp_path / "folder").tensors.keys() == made[DEBUG.name].tensors.keys()
    assert not (tmp_path / "folder" / "weights.partial").exists()


def test_a_folder_is_written_where_nothing_is(tmp_path):
    check_new_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_new_folder(tmp_path / "empty")
    write_folder(tmp_path / "empty", {"a": b"1"})
    for path, words in (
        (tmp_path / "empty", "found files in it"),
        (tmp_path / "empty" / "a", "found a file or a link"),
        (tmp_path / "gone" / "new", "a folder that exists"),
    ):
        with pytest.raises(InputError, match=words):
            check_new_folder(path)
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "empty", {"b": b"2"})
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


# -- folders that do not come back ---------------------------------------------------------


@pytest.mark.slow
def test_every_bad_folder_is_refused_with_a_word(tmp_path):
    from tests.models.torch_folder.bad_folders import BAD

    network = random_network(DEBUG, DEBUG.smallest)
    files = folder_files(network)
    for number, (name, (spoil, words)) in enumerate(BAD.items()):
        folder = tmp_path / str(number)
        write_folder(folder, files)
        spoil(folder)
        with pytest.raises(InputError) as caught:
            read_folder(folder)
        assert words in str(caught.value), (name, str(caught.value))
        assert len(str(caught.value)) < 1000


def test_programs_of_a_folder_are_not_run(tmp_path):
    write_folder(tmp_path / "folder", folder_files(random_network(DEBUG, DEBUG.smallest)))
    for name in ("model.py", "finetune.py"):
        (tmp_path / "folder" / name).write_text("raise SystemExit('it was run')")
    assert read_folder(tmp_path / "folder").arch == DEBUG.smallest


def test_another_number_of_classes_comes_back_with_its_names(tmp_path):
    wider = replace(DEBUG, classes=3)
    network = random_network(wider, DEBUG.smallest, class_names=("a", "b", "c"))
    stated = json.loads(folder_files(random_network(DEBUG, DEBUG.smallest))["architecture.json"])
    files = {**folder_files(network), "architecture.json": json.dumps(stated).encode()}
    write_folder(tmp_path / "folder", files)
    back = read_folder(tmp_path / "folder")
    assert (back.space, back.class_names) == (wider, ("a", "b", "c"))
