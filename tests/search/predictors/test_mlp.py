"""`search.predictors.mlp`: the published predictors' coding and arithmetic, against loops and plain
torch.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import CorruptBundle, InputError
from models.spaces.arch import Arch
from models.spaces.files import published_spaces
from search.predictors.files import load_predictor, predictor_provenance
from search.predictors.mlp import MOBILE_VALID, RESNET_VALID, OneHot, read_published_mlp
from tests.spaces import DEBUG

MOBILE, RESNET = published_spaces()["ofa-mbv3-w1.2"], published_spaces()["ofa-resnet50"]


def mobile_inputs(arch: Arch) -> np.ndarray:
    """The MobileNetV3 coding written as loops: kernels, expansions, resolution."""
    x = np.zeros(128)
    for s in range(5):
        for b in range(arch.depth[s]):
            x[3 * (4 * s + b) + (3, 5, 7).index(arch.kernel[s][b])] = 1
            x[60 + 3 * (4 * s + b) + (3, 4, 6).index(arch.expand[s][b])] = 1
    x[120 + (arch.resolution - 112) // 16] = 1
    return x


def resnet_inputs(arch: Arch) -> np.ndarray:
    """The ResNet coding written as loops: resolution, stem, widths, expansions."""
    x = np.zeros(82)
    x[(128, 144, 160, 176, 192, 224, 240, 256).index(arch.resolution)] = 1
    x[8 + arch.depth[0]] = 1
    for i, width in enumerate(arch.width):
        x[10 + 3 * i + (0.65, 0.8, 1.0).index(width)] = 1
    first = 0
    for s, most in enumerate((4, 4, 6, 4)):
        for b, expand in enumerate(arch.expand[s]):
            x[28 + 3 * (first + b) + (0.2, 0.25, 0.35).index(expand)] = 1
        first += most
    return x


FAMILIES = [(MOBILE, MOBILE_VALID, mobile_inputs), (RESNET, RESNET_VALID, resnet_inputs)]


@pytest.mark.parametrize(("space", "valid", "by_hand"), FAMILIES)
def test_inputs_equal_the_loops(space, valid, by_hand):
    part = space.at(valid)
    genes = part.sample(200, np.random.default_rng(0))
    expected = np.stack([by_hand(arch) for arch in part.decode(genes)])
    assert (OneHot(part)(genes) == expected).all()


def network(inputs: int, based: bool) -> tuple[nn.Sequential, dict[str, np.ndarray]]:
    """A published predictor's torch module with random weights, and its file's tensors."""
    torch.manual_seed(0)
    hidden = [nn.Linear(i, 40) for i in (inputs, 40, 40)]
    last = nn.Linear(40, 1, bias=not based)
    steps = [layer for linear in hidden for layer in (linear, nn.ReLU())]
    names = ["layers.0.0", "layers.1.0", "layers.2.0", "layers.3"] if based else list("0246")
    tensors = {
        f"{name}.{part}": value.detach().numpy()
        for name, linear in zip(names, [*hidden, last], strict=True)
        for part, value in linear.named_parameters()
    }
    if based:
        tensors["base_acc"] = np.array([0.75], np.float32)
    return nn.Sequential(*steps, last), tensors


@pytest.mark.parametrize(("space", "valid", "by_hand"), FAMILIES)
def test_values_equal_plain_torch(space, valid, by_hand, tmp_path):
    based = space is RESNET
    module, tensors = network(82 if based else 128, based)
    predictor = read_published_mlp(tensors, space, "a test")
    genes = predictor.space.sample(100, np.random.default_rng(0))
    inputs = np.stack([by_hand(arch) for arch in predictor.space.decode(genes)])
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs).float())[:, 0].double().numpy()
    expected = 100 * (expected + (0.75 if based else 0))
    np.testing.assert_allclose(predictor.predict(genes), expected, rtol=1e-6)

    predictor.save(tmp_path / "p.safetensors")
    part = space.at(valid[1:3])
    again = load_predictor(tmp_path / "p.safetensors", part)
    rows = part.sample(50, np.random.default_rng(1))
    same = predictor.predict(predictor.space.encode(part.decode(rows)))
    np.testing.assert_allclose(again.predict(rows), same, rtol=1e-6)
    assert predictor_provenance(tmp_path / "p.safetensors") == predictor.provenance


def test_units_that_vanished_in_training_change_nothing():
    """Weights of 1e-41, as the published ResNet predictor has most of, are left out."""
    module, tensors = network(128, False)
    first, second, third, _ = (part for part in module if isinstance(part, nn.Linear))
    with torch.no_grad():
        for linear in (first, second):
            linear.weight[5:30] = 1e-41
            linear.bias[5:30] = -1e-41
        third.weight[:, 31:] = 1e-41
    tensors |= {name: value.detach().numpy() for name, value in module.named_parameters()}
    predictor = read_published_mlp(tensors, MOBILE, "a test")
    assert [layer.weight.shape[0] for layer in predictor._live_layers] == [128, 15, 6, 40]
    genes = predictor.space.sample(100, np.random.default_rng(0))
    inputs = np.stack([mobile_inputs(arch) for arch in predictor.space.decode(genes)])
    with torch.no_grad():
        expected = 100 * module(torch.from_numpy(inputs).float())[:, 0].double().numpy()
    np.testing.assert_allclose(predictor.predict(genes), expected, rtol=1e-6)


@pytest.mark.parametrize(("space", "valid", "by_hand"), FAMILIES)
def test_slopes_with_sharp_kinks_are_the_gradient(space, valid, by_hand, monkeypatch):
    """Against torch's gradient by the one-hot inputs, looked up for each choice."""
    monkeypatch.setattr("search.predictors.mlp.KINK", 1e9)
    based = space is RESNET
    module, tensors = network(82 if based else 128, based)
    predictor = read_published_mlp(tensors, space, "a test")
    genes = predictor.space.sample(30, np.random.default_rng(0))
    inputs = np.stack([by_hand(arch) for arch in predictor.space.decode(genes)])
    x = torch.from_numpy(inputs).float().requires_grad_()
    (gradient,) = torch.autograd.grad(100 * module(x).sum(), x)
    slopes_NGK = predictor.slopes(genes)
    coding = OneHot(predictor.space)
    for (column, choice), at in np.ndenumerate(coding.inputs):
        expected = gradient[:, at].numpy() if at < coding.size else np.zeros(len(genes))
        np.testing.assert_allclose(slopes_NGK[:, column, choice], expected, atol=1e-4)


