"""The published supernets against the reference implementation's outputs, through import and ONNX.

Bound: 1e-4 of the largest logit, as the golden vectors ask; 1e-6 is usual.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from models.bundle.bundle import Bundle
from models.layers import LayerSpec
from models.onnx.export import run_onnx, subnet_onnx
from models.spaces.arch import Arch
from models.spaces.files import published_spaces
from models.spaces.plan import layer_plan, macs, params
from models.supernet.channel_sorting import sort_channels
from models.supernet.checkpoint import key_map
from models.supernet.extraction import extract, recalibrate
from models.supernet.supernet import Supernet
from service.catalog.supernets.importing import import_supernet, write_checkpoint
from tests.golden.fill import FAMILIES, arrays, checkpoint, golden, images, shapes

pytestmark = pytest.mark.golden
TOLERANCE = 1e-4
CASES = [(name, case["id"]) for name in FAMILIES for case in golden(name)["cases"]]
MOBILE = [name for name in FAMILIES if name != "ofa-resnet50"]


def case_of(name: str, number: int) -> tuple[dict, Arch]:
    case = golden(name)["cases"][number]
    return case, Arch.from_json(case["arch"])


def released(name: str) -> str:
    """The first release's name of a tensor, by rule (the twin of the explicit map)."""
    return re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name)


@pytest.fixture(scope="module", params=FAMILIES)
def imported(request, tmp_path_factory) -> tuple[Bundle, Supernet]:
    """A family's filled checkpoint, imported from a file of the format it was released in."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    state = checkpoint(name)
    if name in MOBILE:
        state = {released(key): value for key, value in state.items()}
    torch.save({"state_dict": state}, folder / "checkpoint")
    bundle = import_supernet(folder, name, folder / "checkpoint")
    return bundle, bundle.load_supernet()


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max())


def test_logits_through_import_and_onnx(imported):
    bundle, supernet = imported
    for case in golden(bundle.name)["cases"]:
        arch = Arch.from_json(case["arch"])
        x = images(case["batch"], arch.resolution, case["image_seed"])
        expected = arrays(bundle.name)[f"{case['id']}_logits"]
        subnet = extract(supernet, arch)
        assert close(run_onnx(subnet_onnx(supernet, arch, subnet, {}), x.numpy(), 2), expected)
        if case["id"] in (1, 2):  # elastic and extracted are equal bit for bit, which others test
            with torch.no_grad():
                assert close(supernet(x, arch).numpy(), expected)


def test_recalibrated_logits_through_onnx(imported):
    bundle, supernet = imported
    for case in golden(bundle.name)["cases"]:
        if (batches := case.get("recalibration")) is None:
            continue
        arch = Arch.from_json(case["arch"])
        subnet = extract(supernet, arch)
        size = batches["resolution"]
        recalibrate(subnet, [images(batches["batch"], size, s) for s in batches["image_seeds"]])
        x = images(case["batch"], arch.resolution, case["image_seed"]).numpy()
        found = run_onnx(subnet_onnx(supernet, arch, subnet, {}), x, 2)
        assert close(found, arrays(bundle.name)[f"{case['id']}_logits_recalibrated"])


@pytest.mark.parametrize("imported", MOBILE, indirect=True)
def test_sorted_channels(imported):
    bundle, _ = imported
    arch = bundle.space.uniform(128, 1, 5, 4)
    expected = arrays(bundle.name)["sorted_ks5_e4_d3_r128_logits"]
    supernet = bundle.load_supernet()  # a copy: sorting changes it
    sort_channels(supernet)
    x = images(2, 128, golden(bundle.name)["seed"])
    found = run_onnx(subnet_onnx(supernet, arch, extract(supernet, arch), {}), x.numpy(), 2)
    assert close(found, expected)


def test_written_back_it_is_the_file_that_was_imported(imported, tmp_path):
    bundle, _ = imported
    state = checkpoint(bundle.name)
    for key_format, rename in (("newer", str), ("released", released)):
        path = write_checkpoint(bundle, tmp_path / key_format, key_format)
        found = torch.load(path, weights_only=True)["state_dict"]
        assert list(found) == [rename(key) for key in state]
        assert all(torch.equal(found[rename(key)], value) for key, value in state.items())


def test_both_formats_import_to_the_same_bytes(tmp_path):
    name = MOBILE[0]
    state = checkpoint(name)
    torch.save(state, tmp_path / "newer")
    torch.save({released(k): v for k, v in reversed(state.items())}, tmp_path / "released")
    one = import_supernet(tmp_path / "one", name, tmp_path / "newer")
    other = import_supernet(tmp_path / "other", name, tmp_path / "released")
    assert one.sha256 == other.sha256


@pytest.mark.parametrize("name", FAMILIES)
def test_names_and_their_order_are_the_published_ones(name):
    space = published_spaces()[name]
    assert list(key_map(space, "newer").values()) == list(shapes(name))
    assert list(key_map(space, "released").values()) == [released(key) for key in shapes(name)]


def single_precision_macs(plan: tuple[LayerSpec, ...]) -> int:
    """The reference's counter adds in float32, one operator after another."""
    total = np.float32(0)
    for spec in plan:
        area_in, area_out, mid = spec.in_size**2, spec.out_size**2, spec.mid_channels
        if spec.kind == "mbconv":
            parts = [spec.in_channels * mid * area_in] * spec.expands
            parts += [spec.kernel**2 * mid * area_out, *[mid * spec.se_channels] * 2]
            parts += [mid * spec.out_channels * area_out]
        elif spec.kind == "bottleneck":
            parts = [spec.in_channels * mid * area_in, 9 * mid * mid * area_out]
            parts += [mid * spec.out_channels * area_out]
            parts += [spec.in_channels * spec.out_channels * area_out] * (not spec.skip)
        else:
            parts = [spec.macs]
        assert sum(parts) == spec.macs
        for part in parts:
            total = np.float32(total + np.float32(part))
    return int(total)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_macs_and_parameters(name, number):
    """Ours are exact integers; the published ones carry the rounding of their float32 sum."""
    case, arch = case_of(name, number)
    space = published_spaces()[name]
    assert params(space, arch) == case["params"]
    assert single_precision_macs(layer_plan(space, arch)) == case["macs"]
    assert macs(space, arch) == pytest.approx(case["macs"], rel=1e-6)


def test_cardinalities():
    """Five stages of 2, 3 or 4 blocks of 9 kinds at 34 sizes; ProxylessNAS has a sixth of one."""
    sizes = {name: space.cardinality for name, space in published_spaces().items()}
    stages = 9**2 + 9**3 + 9**4
    assert sizes["ofa-mbv3-w1.0"] == sizes["ofa-mbv3-w1.2"] == 34 * stages**5
    assert sizes["ofa-proxyless-w1.3"] == 34 * stages**5 * 9
    small, large = 3**2 + 3**3 + 3**4, 3**4 + 3**5 + 3**6
    assert sizes["ofa-resnet50"] == 9 * 2 * 3**6 * small**3 * large
