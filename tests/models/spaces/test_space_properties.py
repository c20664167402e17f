"""Properties of spaces and gene matrices, on spaces of any shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spaces.arch import Arch
from models.spaces.files import read_space
from models.spaces.space import SearchSpace
from tests.spaces import DEBUG


def ascending(values: list[int], at_most: int) -> st.SearchStrategy[tuple[int, ...]]:
    subsets = st.sets(st.sampled_from(values), min_size=1, max_size=at_most)
    return subsets.map(lambda chosen: tuple(sorted(chosen)))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    stages = draw(st.lists(ascending([1, 2, 3, 4], 3), min_size=1, max_size=3))
    return replace(
        DEBUG,
        resolutions=draw(ascending(list(range(8, 40)), 5)),
        kernels=draw(ascending([3, 5, 7], 3)),
        expands=draw(ascending([2, 3, 4, 6], 3)),
        stages=tuple(replace(DEBUG.stages[0], depths=depths) for depths in stages),
    )


@pytest.mark.slow
@given(spaces(), st.integers(0, 2**32 - 1))
def test_genes_and_architectures_are_two_forms_of_one_thing(space, seed):
    genes = space.sample(8, np.random.default_rng(seed))
    archs = space.decode(genes)
    assert (space.encode(archs) == genes).all()
    assert [Arch.from_json(arch.to_json()) for arch in archs] == archs


@pytest.mark.slow
@given(spaces(), st.integers(0, 2**32 - 1))
def test_canonical_keeps_the_network_and_is_idempotent(space, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, space.n_choices, (8, len(space.genes)), dtype=np.uint8)
    canonical = space.canonical(raw)
    assert space.decode(raw) == space.decode(canonical)
    assert (space.canonical(canonical) == canonical).all()
    assert (space.active(raw) == space.active(canonical)).all()


@pytest.mark.slow
@given(spaces())
def test_space_json_round_trips(space):
    assert read_space(space.to_json()) == space
