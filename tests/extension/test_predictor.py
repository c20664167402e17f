"""A new kind of accuracy predictor, added from outside: registered, put into a bundle, searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.bundle import add_to_bundle
from models.spaces import GeneMatrix, SearchSpace, read_space
from search.costs import Floats
from search.predictors import Provenance, register_predictor, save_predictor, unregister_predictor
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET, busy_on, keep, make_bundle, make_table
from tests.spaces import DEBUG

pytestmark = pytest.mark.anyio
KIND = "more-is-better"


@dataclass(frozen=True)
class MoreIsBetter:
    """As accurate as a network has active genes, each counted by the index of its choice."""

    provenance: Provenance
    space: SearchSpace
    points: float
    """Percentage points of a step."""

    def predict(self, genes: GeneMatrix) -> Floats:
        top1: Floats = 50 + self.points * (self.space.active(genes) * (genes + 1.0)).sum(axis=1)
        return top1


def read(
    provenance: Provenance, metadata: Mapping[str, Any], tensors: Any, space: SearchSpace
) -> MoreIsBetter:
    assert read_space(metadata["space"]) == DEBUG
    return MoreIsBetter(provenance, space, float(tensors["points"][0]))


@pytest.fixture
def registered():
    register_predictor(KIND, read)
    yield
    unregister_predictor(KIND)


@pytest.mark.slow
async def test_a_predictor_of_a_new_kind_is_searched(tmp_path, registered):
    provenance = Provenance(
        kind=KIND, space=DEBUG.name, resolutions=DEBUG.resolutions, target="made up", count=None,
        rmse=None, spearman=None, kendall=None, method="not known",
    )  # fmt: skip
    save_predictor(tmp_path / "mine", provenance, DEBUG, {"points": np.array([0.5])})
    bundle = make_bundle(tmp_path / "supernets" / SUPERNET)
    add_to_bundle(bundle, {}, {"predictor.safetensors": (tmp_path / "mine").read_bytes()})
    keep(tmp_path, make_table())

    request = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 1000.0}}
    async with busy_on(Settings(home=tmp_path, workers=0, poll_interval_s=0.01)) as client:
        answer = await client.post("/v1/searches", json=request, headers={"Prefer": "wait=60"})

    assert answer.status_code == 201, answer.text
    result = answer.json()["result"]
    largest = DEBUG.encode([DEBUG.largest])
    assert result["arch"] == DEBUG.largest.to_json()
    assert result["top1"] == MoreIsBetter(provenance, DEBUG, 0.5).predict(largest)[0]
    assert result["provenance"]["top1"]["predictor"]["kind"] == KIND
