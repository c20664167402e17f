"""The address that another device opens: where it begins, and whether it can be reached."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from service.contracts import is_loopback

CONTAINER = Path("/.dockerenv")
ELSEWHERE = ("192.0.2.1", 9)
"""An address that belongs to nobody (RFC 5737): nothing is sent, the system only chooses which of
this machine's addresses it would send from."""


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """Where links begin, and what whoever makes one should know of it."""

    base: str
    warnings: tuple[str, ...]


def address_of(
    requested: str, public_url: str | None, *, listens_everywhere: bool, lan: str | None = None
) -> LinkAddress:
    """The address for a link.

    Args:
        requested: the base URL of the request that asks for it.
        public_url: the operator's setting.
        listens_everywhere: whether the service takes requests to any address of this machine.
        lan: this machine's address in its network; found out unless given.
    """
    base = (public_url or requested).rstrip("/")
    parts, warnings = urlsplit(base), list[str]()
    if is_loopback(parts.hostname or ""):
        lan = lan or lan_address()
        port = f":{parts.port}" if parts.port else ""
        there = None if lan is None else f"{parts.scheme}://{_in_url(lan)}{port}"
        named = "SUBNET_PUBLIC_URL=URL, the address that other devices reach it by"
        if there is not None and listens_everywhere and public_url is None:
            base = there
            warnings.append(
                f"the address {lan} was found out from this machine: if the device cannot open it, "
                f"start the service with {named}"
            )
        elif listens_everywhere:
            warnings.append(
                f"{base} is reached from this machine alone, and which address others reach it by "
                f"was not found out, as in a container: start the service with {named}"
            )
        else:
            warnings.append(
                f"{base} is reached from this machine alone. For a phone, make a key "
                "(`subnet-search keys create NAME`), serve with `subnet-search serve --host "
                f"0.0.0.0`, and make the link there{'' if there is None else f' ({there})'}; or "
                f"start the service with {named}"
            )
    secure = parts.scheme == "https" or is_loopback(urlsplit(base).hostname or "")
    if not secure:
        warnings.append(
            "over http, a browser on another machine gives the page a coarse clock, one thread and "
            "no WebGPU: times are good, with a little more noise. For more, put HTTPS in front "
            "(Caddy does it in a line: see docs/devices.md)"
        )
    return LinkAddress(base, tuple(warnings))


def lan_address() -> str | None:
    """This machine's address in its network; None where there is none that others could reach."""
    if CONTAINER.exists():
        return None  # the container's own, which its host alone reaches
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
            found = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if is_loopback(found) or found == "0.0.0.0" else found


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
