"""A torch folder that comes back: checked, built as an ONNX file, compared, measured, kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.table import LatencyTable, Precision
from models.errors import InputError, SubnetSearchError
from models.spaces import layer_plan, read_space, stage_features
from service.catalog import IMPORTED_MODEL, Catalog, ImportedNetworks, table_provenance
from service.delivery.accuracy_check import described_top1
from service.delivery.parity import (
    Check,
    Images,
    check_parity,
    input_shape,
    noise_images,
    outputs_parity,
    torch_outputs,
)
from service.delivery.stated import (
    PREFIX,
    stated_classes,
    stated_features,
    stated_gaps,
    with_stated,
)
from service.delivery.timing import HostTimer, Timer, as_device, describe_times

if TYPE_CHECKING:
    from models.torch_folder import TorchNetwork

PRECISION: Precision = "fp32"
"""Of the file."""
PARITY_IMAGES = 64
"""Of the user's images, that logits are compared on."""
CHUNK = 128
"""Images in memory at once."""
UNKNOWN_TOP1 = (
    "the accuracy of this network is unknown: name a folder of class folders with --images, and it "
    "is measured; the supernet's predictor says nothing of fine-tuned weights"
)


OnShare = Callable[[float, str], None]
"""Told the share of the work that is done, 0..1, and what is being done."""


@dataclass(frozen=True, slots=True)
class _Images:
    """A user's images, with labels in the order of the network's classes."""

    files: list[Path]
    labels: list[int]
    class_names: tuple[str, ...]
    warnings: list[str]


def import_network(
    catalog: Catalog,
    folder: Path,
    name: str,
    *,
    device: str | None = None,
    images: Path | None = None,
    threads: int = 1,
    timer: Timer | None = None,
    on_share: OnShare = lambda share, word: None,
) -> dict[str, Any]:
    """Bring a fine-tuned network in; returns what is kept of it (`ImportedNetworks`).

    Args:
        folder: as `export --format torch` wrote it. Its programs are not run.
        device: where it will run: its latency there is predicted, and timed if that is here.
        images: class folders to measure the accuracy on, treated as its photos are.
        threads: batches of images computed in parallel.

    Raises:
        InputError: if the folder, the images or the device do not fit, or the name is taken.
        Unverified: if the file does not compute what the torch network does.
    """
    from models.torch_folder import WEIGHTS, architecture_sha256, read_folder, state_bytes

    store = ImportedNetworks(catalog.home)
    store.check_new(name)
    on_share(0.0, "read")
    network = read_folder(folder)
    table = None if device is None else _table(catalog, device, network.space.name)
    given = None if images is None else _read_images(images, network)
    warnings = [UNKNOWN_TOP1] if given is None else given.warnings
    if given is not None:
        network = replace(network, class_names=given.class_names)
    predicted, doubts = _predicted(catalog, network, table)
    weights = state_bytes(network.tensors, architecture_sha256(network.space, network.arch))
    metadata = _metadata(network, name, weights, table, predicted)
    model, findings = _built(network, metadata, given, threads, on_share)
    timer, outputs = timer or HostTimer(), 1 + len(network.features)
    if (here := as_device(timer, table, PRECISION, outputs=outputs)) is not None:
        on_share(0.9, "time")
        findings["latency_ms"] = describe_times(timer.times_ms(model, here), here, None)
    model = with_stated(model, "verified", json.dumps(findings))
    record = {
        **_description(network, name, predicted),
        "device": device,
        "verified": findings,
        "model_bytes": len(model),
        "warnings": [*warnings, *doubts],
    }
    store.add(name, record, {IMPORTED_MODEL: model, WEIGHTS: weights})
    return dict(store.get(name))


