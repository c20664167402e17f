"""Checkpoints as others save them: wrapped, with prefixes, in other types, with much beside."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safe

from models.errors import InputError
from models.layers import COUNTER
from models.supernet.checkpoint import from_published, to_published
from models.supernet.checkpoint_file import read_checkpoint
from models.supernet.supernet import Supernet
from tests.models.supernet.test_supernet import worn
from tests.spaces import DEBUG

WEIGHTS = worn(Supernet(DEBUG)).state_dict()
STATE = {k: t.clone() for k, t in to_published(DEBUG, WEIGHTS, "released").items()}
FLOATS = [name for name, tensor in STATE.items() if tensor.is_floating_point()]
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}
OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}


def prefixed(prefix: str, state: dict = STATE) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def imported(path) -> tuple[dict[str, torch.Tensor], list[str]]:
    said: list[str] = []
    tensors = from_published(DEBUG, read_checkpoint(path, said.append), said.append)
    return tensors, said


def assert_same(found: dict[str, torch.Tensor]) -> None:
    weights = {name: t for name, t in found.items() if not name.endswith(COUNTER)}
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in WEIGHTS.items())


WRAPPED = {
    "alone": (STATE, []),
    "state_dict": ({"state_dict": STATE}, []),
    "with an optimizer": (
        {"epoch": 3, "state_dict": STATE, "best_acc1": torch.tensor(76.1), "optimizer": OPTIMIZER},
        ["took the weights in 'state_dict', and ignored 'epoch', 'best_acc1', 'optimizer' beside"],
    ),
    "averaged": (
        {"state_dict": OTHER, "state_dict_ema": STATE},
        ["took the weights in 'state_dict_ema', and ignored 'state_dict' beside them"],
    ),
    "averaged, in a module": (
        {"model": prefixed("module.", OTHER), "model_ema": {"module": STATE, "decay": 0.99}},
        ["took the weights in 'model_ema.module', and ignored 'model', 'decay' beside them"],
    ),
    "averages that are none": (
        {"net": STATE, "ema": None, "model_ema": {"decay": 0.9, "shadow": {}}},
        ["took the weights in 'net', and ignored 'ema', 'model_ema' beside them"],
    ),
    "wrapped twice": ({"model": {"state_dict": STATE}}, []),
    "DataParallel": (prefixed("module."), ["begin with 'module.', which was taken off"]),
    "DataParallel, wrapped": ({"state_dict": prefixed("module.")}, ["begin with 'module.'"]),
    "compiled and in parallel": (prefixed("_orig_mod.module."), ["begin with '_orig_mod.module.'"]),
    "with a teacher": (
        prefixed("net.") | prefixed("teacher.model.", OTHER),
        ["begin with 'net.'", f"ignored {len(STATE)} tensors that are not of this network"],
    ),
    "with a loss": (
        prefixed("model.") | {"criterion.weight": torch.ones(10)},
        ["begin with 'model.'", "ignored 1 tensors that are not of this network: 'criterion.wei"],
    ),
    "averages beside it by prefix": (
        prefixed("model.", OTHER) | prefixed("ema_model."),
        ["begin with 'ema_model.'", "ignored"],
    ),
    "profiled": (
        STATE | {"total_ops": torch.zeros(1), "first_conv.total_params": torch.zeros(1)},
        ["ignored 2 tensors that are not of this network: 'total_ops', 'first_conv.total_params'"],
    ),
    "with numbers among them": (STATE | {"epoch": 3}, ["ignored 'epoch', which are no tensors"]),
    "without counters": ({k: v for k, v in STATE.items() if "num_batches" not in k}, []),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_weights_are_found_in_what_they_were_saved_in(tmp_path, case):
    content, words = WRAPPED[case]
    torch.save(content, tmp_path / "c.pth")
    found, said = imported(tmp_path / "c.pth")
    assert_same(found)
    assert len(said) == len(words)
    assert all(word in text for word, text in zip(words, said, strict=True)), said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted_and_said(tmp_path, dtype):
    torch.save({k: v.to(dtype) if k in FLOATS else v for k, v in STATE.items()}, tmp_path / "c")
    found, said = imported(tmp_path / "c")
    for name, tensor in WEIGHTS.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.to(dtype).to(torch.float32))
    assert said == [f"{len(FLOATS)} tensors are {dtype}, and were converted to float32"]


def test_counters_of_another_type_are_counters(tmp_path):
    changed = {k: v if k in FLOATS else torch.full((1,), 7.0) for k, v in STATE.items()}
    torch.save(changed, tmp_path / "c")
    found, said = imported(tmp_path / "c")
    assert_same(found)
    counters = [tensor for name, tensor in found.items() if name.endswith(COUNTER)]
    assert all(torch.equal(tensor, torch.tensor(7)) for tensor in counters)
    assert said == []


def test_a_safetensors_file_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(save_safe(prefixed("module.")))
    found, said = imported(path)
    assert_same(found)
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_the_index_of_several_files_is_read(tmp_path, kind):
    places: dict[str, str] = {}
    for number, names in enumerate(np.array_split(np.array(list(STATE)), 3)):
        part = {str(name): STATE[str(name)] for name in names}
        file = f"model-{number}.{kind}"
        if kind == "bin":
            torch.save(part, tmp_path / file)
        else:
            (tmp_path / file).write_bytes(save_safe(part))
        places |= dict.fromkeys(part, file)
    index = tmp_path / f"model.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found, said = imported(index)
    assert_same(found)
    assert said == [f"{index.name}: {len(STATE)} tensors of 3 files"]
    with pytest.raises(InputError, match=r"expected a file, got a folder: .*index\.json"):
        read_checkpoint(tmp_path)
    (tmp_path / f"model-1.{kind}").unlink()
    with pytest.raises(InputError, match=r"model-1\.\w+': no such file"):
        read_checkpoint(index)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"weight_map": {"a": "../secret"}}, "expected at most 1000 files in the same folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "expected at most 1000 files in the same folder"),
        ({"weight_map": {}}, "expected a torch or safetensors file"),
        ({"ks": [3]}, "expected a torch or safetensors file"),
        ([], "expected a torch or safetensors file"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, value, words):
    path = tmp_path / "m.index.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=words):
        read_checkpoint(path)


def test_an_archive_that_was_packed_again_is_read_as_it_is(tmp_path):
    """Its bytes are not those of its tensors, so it cannot be mapped into memory."""
    whole = io.BytesIO()
    torch.save(STATE, whole)
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(tmp_path / "c", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    try:
        found, _ = imported(tmp_path / "c")
    except InputError:
        return  # torch may refuse it
    assert_same(found)


def refusal(state: dict) -> str:
    with pytest.raises(InputError) as error:
        from_published(DEBUG, state)
    return str(error.value)


def test_another_number_of_classes_says_how():
    state = STATE | {
        "classifier.linear.weight": torch.zeros(7, 48),
        "classifier.linear.bias": torch.zeros(7),
    }
    told = refusal(state)
    assert "classifier.linear.weight: expected 10x48 torch.float32, got 7x48" in told
    assert "The file is for 7 classes and the space for 10: import it under a new name" in told
    assert "`--space FILE`, a space with classes = 7" in told


def test_a_missing_tensor_is_named_with_the_nearest():
    state = dict(STATE)
    state["first_conv.conv.weights"] = state.pop("first_conv.conv.weight")
    told = refusal(state)
    assert "first_conv.conv.weight is missing, expected 8x1x3x3" in told
    assert "; the nearest that is there is 'first_conv.conv.weights'" in told


def test_many_problems_are_counted():
    told = refusal({f"{k}x" if k in FLOATS else k: v for k, v in STATE.items()})
    expected = f"of {len(STATE)} tensors {len(FLOATS)} are missing and 0 unusable, and "
    assert f"{expected}{len(FLOATS)} others are there" in told
    assert told.count("is missing") == 5
    assert len(told) < 2000
