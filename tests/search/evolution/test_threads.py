"""The same bits whatever threads BLAS has: in processes that are given one and two."""

import os
import subprocess
import sys

import pytest

from models.machine.parallel import cores

SEARCH = """
import hashlib
from types import SimpleNamespace

import numpy as np
from threadpoolctl import threadpool_info

from search.costs import macs_costs
from search.evolution import Work, search_subnet
from search.front import front
from tests.spaces import FASHION_LIKE

threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
rng = np.random.default_rng(0)
n, k = len(FASHION_LIKE.genes), int(FASHION_LIKE.n_choices.max())
weights = [rng.normal(0, 1, shape).astype(np.float32) for shape in ((n * k, 400), (400, 400))]


class Deep:
    provenance = SimpleNamespace(kind="deep", resolutions=FASHION_LIKE.resolutions)

    # Matrices large enough for BLAS to use all of its threads.
    def predict(self, genes):
        x = np.eye(k, dtype=np.float32)[genes].reshape(len(genes), -1)
        for weight in weights:
            x = np.maximum(x @ weight, 0)
        return 70 + x[:, :200].mean(axis=1, dtype=np.float64) / 100


macs = macs_costs(FASHION_LIKE)
limits = {"macs": 1.5 * macs.floor()}
found = search_subnet(FASHION_LIKE, Deep(), {"macs": macs}, limits, 1, effort="quick")
small = Work(evaluations=2_000, batch=512, capacity=2, slack=0.5)
points = front(FASHION_LIKE, Deep(), macs, 1, small)
answer = repr((found.arch, found.top1, found.evaluations)).encode()
answer += points.genes.tobytes() + points.top1.tobytes()
print(max(threads), hashlib.sha256(answer).hexdigest())
"""


def run_with(threads: int) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", SEARCH],
        env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return found.stdout.split()


@pytest.mark.slow
def test_a_search_and_a_front_are_the_same_on_one_thread_and_on_two():
    one, two = run_with(1), run_with(2)
    assert (one[0], two[0]) == ("1", str(min(2, cores())))
    assert one[1] == two[1]
