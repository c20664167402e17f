"""The dumb twins: every network of a small space, and definitions written as loops."""

from __future__ import annotations

import itertools

import numpy as np

from models.spaces.arch import Arch
from models.spaces.genes import GeneMatrix
from models.spaces.mobile import MobileSpace
from models.spaces.space import SearchSpace


def all_archs(space: MobileSpace) -> list[Arch]:
    """Every architecture, built stage by stage from the choices themselves."""
    pairs = list(itertools.product(space.kernels, space.expands))
    stages = [
        [blocks for depth in stage.depths for blocks in itertools.product(pairs, repeat=depth)]
        for stage in space.stages
    ]
    return [
        Arch(
            resolution,
            tuple(len(blocks) for blocks in chosen),
            tuple(tuple(k for k, _ in blocks) for blocks in chosen),
            tuple(tuple(e for _, e in blocks) for blocks in chosen),
        )
        for resolution in space.resolutions
        for chosen in itertools.product(*stages)
    ]


def all_genes(space: SearchSpace) -> GeneMatrix:
    """Every row of genes, inactive ones too, made canonical; each network once."""
    rows = np.array(list(itertools.product(*[range(n) for n in space.n_choices])), np.uint8)
    return np.unique(space.canonical(rows), axis=0)


def front_by_definition(cost, value) -> set[tuple[float, float]]:
    """Points that no other point beats: as cheap and as good, and better in one."""
    points = set(zip(cost.tolist(), value.tolist(), strict=True))
    return {
        (c, v)
        for c, v in points
        if not any(c2 <= c and v2 >= v and (c2, v2) != (c, v) for c2, v2 in points)
    }
