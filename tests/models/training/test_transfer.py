"""A training that starts from another supernet's weights, under a classifier of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models.training.trainer
from models.bundle.bundle import Bundle, add_to_bundle
from models.data.images import LabelledImages, hold_out
from models.data.inspection import scan_folder
from models.errors import InputError
from models.spaces.files import published_spaces
from models.supernet.supernet import Supernet, initialize
from models.training.optim import head_prefix
from models.training.recipe import MOST_EPOCHS, Recipe, parse_recipe
from models.training.trainer import Trainer
from models.training.transfer.adaptation import (
    BODY_RATE,
    _resolutions,
    plan_adaptation,
    scratch_recipe,
)
from models.training.transfer.base_weights import check_base, take_over
from service.catalog.supernets.importing import import_supernet
from tests.golden.fill import checkpoint
from tests.service.conftest import make_bundle
from tests.spaces import DEBUG, RESNET

pytestmark = pytest.mark.usefixtures("as_the_command_trains")

CLASSES, TRAIN, TEST = ("cat", "dog", "owl"), 16, 4


def write_classes(
    folder: Path, *, classes=CLASSES, train: int = TRAIN, size: int = 12, colour: bool = False
) -> Path:
    rng = np.random.default_rng(0)
    for side, count in (("train", train), ("test", TEST)):
        for label, name in enumerate(classes):
            place = folder / side / name
            place.mkdir(parents=True)
            for number in range(count):
                shape = (size, size, 3) if colour else (size, size)
                pixels = rng.integers(60 * label, 60 * label + 90, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def step_s(recipe: Recipe, phase) -> float:
    """Made up: a second with all layers, a quarter with the classifier alone."""
    return 1.0 if phase.body_rate else 0.25


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("home") / "supernets" / "base")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def recipe(photos, base) -> Recipe:
    plan = plan_adaptation(scan_folder(photos), base, name="pets", minutes=0.2, timer=step_s)
    return plan.recipe


def body_of(supernet: Supernet) -> dict[str, torch.Tensor]:
    head = head_prefix(supernet.space)
    weights = supernet.named_parameters()
    return {name: w.detach().clone() for name, w in weights if not name.startswith(head)}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_phases_take_the_minutes(recipe, photos, base):
    head, everything = recipe.phases
    assert (head.most_steps, everything.most_steps) == (round(0.15 * 12 / 0.25), round(0.85 * 12))
    per_epoch = (3 * TRAIN - recipe.holdout) // recipe.batch_size
    assert head.steps(per_epoch) == head.most_steps
    assert everything.steps(per_epoch) == everything.most_steps
    assert (head.body_rate, everything.body_rate) == (0, BODY_RATE)
    assert (recipe.mean, recipe.std, recipe.base) == (base.mean, base.std, "base")
    assert parse_recipe(recipe.to_json() | {"space": recipe.space.to_json()}) == recipe
    alone = plan_adaptation(
        scan_folder(photos), base, name="pets", minutes=0.2, head_only=True, timer=step_s
    )
    assert [(phase.name, phase.most_steps) for phase in alone.recipe.phases] == [("head", 48)]
    endless = plan_adaptation(
        scan_folder(photos), base, name="pets", minutes=6000, timer=lambda *_: 1e-3
    ).recipe
    assert parse_recipe(endless.to_json() | {"space": endless.space.to_json()}) == endless
    assert endless.phases[1].epochs == MOST_EPOCHS
    scratch = scratch_recipe(recipe, 33, 1.0, step_s).recipe
    assert scratch.base is None
    assert [phase.most_steps for phase in scratch.phases] == [21, 39]


def test_all_weights_but_the_classifiers_are_the_bases(recipe, base, tmp_path):
    trainer = Trainer(recipe, tmp_path, resume=False, base=base)
    assert same(body_of(trainer.supernet), body_of(base.load_supernet()))
    buffers, known = (
        dict(trainer.supernet.named_buffers()),
        dict(base.load_supernet().named_buffers()),
    )
    assert same(buffers, {name: known[name] for name in buffers})
    logits = trainer.supernet.eval()(torch.zeros(2, 1, 12, 12), recipe.space.largest)
    assert logits.shape == (2, len(CLASSES))
    assert trainer.base["name"] == "base"
    assert trainer.base["weights_sha256"] == base.sha256


def test_classes_that_the_base_has_keep_their_logits(base, tmp_path):
    """All of them in another order: the logits are the base's, in that order."""
    names = [f"class {number}" for number in range(DEBUG.classes)]
    named = add_to_bundle(
        make_bundle(tmp_path / "named"), {"data": {"classes": names, "name": "made up"}}, {}
    )
    supernet = Supernet(replace(DEBUG, name="other"))
    initialize(supernet, 5)
    said = take_over(supernet, named, names[::-1])
    assert said["classes_taken_over"] == names[::-1]
    x_BCHW = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = supernet.eval()(x_BCHW, DEBUG.largest)
        theirs = named.load_supernet()(x_BCHW, DEBUG.largest)
    assert torch.equal(ours, theirs.flip(1))
    fewer = Supernet(replace(DEBUG, classes=2))
    initialize(fewer, 5)
    assert take_over(fewer, named, ["new", "class 3"])["classes_taken_over"] == ["class 3"]
    with torch.no_grad():
        assert torch.allclose(fewer.eval()(x_BCHW, DEBUG.largest)[:, 1], theirs[:, 3])


