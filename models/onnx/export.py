"""From (supernet, architecture) to ONNX bytes, and the accuracy of such bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from models.data import Images, preprocess
from models.machine import in_order
from models.onnx.builder import build_onnx
from models.spaces import Arch, Feature, SearchSpace, layer_plan
from models.supernet import Subnet, Supernet, extract, recalibrate

CALIBRATION_BATCH = 256
CACHE_LIMIT_BYTES = 1 << 28
"""Larger sets of resized images are not cached; each batch is resized when it is used."""
PART_IMAGES = 512
"""Of a larger set, how many are resized and run at once."""


class ImageSet:
    """Images with their preprocessing, resized once for each resolution, if memory allows it."""

    def __init__(self, images: Images, mean: Sequence[float], std: Sequence[float]) -> None:
        self.images, self.mean, self.std = images, tuple(mean), tuple(std)
        self._cache: dict[int, npt.NDArray[np.float32]] = {}

    @cached_property
    def sha256(self) -> str:
        """Hash of the pixels, their shape and the preprocessing: equal sets have equal hashes."""
        stated = repr((self.images.shape, [*map(float, self.mean)], [*map(float, self.std)]))
        digest = hashlib.sha256(stated.encode())
        for start in range(0, len(self.images), PART_IMAGES):
            digest.update(np.ascontiguousarray(self.images[start : start + PART_IMAGES]).data)
        return digest.hexdigest()

    def at(self, resolution: int) -> npt.NDArray[np.float32]:
        """All images as (N, C, resolution, resolution) float32."""
        if resolution in self._cache:
            return self._cache[resolution]
        resized = self._preprocessed(self.images[:], resolution)
        if resized.nbytes <= CACHE_LIMIT_BYTES:
            self._cache[resolution] = resized
        return resized

    def _preprocessed(
        self, images: npt.NDArray[np.uint8], resolution: int
    ) -> npt.NDArray[np.float32]:
        return preprocess(images, resolution=resolution, mean=self.mean, std=self.std)

    def parts(self, resolution: int, size: int) -> Iterator[npt.NDArray[np.float32]]:
        """All images in order: at once where they are cached, else `size` at a time."""
        if not self._is_large(resolution):
            yield self.at(resolution)
            return
        for start in range(0, len(self.images), size):
            yield self._preprocessed(self.images[start : start + size], resolution)

    def batches(self, resolution: int, size: int) -> Iterator[torch.Tensor]:
        """The images in order, `size` at a time."""
        for part in self.parts(resolution, size):
            for start in range(0, len(part), size):
                images = torch.from_numpy(part[start : start + size])
                yield images.contiguous(memory_format=torch.channels_last)

    def _is_large(self, resolution: int) -> bool:
        return len(self.images) * len(self.mean) * resolution**2 * 4 > CACHE_LIMIT_BYTES


def calibrated_subnet(
    supernet: Supernet, arch: Arch, calibration: ImageSet, threads: int = 1
) -> Subnet:
    """The subnet as an ordinary module with batch norms recalibrated on `calibration`."""
    subnet = extract(supernet, arch)
    recalibrate(subnet, calibration.batches(arch.resolution, CALIBRATION_BATCH), threads)
    return subnet


def subnet_onnx(
    supernet: Supernet,
    arch: Arch,
    subnet: Subnet,
    metadata: Mapping[str, str],
    features: Sequence[Feature] = (),
) -> bytes:
    """ONNX bytes of an extracted subnet."""
    return network_onnx(supernet.space, arch, subnet, metadata, features)


def network_onnx(
    space: SearchSpace,
    arch: Arch,
    network: Subnet,
    metadata: Mapping[str, str],
    features: Sequence[Feature] = (),
) -> bytes:
    """ONNX bytes of the network `arch` with weights of its own.

    Args:
        features: further outputs (`models.spaces.stage_features`).
    """
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    plan, names = layer_plan(space, arch), {f.layer: f.name for f in features}
    return build_onnx(plan, tensors, metadata, bn_eps=space.bn_eps, features=names)


def fix_batch(model: bytes, batch: int) -> bytes:
    """The same model for exactly so many images: mobile runtimes compile for fixed shapes alone."""
    proto = onnx.load_from_string(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    fixed: bytes = proto.SerializeToString(deterministic=True)
    return fixed


def run_onnx(
    model: bytes, images_BCRR: npt.NDArray[np.float32], threads: int = 1, batch: int = 64
) -> npt.NDArray[np.float32]:
    """Logits (B, classes) of `model` under ONNX Runtime on the CPU.

    Args:
        threads: batches at the same time, each on one thread.
        batch: images a run, of a model that takes any number.
    """
    return run_outputs(model, images_BCRR, ["logits"], threads, batch)["logits"]


def run_outputs(
    model: bytes,
    images_BCRR: npt.NDArray[np.float32],
    names: Sequence[str],
    threads: int = 1,
    batch: int = 64,
) -> dict[str, npt.NDArray[np.float32]]:
    """Some outputs of `model` by name, as `run_onnx` gives the logits."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (expected,) = session.get_inputs()
    fixed = expected.shape[0] if isinstance(expected.shape[0], int) else None
    batch = fixed or batch

    def outputs(start: int) -> list[npt.NDArray[np.float32]]:
        images = images_BCRR[start : start + batch]
        count = len(images)
        if fixed is not None:
            images = np.resize(images, (fixed, *images.shape[1:]))  # the last ones again
        return [found[:count] for found in session.run(list(names), {"input": images})]

    runs = in_order(outputs, range(0, len(images_BCRR), batch), threads)
    found = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    return dict(zip(names, found, strict=True))


def onnx_top1(
    model: bytes, arch: Arch, images: ImageSet, labels: npt.NDArray[np.int64], threads: int = 1
) -> float:
    """Top-1 of `model` on labelled images, percent."""
    parts = images.parts(arch.resolution, PART_IMAGES)
    found = np.concatenate([run_onnx(model, part, threads).argmax(1) for part in parts])
    return 100.0 * float((found == labels).mean())


def measure_top1(
    supernet: Supernet,
    arch: Arch,
    calibration: ImageSet,
    data: ImageSet,
    labels: npt.NDArray[np.int64],
    threads: int = 1,
) -> float:
    """Top-1 of one subnet after recalibration, percent, as its ONNX file would score."""
    subnet = calibrated_subnet(supernet, arch, calibration, threads)
    return onnx_top1(subnet_onnx(supernet, arch, subnet, {}), arch, data, labels, threads)
