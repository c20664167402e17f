"""Whatever the parents, limits and seed: children are canonical, repaired ones feasible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.costs import latency_costs, macs_costs
from search.operators import crossover, mutate, neighbours, repair, units
from tests.brute import all_genes
from tests.fakes import FakeTable
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

FAMILIES = (DEBUG, FASHION_LIKE, RESNET)
SPACES = st.sampled_from(list(FAMILIES))
SEEDS = st.integers(0, 2**32 - 1)
LATENCY = {space.name: latency_costs(space, FakeTable()) for space in FAMILIES}
MACS = {space.name: macs_costs(space) for space in FAMILIES}


def check_rows(space, genes):
    assert genes.dtype == np.uint8
    assert (genes < space.n_choices).all()
    assert (genes == space.canonical(genes)).all()


@given(SPACES, SEEDS, st.floats(0, 1))
def test_children_are_networks_of_the_space(space, seed, probability):
    rng = np.random.default_rng(seed)
    mothers, fathers = space.sample(20, rng), space.sample(20, rng)
    check_rows(space, mutate(space, mothers, probability, rng))
    check_rows(space, crossover(space, mothers, fathers, rng))


@given(SPACES, SEEDS)
def test_nothing_to_change_changes_nothing(space, seed):
    rng = np.random.default_rng(seed)
    parents = space.sample(20, rng)
    assert (mutate(space, parents, 0.0, rng) == parents).all()
    assert (crossover(space, parents, parents, rng) == parents).all()


@given(SPACES, SEEDS)
def test_crossed_children_have_only_their_parents_genes(space, seed):
    rng = np.random.default_rng(seed)
    mothers, fathers = space.sample(20, rng), space.sample(20, rng)
    children = crossover(space, mothers, fathers, rng)
    inherited = (children == mothers) | (children == fathers)
    # A stage as deep as the deeper parent's has no block that neither parent had.
    assert inherited[space.active(children)].all()


@given(SPACES, SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_repaired_networks_meet_every_limit(space, seed, latency_share, macs_share):
    rng = np.random.default_rng(seed)
    models = [LATENCY[space.name], MACS[space.name]]
    floors = [max(m.evaluate(models[0].floor_genes[None])[0], m.floor()) for m in models]
    shares = (latency_share, macs_share)
    budgets = [
        floor + share * (model.ceiling() - floor)
        for floor, share, model in zip(floors, shares, models, strict=True)
    ]

    def feasible(genes):
        return np.all(
            [m.evaluate(genes) <= b for m, b in zip(models, budgets, strict=True)], axis=0
        )

    genes = space.sample(30, rng)
    mended = repair(space, genes, models[0].floor_genes[None], feasible, rng)
    check_rows(space, mended)
    assert feasible(mended).all()
    kept = feasible(genes)
    assert (mended[kept] == genes[kept]).all()


@given(SPACES, SEEDS)
def test_neighbours_differ_in_one_unit(space, seed):
    row = space.sample(1, np.random.default_rng(seed))[0]
    around = neighbours(space, row)
    check_rows(space, around.genes)
    assert len(np.unique(around.genes, axis=0)) == len(around.genes)
    active = space.active(row[None])[0]
    for genes, changed, unit in zip(*around, strict=True):
        assert (genes != row).any()
        # Genes outside the move stay, but for blocks that a shallower stage drops.
        still = active & space.active(genes[None])[0] & ~changed
        assert (genes[still] == row[still]).all()
        assert unit in units(space)[changed]


def test_neighbours_hold_every_change_of_one_gene():
    """Brute force: all networks of the space that differ in a single active gene."""
    everything = all_genes(DEBUG)
    for row in DEBUG.sample(10, np.random.default_rng(0)):
        around = {genes.tobytes() for genes in neighbours(DEBUG, row).genes}
        one_apart = everything[(everything != row).sum(axis=1) == 1]
        assert around >= {genes.tobytes() for genes in one_apart}


def test_a_woken_block_is_not_always_the_smallest():
    """Depth 1 -> 2 must draw the new block, whose canonical genes are 0 while it sleeps."""
    rng = np.random.default_rng(0)
    shallow = np.tile(DEBUG.encode([DEBUG.smallest]), (4000, 1))
    deeper = mutate(DEBUG, shallow, 0.2, rng)
    deeper = deeper[deeper[:, 1] == 1]
    second_kernel = deeper[:, DEBUG.column["kernel", 0, 1]]
    assert second_kernel.mean() == pytest.approx(0.5, abs=0.1)


def test_mutation_is_as_frequent_as_asked():
    """Each unit is redrawn with the probability, and half of the draws of 2 choices differ."""
    parents = np.tile(DEBUG.encode([DEBUG.largest]), (4000, 1))
    changed = mutate(DEBUG, parents, 0.3, np.random.default_rng(0))[:, 0] != parents[:, 0]
    assert changed.mean() == pytest.approx(0.3 / 2, abs=0.02)


def test_units_group_a_block():
    numbers = units(DEBUG)
    assert numbers[0] == 0
    assert len(set(numbers.tolist())) == 1 + 2 + 4
    kernel, expand = DEBUG.column["kernel", 1, 0], DEBUG.column["expand", 1, 0]
    assert numbers[kernel] == numbers[expand]
