"""Shell completion of names: supernets, devices and recipes, of this installation or of a service.

`subnet-search --install-completion` sets it up. Errors complete to nothing, and a service has
`TIMEOUT_S` to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.client import Client
    from service.settings import Settings

TIMEOUT_S = 2.0


def complete_supernet(ctx: Any, incomplete: str) -> list[str]:
    """Supernets whose names start with `incomplete`."""
    return _starting(incomplete, ctx, _own_supernets, lambda client: client.supernets())


def complete_device(ctx: Any, incomplete: str) -> list[str]:
    """Devices whose names start with `incomplete`."""
    return _starting(incomplete, ctx, _own_devices, lambda client: client.devices())


def complete_network(ctx: Any, incomplete: str) -> list[str]:
    """Published and imported networks whose ids start with `incomplete`."""
    from models.published import published_networks

    published = [id for id in published_networks() if id.startswith(incomplete)]
    return [*complete_imported(ctx, incomplete), *published]


def complete_imported(ctx: Any, incomplete: str) -> list[str]:
    """Imported networks whose names start with `incomplete`."""
    from service.catalog import ImportedNetworks
    from service.settings import Settings

    try:
        names = ImportedNetworks(Settings().home).names()
    except Exception:  # the command itself will report it
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_recipe(ctx: Any, incomplete: str) -> list[str]:
    """Shipped recipes whose names start with `incomplete`; the shell itself completes files."""
    from models.training import RECIPES

    return sorted(path.stem for path in RECIPES.glob("*.toml") if path.stem.startswith(incomplete))


def _starting(
    incomplete: str,
    ctx: Any,
    here: Callable[[Settings], Iterable[str]],
    there: Callable[[Client], Iterable[Any]],
) -> list[str]:
    from service.settings import Settings

    try:
        configured = Settings()
        server = ctx.params.get("server")
        if server is None:
            names = list(here(configured))
        else:
            from service.client import Client

            secret = configured.api_key
            key = None if secret is None else secret.get_secret_value()
            with Client(server, key, timeout_s=TIMEOUT_S) as client:
                names = [item.name for item in there(client)]
    except Exception:  # the command itself will report it
        return []
    return [name for name in names if name.startswith(incomplete)]


def _own_supernets(configured: Settings) -> Iterable[str]:
    from models.bundle import BundleRegistry

    return BundleRegistry(configured.home).names()


def _own_devices(configured: Settings) -> Iterable[str]:
    from service.catalog import open_devices

    return open_devices(configured).names()
