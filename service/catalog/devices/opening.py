"""The devices of a process without a service."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from service.catalog.devices.devices import Devices
from service.catalog.devices.kept import OpenStore

if TYPE_CHECKING:
    from service.settings import Settings
    from service.storage import DeviceStore


def store_opener(settings: Settings) -> OpenStore:
    """How a process without a service opens users' tables: the database is opened when first
    needed, and created when first written to."""

    def open_store(create: bool) -> DeviceStore | None:
        if not create and settings.lacks_default_database:
            return None
        from service.storage import DeviceStore, database_exists, open_current  # sqlalchemy

        if not create and not database_exists(settings.database):
            return None
        engine = open_current(settings.database)
        store = DeviceStore(engine)
        weakref.finalize(store, engine.dispose)
        return store

    return open_store


def open_devices(settings: Settings) -> Devices:
    """The devices of a process without a service."""
    return Devices(store_opener(settings))
