"""Which published files a supernet is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from models.published.files import PublishedFile, published_files

_NETS = "ofa/ofa_nets"
_FILES: Mapping[str, tuple[str | None, str | None]] = {
    "ofa-mbv3-w1.0": (f"{_NETS}/ofa_mbv3_d234_e346_k357_w1.0", None),
    "ofa-mbv3-w1.2": (f"{_NETS}/ofa_mbv3_d234_e346_k357_w1.2", "ofa/acc_predictor.pth"),
    "ofa-proxyless-w1.3": (f"{_NETS}/ofa_proxyless_d234_e346_k357_w1.3", None),
    "ofa-resnet50": (None, "ofa/ofa_resnet50_acc_predictor.pth"),
}
"""By supernet the paths of its weights and of its accuracy predictor, where there is one."""
_ELSEWHERE: Mapping[str, str] = {
    "ofa-resnet50": "https://huggingface.co/han-cai/ofa/resolve/main/ofa_supernet_resnet50",
}


@dataclass(frozen=True, slots=True)
class PublishedSupernet:
    """What can be downloaded of a supernet."""

    name: str
    weights: PublishedFile | None
    predictor: PublishedFile | None
    weights_elsewhere: str = ""
    """Where weights were published whose blob id is not known, for the user to fetch by hand."""


@cache
def published_supernets() -> Mapping[str, PublishedSupernet]:
    """The supernets of which files can be downloaded, by name."""
    files = published_files()
    return {
        name: PublishedSupernet(
            name,
            None if weights is None else files[weights],
            None if predictor is None else files[predictor],
            _ELSEWHERE.get(name, ""),
        )
        for name, (weights, predictor) in _FILES.items()
    }
