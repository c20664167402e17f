"""Compare subnets with the same networks trained from scratch: what sharing weights costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bundle import (
    Bundle,
    add_to_bundle,
    keeps_bundle,
)
from models.errors import InputError

if TYPE_CHECKING:
    from models.training import Recipe

OnShare = Callable[[float, str], None]


@keeps_bundle
def measure_sharing_gap(
    bundle: Bundle, home: Path, *, threads: int = 1, on_step: OnShare = lambda share, word: None
) -> list[dict[str, Any]]:
    """Train five networks alone and compare them with the supernet's; the card keeps the table.

    Resumable network by network.

    Raises:
        NotFound: if the data set is not on this machine.
        InputError: if the supernet was not trained here, or started from another one's weights.
    """
    given = {**bundle.recipe, "space": bundle.card["space"]}
    if (base := given.get("base")) is not None:
        raise InputError(
            f"supernet {bundle.name!r} started from the weights of {base!r}, which networks "
            f"trained alone do not have: compare with `subnet-search supernets adapt {base} --name "
            f"{bundle.name} --resume --compare-scratch MINUTES`"
        )
    import torch

    from models.training import (
        AFTER_FIRST,
        compare,
        parse_recipe,
        reference_archs,
        training_folder,
    )

    torch.set_num_threads(threads)
    recipe = parse_recipe(given)
    archs = reference_archs(recipe.space)
    kept = training_folder(recipe, home) / AFTER_FIRST

    def report(index: int, step: int, steps: int) -> None:
        share = (index + step / steps) / len(archs)
        on_step(share, f"network {index + 1}/{len(archs)} step {step}/{steps}")

    rows = compare(
        bundle,
        recipe,
        home / "alone" / f"{bundle.name}-{_alone_key(recipe)}",
        archs,
        threads=threads,
        full_weights=kept if kept.exists() else None,
        images=home / "images",
        on_step=report,
    )
    mean_gap = round(sum(row["gap"] for row in rows) / len(rows), 3)
    sharing = {
        "networks": rows,
        "mean_gap": mean_gap,
        "provenance": "measured",
        "alone": f"{recipe.phases[0].epochs} epochs, the recipe's first phase",
    }
    add_to_bundle(bundle, {"metrics": {**bundle.card["metrics"], "sharing": sharing}}, {})
    return rows


def _alone_key(recipe: Recipe) -> str:
    """Of all that a training alone depends on: the recipe up to its first phase."""
    content = {**recipe.to_json(), "phases": recipe.to_json()["phases"][:1]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
