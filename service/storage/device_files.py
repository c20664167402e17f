"""Open users' devices. Tables that earlier versions kept as files become rows, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from latency_tables.published import BuiltinDevices
from latency_tables.table import load_named
from models.errors import InputError
from service.storage.devices import DeviceStore

DONE = ".taken-over"


def open_devices(engine: Engine, home: Path, warn: Callable[[str], None]) -> DeviceStore:
    """Users' devices in a database whose schema is current; `warn` of files left as they are."""
    store = DeviceStore(engine)
    for message in take_over_files(home / "devices", store, BuiltinDevices()):
        warn(message)
    return store


def take_over_files(folder: Path, store: DeviceStore, builtin: BuiltinDevices) -> list[str]:
    """Keep every table among the files of `folder` in `store`.

    A file that was taken over is renamed, not removed.

    Returns:
        Why files are left as they are: not readable, or such a table comes with the program.
    """
    left = []
    for path in sorted(folder.glob("*@*.json")):
        try:
            table = load_named(path)
        except InputError as error:
            left.append(f"{folder}: a latency table was left out: {error}")
            continue
        key = (table.space, table.conditions.precision)
        if key in builtin.keys(table.device):
            left.append(f"{path}: left out, device {table.device!r} has such a table built in")
            continue
        # Another process may do the same at this moment; a revision is stored once.
        known = {revision.sha256 for revision in store.history(table.device, *key)}
        if table.sha256 not in known:
            store.add(table, replace=True)
        try:
            path.rename(path.with_name(path.name + DONE))
        except OSError:  # renamed already, or a home that cannot be written: known next time
            continue
    return left
