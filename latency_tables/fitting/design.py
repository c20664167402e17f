"""Which networks to time, so that a table fitted to them predicts all others best.

Shapes: C candidates, N networks, F features.
"""

from __future__ import annotations

import numpy as np

from models.spaces import Arch, SearchSpace


def design_networks(space: SearchSpace, count: int, seed: int = 0) -> list[Arch]:
    """Up to `count` different networks of a space; equal for equal arguments."""
    return list(dict.fromkeys(space.decode(space.sample(count, np.random.default_rng(seed)))))
