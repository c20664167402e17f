"""Operations on batches equal Pillow's on single images, or a loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from models.data.augmentation import (
    LARGEST,
    MOVES,
    OPERATIONS,
    Augmentation,
    crops,
    mix,
    movements,
    recolour,
    resample,
    transform,
)
from models.data.images import LabelledImages
from models.errors import InvalidDocument
from models.training.optim import batch_at
from models.training.recipe import load_recipe, parse_recipe

RNG = np.random.default_rng(0)
SMOOTH = np.cumsum(RNG.normal(0, 12, (6, 16, 16, 3)), axis=1)
COLOUR = np.clip(128 + SMOOTH, 0, 255).astype(np.uint8)
FLAT = np.full((1, 16, 16, 3), 77, np.uint8)
BATCH = np.concatenate([COLOUR, FLAT, RNG.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)])
STRENGTHS = np.linspace(0, 1, len(BATCH))
SIGNED = np.linspace(-1, 1, len(BATCH))


def by_pillow(image: Image.Image, name: str, strength: float) -> Image.Image:
    factor = 1 + strength * LARGEST["blend"]
    match name:
        case "brightness":
            return ImageEnhance.Brightness(image).enhance(factor)
        case "contrast":
            return ImageEnhance.Contrast(image).enhance(factor)
        case "color":
            return ImageEnhance.Color(image).enhance(factor)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(factor)
        case "posterize":
            return ImageOps.posterize(image, 8 - round(strength * 6))
        case "solarize":
            # Pillow compares with any number.
            return ImageOps.solarize(image, 255 * (1 - strength))  # type: ignore[arg-type]
        case "autocontrast":
            return ImageOps.autocontrast(image)
    return ImageOps.equalize(image)


@pytest.mark.parametrize("name", OPERATIONS[6:])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_pillow_changes_them(name, channels):
    batch = BATCH[..., :channels]
    strengths = SIGNED if name in ("brightness", "contrast", "color", "sharpness") else STRENGTHS
    ours = recolour(batch, name, strengths)
    for image, strength, got in zip(batch, strengths, ours, strict=True):
        shown = Image.fromarray(image if channels == 3 else image[..., 0])
        expected = np.asarray(by_pillow(shown, name, strength)).reshape(image.shape)
        off = np.abs(got.astype(int) - expected)
        # Sums in another order, of the smoothing filter and of a blend, may round otherwise.
        assert off.max() <= (1 if name == "sharpness" else 0), name


def by_loop(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = len(image)
    moved = np.zeros(image.shape)
    for row in range(size):
        for column in range(size):
            place = np.array([2 * (column + 0.5) / size - 1, 2 * (row + 0.5) / size - 1, 1])
            x, y = (matrix @ place + 1) * size / 2 - 0.5
            for near_y in (int(np.floor(y)), int(np.floor(y)) + 1):
                for near_x in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= near_x < size and 0 <= near_y < size:
                        weight = (1 - abs(x - near_x)) * (1 - abs(y - near_y))
                        moved[row, column] += weight * image[near_y, near_x]
    return moved


def test_movements_equal_a_loop():
    chosen = np.array([OPERATIONS.index(name) for name in MOVES])
    matrices = movements(chosen, np.array([0.7, -0.5, 0.3, -0.9, 0.4]))
    moved = resample(COLOUR[: len(MOVES)], matrices)
    for image, matrix, got in zip(COLOUR, matrices, moved, strict=False):
        assert np.abs(by_loop(image, matrix) - got).max() <= 0.51


@pytest.mark.parametrize("turns", [-1, 1])
def test_a_quarter_turn_is_exact(turns):
    matrices = movements(np.array([OPERATIONS.index("rotate")]), np.array([turns * 90 / 135]))
    got = resample(COLOUR[:1], matrices)[0].astype(int)
    assert np.abs(got - np.rot90(COLOUR[0], -turns)).max() <= 1


def test_a_crop_of_the_whole_is_the_image_and_half_is_pillows():
    how = Augmentation(crop_area=0.999999)
    same = transform(COLOUR, how, np.random.default_rng(0))
    assert np.abs(same.astype(int) - COLOUR).max() <= 1
    halved = resample(COLOUR[:1], np.array([[[0.5, 0, -0.5], [0, 0.5, -0.5]]]))[0]
    corner = Image.fromarray(COLOUR[0]).crop((0, 0, 8, 8))
    enlarged = np.asarray(corner.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(halved.astype(int) - enlarged)[1:-1, 1:-1].max() <= 1


@given(st.floats(0.05, 1), st.integers(0, 99))
def test_crops_keep_their_area_and_stay_inside(least, seed):
    width, height, left, top = crops(50, least, np.random.default_rng(seed)).T
    assert ((left >= 0) & (top >= 0)).all()
    assert (np.maximum(left + width, top + height) <= 1 + 1e-9).all()
    assert (width * height >= least - 1e-9).all()
    assert (np.maximum(width / height, height / width) <= 4 / 3 + 1e-9).all()


@pytest.mark.parametrize("images", [BATCH, BATCH[..., 0]], ids=["colour", "grey"])
def test_a_policy_is_its_operations_one_by_one(images):
    """The same draws, image by image."""
    how = Augmentation(policy="trivial")
    got = transform(images, how, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    count = len(images)
    chosen = rng.integers(0, len(OPERATIONS), count)
    strengths = rng.integers(0, 31, count) / 30
    signs = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    for at, image in enumerate(images.reshape(count, 16, 16, -1)):
        name = OPERATIONS[chosen[at]]
        one, part = image[None], slice(at, at + 1)
        if name in MOVES:
            one = resample(one, movements(chosen[part], (strengths * signs)[part]))
        elif name != "identity":
            signed = signs[part] if name in OPERATIONS[6:10] else 1
            one = recolour(one, name, strengths[part] * signed)
        assert np.array_equal(got[at], one[0].reshape(images.shape[1:])), name


def test_mixup_and_cutmix_equal_a_loop():
    labels = np.arange(len(BATCH)) % 3
    for how in (Augmentation(mixup=0.4), Augmentation(cutmix=1.0)):
        images, shares = mix(BATCH, labels, 3, how, np.random.default_rng(1))
        assert shares.shape == (len(BATCH), 3)
        assert np.allclose(shares.sum(1), 1)
        for at in range(len(BATCH)):
            own, other = BATCH[at].astype(float), BATCH[at - 1].astype(float)
            if how.mixup:
                lam = np.random.default_rng(1).beta(0.4, 0.4)
                assert np.abs(lam * own + (1 - lam) * other - images[at]).max() <= 0.51
            else:
                taken = (images[at] == other).all(2) & ~(own == other).all(2)
                assert ((images[at] == own).all(2) | taken).all()
                same = labels[at] == labels[at - 1]
                differs = (own != other).any(2).mean()
                assert shares[at, labels[at]] == pytest.approx(
                    1 if same else 1 - taken.sum() / 256, abs=1 - differs + 1e-6
                )


def test_off_draws_nothing_and_changes_nothing():
    rng, untouched = np.random.default_rng(0), np.random.default_rng(0)
    assert transform(BATCH, Augmentation(), rng) is BATCH
    labels = np.zeros(len(BATCH), np.int64)
    images, kept = mix(BATCH, labels, 2, Augmentation(), rng)
    assert images is BATCH
    assert kept is labels
    assert rng.random() == untouched.random()


def test_a_batch_is_a_function_of_seed_phase_and_step():
    how = Augmentation(crop_area=0.3, policy="trivial", mixup=0.2, cutmix=1.0)
    debug = load_recipe("debug")
    phases = (debug.phases[0], debug.phases[-1])
    recipe = replace(debug, batch_size=4, phases=phases, augmentation=how)
    data = LabelledImages(BATCH[..., 0], np.arange(len(BATCH)))

    def batch(phase: int, step: int):
        rng = np.random.default_rng([recipe.seed, phase, step])
        return batch_at(recipe, data, phase, step, rng)

    assert np.array_equal(batch(1, 3).images, batch(1, 3).images)
    assert np.array_equal(batch(1, 3).labels, batch(1, 3).labels)
    others = [batch(1, 2), batch(2, 3)]
    assert not any(np.array_equal(batch(1, 3).images, other.images) for other in others)
    unflipped = replace(recipe, augmentation=Augmentation(flip=False))
    assert not batch_at(unflipped, data, 0, 0, np.random.default_rng(0)).flip.any()


def test_recipes_name_it_and_old_ones_are_as_they_were():
    debug = load_recipe("debug")
    plain = debug.to_json()
    assert "augmentation" not in plain
    how = {"policy": "trivial", "crop_area": 0.3, "mixup": 0.2}
    phases = [{**phase, "distill": 0.0} for phase in plain["phases"]]
    given = {**plain, "space": debug.space.to_json(), "phases": phases, "augmentation": how}
    recipe = parse_recipe(given)
    assert recipe.augmentation == Augmentation(policy="trivial", crop_area=0.3, mixup=0.2)
    assert recipe.to_json()["augmentation"]["policy"] == "trivial"
    with pytest.raises(InvalidDocument, match=r"policy: expected one of none, trivial"):
        parse_recipe({**given, "augmentation": {"policy": "random"}})
    with pytest.raises(InvalidDocument, match="take the teacher 'largest'"):
        parse_recipe({**given, "phases": plain["phases"]})
