"""Published files by their path in the public repository, each with the id that Git gave it.

`files.json` was listed from that repository, at one commit. A file's blob id is the SHA-1 of its
size and its content, so whoever holds the bytes can prove that they are the published ones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

LIST = Path(__file__).with_name("files.json")
MIB = 2**20
MAX_BYTES: Mapping[str, int] = {".config": MIB, ".pth": 16 * MIB}
"""Largest size by suffix; the published ones have at most a third of it. The list of the
repository states no sizes, and whoever sends a file must not fill the disk with it."""
MAX_WEIGHTS_BYTES = 256 * MIB
"""Of all other files: the largest network is of 43 MB."""
_BLOCK = MIB


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of the public repository."""

    path: str
    """In the repository, such as `ofa/acc_predictor.pth`."""
    blob: str
    """Git's blob id of its content, hex."""

    @property
    def name(self) -> str:
        """Its own name, without the folders."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where it was published, at the commit that was listed."""
        listed = _listed()
        commit = f"{listed['repository']}/{listed['commit']}"
        return f"https://raw.githubusercontent.com/{commit}/{quote(self.path)}"

    @property
    def max_bytes(self) -> int:
        """No published file of this kind is larger."""
        return MAX_BYTES.get(Path(self.name).suffix, MAX_WEIGHTS_BYTES)

    @property
    def tails(self) -> list[str]:
        """Paths by which a copy of it may be kept, the whole one first: a copy of the repository
        may begin at any of its folders. A name that several files have is not one of them."""
        parts = self.path.split("/")
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        return tails[:-1] if len(tails) > 1 and _names()[self.name] > 1 else tails


@cache
def published_files() -> Mapping[str, PublishedFile]:
    """Supernets, accuracy predictors and specialized networks by their path."""
    return {path: PublishedFile(path, blob) for path, blob in _listed()["blobs"].items()}


def blob_id(path: Path) -> str:
    """Git's blob id of a file: SHA-1 of `blob SIZE`, a zero byte and the content, hex."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@cache
def _listed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LIST.read_text())
    return found


@cache
def _names() -> Counter[str]:
    return Counter(file.name for file in published_files().values())
