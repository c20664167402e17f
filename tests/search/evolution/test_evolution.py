"""Search against brute force: the true optimum, never over a limit, the same every time."""

import numpy as np
import pytest

from models.errors import Infeasible, InputError, NotFound, SubnetSearchError
from search.costs.costs import CostModel, Factor, latency_costs, macs_costs, params_costs
from search.evolution.evolution import Evolution, EvolutionSettings, Offspring
from search.evolution.local_search import climb
from search.evolution.operators import neighbours
from search.evolution.problem import Evaluator, SubnetProblem
from search.evolution.run import SearchSettings, search_subnet
from search.evolution.surrogate import fit_additive
from search.evolution.termination import AnyOf, MaxGenerations, SearchProgress, Stalled
from search.evolution.warm_start import Start, WarmStartSettings
from search.pareto import pareto_front
from tests.brute import all_genes
from tests.fakes import FakeClock, FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE

GENES = all_genes(DEBUG)
COSTS = {
    "latency_ms": latency_costs(DEBUG, FakeTable()),
    "macs": macs_costs(DEBUG),
    "params": params_costs(DEBUG),
}
VALUES = {name: model.evaluate(GENES) for name, model in COSTS.items()}


def budget(name: str, share: float) -> float:
    """A budget between the floor (0) and the ceiling (1) of a cost."""
    return float(VALUES[name].min() + share * np.ptp(VALUES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("interaction", [0.0, 0.3])
def test_it_finds_the_optimum_of_a_space_it_can_exhaust(seed, interaction):
    predictor = LinearAccuracy(DEBUG, seed, interaction)
    top1 = predictor.predict(GENES)
    for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.8, 1.0):
        limits = {"latency_ms": budget("latency_ms", share)}
        result = search_subnet(DEBUG, predictor, COSTS, limits, seed)
        assert result.top1 == top1[VALUES["latency_ms"] <= limits["latency_ms"]].max()
        assert result.costs["latency_ms"] <= limits["latency_ms"]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_it_finds_the_optimum_under_several_limits(share):
    predictor = LinearAccuracy(DEBUG, 3, 0.3)
    limits = {"latency_ms": budget("latency_ms", share), "params": budget("params", 0.3)}
    met = np.all([VALUES[name] <= limit for name, limit in limits.items()], axis=0)
    result = search_subnet(DEBUG, predictor, COSTS, limits, 0)
    assert result.top1 == predictor.predict(GENES)[met].max()


@pytest.mark.slow
def test_no_limit_at_all():
    predictor = LinearAccuracy(DEBUG)
    best = predictor.predict(GENES).max()
    assert search_subnet(DEBUG, predictor, COSTS, {}, 0).top1 == best
    assert search_subnet(DEBUG, predictor, {}, {}, 0).top1 == best


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_large_spaces_are_searched_to_within_a_percent_of_the_exact_front(share):
    """8.5e19 networks: of an additive predictor the dynamic programme knows the optimum."""
    predictor = LinearAccuracy(FASHION_LIKE, 1)
    latency = latency_costs(FASHION_LIKE, FakeTable())
    limit = latency.floor() + share * (latency.ceiling() - latency.floor())
    sampled = FASHION_LIKE.sample(1500, np.random.default_rng(0))
    surrogate = fit_additive(FASHION_LIKE, sampled, predictor.predict(sampled))
    points = pareto_front(latency.factors, surrogate.factors, FASHION_LIKE.n_choices, width=2000)
    known = predictor.predict(FASHION_LIKE.canonical(points.genes))
    best = known[points.cost + latency.constant <= limit].max()
    result = search_subnet(FASHION_LIKE, predictor, {"x": latency}, {"x": limit}, 0)
    assert result.costs["x"] <= limit
    assert best - result.top1 < 0.01 * np.ptp(known)


@pytest.mark.slow
def test_same_seed_same_bits():
    predictor = LinearAccuracy(FASHION_LIKE, 1, 0.1)
    costs = {"macs": macs_costs(FASHION_LIKE)}
    limits = {"macs": 6e6}
    first, second = (search_subnet(FASHION_LIKE, predictor, costs, limits, 7) for _ in range(2))
    for field in ("arch", "top1", "costs", "evaluations", "generations"):
        assert getattr(first, field) == getattr(second, field)


def test_the_global_generator_is_left_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": 1e5}, 0)
    assert np.random.random() == expected


def test_result_describes_the_network():
    predictor = LinearAccuracy(DEBUG)
    result = search_subnet(DEBUG, predictor, COSTS, {"macs": 1e5}, 5, clock=FakeClock(step_s=0.5))
    assert DEBUG.encode([result.arch]).tolist() == [result.genes.tolist()]
    assert result.top1 == predictor.predict(result.genes[None])[0]
    assert set(result.costs) == set(COSTS)
    assert result.costs["params"] == COSTS["params"].evaluate(result.genes[None])[0]
    assert result.seed == 5
    # One reading at the start, one a generation, one at the end.
    assert result.seconds == 0.5 * (result.generations + 1)


def test_evaluations_count_the_networks_predicted():
    predictor = LinearAccuracy(DEBUG)
    result = search_subnet(DEBUG, predictor, COSTS, {"macs": 1e5}, 0)
    assert predictor.calls == result.evaluations


@pytest.mark.parametrize("name", COSTS)
def test_a_budget_below_the_floor_is_refused_before_searching(name):
    predictor = LinearAccuracy(DEBUG)
    floor = VALUES[name].min()
    with pytest.raises(Infeasible, match=name) as caught:
        search_subnet(DEBUG, predictor, COSTS, {name: floor * (1 - 1e-12)}, 0)
    assert caught.value.floor == floor
    assert predictor.calls == 0
    result = search_subnet(DEBUG, predictor, COSTS, {name: float(floor)}, 0)
    assert result.costs[name] == floor


def test_limits_that_exclude_each_other_are_refused():
    """Two made-up costs of which one falls where the other rises."""
    macs = COSTS["macs"]
    top = macs.ceiling()
    rest = CostModel(
        DEBUG, tuple(Factor(f.name, f.columns, -f.table) for f in macs.factors), 2 * top
    )
    costs = {"macs": macs, "rest": rest}
    predictor = LinearAccuracy(DEBUG)
    with pytest.raises(Infeasible, match="nearest to meeting .* as well"):
        search_subnet(DEBUG, predictor, costs, {"macs": 0.5 * top, "rest": 1.4 * top}, 0)
    assert predictor.calls == 0
    met = search_subnet(DEBUG, predictor, costs, {"macs": 0.7 * top, "rest": 1.4 * top}, 0)
    assert 0.6 * top <= met.costs["macs"] <= 0.7 * top


@pytest.mark.parametrize("shares", [(0.02, 0.05), (0.05, 0.02), (0.01, 0.01), (0.0, 0.0)])
def test_joint_limits_are_decided_like_by_enumeration(shares):
    limits = {
        "latency_ms": budget("latency_ms", shares[0]),
        "params": budget("params", shares[1]),
    }
    met = np.all([VALUES[name] <= limit for name, limit in limits.items()], axis=0)
    problem = SubnetProblem(DEBUG, LinearAccuracy(DEBUG), COSTS, limits)
    if met.any():
        assert problem.feasible(problem.anchor()[None]).all()
    else:
        with pytest.raises(Infeasible):
            problem.anchor()


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "5", None])
def test_budgets_that_are_no_positive_number_are_refused(value):
    with pytest.raises(InputError, match="macs: expected a"):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": value}, 0)


