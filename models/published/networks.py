"""The specialized networks that the authors of Once-for-All published, each for one device.

`networks.json` was made by `models.published.publish` from their public configurations.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.errors import NotFound
from models.published.files import PublishedFile, published_files
from models.spaces import Arch

DATA = Path(__file__).with_name("networks.json")
FOLDER = "ofa/ofa_specialized"
"""Of the public repository; it holds a folder for each network."""


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """One network with weights of its own, and what its name says of it."""

    id: str
    """The name of its published folder."""
    space: str
    """Of which published supernet it was a subnet, before it was fine-tuned."""
    arch: Arch
    device: str | None
    """The device that it was searched for; None: it was searched by MACs."""
    batch: int | None
    """Images of one forward pass, for which its latency is."""
    latency_ms: float | None
    """Published, rounded to whole milliseconds."""
    top1: float
    """Published: percent on ImageNet's validation images, after fine-tuning."""
    finetune_epochs: int
    latency_fitted: bool
    """Whether the latency table that comes with the program was fitted to this latency too."""

    @property
    def net_config(self) -> PublishedFile:
        """Its modules (`models.spaces.net_config`)."""
        return self._file("net.config")

    @property
    def run_config(self) -> PublishedFile:
        """Its resolution."""
        return self._file("run.config")

    @property
    def weights(self) -> PublishedFile:
        """A torch file."""
        return self._file("init")

    def _file(self, name: str) -> PublishedFile:
        return published_files()[f"{FOLDER}/{self.id}/{name}"]


@cache
def published_networks() -> Mapping[str, PublishedNetwork]:
    """All of them by id: by device, then by latency."""
    rows = json.loads(DATA.read_text())["networks"]
    return {
        row["id"]: PublishedNetwork(**{**row, "arch": Arch.from_json(row["arch"])}) for row in rows
    }


def networks_source() -> str:
    """Where they were published."""
    return str(json.loads(DATA.read_text())["source"])


def published_network(id: str) -> PublishedNetwork:
    """One network, also by the name that its authors' code calls it by (`@` for `-`).

    Raises:
        NotFound: with the nearest known id.
    """
    known = published_networks()
    if (found := known.get(id.replace("@", "-"))) is not None:
        return found
    near = difflib.get_close_matches(id, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise NotFound(f"unknown network {id!r}: {hint}`subnet-search networks list` lists them")
