"""A recipe as a TOML file whose lines say what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from models.training.recipe import Phase, Recipe

WIDTH = 44
"""Column from which the comments of short lines start."""
RECIPE = {
    "name": "of the supernet",
    "base": "trained supernet whose weights it starts from, but for the classifier",
    "dataset": "folder of the images",
    "seed": "of all random choices: the same seed gives the same weights",
    "holdout": "training images kept apart, on which subnets are measured",
    "holdout_by_class": "the same share of each class",
    "batch_size": "images a step",
    "weight_decay": "of filters, a step",
    "momentum": "of the optimizer (Nesterov)",
    "label_smoothing": "share of a label that is spread over all classes",
    "shift": "largest random translation, pixels",
    "mean": "of each channel, scale 0 to 1, measured on the training images",
    "std": "standard deviation of the same",
    "country": "whose electricity is used, three letters; only for CO2e",
}
OF_BASE = {"mean": "of each channel, scale 0 to 1, as the base was trained with"}
AUGMENTATION = {
    "flip": "mirror half of the images; false for text, digits, traffic signs",
    "crop_area": "least share of an image that a random crop keeps; 1: no crops",
    "policy": "none, or trivial (TrivialAugment), for long trainings",
    "mixup": "mix two images; alpha, 0: not used",
    "cutmix": "put a part of one image into another; alpha, 0: not used",
}
SPACE = {
    "family": "kind of space: docs/spaces.md",
    "name": "of the space",
    "channels": "of the images: 1 grey, 3 colour",
    "classes": "as many as class folders",
    "resolutions": "input sizes, pixels; images are kept at the largest",
    "bn_eps": "of batch norms",
    "kernels": "of depthwise filters",
    "expands": "times as many channels inside a block",
    "stem_width": "channels of the first convolution",
    "stem_stride": "of the first convolution",
    "first_width": "channels of the first block",
    "first_act": "activation of the first block",
    "stages": "a network has one of `depths` blocks in each",
    "head_width": "channels before the mean over the image",
    "feature_width": "features that the classifier reads",
    "act": "activation of the head",
}
PHASE = {
    "name": "of the phase",
    "epochs": "passes over the images",
    "most_steps": "where it ends within the last of them",
    "learning_rate": "at its peak; it decays to zero",
    "body_rate": "share of it for all layers but the classifier; 0: they stay as they are",
    "warmup_epochs": "until the peak",
    "weight_decay": "instead of the recipe's",
    "subnets_per_step": "drawn at random",
    "always": "trained in every step as well",
    "resolutions": "to draw from",
    "kernels": "to draw from",
    "expands": "to draw from",
    "depths": "to draw from",
    "sort_channels": "put important channels first before the phase",
    "distill": "weight of the teacher's answers against 1 of the label",
    "teacher": "whose answers the others learn",
}


def recipe_text(recipe: Recipe, head: str = "") -> str:
    """The file that `load_recipe` reads as this recipe.

    Args:
        head: said at its top.
    """
    plain = recipe.to_json()
    lines = [*(f"# {line}".rstrip() for line in head.splitlines())]
    comments = RECIPE if recipe.base is None else RECIPE | OF_BASE
    lines += _lines({name: plain[name] for name in RECIPE if name in plain}, comments)
    lines += ["", _table("[augmentation]", "how training images are changed at random")]
    lines += _lines(asdict(recipe.augmentation), AUGMENTATION)
    lines += ["", _table("[space]", "the networks that there will be: docs/spaces.md")]
    lines += _lines(recipe.space.to_json(), SPACE)
    for number, phase in enumerate(recipe.phases, 1):
        opens = "trains the largest network alone" if number == 1 else "trains subnets too"
        if recipe.base is not None:
            opens = "trains " + ("all layers" if phase.body_rate else "the classifier alone")
        lines += ["", _table("[[phases]]", f"phase {number} of {len(recipe.phases)}: {opens}")]
        lines += _lines(_chosen(phase), PHASE)
    return "\n".join(lines) + "\n"


def _table(name: str, comment: str) -> str:
    return f"{name:<{WIDTH}}  # {comment}"


def _chosen(phase: Phase) -> dict[str, Any]:
    """The fields that are not as they are by default."""
    values = {field.name: (getattr(phase, field.name), field.default) for field in fields(phase)}
    return {
        name: value
        for name, (value, default) in values.items()
        if default is MISSING or value != default
    }


def _lines(values: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        said = f"  # {comments[name]}" if name in comments else ""
        if name == "stages":
            yield f"{'stages = [':<{WIDTH}}{said}"
            for number, stage in enumerate(value, 1):
                yield f"    {_toml(stage)},  # stage {number}"
            yield "]"
        else:
            yield f"{f'{name} = {_toml(value)}':<{WIDTH if said else 0}}{said}"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return repr(value)