def test_unknown_limits_are_named():
    with pytest.raises(NotFound, match="did you mean 'latency_ms'"):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"latency": 1.0}, 0)


def test_a_predictor_that_gives_nan_fails_loudly():
    class Broken(LinearAccuracy):
        def predict(self, genes):
            return np.full(len(genes), np.nan)

    with pytest.raises(SubnetSearchError, match="no finite accuracy"):
        search_subnet(DEBUG, Broken(DEBUG), COSTS, {"macs": 1e5}, 0)


def test_progress_is_reported_every_generation_and_may_stop_the_search():
    seen: list[SearchProgress] = []
    search_subnet(
        FASHION_LIKE, LinearAccuracy(FASHION_LIKE), {}, {}, 0,
        termination=MaxGenerations(5), on_progress=seen.append,
    )  # fmt: skip
    assert [progress.generation for progress in seen] == [1, 2, 3, 4, 5]
    assert [progress.share for progress in seen] == [0.2, 0.4, 0.6, 0.8, 1.0]
    best = [progress.top1 for progress in seen]
    assert best == sorted(best)

    def cancel(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), {}, {}, 0, on_progress=cancel)


@pytest.mark.parametrize(
    ("termination", "generations"),
    [
        (MaxGenerations(3), 3),
        (AnyOf((MaxGenerations(2), Stalled(50))), 2),
    ],
)
def test_each_criterion_stops(termination, generations):
    result = search_subnet(
        FASHION_LIKE, LinearAccuracy(FASHION_LIKE), {}, {}, 0,
        termination=termination,
    )  # fmt: skip
    assert (result.generations, result.reason) == (generations, "terminated")


