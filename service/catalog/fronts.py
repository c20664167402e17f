"""Fronts, cached on disk under a hash of their inputs: a changed table or predictor is another key.

A front takes two seconds to compute and a millisecond to read. Files are never changed; an
unreadable one is computed again. Beside it lie the networks that searches found and that were
better than the front: they belong to it from then on.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any
from zipfile import BadZipFile

import numpy as np

from models.bundle import PREDICTOR
from models.errors import InputError
from models.layers import LayerSpec
from models.machine import exclusive, write_atomically
from models.spaces import Arch, GeneMatrix, layer_plan
from search.costs import CostModel, Floats, registered_limits
from search.front import Front, answer, front, merged
from service.catalog.answer_warnings import SLACK, predictor_warnings, quantity
from service.catalog.deployment_context import DeploymentContext, describe_layer
from service.catalog.provenance import upper_bound
from service.contracts import FrontRead

SEED = 0
_LOCK = Lock()
ANSWERS_KEPT = 64
"""Answers cached in memory, some 250 kB each."""
_ANSWERS: dict[tuple[object, ...], FrontJson] = {}
FRONT_FORMAT = 4
"""Increase it when fronts are computed differently, so that old files are no longer read. Part of
every search's hash, since searches start from fronts."""


def read_front(
    home: Path,
    context: DeploymentContext,
    budget_ms: float | None = None,
    *,
    confidence: float | None = None,
    layers: bool = False,
    on_share: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Networks that none is both faster and more accurate than, by rising latency.

    Args:
        home: the installation, which keeps fronts.
        budget_ms: answer only the most accurate one within this latency.
        confidence: nominal, of the upper bounds, which the budget then limits. None: that of the
            table, and the budget limits the prediction.
        layers: also what each network is made of. Neighbours on a front share most of their
            layers, so each layer is described once and networks name them by position.
        on_share: told how much is done, 0..1, while a front that is not kept is computed.

    Raises:
        InputError: if the supernet has no accuracy predictor, the budget is not a positive
            number, or the networks measured on the device do not support so much confidence.
        Infeasible: if no network is that fast.
    """
    context.require_predictor()
    table = context.table
    assert table is not None
    bound = upper_bound(table, confidence)
    found = FrontStore.of(home).get(context, on_share)
    warnings = predictor_warnings(context)
    if budget_ms is not None:
        factor = 1.0 if confidence is None or bound is None else bound["factor"]
        limited = replace(found, latency_ms=found.latency_ms * factor)
        with context.naming_batch():
            index = _index_within(limited, budget_ms, warnings)
        found = found[index : index + 1]
    archs = context.space.decode(found.genes)
    columns = _columns(context, found, archs, bound)
    return {
        "points": [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ],
        "layers": _layers(context, archs) if layers else None,
        "network_overhead_ms": table.network_overhead_ms,
        "batch": context.batch,
        "runtime": context.runtime,
        "method": "dynamic programming over an additive surrogate, refined by the predictor and by "
        "what searches found",
        "expected_error": {
            "latency_ms": table.expected_error,
            "top1": context.top1_error,
        },
        "provenance": replace(context, confidence=confidence).provenance(),
        "warnings": warnings,
    }


def _index_within(limited: Front, budget_ms: float, warnings: list[str]) -> int:
    """Index of the most accurate point within a budget; a budget beyond the front is warned of."""
    if not (math.isfinite(budget_ms) and budget_ms > 0):
        raise InputError(f"latency_ms: expected a positive finite budget, got {budget_ms}")
    index = answer(limited, budget_ms)
    if index == len(limited) - 1 and budget_ms > (1 + SLACK) * limited.latency_ms[-1]:
        warnings.append(
            f"latency_ms {budget_ms:g} no longer limits: the most accurate network known needs "
            f"{quantity('latency_ms', limited.latency_ms[-1])}"
        )
    return index


def _columns(
    context: DeploymentContext,
    found: Front,
    archs: Sequence[Arch],
    bound: Mapping[str, Any] | None,
) -> dict[str, list[Any]]:
    """What the API answers of each network, by the name of the field."""
    columns: dict[str, list[Any]] = {
        "latency_ms": found.latency_ms.tolist(),
        "latency_ms_per_image": (found.latency_ms / context.batch).tolist(),
        "latency_upper_ms": [None] * len(found)
        if bound is None
        else (found.latency_ms * bound["factor"]).tolist(),
        "top1": found.top1.tolist(),
        "arch": [arch.to_json() for arch in archs],
    }
    for name, limit in registered_limits().items():
        if name in columns:
            continue
        if (cost := context.costs.get(name)) is None:
            columns[name] = [None] * len(found)
        else:
            values = cost.evaluate(found.genes).tolist()
            columns[name] = [round(value) for value in values] if limit.is_integer else values
    return columns


@dataclass(frozen=True, slots=True)
class FrontQuery:
    """The arguments of `read_front` that select the answer."""

    budget_ms: float | None = None
    confidence: float | None = None
    layers: bool = False


@dataclass(frozen=True, slots=True)
class FrontJson:
    """A front as the API answers it."""

    content: bytes
    sha256: str
    """Of `content`."""


def front_json(home: Path, context: DeploymentContext, query: FrontQuery) -> FrontJson:
    """What `read_front` answers, as JSON. Whole fronts are cached in this form: writing the
    JSON takes longer than the rest of a request, and the page requests several at once.

    Raises:
        InputError, Infeasible: as `read_front`.
    """
    context.require_predictor()
    assert context.table is not None
    sha256 = front_sha256(context)
    found = FrontStore.of(home).found_version(sha256)
    # A sitting changes the bounds of a front, and not its networks.
    key = (sha256, found, context.table.sha256, *registered_limits(), query)
    if (answer := _ANSWERS.get(key)) is None:
        read = read_front(
            home, context, query.budget_ms, confidence=query.confidence, layers=query.layers
        )
        content = FrontRead(**read).model_dump_json().encode()
        answer = FrontJson(content, hashlib.sha256(content).hexdigest())
        if query.budget_ms is None:
            _ANSWERS[key] = answer
            while len(_ANSWERS) > ANSWERS_KEPT:
                _ANSWERS.pop(next(iter(_ANSWERS)), None)
    return answer


def _layers(context: DeploymentContext, archs: Sequence[Arch]) -> dict[str, Any]:
    known: dict[LayerSpec, int] = {}
    points = [
        [known.setdefault(layer, len(known)) for layer in layer_plan(context.space, arch)]
        for arch in archs
    ]
    return {"known": [describe_layer(layer, context.table) for layer in known], "points": points}


def _evaluated(context: DeploymentContext, genes: GeneMatrix) -> tuple[Floats, Floats]:
    """Latency, ms, and predicted top-1, percent, of each row, (N,): one at a time, as a search
    ends, so that the figures are the search's to the bit."""
    predict = context.require_predictor().predict
    top1 = np.concatenate([np.empty(0), *(predict(row[None]) for row in genes)])
    return context.costs["latency_ms"].evaluate(genes), top1


def _above(points: Front, known: Front | None) -> GeneMatrix:
    """Networks of `points` that no known one is as good as, (M, G); all if none is known."""
    if known is None:
        return points.genes
    as_good = (known.latency_ms <= points.latency_ms[:, None]) & (
        known.top1 >= points.top1[:, None]
    )
    return points.genes[~as_good.any(axis=1)]


def front_sha256(context: DeploymentContext) -> str:
    """The name of a front: a hash of all its inputs."""
    bundle, table = context.bundle, context.table
    assert table is not None
    predictor = bundle.card["files"][PREDICTOR]
    origins = [FRONT_FORMAT, SEED, context.space.to_json(), predictor, table.costs_sha256]
    return hashlib.sha256(json.dumps(origins, sort_keys=True).encode()).hexdigest()


class FrontStore:
    """Fronts of one installation.

    Args:
        folder: where they are; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, home: Path) -> FrontStore:
        """That of the installation at `home`."""
        return cls(home / "fronts")

    def get(
        self, context: DeploymentContext, on_share: Callable[[float], None] = lambda _: None
    ) -> Front:
        """The front of a supernet on a device, with what searches found."""
        computed = self.computed(context, on_share)
        found = self._found(context, front_sha256(context))
        return merged(computed, found) if len(found) else computed

    def computed(
        self, context: DeploymentContext, on_share: Callable[[float], None] = lambda _: None
    ) -> Front:
        """The front of a supernet on a device, from its file or computed and kept. It depends on
        no search, so searches can start from it and have the same answer every time."""
        sha256 = front_sha256(context)
        path = self.folder / f"{sha256}.npz"
        if (kept := self._read(path)) is None:
            with _LOCK:  # computed once, also if several ask at the same time
                if (kept := self._read(path)) is None:
                    latency = context.costs["latency_ms"]
                    assert isinstance(latency, CostModel)
                    predictor = context.require_predictor()
                    kept = front(context.space, predictor, latency, seed=SEED, on_share=on_share)
                    self._write(path, kept)
        return kept

    def add(self, context: DeploymentContext, arch: Arch) -> None:
        """Keep a network that a search found, unless what is known is at least as good, and drop
        those that it is better than: the front is never below a search. If the disk refuses, the
        network is not kept."""
        sha256 = front_sha256(context)
        genes = context.space.encode([arch])
        new = Front(genes, *_evaluated(context, genes))
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self.folder):  # other threads and processes add networks too
                found, kept = (
                    self._found(context, sha256),
                    self._read(self.folder / f"{sha256}.npz"),
                )
                if len(_above(new, found)) and len(_above(new, kept)):
                    rows = _above(merged(found, new), kept)
                    write_atomically(self._found_path(sha256), rows.tobytes())

    def found_version(self, sha256: str) -> tuple[int, ...]:
        """Another one whenever other networks of searches belong to a front."""
        try:
            stat = self._found_path(sha256).stat()
        except OSError:
            return ()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _found_path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.found"

    def _found(self, context: DeploymentContext, sha256: str) -> Front:
        space, raw = context.space, b""
        with suppress(FileNotFoundError, NotADirectoryError):
            raw = self._found_path(sha256).read_bytes()
        whole = len(raw) - len(raw) % len(space.genes)  # a crash may have cut the last one short
        genes = np.frombuffer(raw[:whole], np.uint8).reshape(-1, len(space.genes))
        genes = space.canonical(genes[(genes < space.n_choices).all(axis=1)])
        return Front(genes, *_evaluated(context, genes))

    def _read(self, path: Path) -> Front | None:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return Front(file["genes"], file["latency_ms"], file["top1"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def _write(self, path: Path, front: Front) -> None:
        """Store a front; if the disk refuses, it is computed again next time."""
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