def _built(
    network: TorchNetwork,
    metadata: dict[str, str],
    given: _Images | None,
    threads: int,
    on_share: OnShare,
) -> tuple[bytes, dict[str, Any]]:
    """The ONNX file, compared with the torch network, and the findings.

    Raises:
        Unverified: if it computes something else.
    """
    from models.onnx import network_onnx
    from models.torch_folder import module_of

    on_share(0.1, "build")
    module = module_of(network.space, network.arch, network.tensors)
    model = network_onnx(network.space, network.arch, module, metadata, network.features)
    on_share(0.2, "verify")
    if given is None:
        compared = noise_images(network.space.channels, network.arch.resolution)
    else:
        step = max(1, len(given.files) // PARITY_IMAGES)
        compared = _prepared(given.files[::step][:PARITY_IMAGES], network)
    logits, features = torch_outputs(module, compared, network.features)
    checked = check_parity(model, compared, logits, threads, features)
    top1 = None if given is None else _top1(model, network, given, threads, on_share)
    return model, {"recalibrated": False, **checked, "top1": top1}


def _description(network: TorchNetwork, name: str, predicted: dict[str, Any]) -> dict[str, Any]:
    """What is kept of the network itself."""
    space, names = network.space, network.class_names
    plan = layer_plan(space, network.arch)
    return {
        "format": 1,
        "id": name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "supernet": network.supernet,
        "supernet_sha256": network.supernet_sha256,
        "classes": space.classes,
        "class_names": None if names is None else list(names),
        "macs": sum(layer.macs for layer in plan),
        "params": sum(layer.params for layer in plan),
        "predicted": predicted,
        "features": [feature.to_json() for feature in network.features],
        "preprocess": network.preprocess,
        "arch": network.arch.to_json(),
        "space": space.to_json(),
    }


def _table(catalog: Catalog, device: str, space: str) -> LatencyTable:
    """The device's table for a space at full precision.

    Raises:
        NotFound: if there is no such device.
        InputError: if it has no such table.
    """
    tables = catalog.devices.tables(device)
    for table in tables:
        if (table.space, table.conditions.precision) == (space, PRECISION):
            return table
    known = ", ".join(sorted({table.space for table in tables}))
    raise InputError(
        f"device {device!r} has no fp32 latency table for space {space!r}, which the network is "
        f"of; it has tables for {known}: measure it, or import without --device"
    )


def _predicted(
    catalog: Catalog, network: TorchNetwork, table: LatencyTable | None
) -> tuple[dict[str, Any], list[str]]:
    """What is predicted of the network, and what to know of it. A table times the head of its
    supernet; where the network has another number of classes, that head takes its place."""
    predicted: dict[str, Any] = {"latency_ms": None, "top1": None}
    if table is None:
        return predicted, []
    space = network.space
    known = [catalog.supernets.get(n).space for n in catalog.supernets.names()]
    classes = [space.classes, *(s.classes for s in known if s.name == space.name)]
    for count in classes:
        plan = layer_plan(replace(space, classes=count), network.arch)
        if any(table.entry(layer) is None for layer in plan):
            continue
        predicted |= {
            "latency_ms": table.network_ms(plan),
            "batch": table.conditions.batch,
            "latency_expected_error": table.expected_error,
            "provenance": {"latency_ms": table_provenance(table)},
        }
        if count == space.classes:
            return predicted, []
        text = f"the same network with {count} classes, for which the table was measured"
        return {**predicted, "latency_of": text}, [f"the predicted latency is of {text}"]
    missing = f"the table of {table.device!r} lacks layers of it"
    return predicted, [f"the latency of this network cannot be predicted: {missing}"]


def _metadata(
    network: TorchNetwork,
    name: str,
    weights: bytes,
    table: LatencyTable | None,
    predicted: dict[str, Any],
) -> dict[str, str]:
    values = {
        "arch": json.dumps(network.arch.to_json()),
        "space": json.dumps(network.space.to_json()),
        "supernet": network.supernet,
        "supernet_sha256": "",  # the weights are no longer the supernet's
        "network": name,
        "network_sha256": hashlib.sha256(weights).hexdigest(),
        "device": table.device if table else "",
        "precision": PRECISION,
        "predicted": json.dumps(predicted),
        "preprocess": json.dumps(network.preprocess),
    }
    stated = {f"{PREFIX}{key}": value for key, value in values.items()}
    named = stated_classes(network.class_names) | stated_features(network.features)
    return stated | named | stated_gaps(values["device"], predicted["latency_ms"])


def _read_images(folder: Path, network: TorchNetwork) -> _Images:
    """The files of class folders, with the index of their class.

    Raises:
        InputError: if there are none, or they are not of the network's classes.
    """
    from models.data import image_files

    files = image_files(folder)
    if loose := [path for path in files if path.parent == folder]:
        raise InputError(f"{loose[0]}: expected every image in the folder of its class")
    found = sorted({path.parent.name for path in files})
    names, warnings = network.class_names, []
    if names is None:
        if len(found) != network.space.classes:
            raise InputError(
                f"{folder}: expected {network.space.classes} class folders, one for each output of "
                f"the network, got {len(found)}"
            )
        names = tuple(found)
        text = "the folder does not name its classes: those of the images were taken in their order"
        warnings.append(text)
    if unknown := [name for name in found if name not in names]:
        raise InputError(
            f"{folder / unknown[0]}: the network has no class {unknown[0]!r}; it has "
            f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
        )
    if len(found) < len(names):
        warnings.append(f"images of {len(found)} of {len(names)} classes: top-1 is of those alone")
    index = {name: position for position, name in enumerate(names)}
    labels = [index[path.parent.name] for path in files]
    return _Images(files, labels, names, warnings)


def _prepared(files: Sequence[Path], network: TorchNetwork) -> Images:
    """Images as the network's input, (B, channels, r, r)."""
    from models.data import load_images, preprocess

    size, fit = network.arch.resolution, network.photo_fit
    images = load_images(
        list(files),
        channels=network.space.channels,
        size=fit.sizes(size)[0],
        central=fit.is_cropped,
    )
    return preprocess(images, resolution=size, mean=network.mean, std=network.std)


def _chunks(given: _Images) -> Iterator[tuple[list[Path], list[int]]]:
    for start in range(0, len(given.files), CHUNK):
        part = slice(start, start + CHUNK)
        yield given.files[part], given.labels[part]


def _top1(
    model: bytes,
    network: TorchNetwork,
    given: _Images,
    threads: int,
    on_share: OnShare,
) -> dict[str, Any]:
    from models.onnx import run_onnx

    right = done = 0
    for files, labels in _chunks(given):
        logits = run_onnx(model, _prepared(files, network), threads)
        right += int((logits.argmax(1) == np.array(labels)).sum())
        done += len(files)
        on_share(0.3 + 0.6 * done / len(given.files), "measure accuracy")
    return described_top1(100.0 * right / done, done, PRECISION)


def check_imported(content: bytes, stated: Mapping[str, Any], home: Path) -> list[Check]:
    """The checks of a file of an imported network, against its weights if they are here."""
    from models.torch_folder import WEIGHTS, module_of, read_tensors

    name, store = stated["network"], ImportedNetworks(home)
    try:
        space = read_space(stated["space"])
        arch = space.read_arch(stated["arch"])
        checks = [input_shape(content, space, arch)]
    except InputError as error:
        return [Check(name="network", passed=False, detail=str(error))]
    if name not in store.names():
        detail = f"the network {name!r} is not on this machine"
        return [*checks, Check(name="parity", passed=None, detail=detail)]
    try:
        weights = store.content(name, WEIGHTS)
        if hashlib.sha256(weights).hexdigest() != stated["network_sha256"]:
            detail = f"made from other weights than those of {name!r} here"
            return [*checks, Check(name="network", passed=False, detail=detail)]
        module = module_of(space, arch, read_tensors(weights, space, arch))
        images = noise_images(space.channels, arch.resolution)
        stages = stage_features(space, arch) if stated["features"] else ()
        logits, features = torch_outputs(module, images, stages)
        against = f"on {len(images)} images against the weights of {name!r}"
        parity = outputs_parity(content, images, {"logits": logits, **features}, against)
    except (SubnetSearchError, RuntimeError, ValueError) as error:
        return [*checks, Check(name="parity", passed=False, detail=f"cannot be compared: {error}")]
    detail = f"{name}, fine-tuned from {stated['supernet']}"
    top1 = stated["verified"].get("top1")
    measured = "measured when it was imported, on images that are not kept" if top1 else "unknown"
    return [
        Check(name="network", passed=True, detail=detail),
        *checks,
        *parity,
        Check(name="top1", passed=None, detail=measured, stated=top1 and top1["value"]),
    ]
