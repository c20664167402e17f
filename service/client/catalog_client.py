"""The part of the client that asks for supernets, devices, published networks and fronts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import RootModel

from service.client.answers import Front
from service.client.wire import Wire, path_part
from service.contracts import (
    CorrectionRead,
    DeviceList,
    DeviceRead,
    DeviceRemoved,
    DeviceSummary,
    NetworkList,
    NetworkRead,
    NetworkSummary,
    SupernetList,
    SupernetRead,
    SupernetRemoved,
    SupernetSummary,
    TrainingList,
    TrainingRead,
    TrainingSummary,
)


class _Profile(RootModel[dict[str, Any]]):
    """A device profile as the service writes it."""


class CatalogClient:
    """What a service has, without searching."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def supernets(self) -> list[SupernetSummary]:
        """The supernets of the service."""
        return self._wire.get("/v1/supernets", SupernetList).items

    def supernet(self, name: str) -> SupernetRead:
        """One supernet: its space, its predictor, its card."""
        return self._wire.get(f"/v1/supernets/{path_part(name)}", SupernetRead)

    def remove_supernet(self, name: str, *, training: bool = False) -> SupernetRemoved:
        """Remove a supernet that was imported or trained; finished searches and models stay.

        Args:
            training: remove the checkpoint of its training, too.

        Raises:
            Conflict: if it comes with the service, or is trained or searched now.
        """
        params = {"training": "true"} if training else {}
        path = f"/v1/supernets/{path_part(name)}"
        return self._wire.send("DELETE", path, SupernetRemoved, params=params)

    def trainings(self) -> list[TrainingSummary]:
        """The trainings on the machine of the service: running ones first, then the latest."""
        return self._wire.get("/v1/trainings", TrainingList).items

    def training(self, name: str) -> TrainingRead:
        """One training, with the accuracy of a few subnets so far."""
        return self._wire.get(f"/v1/trainings/{path_part(name)}", TrainingRead)

    def devices(self) -> list[DeviceSummary]:
        """The devices of the service that this key may see."""
        return self._wire.get("/v1/devices", DeviceList).items

    def device(self, name: str) -> DeviceRead:
        """One device: its latency tables without their entries, and what is odd about them."""
        return self._wire.get(f"/v1/devices/{path_part(name)}", DeviceRead)

    def device_table(
        self, name: str, *, space: str | None = None, precision: str | None = None
    ) -> dict[str, Any]:
        """A device's latency table as a profile, which `add_device` and `search` take.

        Args:
            space: of a device with several tables, as is `precision`.
        """
        path = f"/v1/devices/{path_part(name)}/table"
        return self._wire.get(path, _Profile, space=space, precision=precision).root

    def remove_device(
        self, name: str, *, space: str | None = None, precision: str | None = None
    ) -> DeviceRemoved:
        """Remove a device, or only its tables for a space or at a precision. Searches keep theirs.

        Raises:
            Refused: if it is not yours.
            Conflict: if it comes with the service.
        """
        given = {"space": space, "precision": precision}
        params = {field: value for field, value in given.items() if value is not None}
        path = f"/v1/devices/{path_part(name)}"
        return self._wire.send("DELETE", path, DeviceRemoved, params=params)

    def add_device(self, profile: Mapping[str, Any], *, replace: bool = False) -> DeviceRead:
        """Store a device profile under its name.

        Args:
            replace: a table that this device of yours has, by a new revision.

        Raises:
            Conflict: if the name is taken.
            Refused: if the profile is not valid, naming the field.
        """
        params = {"replace": "true"} if replace else {}
        return self._wire.send("POST", "/v1/devices", DeviceRead, json=dict(profile), params=params)

    def add_measurements(self, device: str, measurements: Mapping[str, Any]) -> CorrectionRead:
        """Correct a device's table by `{"arch": [...], "latency_ms": [...], "batch": 1, ...}`."""
        path = f"/v1/devices/{path_part(device)}/measurements"
        return self._wire.send("POST", path, CorrectionRead, json=dict(measurements))

    def networks(self, device: str | None = None) -> list[NetworkSummary]:
        """The networks that others published, with what is predicted of them.

        Args:
            device: only those that were searched for it.
        """
        return self._wire.get("/v1/networks", NetworkList, device=device).items

    def network(self, id: str) -> NetworkRead:
        """One published network and its files."""
        return self._wire.get(f"/v1/networks/{path_part(id)}", NetworkRead)

    def front(
        self,
        supernet: str,
        device: str,
        latency_ms: float | None = None,
        *,
        latency_confidence: float | None = None,
        precision: str | None = None,
    ) -> Front:
        """The Pareto-optimal networks in latency and accuracy, by ascending latency.

        Args:
            latency_ms: only the most accurate network within this latency.
            latency_confidence: nominal, of each point's `latency_upper_ms`, which `latency_ms`
                then limits.
            precision: of the device's table; default: fp32 if there is one.

        Raises:
            Infeasible: if no network is that fast.
        """
        path = f"/v1/supernets/{path_part(supernet)}/devices/{path_part(device)}/front"
        return self._wire.get(
            path,
            Front,
            latency_ms=latency_ms,
            latency_confidence=latency_confidence,
            precision=precision,
        )
