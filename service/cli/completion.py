"""Names for the shell to complete: supernets and devices, here or of a service.

`subnet-search --install-completion` sets it up. A key press must neither fail nor wait for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.settings import Settings

if TYPE_CHECKING:
    from service.client import Client

PATIENCE_S = 2.0
"""Longest wait for a service."""


def complete_supernet(ctx: Any, incomplete: str) -> list[str]:
    """Supernets whose names start so."""
    return _starting(incomplete, ctx, _own_supernets, lambda client: client.supernets())


def complete_device(ctx: Any, incomplete: str) -> list[str]:
    """Devices whose names start so."""
    return _starting(incomplete, ctx, _own_devices, lambda client: client.devices())


def complete_recipe(ctx: Any, incomplete: str) -> list[str]:
    """Shipped recipes whose names start so; the shell itself completes files."""
    from models.training import RECIPES

    return sorted(path.stem for path in RECIPES.glob("*.toml") if path.stem.startswith(incomplete))


def _starting(
    incomplete: str,
    ctx: Any,
    here: Callable[[Settings], Iterable[str]],
    there: Callable[[Client], Iterable[Any]],
) -> list[str]:
    try:
        given = Settings()
        server = ctx.params.get("server")
        if server is None:
            names = list(here(given))
        else:
            from service.client import Client

            key = None if given.api_key is None else given.api_key.get_secret_value()
            with Client(server, key, timeout_s=PATIENCE_S) as client:
                names = [item.name for item in there(client)]
    except Exception:  # whatever is wrong, the command itself will say
        return []
    return [name for name in names if name.startswith(incomplete)]


def _own_supernets(given: Settings) -> Iterable[str]:
    from models.bundle import BundleRegistry

    return BundleRegistry(given.home).names()


def _own_devices(given: Settings) -> Iterable[str]:
    from sqlalchemy import make_url

    from latency_tables.published import BuiltinDevices

    url = make_url(given.database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return BuiltinDevices().names()  # asking for names makes no database
    from service.catalog import open_catalog

    return open_catalog(given).devices.names()
