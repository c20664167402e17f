"""The part of the client that makes links for other devices and follows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from service.client.catalog_client import CatalogClient
from service.client.errors import LinkUnfinished
from service.client.wire import path_part
from service.contracts import ENDED, LinkRead

FOLLOW_EVERY_S = 1.0

OnLink = Callable[[LinkRead], None]
"""Called with a link as it is now."""


class LinksClient(CatalogClient):
    """Measuring other devices in their browsers, and trying models there."""

    def create_link(
        self,
        supernet: str,
        device: str | None = None,
        *,
        thorough: bool = False,
        precision: str = "fp32",
        backends: Sequence[str] = ("wasm",),
        threads: int = 1,
        replace: bool = False,
        shared: bool | None = None,
    ) -> LinkRead:
        """A one-time address that another device opens to be measured: `url`, also as `qr_svg`.

        Args:
            device: its name; None: what its browser says of itself.
            thorough: time every layer instead of 24 whole networks.
            backends: "wasm", "webgpu" or both, each a device of its own.
            threads: of WebAssembly.
            replace: replace tables of yours.
            shared: whether everybody with a key sees it.

        Raises:
            Conflict: if the name is taken, or onnxruntime-web is not installed there.
            TooManyRequests: if too many of your links are open.
        """
        body: dict[str, Any] = {
            "supernet": supernet,
            "mode": "thorough" if thorough else "quick",
            **{"precision": precision, "backends": list(backends), "threads": threads},
            **{"replace": replace, "shared": shared, "device": device},
        }
        return self._wire.send("POST", "/v1/links", LinkRead, json=body)

    def create_try_link(self, search_id: str) -> LinkRead:
        """A one-time address that another device opens to try the model of a finished search.

        Raises:
            Conflict: if the search has no model.
        """
        return self._wire.send("POST", "/v1/links", LinkRead, json={"search": search_id})

    def link(self, link_id: str) -> LinkRead:
        """A link of yours as it is now."""
        return self._wire.get(f"/v1/links/{path_part(link_id)}", LinkRead)

    def cancel_link(self, link_id: str) -> LinkRead:
        """End a link of yours; its device is told."""
        return self._wire.send("DELETE", f"/v1/links/{path_part(link_id)}", LinkRead)

    def follow_link(
        self,
        link: LinkRead,
        *,
        timeout_s: float = 3600.0,
        on_change: OnLink = lambda link: None,
    ) -> LinkRead:
        """Wait until a device has opened a link and done what it is for.

        Args:
            on_change: called about each second.

        Raises:
            LinkUnfinished: if it failed, has expired or was cancelled, or after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = self.link(link.id)
            on_change(now)
            if now.status == "succeeded":
                return now
            if now.status in ENDED or time.monotonic() > deadline:
                raise LinkUnfinished(now)
            time.sleep(FOLLOW_EVERY_S)
