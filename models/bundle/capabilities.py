"""What a bundle can be used for, by the files that its card lists, and what adds the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.bundle.card import CALIBRATION, MEASURED, PREDICTOR, WEIGHTS
from models.published import PublishedSupernet, published_supernets

Capability = Literal["search", "deliver", "verify"]
NEEDS: Mapping[Capability, frozenset[str]] = {
    "search": frozenset({PREDICTOR}),
    "deliver": frozenset({WEIGHTS, CALIBRATION}),
    "verify": frozenset({WEIGHTS}),
}
"""Files by what they allow: to search for networks, to build and check the model of one, and to
compare a finished model with the network that it was made from."""
_NONE = PublishedSupernet("", None, None)


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command that makes a supernet good for more."""

    adds: tuple[Capability, ...]
    command: str
    needs: str
    """What the user has to have for it; empty for nothing but a network."""


def capabilities(files: Collection[str]) -> dict[Capability, bool]:
    """Whether a bundle of these files can do each thing."""
    return {name: needed <= set(files) for name, needed in NEEDS.items()}


def next_steps(
    name: str, card: Mapping[str, Any], wanted: Collection[Capability] = tuple(NEEDS)
) -> list[NextStep]:
    """The fewest commands after which the supernet can do all that is wanted, in their order."""
    files, steps = set(card["files"]), list[NextStep]()
    needed = frozenset[str]().union(*(NEEDS[capability] for capability in wanted))
    published = published_supernets().get(name, _NONE)

    def add(parts: set[str], command: str, needs: str = "") -> None:
        """A step that brings `parts`, and calibration images too where only they would lack."""
        if CALIBRATION in needed - files - parts and WEIGHTS in files | parts:
            parts, command = parts | {CALIBRATION}, f"{command} --calibration FOLDER"
            needs = "; ".join(filter(None, (needs, _IMAGES_OR_NOT)))
        before = capabilities(files)
        files.update(parts)
        adds = tuple(c for c, can in capabilities(files).items() if can and not before[c])
        steps.append(NextStep(adds, f"subnet-search supernets {command}", needs))

    offered = {WEIGHTS: published.weights, PREDICTOR: published.predictor}
    downloads = {file for file, where in offered.items() if where and file not in files}
    if downloads & needed:
        add(downloads, f"download {name}")
    if WEIGHTS in needed - files:
        where = published.weights_elsewhere or "a file of its weights"
        add({WEIGHTS}, f"import {name} CHECKPOINT", f"CHECKPOINT: {where}")
    if CALIBRATION in needed - files:
        add({CALIBRATION}, f"import {name} none --calibration FOLDER", _IMAGES)
    if PREDICTOR in needed - files:
        add({PREDICTOR}, *_fit_predictor(name, card))
    return steps


_IMAGES = "FOLDER: training images, one folder a class, which cannot be downloaded"
_IMAGES_OR_NOT = f"{_IMAGES}; without them, leave out --calibration: it then delivers no model"


def _fit_predictor(name: str, card: Mapping[str, Any]) -> tuple[str, str]:
    """The command that fits an accuracy predictor, and what it needs."""
    if "recipe" not in card:
        needs = "FILE: accuracies of its subnets, measured where held-out images are"
        return f"fit-predictor {name} --measurements FILE", needs
    if MEASURED in card["files"]:
        return f"fit-predictor {name}", ""
    return f"collect {name} && subnet-search supernets fit-predictor {name}", ""
