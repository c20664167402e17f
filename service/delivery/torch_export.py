"""A network of a supernet, or a published one, as a folder that needs only torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bundle import IMAGENET
from models.data import PhotoFit
from models.published import PublishedNetwork, networks_source
from models.spaces import Arch, published_spaces
from service.catalog import DeploymentContext
from service.contracts import NetworkRead
from service.delivery.accuracy_check import Unverified
from service.delivery.model_builder import ModelBuilder, Report
from service.delivery.parity import Images, difference, noise_images
from service.delivery.published_network import load_published

if TYPE_CHECKING:
    from models.supernet import Subnet
    from models.torch_folder import TorchNetwork
    from service.catalog.published import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchExport:
    """A verified folder, not yet written."""

    files: Mapping[str, bytes]
    """Contents by file name."""
    findings: dict[str, Any]
    """Of an ONNX file of the same weights, and in "model_py" of the folder's own program."""
    warnings: tuple[str, ...] = ()


def export_torch(
    builder: ModelBuilder,
    context: DeploymentContext,
    arch: Arch,
    *,
    recalibrate: bool = True,
    features: bool = False,
    report: Report = lambda step, share: None,
    allow_low_top1: bool = False,
) -> TorchExport:
    """The torch folder of a subnet, whose accuracy is measured as that of an ONNX file.

    Raises:
        InputError: if recalibration needs images and there are none, or a layer's kind has no
            module that needs only torch.
        Unverified: as `ModelBuilder.verify`, or if `model.py` computes something else.
    """
    from models.torch_folder import TorchNetwork, tensors_of

    made = builder.make(
        context,
        arch,
        recalibrate=recalibrate,
        features=features,
        report=report,
        allow_low_top1=allow_low_top1,
    )
    subnet, bundle = builder.subnet(arch, recalibrate=recalibrate), builder.bundle
    (predicted,) = context.predict([arch])
    network = TorchNetwork(
        space=bundle.space,
        arch=arch,
        tensors=tensors_of(subnet),
        supernet=bundle.name,
        supernet_sha256=bundle.sha256,
        mean=bundle.mean,
        std=bundle.std,
        photo_fit=bundle.photo_fit,
        class_names=bundle.class_names,
        has_features=features,
        recalibrated=recalibrate,
        licence=str(bundle.card.get("licence") or "see the publisher of the supernet"),
        about={
            "device": context.table.device if context.table else None,
            "predicted": {name: value for name, value in predicted.items() if name != "arch"},
            "top1": made.findings["top1"],
        },
    )
    files, parity = _checked_files(network, subnet, builder.parity_images(arch))
    findings = {**made.findings, "model_py": parity}
    return TorchExport(files=files, findings=findings, warnings=made.warnings)


def export_published_torch(
    network: PublishedNetwork,
    described: NetworkRead,
    home: Path,
    places: Sequence[Place] = (),
    *,
    only: bool = False,
    features: bool = False,
    on_share: Callable[[float, str], None] = lambda share, word: None,
) -> TorchExport:
    """The torch folder of a published network, with its batch norms as published.

    Raises:
        InputError, DownloadFailed, SubnetSearchError: as `load_published`.
    """
    from models.torch_folder import TorchNetwork, tensors_of

    subnet = load_published(network, home, places, only=only, on_share=on_share)
    space = published_spaces()[network.space]
    made = TorchNetwork(
        space=space,
        arch=network.arch,
        tensors=tensors_of(subnet),
        supernet=network.space,
        mean=tuple(IMAGENET["mean"]),
        std=tuple(IMAGENET["std"]),
        photo_fit=PhotoFit(is_cropped=True),
        has_features=features,
        licence=networks_source(),
        about={
            "network": network.id,
            "device": network.device,
            "published": described.published.model_dump(mode="json"),
            "predicted": described.predicted.model_dump(mode="json"),
        },
    )
    images = noise_images(space.channels, network.arch.resolution)
    files, parity = _checked_files(made, subnet, images)
    findings = {"recalibrated": False, "top1": None, "model_py": parity}
    return TorchExport(files=files, findings=findings)


def _checked_files(
    network: TorchNetwork, subnet: Subnet, images: Images
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The folder's files, and how far its `model.py` is from the network.

    Raises:
        Unverified: if it computes something else.
    """
    import torch

    from models.torch_folder import folder_files, logits_of_source

    files = folder_files(network)
    x_BCHW = torch.from_numpy(images)
    with torch.no_grad():
        expected = subnet(x_BCHW).numpy()
    found = logits_of_source(files["model.py"], network, x_BCHW).numpy()
    off, allowed = difference(found, expected)
    if not off <= allowed:  # also refuses NaN
        raise Unverified(
            f"the logits of model.py differ from the network's by {off:.3g}, expected at most "
            f"{allowed:.3g}: nothing was written"
        )
    return files, {"max_difference": off, "allowed": allowed, "images": len(images)}
