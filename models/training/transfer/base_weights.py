"""The weights of one supernet for another one that differs in its classes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from models.bundle import Bundle
from models.errors import InputError
from models.spaces import SearchSpace
from models.supernet import Supernet
from models.training.optim import head_prefix


def check_base(base: Bundle, space: SearchSpace) -> None:
    """Check that a supernet of `space` can start from the weights of `base`.

    Raises:
        InputError: there are none, or the spaces differ in more than name, classes, and
            resolutions that are left out.
    """
    base.check_weights()
    wanted = replace(
        base.space, name=space.name, classes=space.classes, resolutions=space.resolutions
    )
    if wanted != space or not set(space.resolutions) <= set(base.space.resolutions):
        ours, theirs = space.to_json(), base.space.to_json()
        differ = [key for key in ours if ours[key] != theirs.get(key)]
        named = ", ".join(key for key in differ if key not in {"name", "classes"})
        raise InputError(
            f"recipe.space: expected the space of the base {base.name!r}, but for its name and "
            f"classes, and resolutions left out; {named} differ"
        )


def take_over(supernet: Supernet, base: Bundle, classes: Sequence[str]) -> dict[str, Any]:
    """Give `supernet` the weights of `base`; its classifier keeps its own for classes that `base`
    does not have by the same name.

    Returns:
        What a card says of the base.

    Raises:
        InputError: as `check_base`.
    """
    check_base(base, supernet.space)
    head = head_prefix(supernet.space)
    weights = base.load_supernet().state_dict()
    own = supernet.state_dict()
    known = {name: row for row, name in enumerate(base.class_names or ())}
    rows = [(row, known[name]) for row, name in enumerate(classes) if name in known]
    with torch.no_grad():
        for name, tensor in own.items():
            if not name.startswith(head):
                tensor.copy_(weights[name])
            elif rows:
                to, of = (list(part) for part in zip(*rows, strict=True))
                tensor[to] = weights[name][of]
    data = base.card.get("data", {})
    return {
        "name": base.name,
        "weights_sha256": base.sha256,
        "licence": base.card.get("licence"),
        "data": {key: data[key] for key in ("name", "source", "licence") if key in data},
        **({"source": base.card["source"]} if "source" in base.card else {}),
        "classes_taken_over": [classes[row] for row, _ in rows],
    }
