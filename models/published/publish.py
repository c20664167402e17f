"""Make `networks.json` from the published configurations of the specialized networks.

    python -m models.published.publish [FOLDER]

FOLDER (default: $SUBNET_REFERENCE) holds `specialized_configs.json.gz`, the `net.config` and the
`run.config` of each network by the name of its folder, and `zoo_points.json`, the networks whose
latency the shipped tables were fitted to (`latency_tables.published.publish`).
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.machine import write_atomically
from models.published.networks import DATA
from models.spaces import Arch, net_config_space

SOURCE = "model zoo of Once-for-All (mit-han-lab/once-for-all), MIT and Apache-2.0"
DEVICES = {
    "1080ti": "gtx-1080ti",
    "LG-G8": "lg-g8",
    "cpu": "intel-xeon",
    "note10": "samsung-note10",
    "note8": "samsung-note8",
    "pixel1": "google-pixel",
    "pixel2": "google-pixel-2",
    "s7edge": "samsung-s7-edge",
    "tx2": "jetson-tx2",
    "v100": "v100",
}
LAYERS_MEASURED = ("samsung-note10", "ofa-mbv3-w1.2")
"""Device and space of the table that was measured layer by layer, not fitted to networks."""
_NAME = re.compile(
    r"(?:(?P<device>[A-Za-z0-9-]+)_(?:lat|gpu(?P<batch>\d+))-(?P<latency>\d+)ms|flops-\d+M)"
    r"_top1-(?P<top1>[\d.]+)_finetune-(?P<epochs>\d+)"
)


def publish(reference: Path, target: Path = DATA) -> None:
    """Write `networks.json`."""
    rows = ",\n".join(f"  {json.dumps(row)}" for row in networks(reference))
    head = f'{{\n "source": {json.dumps(SOURCE)},\n "networks": [\n'
    write_atomically(target, f"{head}{rows}\n ]\n}}\n".encode())


def networks(reference: Path) -> list[dict[str, Any]]:
    """The record of each network, by device, latency and name.

    Raises:
        InputError: if a name does not say what the others do, or a network is in no space.
    """
    configs = gzip.decompress((reference / "specialized_configs.json.gz").read_bytes())
    zoo = json.loads((reference / "zoo_points.json").read_text())["points"]
    fitted = {_identity(row) for row in zoo}
    found = [_record(name, config, fitted) for name, config in json.loads(configs).items()]
    return sorted(found, key=lambda r: (r["device"] or "~", r["latency_ms"] or 0, r["id"]))


def _record(name: str, config: dict[str, Any], fitted: set[tuple[object, ...]]) -> dict[str, Any]:
    if (said := _NAME.fullmatch(name)) is None:
        raise InputError(f"{name!r}: expected a device, latency, top-1 and fine-tuning")
    space = net_config_space(config)
    device, on_device = None, said["device"] is not None
    if on_device:
        device = DEVICES[said["device"]]
    record = {
        "id": name,
        "space": space.name,
        "device": device,
        "batch": int(said["batch"] or 1) if on_device else None,
        "latency_ms": float(said["latency"]) if on_device else None,
        "top1": float(said["top1"]),
        "finetune_epochs": int(said["epochs"]),
    }
    arch = space.read_arch(config)
    identity = device, record["latency_ms"], record["top1"], arch
    used = on_device and identity in fitted and (device, space.name) != LAYERS_MEASURED
    return {**record, "latency_fitted": used, "arch": arch.to_json()}


def _identity(row: dict[str, Any]) -> tuple[object, ...]:
    fields = ("resolution", "depth", "kernel", "expand")
    arch = Arch.from_json({name: row[name] for name in fields})
    return row["device"], row["latency_ms"], row["top1_percent"], arch


def main(arguments: Sequence[str]) -> int:
    """The command."""
    folder = arguments[0] if arguments else os.environ.get("SUBNET_REFERENCE")
    if folder is None:
        raise InputError("expected a folder of published figures, or SUBNET_REFERENCE")
    publish(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