def test_it_is_valid_where_it_was_fitted_alone():
    predictor = read_published_mlp(network(128, False)[1], MOBILE, "a test")
    assert predictor.provenance.resolutions == (160, 176, 192, 208, 224)
    wide = load_wide(predictor)
    with pytest.raises(InputError, match="not valid at resolution 144"):
        wide.predict(wide.space.encode([wide.space.at([144]).largest]))


def load_wide(predictor):
    """The same weights, asked at sizes that the coding has and the fit had not."""
    space = MOBILE.at(range(112, 225, 16))
    return type(predictor)(
        predictor.provenance, space, predictor.layers, predictor.base, predictor.warm_start_pool
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"8.weight": np.zeros((1, 1), np.float32)}, "missing or unknown: .*8.weight"),
        ({"0.weight": np.zeros((40, 124), np.float32)}, "layer 0: expected 128 inputs"),
        ({"6.bias": np.full(1, np.nan, np.float32)}, "finite"),
    ],
)
def test_other_files_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        read_published_mlp(network(128, False)[1] | change, MOBILE, "a test")


def test_a_predictor_of_another_family_is_refused():
    with pytest.raises(InputError, match=r"not one for space 'ofa-resnet50'"):
        read_published_mlp(network(128, False)[1], RESNET, "a test")
    with pytest.raises(InputError, match="no resolution of"):
        read_published_mlp(network(128, False)[1], DEBUG, "a test")


def test_a_damaged_file_is_refused(tmp_path):
    from dataclasses import replace

    predictor = read_published_mlp(network(128, False)[1], MOBILE, "a test")
    replace(predictor, layers=predictor.layers[1:]).save(tmp_path / "p")
    with pytest.raises(CorruptBundle, match="layer 0"):
        load_predictor(tmp_path / "p", predictor.space)