def test_a_stall_is_counted_from_the_last_gain():
    seen: list[SearchProgress] = []
    poor = WarmStartSettings(candidates=60, evaluated=20, rounds=1)
    search_subnet(
        FASHION_LIKE, LinearAccuracy(FASHION_LIKE, 1, 0.3), {}, {}, 0,
        settings=SearchSettings(warm_start=poor),
        termination=Stalled(4), on_progress=seen.append,
    )  # fmt: skip
    assert [progress.stalled_generations for progress in seen[-5:]] == [0, 1, 2, 3, 4]
    assert len({progress.top1 for progress in seen[-5:]}) == 1


def test_a_space_without_more_networks_ends_the_search():
    floor = float(VALUES["macs"].min())
    result = search_subnet(
        DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": floor}, 0, termination=MaxGenerations(10**6)
    )
    assert (result.reason, result.generations) == ("exhausted", 0)
    assert result.arch == DEBUG.smallest


def started(genes, predictor, groups=1, limits=0):
    """A start of networks dealt out to groups, at no price."""
    group = np.arange(len(genes)) % groups
    return Start(genes, predictor.predict(genes), group, np.zeros(limits))


def evolution_of(space, limits, genes, predictor, settings=None, groups=1):
    problem = SubnetProblem(space, predictor, COSTS, limits)
    settings = settings or EvolutionSettings(population=20, parents=5)
    start = started(genes, predictor, groups, len(limits))
    return problem, Evolution(space, problem.violations, start, settings, np.random.default_rng(0))


def test_groups_never_ask_twice_and_limits_harden():
    """Isolated, each group asks once and a little over the limit; joined, none does."""
    predictor = LinearAccuracy(DEBUG)
    limits = {"macs": budget("macs", 0.4)}
    settings = EvolutionSettings(population=20, parents=5, isolation_generations=20, slack=0.1)
    problem, evolution = evolution_of(DEBUG, limits, GENES[::30], predictor, settings, groups=2)
    evaluated = [(row.tobytes(), n % 2) for n, row in enumerate(GENES[::30])]
    worst = []
    for generation in range(60):
        slack = 0.1 * max(0.0, 1 - generation / 20)
        assert evolution.isolated == (generation < 20)
        offspring = evolution.ask() or Offspring(GENES[:0], np.zeros(0, int))
        worst.append(problem.violations(offspring.genes).max(initial=-1.0))
        assert worst[-1] <= slack
        new = [row.tobytes() for row in offspring.genes]
        if evolution.isolated:
            evaluated += list(zip(new, offspring.group.tolist(), strict=True))
        else:
            assert not set(new) & {key for key, _ in evaluated}
            evaluated += [(key, 0) for key in new]
        evolution.tell(offspring, predictor.predict(offspring.genes))
        after = 0.1 * max(0.0, 1 - (generation + 1) / 20)
        assert problem.violations(evolution.parents.genes).max() <= after
        assert problem.feasible(evolution.best[None]).all()
    assert max(worst[:20]) > 0.01
    assert len(set(evaluated)) == len(evaluated)
    assert len({key for key, _ in evaluated}) > 200  # of 411 within the limit


