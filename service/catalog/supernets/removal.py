"""Remove a supernet from this installation."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from models.bundle import BundleRegistry
from models.errors import Conflict, NotFound
from models.training import read_training, remove_training
from service.contracts import SupernetRemoved

if TYPE_CHECKING:
    from service.storage import SearchStore


def remove_supernet(
    home: Path, name: str, searches: SearchStore, *, training: bool = False
) -> SupernetRemoved:
    """Remove a user's supernet: weights, predictor and images. Finished searches and their models
    stay, since they need nothing of it.

    Args:
        training: remove the checkpoint of its training, too, with which it could be made again;
            that may also be all that there is.

    Raises:
        NotFound: with the nearest known name.
        Conflict: it comes with the program, or it is trained or searched now.
    """
    registry, state = BundleRegistry(home), None
    with suppress(NotFound):
        state = read_training(home, name).state
    if state == "running":
        raise Conflict(f"supernet {name!r} is trained now: wait for it, or stop it with Ctrl-C")
    if waiting := searches.unfinished(name):
        raise Conflict(
            f"supernet {name!r} is searched now: wait for its {waiting} searches, or cancel them"
        )
    files, freed_bytes = {}, 0
    if not (training and state and name not in registry.names()):
        folder = registry.folder / name
        freed_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        files = dict(registry.remove(name).card["files"])
    if training and remove_training(home, name):
        state = None
    return SupernetRemoved(
        name=name,
        files=files,
        freed_bytes=freed_bytes,
        training_kept=state is not None,
        still_known=name in registry.names(),
    )
