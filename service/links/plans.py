"""Plans of what a device times, and their models: made on request, the last ones kept."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import NotFound
from models.spaces import SearchSpace, layer_plan

if TYPE_CHECKING:
    from latency_tables.benchmark import RemotePlan

RUNTIME = "onnxruntime-web"
QUICK_NETWORKS, LEAST_NETWORKS = 24, 12
QUICK_BYTES = 256 * 2**20
"""Weights of a quick measurement's networks, which a browser holds all at once; fewer networks than
usual are timed of spaces whose networks are large."""
KEPT_BYTES = 96 * 2**20
"""Compressed models kept in memory."""
KEPT_PLANS = 16
LEVEL = 1
"""zlib's level: the weights of chains repeat, so that a quick one makes a twentieth of them."""


class CompressedModels:
    """Models by plan and number, compressed; the last used are kept."""

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes, self._bytes, self._lock = max_bytes, 0, Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, key: tuple[str, int], make: Callable[[], bytes]) -> bytes:
        """The compressed file of a model."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = gzip.compress(make(), LEVEL, mtime=0)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self._bytes += len(content)
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return content


class Plans:
    """Plans of spaces. Safe to share between threads."""

    def __init__(self) -> None:
        self._models = CompressedModels()
        self._described = lru_cache(KEPT_PLANS)(self._describe)
        self._lock = Lock()
        self._warming = ThreadPoolExecutor(1, "plans")

    def get(self, space: SearchSpace, mode: str, precision: str) -> RemotePlan:
        """What a device of a link times."""
        return _plan(space, mode, precision)

    def describe(self, plan: RemotePlan) -> dict[str, Any]:
        """The plan as the device reads it; made once, since `get` gives one object for equal
        plans."""
        with self._lock:
            return self._described(plan)

    def warm(self, plan: RemotePlan) -> None:
        """Make the models of a plan in the background: who opens a link need not wait."""
        self._warming.submit(self.describe, plan)

    def model(self, plan: RemotePlan, number: int) -> bytes:
        """A model, compressed.

        Raises:
            NotFound: if the plan has no such model.
        """
        if not 0 <= number < len(plan.chains):
            raise NotFound(
                f"models/{number}: expected a number from 0 to {len(plan.chains) - 1}, as in the "
                "plan"
            )
        return self._models.get((plan.id, number), lambda: plan.model(number))

    def _describe(self, plan: RemotePlan) -> dict[str, Any]:
        models = [self._said(plan, number) for number in range(len(plan.chains))]
        return {**plan.to_json(models), "runtime": RUNTIME}

    def _said(self, plan: RemotePlan, number: int) -> dict[str, Any]:
        if plan.precision != "fp32":  # quantizing takes minutes: each is made when it is fetched
            return {"bytes": None, "sha256": None}
        content = plan.model(number)
        self._models.get((plan.id, number), lambda: content)
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@lru_cache(KEPT_PLANS)
def _plan(space: SearchSpace, mode: str, precision: str) -> RemotePlan:
    from latency_tables.benchmark import quick_plan, thorough_plan

    if mode == "thorough":
        return thorough_plan(space, precision)
    from latency_tables.fitting import design_networks

    archs = design_networks(space, QUICK_NETWORKS)
    bytes_ = np.cumsum([4 * sum(spec.params for spec in layer_plan(space, arch)) for arch in archs])
    count = max(int((bytes_ <= QUICK_BYTES).sum()), LEAST_NETWORKS)
    return quick_plan(space, archs[:count], precision)