def test_a_price_makes_up_for_what_a_limit_lets_through():
    """Two networks of a budget, one on either side: what a share of it is worth decides."""
    order = np.argsort(VALUES["macs"], kind="stable")
    low, middle, high = order[GENES[order, 0] == 0][[200, 210, 220]]  # one island
    cheap, dear, limit = GENES[low], GENES[high], float(VALUES["macs"][middle])
    difference = (VALUES["macs"][high] - VALUES["macs"][low]) / limit
    problem = SubnetProblem(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": limit})
    settings = EvolutionSettings(parents=1, slack=1.0, isolation_generations=10, cull_interval=1)
    for price, first in ((0.9 / difference, dear), (1.1 / difference, cheap)):
        start = Start(
            np.array([cheap, dear]), np.array([70.0, 71.0]), np.zeros(2, int), np.array([price])
        )
        evolution = Evolution(DEBUG, problem.violations, start, settings, np.random.default_rng(0))
        assert (evolution.parents.genes == first[None]).all()
        assert (evolution.best == cheap).all()


def test_groups_keep_a_network_each_has_until_they_are_joined():
    predictor = LinearAccuracy(DEBUG)
    settings = EvolutionSettings(
        population=20, parents=5, isolation_generations=2, cull_interval=100
    )
    start = Start(
        np.vstack([GENES[:5], GENES[:5]]), np.tile(predictor.predict(GENES[:5]), 2),
        np.repeat([0, 1], 5), np.zeros(0),
    )  # fmt: skip
    problem = SubnetProblem(DEBUG, predictor, {}, {})
    evolution = Evolution(DEBUG, problem.violations, start, settings, np.random.default_rng(0))
    assert len(evolution.parents.genes) == 10
    for _ in range(2):
        offspring = evolution.ask()
        assert offspring is not None
        assert set(offspring.group.tolist()) == {0, 1}
        evolution.tell(offspring, np.zeros(len(offspring.genes)))
    assert set(evolution.parents.group.tolist()) == {0}
    rows = [row.tobytes() for row in evolution.parents.genes]
    assert len(set(rows)) == len(rows) <= 10


def test_islands_are_given_up_by_halves():
    """Two resolutions: after the interval, the one with the best network is left."""
    predictor = LinearAccuracy(DEBUG, 1)
    settings = EvolutionSettings(population=20, parents=5, cull_interval=3)
    _, evolution = evolution_of(DEBUG, {}, GENES[::9], predictor, settings)
    for generation in range(1, 5):
        offspring = evolution.ask()
        evolution.tell(offspring, predictor.predict(offspring.genes))
        islands = np.unique(evolution.parents.genes[:, 0])
        assert len(islands) == (2 if generation < 3 else 1)
        assert len(evolution.parents.genes) <= 5 * len(islands)
    assert evolution.best[0] == islands[0]


def test_children_with_the_best_estimates_are_evaluated():
    """A generation of mutants is better on average with slopes that say what a gene adds."""
    predictor = LinearAccuracy(DEBUG, 1)
    start = GENES[::97]
    gains = np.zeros((len(DEBUG.genes), 2), np.float32)
    settings = EvolutionSettings(population=8, parents=5, mutation_ratio=1.0)

    def mean_top1(slopes):
        problem = SubnetProblem(DEBUG, predictor, {}, {})
        evolution = Evolution(
            DEBUG, problem.violations, started(start, predictor), settings,
            np.random.default_rng(0), slopes,
        )  # fmt: skip
        offspring = evolution.ask()
        assert offspring is not None
        return predictor.predict(offspring.genes).mean()

    for column in range(len(DEBUG.genes)):
        high, low = (
            predictor.predict(GENES[(GENES[:, column] == value) & DEBUG.active(GENES)[:, column]])
            for value in (1, 0)
        )
        gains[column, 1] = high.mean() - low.mean()
    assert mean_top1(lambda genes: np.tile(gains, (len(genes), 1, 1))) > mean_top1(None) + 0.2


def test_the_last_generation_counts():
    """The last offspring join the parents, so the best of them can be the answer."""
    settings = EvolutionSettings(population=4, parents=1)
    _, evolution = evolution_of(DEBUG, {}, GENES[:3], LinearAccuracy(DEBUG), settings)
    evolution.tell(Offspring(GENES[3:4], np.zeros(1, int)), np.array([1e6]))
    assert evolution.parents.top1.tolist() == [1e6] == [evolution.best_top1]
    assert (evolution.best == GENES[3]).all()


@pytest.mark.parametrize(
    "setting", [{"population": 0}, {"mutation_ratio": 1.5}, {"mutation_probability": -0.1}]
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        EvolutionSettings(**setting)


def test_climbing_ends_where_no_change_of_one_unit_helps():
    predictor = LinearAccuracy(DEBUG, 2, 0.3)
    limits = {"latency_ms": budget("latency_ms", 0.4)}
    problem = SubnetProblem(DEBUG, predictor, COSTS, limits)
    start = problem.anchor()
    end = climb(Evaluator(problem), start)
    reached = predictor.predict(end[None])[0]
    assert problem.feasible(end[None]).all()
    assert reached > predictor.predict(start[None])[0]
    single = neighbours(DEBUG, end).genes
    assert predictor.predict(single[problem.feasible(single)]).max() <= reached


def test_climbing_exchanges_two_units_where_one_alone_is_too_dear():
    """A knapsack in which only giving up one block's kernel pays for another's."""
    kernels = [DEBUG.column["kernel", s, 0] for s in range(2)]
    spent = [Factor(f"block{n}", (c,), np.array([0.0, 1.0])) for n, c in enumerate(kernels)]
    gained = [Factor(f"block{n}", (c,), np.array([0.0, 1.0 + n])) for n, c in enumerate(kernels)]
    predictor = LinearAccuracy(DEBUG)
    predictor.predict = CostModel(DEBUG, tuple(gained), 50.0).evaluate  # type: ignore[method-assign]
    problem = SubnetProblem(DEBUG, predictor, {"x": CostModel(DEBUG, tuple(spent))}, {"x": 1.0})
    start = GENES[0].copy()
    start[kernels[0]] = 1
    end = climb(Evaluator(problem), start)
    assert [end[c] for c in kernels] == [0, 1]
