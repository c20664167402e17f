"""A link as its owner reads it, and its address as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import segno

from service.contracts import LinkRead
from service.storage import Link

if TYPE_CHECKING:
    from latency_tables.benchmark import RemotePlan

MODELS_OF_A_PHONE, BYTES_OF_A_PHONE = 1000, 512 * 2**20
"""Models that a phone may be asked to open in one page, and their weights."""


def size_warnings(plan: RemotePlan) -> list[str]:
    """What to know of a plan before a device is asked to carry it out."""
    weights = sum(4 * layer.params for chain in plan.chains for layer in chain)
    if len(plan.chains) <= MODELS_OF_A_PHONE and weights <= BYTES_OF_A_PHONE:
        return []
    return [
        f"the device opens {len(plan.chains)} models with {weights / 2**20:.0f} MB of weights "
        "together, for which a phone may lack the memory: a computer's browser will do, and quick "
        "needs less than thorough"
    ]


def describe_link(link: Link) -> LinkRead:
    """A link as its owner reads it, without its code."""
    request = link.request
    stored = [result for result in link.results.values() if "stored" in result]
    tried = [result["answer"]["try_result"] for result in stored]
    warnings = [*request["warnings"]]
    for result in link.results.values():
        warnings += result["answer"]["warnings"]
    return LinkRead(
        id=link.id,
        purpose=request["purpose"],
        status=link.status,  # type: ignore[arg-type]
        url=None,
        code=None,
        qr_svg=None,
        created_at=link.created_at,
        expires_at=link.expires_at,
        **{name: request[name] for name in ("supernet", "device", "mode", "precision")},
        **{name: request[name] for name in ("backends", "threads", "search")},
        progress=link.progress,  # type: ignore[arg-type]
        devices=[name for result in stored for name in result["answer"]["devices"]],
        try_result=tried[0] if tried else None,
        warnings=warnings,
        error=link.error,
    )


def qr_svg(url: str) -> str:
    """An address as a QR code, black on white with its quiet zone."""
    content = io.BytesIO()
    segno.make(url, micro=False).save(
        content, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return content.getvalue().decode()
