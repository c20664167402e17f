"""Networks that users brought back after fine-tuning: a folder each, which is written once.

HOME/networks/NAME/
    network.json         what is known of it, with the sha256 of the other files
    model.onnx           what is delivered
    weights.safetensors  what it was made of, to verify it again
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import Conflict, CorruptBundle, InputError, NotFound
from models.machine import write_folder
from models.published import published_networks
from models.schema import NAME_WORDS, is_name, read_json

RECORD, IMPORTED_MODEL = "network.json", "model.onnx"


class ImportedNetworks:
    """The networks of one installation."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "networks"

    def names(self) -> list[str]:
        """All names, sorted."""
        found = self.folder.glob(f"*/{RECORD}") if self.folder.is_dir() else ()
        return sorted(p.parent.name for p in found if is_name(p.parent.name))

    def get(self, name: str) -> Mapping[str, Any]:
        """What is known of one network.

        Raises:
            NotFound: with the nearest known name.
            CorruptBundle: if its record cannot be read.
        """
        if name not in self.names():
            raise NotFound.named("imported network", name, self.names())
        try:
            record = read_json(self.folder / name / RECORD).value
        except InputError as error:
            raise CorruptBundle(f"imported network {name}: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
            raise CorruptBundle(f"imported network {name}: {RECORD} is not one; import it again")
        return record

    def content(self, name: str, file: str) -> bytes:
        """A file of a network.

        Raises:
            NotFound: as `get`.
            CorruptBundle: if it is not the file that the record names.
        """
        expected = self.get(name)["files"].get(file)
        try:
            content = (self.folder / name / file).read_bytes()
        except OSError as error:
            raise CorruptBundle(f"imported network {name}: {file}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise CorruptBundle(f"imported network {name}: {file} was changed; import it again")
        return content

    def check_new(self, name: str) -> None:
        """Check that a network can be added under this name.

        Raises:
            InputError: if it is no name, or is that of a published network.
            Conflict: if there is one.
        """
        if not is_name(name):
            raise InputError(
                f"network name {name[:80]!r}: expected {NAME_WORDS}: give it by --name"
            )
        if name in published_networks():
            raise Conflict(f"network name {name!r}: a published network has it: choose another one")
        if (self.folder / name).exists():
            raise Conflict(
                f"there is an imported network {name!r} already: choose another --name, or remove "
                f"it with `subnet-search networks remove {name}`"
            )

    def add(self, name: str, record: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Keep a network, whole or not at all.

        Raises:
            InputError, Conflict: as `check_new`.
        """
        self.check_new(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        text = json.dumps({**record, "files": hashes}, indent=1) + "\n"
        write_folder(self.folder / name, {**files, RECORD: text.encode()})

    def remove(self, name: str) -> None:
        """Forget a network and its files.

        Raises:
            NotFound: with the nearest known name.
        """
        if name not in self.names():
            raise NotFound.named("imported network", name, self.names())
        away = Path(tempfile.mkdtemp(dir=self.folder, prefix=".removed-"))
        os.rename(self.folder / name, away / name)  # at once: nobody sees half of it
        shutil.rmtree(away)
