"""Recalibrating is done once for the same network, and the file is the same with and without."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

import models.supernet.extraction
import service.delivery.bn_cache
from models.bundle.bundle import Bundle, write_bundle
from models.onnx.export import ImageSet, calibrated_subnet
from service.catalog.deployment_context import DeploymentContext
from service.delivery.bn_cache import BatchNormCache
from service.delivery.model_builder import ModelBuilder
from tests.service.conftest import SUPERNET, catalog_of
from tests.spaces import DEBUG


@pytest.fixture
def bundle(home):
    return catalog_of(home).supernets.get(SUPERNET)


@pytest.fixture
def recalibrations(monkeypatch):
    """The sizes of the networks that were really recalibrated, one entry a time."""
    done: list[int] = []
    real = models.supernet.extraction.recalibrate

    def counted(subnet, images, threads=1):
        done.append(sum(weight.numel() for weight in subnet.parameters()))
        real(subnet, images, threads)

    monkeypatch.setattr(service.delivery.bn_cache, "recalibrate", counted)
    return done


def made(bundle: Bundle, home: Path | None, **how) -> bytes:
    """As another process would make it: nothing is shared but the home."""
    calibration = how.pop("calibration", None)
    builder = ModelBuilder(bundle, home=home, calibration=calibration)
    arch = how.pop("arch", DEBUG.largest)
    return builder.make(DeploymentContext.open(bundle, None), arch, **how).model


def files(home: Path) -> list[Path]:
    return sorted((home / "recalibrated").iterdir())


@pytest.mark.slow
def test_the_second_time_is_without_and_the_bytes_are_the_same(bundle, home, recalibrations):
    for arch in (DEBUG.smallest, DEBUG.largest):
        plain = made(bundle, None, arch=arch)
        assert [made(bundle, home, arch=arch) for _ in range(3)] == [plain] * 3
    assert len(recalibrations) == 2
    assert len(set(recalibrations)) == 2
    int8 = made(bundle, home, precision="int8")
    assert len(recalibrations) == 2, "int8 starts from the same statistics"
    assert int8 == made(bundle, None, precision="int8")
    made(bundle, home, recalibrate=False)
    assert len(files(home)) == 2


@pytest.mark.slow
def test_statistics_come_back_bit_for_bit(bundle, tmp_path, recalibrations):
    cache, supernet = BatchNormCache(tmp_path / "kept"), bundle.load_supernet()
    images = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
    for arch in DEBUG.decode(DEBUG.sample(8, np.random.default_rng(1))):
        expected = calibrated_subnet(supernet, arch, images).state_dict()
        for _ in range(2):
            found = cache.subnet(supernet, bundle.sha256, arch, images)
            assert not found.training
            assert found.state_dict().keys() == expected.keys()
            for name, tensor in found.state_dict().items():
                assert torch.equal(tensor, expected[name]), name
    assert len(recalibrations) == len(list(cache.folder.iterdir()))


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40  # within a number: still a sound safetensors file
    path.write_bytes(content)


def unsigned(path: Path) -> None:
    save_file(load_file(path), path)


def of_another_network(path: Path) -> None:
    path.write_bytes(save({"stem.bn.running_mean": torch.zeros(3)}, {"sha256": "0"}))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [shortened, emptied, flipped, unsigned, of_another_network])
def test_a_damaged_file_is_not_there_and_is_written_again(bundle, home, recalibrations, damage):
    model = made(bundle, home)
    (path,) = files(home)
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    assert made(bundle, home) == model
    assert len(recalibrations) == 2
    assert path.read_bytes() == whole
    assert files(home) == [path]


@pytest.mark.slow
def test_other_images_weights_or_layers_are_other_statistics(
    bundle, home, tmp_path, recalibrations
):
    made(bundle, home)
    folder = tmp_path / "photos" / "all"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(3).integers(0, 256, (4, 12, 12), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    for expected in (2, 2):
        by_folder = made(bundle, home, calibration=folder.parent)
        assert len(recalibrations) == expected
    assert by_folder == made(bundle, None, calibration=folder.parent)
    Image.fromarray(255 - pixels[0]).save(folder / "0.png")
    assert made(bundle, home, calibration=folder.parent) != by_folder
    assert len(recalibrations) == 3

    def changed(name: str, card: dict, contents: dict[str, bytes]) -> Bundle:
        kept = {file: (bundle.path / file).read_bytes() for file in bundle.card["files"]}
        return write_bundle(tmp_path / name, {**bundle.card, **card}, {**kept, **contents})

    weights = load_file(bundle.path / "weights.safetensors")
    weights["layers.stem.conv.weight"] = weights["layers.stem.conv.weight"] * 1.5
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=bundle.calibration()[::-1])
    others = [
        changed("weights", {}, {"weights.safetensors": save(weights)}),
        changed("images", {}, {"calibration.npz": buffer.getvalue()}),
        changed("scale", {"preprocess": {"mean": [0.286], "std": [0.5]}}, {}),
        changed("space", {"space": replace(DEBUG, bn_eps=1e-3).to_json()}, {}),
    ]
    for expected, other in enumerate(others, start=4):
        assert made(other, home) == made(other, None)
        assert len(recalibrations) == expected
    assert len(files(home)) == len(recalibrations)


@pytest.mark.slow
def test_the_oldest_files_are_dropped(bundle, tmp_path, recalibrations):
    cache, supernet = BatchNormCache(tmp_path / "kept", max_files=3), bundle.load_supernet()
    images = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
    archs = DEBUG.decode(np.unique(DEBUG.sample(20, np.random.default_rng(1)), axis=0)[:5])
    cache.folder.mkdir()
    for age, arch in enumerate(archs):
        before = set(cache.folder.iterdir())
        cache.subnet(supernet, bundle.sha256, arch, images)
        (new,) = set(cache.folder.iterdir()) - before
        os.utime(new, (age, age))  # whatever the file system's clock resolves
    assert len(list(cache.folder.iterdir())) == 3
    for arch in archs[2:]:
        cache.subnet(supernet, bundle.sha256, arch, images)
    assert len(recalibrations) == 5
    cache.subnet(supernet, bundle.sha256, archs[0], images)
    assert len(recalibrations) == 6


def test_a_disk_that_takes_nothing_delivers_all_the_same(bundle, home, recalibrations):
    (home / "recalibrated").write_text("not a folder")
    assert made(bundle, home) == made(bundle, None)
    assert len(recalibrations) == 1


@pytest.mark.slow
def test_export_recalibrates_once(run, tmp_path, home, recalibrations):
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(DEBUG.largest.to_json()))
    outs = [tmp_path / name for name in ("first.onnx", "second.onnx")]
    for out in outs:
        run("export", "--supernet", SUPERNET, "--arch", arch, "-o", out)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert len(recalibrations) == 1
    assert len(files(home)) == 1
