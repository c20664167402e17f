"""A published network as a checked ONNX file: fetched, proved, built, compared, described."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bundle import IMAGENET
from models.data import CROP_SHARE, PhotoFit
from models.published import PublishedNetwork
from models.schema import read_json
from models.spaces import SearchSpace, published_spaces, stage_features
from service.catalog.published import fetch_published
from service.contracts import NetworkRead
from service.delivery.model_builder import VerifiedModel
from service.delivery.parity import check_parity, noise_images, torch_outputs
from service.delivery.stated import stated_features, stated_gaps

if TYPE_CHECKING:
    from models.supernet import Subnet
    from service.catalog.published import Place

"""Share of the shorter side that the published evaluation cuts out of the middle of an image."""
CONFIG_SHARE = 0.05
"""Of the work, that each of the two small files counts for."""
FETCHED = 0.8

OnShare = Callable[[float, str], None]
"""Told the share of the work that is done, 0..1, and what is being done."""


def load_published(
    network: PublishedNetwork,
    home: Path,
    places: Sequence[Place] = (),
    *,
    only: bool = False,
    on_share: OnShare = lambda share, word: None,
) -> Subnet:
    """A published network with its weights and batch norms as published, in eval mode.

    Args:
        home, places, only: as `fetch_published` takes them.

    Raises:
        InputError, DownloadFailed, SubnetSearchError: as `fetch_published`.
    """
    from models.supernet import load_static, read_checkpoint

    start, paths = 0.0, []
    ends = (CONFIG_SHARE, 2 * CONFIG_SHARE, 1.0)
    files = (network.net_config, network.run_config, network.weights)
    for file, end in zip(files, ends, strict=True):

        def show(share: float, word: str, start: float = start, end: float = end) -> None:
            on_share(start + share * (end - start), word)

        paths.append(fetch_published(file, home, places, only=only, on_share=show))
        start = end
    net_config, run_config, weights = paths
    space = published_spaces()[network.space]
    document = {path.name: read_json(path).value for path in (net_config, run_config)}
    arch = space.read_arch(document)
    assert arch == network.arch  # both are of the file with this blob id
    return load_static(space, arch, read_checkpoint(weights))


def export_published(
    network: PublishedNetwork,
    described: NetworkRead,
    home: Path,
    places: Sequence[Place] = (),
    *,
    only: bool = False,
    threads: int = 1,
    features: bool = False,
    on_share: OnShare = lambda share, word: None,
) -> VerifiedModel:
    """The verified ONNX file of a published network. Its batch norms are not recalibrated.

    Args:
        described: the same network, for the file's metadata.
        threads: batches of images computed in parallel.
        features: the stages' outputs are outputs of the file too.

    Raises:
        InputError, DownloadFailed, SubnetSearchError: as `fetch_published`.
        Unverified: if the file does not compute what the torch network does.
    """
    from models.onnx import network_onnx

    def fetching(share: float, word: str) -> None:
        on_share(FETCHED * share, word)

    subnet = load_published(network, home, places, only=only, on_share=fetching)
    space = published_spaces()[network.space]
    on_share(FETCHED, "build")
    images = noise_images(space.channels, network.arch.resolution)
    stages = stage_features(space, network.arch) if features else ()
    logits, outputs = torch_outputs(subnet, images, stages)
    metadata = _metadata(network, described, space) | stated_features(stages)
    model = network_onnx(space, network.arch, subnet, metadata, stages)
    on_share(0.9, "verify")
    checked = check_parity(model, images, logits, threads, outputs)
    findings = {"recalibrated": False, **checked, "top1": None}
    stated = {**metadata, "subnet_search.verified": json.dumps(findings)}
    model = network_onnx(space, network.arch, subnet, stated, stages)
    return VerifiedModel(model=model, findings=findings, latency_ms=None)


def _metadata(
    network: PublishedNetwork, described: NetworkRead, space: SearchSpace
) -> dict[str, str]:
    size = network.arch.resolution
    preprocess: dict[str, Any] = {
        "channels": space.channels,
        "resolution": size,
        "interpolation": "bilinear",
        **IMAGENET,
        **PhotoFit(is_cropped=True).to_json(size),
        "resize_shorter_side": math.ceil(size / CROP_SHARE),
        "center_crop": size,
    }
    predicted = described.predicted.model_dump(mode="json")
    counted = {"macs": described.macs, "params": described.params}
    values = {
        "arch": json.dumps(network.arch.to_json()),
        "supernet": network.space,
        "supernet_sha256": "",
        "network": network.id,
        "network_blob": network.weights.blob,
        "device": network.device or "",
        "precision": "fp32",
        "predicted": json.dumps({**predicted, **counted}),
        "published": described.published.model_dump_json(),
        "preprocess": json.dumps(preprocess),
    }
    stated = {f"subnet_search.{name}": value for name, value in values.items()}
    return stated | stated_gaps(network.device, described.predicted.latency_ms)