def test_the_classifier_alone_leaves_the_others_to_the_bit(recipe, base, tmp_path):
    trainer = Trainer(replace(recipe, phases=recipe.phases[:1]), tmp_path, resume=False, base=base)
    before = trainer.supernet.state_dict()[head_prefix(recipe.space) + "weight"].clone()
    trainer.run()
    assert same(body_of(trainer.supernet), body_of(base.load_supernet()))
    assert not torch.equal(
        trainer.supernet.state_dict()[head_prefix(recipe.space) + "weight"], before
    )


@pytest.mark.slow
def test_all_layers_may_learn_at_a_lower_rate_than_the_classifier(recipe, base, tmp_path):
    slower = replace(recipe.phases[1], body_rate=0.25)
    trainer = Trainer(replace(recipe, phases=(slower,)), tmp_path, resume=False, base=base)
    trainer.run()
    rates = {group["rate_share"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert rates.keys() == {1.0, 0.25}
    assert rates[0.25] == 0.25 * rates[1.0]
    head = head_prefix(recipe.space)
    (of_head,) = (
        g for g in trainer.optimizer.param_groups if g["rate_share"] == 1 and g["weight_decay"]
    )
    assert [w.shape for w in of_head["params"]] == [
        trainer.supernet.state_dict()[f"{head}weight"].shape
    ]
    moved = body_of(trainer.supernet)
    assert any(
        not torch.equal(moved[name], was) for name, was in body_of(base.load_supernet()).items()
    )


@pytest.mark.slow
def test_resumed_equals_uninterrupted_and_needs_no_base(recipe, base, tmp_path, monkeypatch):
    monkeypatch.setattr(models.training.trainer, "CHECKPOINT_STEPS", 2)
    whole = Trainer(recipe, tmp_path / "whole", resume=False, base=base)
    whole.run()

    class Killed(Exception):
        pass

    for kill_at in (3, 7, 9, 14):

        def kill(progress, at=kill_at):
            if progress.step == at:
                raise Killed

        folder = tmp_path / "cut"
        given = None if (folder / "checkpoint.safetensors").exists() else base
        with pytest.raises(Killed):
            Trainer(recipe, folder, resume=True, base=given).run(kill)
    cut = Trainer(recipe, tmp_path / "cut", resume=True)
    cut.run()
    assert same(dict(whole.supernet.state_dict()), dict(cut.supernet.state_dict()))
    assert cut.base == whole.base


def test_without_the_bases_weights_nothing_starts(recipe, tmp_path):
    with pytest.raises(InputError, match=r"recipe\.base: the weights of 'base' were not given"):
        Trainer(recipe, tmp_path, resume=False)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"head_width": 40}, "head_width"), ({"resolutions": (8, 16)}, "resolutions")],
)
def test_a_base_of_another_space(base, change, named):
    with pytest.raises(InputError, match=rf"the base 'base', .*; .*{named}.* differ"):
        check_base(base, replace(DEBUG, **change))
    check_base(base, replace(DEBUG, classes=3, resolutions=(12,)))


