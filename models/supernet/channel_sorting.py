"""Channel sorting between phases of progressive shrinking (OFA, section 3.4).

A smaller expansion takes the first channels of a block, so the important ones must come first.
"""

from __future__ import annotations

from models.spaces import layer_plan, make_divisible
from models.supernet.supernet import Supernet


def sort_channels(supernet: Supernet, fixed_expands: tuple[int, ...] = ()) -> None:
    """Reorder the middle channels of every elastic block by importance, in place.

    The largest network computes the same function before and after.

    Args:
        fixed_expands: expansions that smaller networks were already trained with. Channels are
            then sorted only inside the bands between them, so those networks keep theirs.
    """
    for spec in layer_plan(supernet.space, supernet.space.largest):
        widths = [make_divisible(round(spec.in_channels * expand)) for expand in fixed_expands]
        supernet.layer(spec.name).sort_channels(spec, widths)
