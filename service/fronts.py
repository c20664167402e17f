"""Fronts on disk, by what they were computed from: a changed table or predictor asks for another.

A front takes a second to compute and a millisecond to read. Files are never changed; one that
cannot be read is as good as none.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path
from threading import Lock
from typing import Any
from zipfile import BadZipFile

import numpy as np

from latency_tables.store import write_atomically
from models.errors import InputError
from search.costs import CostModel
from search.front import Front, answer, front
from service.devices import revision_of
from service.pairing import Pairing

SEED = 0
_LOCK = Lock()
FORMAT = 1
"""Raised when fronts come to be computed in another way, so that old files are left alone."""


def read_front(home: Path, pairing: Pairing, budget_ms: float | None = None) -> dict[str, Any]:
    """Networks that none is both faster and more accurate than, by rising latency.

    Args:
        home: the installation, which keeps fronts.
        budget_ms: answer only the most accurate one within this latency.

    Raises:
        InputError: if the supernet has no accuracy predictor, or the budget is not a positive
            number.
        Infeasible: if no network is that fast.
    """
    predictor, table = pairing.require_predictor(), pairing.table
    assert table is not None
    found = FrontStore(home / "fronts").get(pairing)
    if budget_ms is not None:
        if not (math.isfinite(budget_ms) and budget_ms > 0):
            raise InputError(f"latency_ms: expected a positive finite budget, got {budget_ms}")
        index = answer(found, budget_ms)
        found = found[index : index + 1]
    points = zip(
        found.latency_ms.tolist(),
        found.top1.tolist(),
        pairing.space.decode(found.genes),
        strict=True,
    )
    return {
        "points": [
            {"latency_ms": latency_ms, "top1": top1, "arch": arch.to_json()}
            for latency_ms, top1, arch in points
        ],
        "method": "dynamic programming over an additive surrogate, refined by the predictor",
        "expected_error": {
            "latency_ms": table.expected_error,
            "top1": predictor.provenance.rmse,
        },
        "provenance": pairing.provenance(),
    }


class FrontStore:
    """Fronts of one installation.

    Args:
        folder: where they are; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, pairing: Pairing) -> Front:
        """The front of a supernet on a device, from its file or computed and kept."""
        latency = pairing.costs["latency_ms"]
        assert isinstance(latency, CostModel)
        path = self._path(pairing)
        with _LOCK:  # computed once, also if several ask at the same time
            if (kept := self._read(path)) is not None:
                return kept
            found = front(pairing.space, pairing.require_predictor(), latency, seed=SEED)
            self._write(path, found)
        return found

    def _path(self, pairing: Pairing) -> Path:
        bundle, table = pairing.bundle, pairing.table
        assert table is not None
        predictor = bundle.card["files"][bundle.predictor_path.name]
        origins = [FORMAT, SEED, pairing.space.to_json(), predictor, revision_of(table)]
        content = json.dumps(origins, sort_keys=True)
        return self.folder / f"{hashlib.sha256(content.encode()).hexdigest()}.npz"

    def _read(self, path: Path) -> Front | None:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return Front(file["genes"], file["latency_ms"], file["top1"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def _write(self, path: Path, front: Front) -> None:
        """Where the disk does not take it, it is computed again next time."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {
            "genes": front.genes,
            "latency_ms": front.latency_ms,
            "top1": front.top1,
        }
        np.savez_compressed(buffer, **arrays)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())
        except OSError:
            return
