"""Recipes for a user's images: they fit the images and the time, and can be read back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.inspection import FolderReport, Sizes
from models.errors import InputError
from models.spaces.space import SearchSpace
from models.training.planning.candidates import CHOICES, candidates, space_for
from models.training.planning.plan import RecipePlan, plan_recipe
from models.training.planning.recipe_file import recipe_text
from models.training.planning.step_timing import time_step
from models.training.recipe import Phase, Recipe, load_recipe, parse_recipe
from models.training.time_left import macs, mean_work

MACS_PER_S = 20e9
CLASSES = ("ant", "bat", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")


def report(
    *,
    train: int = 4500,
    test: int = 1000,
    classes: tuple[str, ...] = CLASSES,
    side: int = 32,
    coloured: float = 1.0,
    folder: Path = Path("/photos"),
) -> FolderReport:
    """Of a folder without defects."""
    shares = [len(range(n, train, len(classes))) for n in range(len(classes))]
    tests = [len(range(n, test, len(classes))) for n in range(len(classes))]
    return FolderReport(
        folder=folder,
        classes=classes,
        train_counts=tuple(shares),
        test_counts=tuple(tests),
        is_split_here=False,
        looked_at=train + test,
        width=Sizes(side, side, side),
        height=Sizes(side, 2 * side, 3 * side),
        coloured_share=coloured,
        kinds={},
        damaged=(),
        duplicates=0,
        duplicates_over_split=0,
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.0),
        grey_mean=0.4,
        grey_std=0.2,
        problems=(),
        warnings=(),
    )


def step_s(recipe: Recipe, phase: Phase) -> float:
    """A machine whose steps take time for their work alone."""
    work = mean_work(phase, recipe.space, recipe.seed)
    return 1e-3 + 3 * recipe.batch_size * macs(recipe.space, recipe.space.largest) * work / (
        MACS_PER_S
    )


def plan(found: FolderReport, timer=step_s, **asked) -> RecipePlan:
    return plan_recipe(found, name="photos", timer=timer, **asked)


def most_macs(space: SearchSpace) -> int:
    return macs(space, space.largest)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    minutes=st.floats(0.1, 5000),
    train=st.integers(4, 300_000),
    test=st.integers(0, 50_000),
    classes=st.integers(2, 1000),
    side=st.integers(8, 6000),
    coloured=st.sampled_from([0.0, 1.0]),
)
def test_a_plan_fits_the_time_and_the_images(minutes, train, test, classes, side, coloured):
    names = tuple(map(str, range(classes)))
    found = report(train=train, test=test, classes=names, side=side, coloured=coloured)
    asked = {"minutes": minutes, "decoding_s": train / 5000}
    try:
        made = plan(found, **asked)
    except InputError:
        with pytest.raises(InputError, match="--minutes: expected at least"):
            plan(found, **asked)
        return
    recipe, space = made.recipe, made.recipe.space
    assert made.seconds.all <= 60 * minutes * 1.001
    assert parse_recipe(tomllib.loads(recipe_text(recipe))) == recipe
    assert (space.channels, space.classes) == (3 if coloured else 1, classes)
    assert 8 <= space.resolutions[-1] <= side
    assert recipe.batch_size <= train - recipe.holdout
    assert 1 <= recipe.holdout <= max(train // 4, 0.1 * train)
    assert [phase.name for phase in recipe.phases] == ["full", "elastic"]


def test_more_time_makes_larger_networks_and_no_time_is_refused_with_the_least():
    found = report()
    with pytest.raises(InputError, match=r"--minutes: expected at least .* got 0.2: ") as refused:
        plan(found, minutes=0.2)
    least = float(str(refused.value).split("at least ")[1].split(",")[0])
    made = [plan(found, minutes=minutes) for minutes in (least, 9, 60, 600)]
    assert [phase.epochs for phase in made[0].recipe.phases] == [1, 1]
    assert any("give more minutes" in text for text in made[0].warnings)
    assert not made[1].warnings
    sizes = [most_macs(each.recipe.space) for each in made]
    assert sizes == sorted(set(sizes))


@pytest.mark.slow
def test_few_spaces_are_timed_and_the_largest_that_is_trained_long_enough_is_taken():
    tried: list[SearchSpace] = []
    made = plan(report(), minutes=30, on_trying=tried.append)
    assert len(tried) <= 5
    # The dumb twin times all of them.
    enough = [
        space
        for space in candidates(report(), "photos")
        if plan(report(), most_macs=most_macs(space)).seconds.all <= 30 * 60
    ]
    assert most_macs(made.recipe.space) >= 0.6 * most_macs(enough[0])


def test_multiply_accumulates_bound_the_largest_network():
    found = report()
    for limit in (10e6, 30e6):
        assert 0.5 * limit < most_macs(plan(found, most_macs=limit).recipe.space) <= limit
    assert most_macs(plan(found, minutes=600, most_macs=10e6).recipe.space) <= 10e6
    with pytest.raises(InputError, match="--macs: expected at least") as refused:
        plan(found, most_macs=1000)
    least = float(str(refused.value).split("at least ")[1].split(",")[0])
    assert most_macs(plan(found, most_macs=least).recipe.space) == least


def test_images_decide_size_channels_augmentation_and_batch():
    recipe = plan(report(side=224), minutes=600).recipe
    assert recipe.augmentation.crop_area < 1
    assert recipe.shift == 0
    assert recipe.augmentation.flip
    recipe = plan(report(side=8, coloured=0.0, classes=("a", "B", "7")), minutes=60).recipe
    assert recipe.space.resolutions == (4, 8)
    assert recipe.space.channels == len(recipe.mean) == len(recipe.std) == 1
    assert not recipe.augmentation.flip
    recipe = plan(report(), minutes=60).recipe
    assert recipe.std[2] == 1e-3  # a channel without variation is not divided by nothing
    assert recipe.batch_size == 32
    assert plan(report(train=50_000), minutes=60).recipe.batch_size == 128
    with pytest.raises(InputError, match="expected at least 8 pixels a side, got 7"):
        plan(report(side=7))


def test_few_images_are_trained_on_with_a_warning():
    made = plan(report(train=24, test=6, classes=("cat", "dog")))
    assert made.recipe.holdout == 6
    assert made.recipe.batch_size == 8
    assert any("24 images for training are few" in text for text in made.warnings)
    with pytest.raises(InputError, match="expected at least 4 for training, got 3"):
        plan(report(train=3, test=0, classes=("cat", "dog")))


def test_every_line_of_a_recipe_has_a_comment_and_the_file_is_read_back(tmp_path):
    folder = tmp_path / 'a "b" \\ ü'
    made = plan(report(folder=folder), minutes=9).recipe
    path = tmp_path / "photos.toml"
    path.write_text(recipe_text(made, "for 'ü' and \"b\"\nand more"), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# for 'ü' and \"b\"", "# and more"]
    assert not [line for line in lines if line not in ("", "]") and "# " not in line]
    assert load_recipe(path) == made


@pytest.mark.parametrize("size", [8, 28, 224])
def test_spaces_halve_images_to_a_few_pixels(size):
    for form, width in CHOICES:
        space = space_for(form, "photos", channels=3, classes=10, size=size, width=width)
        assert space.resolutions[-1] == size
        assert space.resolutions[0] >= size / 2
        strides = space.stem_stride
        for stage in space.stages:
            strides *= stage.stride
        assert 3 <= size / strides <= 14


@pytest.mark.slow
def test_steps_of_both_phases_are_timed():
    found = plan(report(side=8, train=24), most_macs=4e6).recipe
    assert all(0 < time_step(found, phase) < 60 for phase in found.phases)
