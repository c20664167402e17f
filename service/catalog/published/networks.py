"""Published networks with what they would have been predicted to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from latency_tables.table import DEFAULT_PRECISION
from models.errors import NotFound
from models.published import (
    PublishedNetwork,
    networks_source,
    published_network,
    published_networks,
)
from models.spaces import layer_plan, published_spaces
from service.catalog.catalog import Catalog
from service.catalog.devices import KeptTable
from service.contracts import (
    MobileArch,
    NetworkFile,
    NetworkRead,
    NetworkSummary,
    PredictedFigures,
    PublishedFigures,
)


def summarize_networks(catalog: Catalog, device: str | None = None) -> list[NetworkSummary]:
    """The published networks, by device and latency.

    Args:
        device: only those that were searched for it.

    Raises:
        NotFound: if there is no such device.
    """
    found = published_networks().values()
    if device is None:
        return _summaries(catalog, found)
    if device not in (known := catalog.devices.names()):
        raise NotFound.named("device", device, known)
    return _summaries(catalog, [network for network in found if network.device == device])


def describe_network(catalog: Catalog, id: str) -> NetworkRead:
    """One published network and its files.

    Raises:
        NotFound: with the nearest known id.
    """
    network = published_network(id)
    (summary,) = _summaries(catalog, [network])
    files = [
        NetworkFile(path=file.path, blob=file.blob, url=file.url)
        for file in (network.net_config, network.run_config, network.weights)
    ]
    return NetworkRead(**dict(summary), files=files)


def _summaries(catalog: Catalog, networks: Iterable[PublishedNetwork]) -> list[NetworkSummary]:
    found, source = list(networks), networks_source()
    of_space: dict[str, list[PublishedNetwork]] = {}
    for network in found:
        of_space.setdefault(network.space, []).append(network)
    top1 = {id: t for space, some in of_space.items() for id, t in _top1(catalog, space, some)}
    kept: dict[tuple[str, str], KeptTable | None] = {}
    answers = []
    for network in found:
        plan = layer_plan(published_spaces()[network.space], network.arch)
        item = None
        if network.device is not None:
            key = network.device, network.space
            item = kept[key] if key in kept else kept.setdefault(key, _table(catalog, *key))
        answers.append(
            NetworkSummary(
                id=network.id,
                supernet=network.space,
                device=network.device,
                published=_published(network, source, item),
                predicted=PredictedFigures(**_latency(network, item), **top1[network.id]),
                macs=sum(layer.macs for layer in plan),
                params=sum(layer.params for layer in plan),
                arch=MobileArch(**network.arch.to_json()),
            )
        )
    return answers


def _published(network: PublishedNetwork, source: str, item: KeptTable | None) -> PublishedFigures:
    conditions = {"runtime": "not stated", "precision": DEFAULT_PRECISION, "batch": network.batch}
    if item is not None:
        conditions["processor"] = item.table.conditions.processor
    return PublishedFigures(
        latency_ms=network.latency_ms,
        batch=network.batch,
        conditions={} if network.latency_ms is None else conditions,
        top1=network.top1,
        finetune_epochs=network.finetune_epochs,
        source=source,
    )


def _latency(network: PublishedNetwork, item: KeptTable | None) -> dict[str, Any]:
    if item is None:
        unknown = dict.fromkeys(("latency_ms", "latency_expected_error", "batch", "runtime"))
        return {**unknown, "latency_fitted": False}
    table, space = item.table, published_spaces()[network.space]
    return {
        "latency_ms": table.network_ms(layer_plan(space, network.arch)),
        "latency_expected_error": table.expected_error,
        "batch": table.conditions.batch,
        "runtime": table.conditions.runtime,
        "latency_fitted": network.latency_fitted and item.revision is None,
    }


def _table(catalog: Catalog, device: str, space: str) -> KeptTable | None:
    """The table of a device for a space at full precision."""
    with suppress(NotFound):
        for item in catalog.devices.get(device):
            if (item.table.space, item.table.conditions.precision) == (space, DEFAULT_PRECISION):
                return item
    return None


def _top1(
    catalog: Catalog, space: str, networks: Sequence[PublishedNetwork]
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The predicted top-1 of networks of one supernet, by id."""
    context = catalog.context(space, None)
    rows = context.predict([network.arch for network in networks])
    target = context.predictor and context.predictor.provenance.target
    for network, row in zip(networks, rows, strict=True):
        known = row["top1"] is not None
        yield (
            network.id,
            {
                "top1": row["top1"],
                "top1_expected_error": context.top1_error if known else None,
                "top1_stands_for": target if known else None,
            },
        )
