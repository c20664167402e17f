"""The best networks known of a problem, from long runs of several algorithms, kept in a folder.

What is judged should not say what the best is. So beside three thorough searches of our own,
simulated annealing, tabu search and pymoo's genetic algorithm look for better networks, each for
much longer than a search. A run that is in the folder is not repeated, so a benchmark that was
stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.machine.files import write_atomically
from models.spaces.genes import GeneMatrix
from search.costs.costs import Floats
from search.evolution.operators import mutate, neighbours, rank_in_group
from search.evolution.problem import SubnetProblem
from search.evolution.run import search_subnet

CHAINS = 8
"""Of annealing, for each resolution."""
STEPS = 6_000
HOT, COLD = 0.3, 0.02
"""First and last temperature, percentage points."""
TRIES = 4
"""Children drawn for a step of a chain, of which the first within the limits is taken."""
TABU_CHAINS = 2
TABU_STEPS = 120
PAIRS = 300
"""Changes of two units that are evaluated in a step of a tabu search."""
LONG_SEARCHES = 3
FOREIGN_EVALUATIONS = 100_000

Result = tuple[GeneMatrix, float]
"""A network within the limits and its accuracy, percent."""


@dataclass(frozen=True, slots=True)
class Solver:
    """An algorithm of which one run is kept."""

    name: str
    run: Callable[[SubnetProblem, np.random.Generator], Result]


def annealing(problem: SubnetProblem, rng: np.random.Generator) -> Result:
    """Simulated annealing within the limits, chains in each resolution side by side."""
    rows = _starts(problem, CHAINS, rng)
    top1 = problem.evaluate(rows)
    best_rows, best_top1 = rows.copy(), top1.copy()
    for temperature in np.geomspace(HOT, COLD, STEPS):
        children = mutate(problem.space, np.repeat(rows, TRIES, axis=0), 0.7, rng)
        met = (problem.load(children) <= 0).reshape(-1, TRIES)
        chains = np.flatnonzero(met.any(axis=1))
        made = children[chains * TRIES + met[chains].argmax(axis=1)]
        values = problem.evaluate(made)
        odds = np.exp(np.minimum(0, (values - top1[chains]) / temperature))
        taken = rng.random(len(chains)) < odds
        rows[chains[taken]], top1[chains[taken]] = made[taken], values[taken]
        better = top1 > best_top1
        best_rows[better], best_top1[better] = rows[better], top1[better]
    return best_rows[best_top1.argmax()], float(best_top1.max())


def tabu(problem: SubnetProblem, rng: np.random.Generator) -> Result:
    """Tabu search: each chain moves to the best network within the limits, one or two changes of a
    unit away, that no chain has been at."""
    rows = _starts(problem, TABU_CHAINS, rng)
    been = {row.tobytes() for row in rows}
    top1 = problem.evaluate(rows)
    best = rows[top1.argmax()], float(top1.max())
    for _ in range(TABU_STEPS):
        moves, chain = [], []
        for number, row in enumerate(rows):
            around = neighbours(problem.space, row)
            a, b = rng.integers(0, len(around.genes), (2, PAIRS))
            pairs = np.where(around.changed[b], around.genes[b], around.genes[a])
            both = np.vstack([around.genes, problem.space.canonical(pairs)])
            both = both[problem.load(both) <= 0]
            moves.append(both)
            chain.append(np.full(len(both), number))
        made, of = np.vstack(moves), np.concatenate(chain)
        values = problem.evaluate(made)
        moved = np.zeros(len(rows), bool)
        for n in np.argsort(-values, kind="stable"):
            if not moved[of[n]] and made[n].tobytes() not in been:
                rows[of[n]], moved[of[n]] = made[n], True
                been.add(made[n].tobytes())
                if values[n] > best[1]:
                    best = made[n], float(values[n])
            if moved.all():
                break
    return best


def genetic(problem: SubnetProblem, rng: np.random.Generator) -> Result:
    """pymoo's genetic algorithm with operators for integers; limits are its constraints."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    space = problem.space

    class Networks(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                n_var=len(space.genes), n_obj=1, n_ieq_constr=1, xl=0, xu=space.n_choices - 1,
                vtype=int,
            )  # fmt: skip

        def _evaluate(self, x: GeneMatrix, out: dict[str, Floats]) -> None:
            genes = space.canonical(x.astype(np.uint8))
            out["F"] = -problem.evaluate(genes)[:, None]
            out["G"] = problem.load(genes)[:, None]

    algorithm = GA(
        pop_size=400,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    seed = int(rng.integers(2**31))
    found = minimize(Networks(), algorithm, ("n_eval", FOREIGN_EVALUATIONS), seed=seed)
    if found.X is None:
        return problem.anchor(), float(problem.evaluate(problem.anchor()[None])[0])
    row = space.canonical(found.X.astype(np.uint8)[None])[0]
    return row, float(problem.evaluate(row[None])[0])


def long_searches(problem: SubnetProblem, rng: np.random.Generator) -> Result:
    """The best of three thorough searches."""
    found = [
        search_subnet(
            problem.space, problem.predictor, problem.costs, problem.limits,
            int(rng.integers(2**31)), effort="thorough",
        )
        for _ in range(LONG_SEARCHES)
    ]  # fmt: skip
    best = max(found, key=lambda result: result.top1)
    return best.genes, best.top1


SOLVERS = (
    Solver("annealing", annealing),
    Solver("tabu", tabu),
    Solver("genetic", genetic),
    Solver("ours", long_searches),
)


class BestKnown:
    """The runs in a folder.

    Args:
        solvers: names of those that may be run; runs of others that are there count too.
    """

    def __init__(self, folder: Path, solvers: tuple[str, ...]) -> None:
        self.folder = folder
        self.solvers = [solver for solver in SOLVERS if solver.name in solvers]

    def top1(self, problem: SubnetProblem, name: str, report: Callable[[str], None]) -> float:
        """The best accuracy known within the limits, percent; missing runs are made."""
        path, runs = self._path(problem, name), self.runs(problem, name)
        for solver in self.solvers:
            if solver.name in runs:
                continue
            report(f"{name}: {solver.name}")
            genes, _ = solver.run(problem, np.random.default_rng(len(runs)))
            self._add(path, runs, solver.name, problem, genes)
        values = [run["top1"] for run in runs.values()]
        return max(values, default=-np.inf)

    def runs(self, problem: SubnetProblem, name: str) -> dict[str, Any]:
        """`top1` and `genes` of each run that is there, by algorithm."""
        path = self._path(problem, name)
        runs: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return runs

    def _path(self, problem: SubnetProblem, name: str) -> Path:
        return self.folder / f"{_key(problem, name)}.json"

    def add(self, problem: SubnetProblem, name: str, source: str, genes: GeneMatrix) -> None:
        """Remember a network that something else found."""
        path, runs = self._path(problem, name), self.runs(problem, name)
        known = runs.get(source, {"top1": -np.inf})["top1"]
        if float(problem.evaluate(genes[None])[0]) > known:
            self._add(path, runs, source, problem, genes)

    def _add(
        self, path: Path, runs: dict[str, Any], source: str, problem: SubnetProblem,
        genes: GeneMatrix,
    ) -> None:  # fmt: skip
        assert problem.feasible(genes[None])[0]
        top1 = float(problem.evaluate(genes[None])[0])
        runs[source] = {"top1": top1, "genes": genes.tolist()}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(runs).encode())


def _key(problem: SubnetProblem, name: str) -> str:
    limits = {limit: round(value, 9) for limit, value in problem.limits.items()}
    parts: Mapping[str, Any] = {"problem": name, "limits": limits}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _starts(problem: SubnetProblem, count: int, rng: np.random.Generator) -> GeneMatrix:
    """Of random networks within the limits, `count` of each resolution, the nearest to them."""
    sampled = problem.space.sample_tilted(20_000, 1.5, rng)
    load = problem.load(sampled)
    rows = np.flatnonzero(load <= 0)
    rows = rows[np.lexsort((-load[rows], sampled[rows, 0]))]
    rows = rows[rank_in_group(sampled[rows, 0]) < count]
    return np.vstack([problem.anchor(), sampled[rows]])
