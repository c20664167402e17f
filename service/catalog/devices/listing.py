"""Devices in a list."""

from __future__ import annotations

from service.catalog.devices.devices import Devices
from service.contracts import DeviceSummary


def summarize_devices(devices: Devices) -> list[DeviceSummary]:
    """Every device in a line."""
    known, found = devices.runtimes(), []
    for name, keys in devices.keys().items():
        runtimes: dict[str, dict[str, str | None]] = {space: {} for space, _ in keys}
        for space, precision in keys:
            runtimes[space][precision] = known.get((name, (space, precision)))
        precisions = {space: list(of_space) for space, of_space in runtimes.items()}
        found.append(
            DeviceSummary(
                name=name, spaces=list(runtimes), precisions=precisions, runtimes=runtimes
            )
        )
    return found
