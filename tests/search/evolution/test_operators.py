"""Whatever the parents, limits and seed: children are canonical, repaired ones feasible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.evolution.operators import crossover, mutate, neighbours, units
from tests.brute import all_genes
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

FAMILIES = (DEBUG, FASHION_LIKE, RESNET)
SPACES = st.sampled_from(list(FAMILIES))
SEEDS = st.integers(0, 2**32 - 1)


def check_rows(space, genes):
    assert genes.dtype == np.uint8
    assert (genes < space.n_choices).all()
    assert (genes == space.canonical(genes)).all()


@pytest.mark.slow
@given(SPACES, SEEDS, st.floats(0, 1))
def test_children_are_networks_of_the_space(space, seed, probability):
    rng = np.random.default_rng(seed)
    parents_a, parents_b = space.sample(20, rng), space.sample(20, rng)
    check_rows(space, mutate(space, parents_a, probability, rng))
    check_rows(space, crossover(space, parents_a, parents_b, probability, rng))


@given(SPACES, SEEDS)
def test_crossing_a_network_with_itself_changes_nothing(space, seed):
    rng = np.random.default_rng(seed)
    parents = space.sample(20, rng)
    assert (crossover(space, parents, parents, 0.5, rng) == parents).all()


@given(SPACES, SEEDS)
def test_crossed_children_have_only_their_parents_genes(space, seed):
    rng = np.random.default_rng(seed)
    parents_a, parents_b = space.sample(20, rng), space.sample(20, rng)
    children = crossover(space, parents_a, parents_b, 0.5, rng)
    inherited = (children == parents_a) | (children == parents_b)
    # A stage as deep as the deeper parent's has no block that neither parent had.
    assert inherited[space.active(children)].all()


@given(SPACES, SEEDS)
def test_whole_stages_come_from_one_parent(space, seed):
    rng = np.random.default_rng(seed)
    parents_a, parents_b = space.sample(20, rng), space.sample(20, rng)
    children = crossover(space, parents_a, parents_b, 1.0, rng)
    for s, depth in enumerate(space.depth_columns):
        columns = [
            depth,
            *(c for (stage, _), cs in space.block_columns.items() if stage == s for c in cs),
        ]
        from_a = (children[:, columns] == parents_a[:, columns]).all(axis=1)
        from_b = (children[:, columns] == parents_b[:, columns]).all(axis=1)
        assert (from_a | from_b).all()


@given(SPACES, SEEDS, st.floats(0, 1))
def test_mutation_changes_at_most_three_units_and_never_the_resolution(space, seed, probability):
    rng = np.random.default_rng(seed)
    parents = space.sample(20, rng)
    children = mutate(space, parents, probability, rng)
    assert (children[:, 0] == parents[:, 0]).all()
    # Blocks that a depth wakes or puts to sleep belong to the change of the depth.
    changed = space.active(parents) & space.active(children) & (children != parents)
    for row in changed:
        assert len(np.unique(units(space)[row])) <= (1 if probability == 0 else 3)


@pytest.mark.slow
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
    shallow = np.tile(DEBUG.encode([DEBUG.smallest]), (8000, 1))
    deeper = mutate(DEBUG, shallow, 0.0, rng)
    deeper = deeper[deeper[:, 1] == 1]
    second_kernel = deeper[:, DEBUG.column["kernel", 0, 1]]
    assert second_kernel.mean() == pytest.approx(0.5, abs=0.1)


def test_every_unit_is_mutated_as_often():
    """One of 6 units is redrawn, and half of the draws of 2 choices differ."""
    parents = np.tile(DEBUG.encode([DEBUG.largest]), (12000, 1))
    depth = DEBUG.depth_columns[0]
    changed = mutate(DEBUG, parents, 0.0, np.random.default_rng(0))[:, depth] != parents[:, depth]
    assert changed.mean() == pytest.approx(1 / 6 / 2, abs=0.02)


def test_units_group_a_block():
    numbers = units(DEBUG)
    assert numbers[0] == 0
    assert len(set(numbers.tolist())) == 1 + 2 + 4
    kernel, expand = DEBUG.column["kernel", 1, 0], DEBUG.column["expand", 1, 0]
    assert numbers[kernel] == numbers[expand]