def test_images_that_do_not_fit(base, tmp_path):
    def plan(folder: Path, of: Bundle = base):
        return plan_adaptation(scan_folder(folder), of, name="n", minutes=1, timer=step_s)

    with pytest.raises(InputError, match="100% are in colour, and the base has one channel"):
        plan(write_classes(tmp_path / "colour", colour=True))
    with pytest.raises(InputError, match="expected at least 10 a class for training, got 6 of"):
        plan(write_classes(tmp_path / "few", train=6))
    grey = write_classes(tmp_path / "grey", size=10)
    large = Bundle(base.path, base.card, replace(DEBUG, resolutions=(96,)))
    with pytest.raises(InputError, match="at least 12 pixels a side .* input is 96, got 10"):
        plan(grey, large)
    three = {"preprocess": {"mean": [0.5] * 3, "std": [0.2] * 3}}
    colour_base = Bundle(base.path, {**base.card, **three}, replace(DEBUG, channels=3))
    warnings = plan(grey, colour_base).warnings
    assert "they are grey, and the base has three channels" in warnings[0]
    with pytest.raises(InputError, match="no weights here: add them with"):
        plan(grey, Bundle(tmp_path, {**base.card, "files": {}}, DEBUG))
    with pytest.raises(InputError, match="family 'resnet' cannot be trained in phases"):
        plan(grey, Bundle(base.path, base.card, RESNET))


def test_no_class_is_held_out_as_a_whole(base, tmp_path):
    """A hundred classes of ten images, of which half are held out: drawn from all of them, some
    class would lose every image."""
    data = LabelledImages(np.zeros((1000, 1, 1), np.uint8), np.arange(1000) % 100)
    _, held = hold_out(data, 500, 1, by_class=True)
    assert (np.bincount(held.labels) == 5).all()
    recipe = plan_adaptation(
        scan_folder(write_classes(tmp_path)), base, name="n", minutes=1, timer=step_s
    ).recipe
    assert recipe.holdout_by_class
    most = replace(recipe, holdout_by_class=False, holdout=3 * TRAIN - 2, batch_size=2)
    with pytest.raises(InputError, match=r"all .* of .*: add `holdout_by_class = true`"):
        Trainer(most, tmp_path / "training", resume=False, base=base)


def test_a_few_input_sizes_are_kept(base):
    def kept(space, most=None, known=None):
        card = {**base.card, **({"predictor": {"resolutions": known}} if known else {})}
        return _resolutions(Bundle(base.path, card, space), most)

    published = published_spaces()["ofa-mbv3-w1.0"]
    assert kept(published) == [128, 160, 192, 228, 260]
    assert kept(published, known=[160, 176, 192, 208, 224]) == [160, 176, 192, 208, 224]
    assert kept(published, 180, [160, 176, 192, 208, 224]) == [160, 176]
    assert kept(published, 140, [160, 176]) == [128, 132, 136, 140]
    assert kept(DEBUG) == [8, 12]
    with pytest.raises(InputError, match="at least the base's smallest, 8 pixels, got 4"):
        kept(DEBUG, 4)


@pytest.mark.slow
@pytest.mark.golden
def test_published_weights_are_adapted(tmp_path):
    """A published space at its smallest size, its weights filled by name, for a few steps."""
    name = "ofa-mbv3-w1.0"
    torch.save({"state_dict": checkpoint(name)}, tmp_path / "checkpoint")
    published = import_supernet(tmp_path, name, tmp_path / "checkpoint")
    photos = write_classes(tmp_path / "photos", train=10, colour=True, size=32)
    plan = plan_adaptation(scan_folder(photos), published, name="pets", minutes=1, timer=step_s)
    space = replace(plan.recipe.space, resolutions=(128,))
    phases = [
        replace(
            phase,
            epochs=1,
            most_steps=1,
            warmup_epochs=0.0,
            resolutions=(128,),
            always=("largest",),
        )
        for phase in plan.recipe.phases
    ]
    head, everything = phases
    short = replace(plan.recipe, space=space, phases=(head, everything), batch_size=2)
    trainer = Trainer(short, tmp_path / "training", resume=False, base=published)
    own, theirs = body_of(trainer.supernet), body_of(published.load_supernet())
    assert same(own, theirs)
    trainer.run()
    assert not same(body_of(trainer.supernet), theirs)
    assert trainer.base["source"] == published.card["source"]
