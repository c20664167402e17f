"""What an installation is used by: the command (`python -m subnet_search`) and the client.

    from subnet_search import Client

Built wheels hold the product's packages in this one (`wheels/build_hook.py`).
"""

from typing import Any

from service import __version__ as __version__


def __getattr__(name: str) -> Any:
    # The command starts through this module too, and needs no client.
    from service import client

    if name in client.__all__:
        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from service import client

    return ["__version__", *client.__all__]
