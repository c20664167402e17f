"""Recipes are checked where they are read."""

import tomllib

import pytest

from models.errors import InputError, NotFound
from models.training.recipe import RECIPES, load_recipe, parse_recipe


def raw() -> dict:
    return tomllib.loads((RECIPES / "debug.toml").read_text())


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_and_name_themselves(path):
    assert load_recipe(path.stem).name == path.stem


def test_shipped_space_is_larger_than_1e19_and_exact():
    space = load_recipe("fashion-mbv3").space
    assert space.cardinality == 4 * (9**2 + 9**3 + 9**4) ** 5 > 10**19


def test_phase_opens_only_what_it_names():
    recipe = load_recipe("fashion-mbv3")
    full, kernel = (phase.space(recipe.space) for phase in recipe.phases[:2])
    assert full.cardinality == 1
    assert full.largest == recipe.space.largest
    assert kernel.cardinality == 4 * 3**20


def test_a_recipe_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES / "debug.toml").read_text())
    assert load_recipe(path) == load_recipe("debug")


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(NotFound, match=r"did you mean 'fashion-mbv3'"):
        load_recipe("fashion-mbv2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("seed"), "seed"),
        (lambda r: r.update(colour=1), "colour"),
        (lambda r: r.update(mean=[0.1, 0.2]), "recipe.mean: expected 1 numbers"),
        (
            lambda r: r.update(phases=[]),
            "recipe.phases: expected a list of 1 to 100",
        ),
        (lambda r: r["phases"][0].update(kernels=[3, 5]), "first phase trains the largest"),
        (lambda r: r["phases"][1].update(kernels=[9]), "kernels"),
        (lambda r: r["phases"][1].update(epochs=0), "epochs"),
        (
            lambda r: r["phases"][1].update(epochs=2, warmup_epochs=2.5),
            r"phases\[1\].warmup_epochs: expected at most the 2 epochs of the phase, got 2.5",
        ),
        (lambda r: r["phases"][3].update(always=["middle"]), "always"),
        (
            lambda r: r["phases"][3].update(teacher="me"),
            r"phases\[3\].teacher: .* full, largest, got",
        ),
        (lambda r: r["phases"][3].update(always=[]), "put 'largest' into always"),
        (lambda r: r["phases"][3].update(depths=[1, 7]), r"phases\[3\].depths: \[1, 7\] are not"),
        (lambda r: r["phases"][3].update(kernels=[5, 3]), r"phases\[3\].kernels: .*ascending"),
        (lambda r: r["phases"][0].update(subnets_per_step=0), "nothing would be trained"),
        (lambda r: r["phases"][0].update(epochs=1.0), r"phases\[0\].epochs: .*got 1.0"),
        (lambda r: r.update(batch_size=0), "recipe.batch_size: .*from 2 to 65536, got 0"),
        (lambda r: r.update(name="../../evil"), r"recipe.name: .*got '../../evil'"),
        (lambda r: r.update(momentum=1.0), "recipe.momentum: .*below 1, got 1.0"),
        (lambda r: r.update(std=[0.0]), r"recipe.std\[0\]: "),
        (lambda r: r.update(seed=-1), "recipe.seed: "),
        (lambda r: r["space"].update(stem_width="8"), "recipe.space.stem_width: .*got '8'"),
        (lambda r: r["space"].update(kernels=[4]), "odd"),
        (lambda r: r["space"].pop("stages"), "stages"),
    ],
)
def test_bad_recipes_name_the_field(change, message):
    value = raw()
    change(value)
    with pytest.raises(InputError, match=message):
        parse_recipe(value)


def test_images_are_enough_for_a_batch_and_for_every_warm_up():
    value = raw()
    value["phases"][1].update(epochs=2, most_steps=15, warmup_epochs=1.5)
    recipe = parse_recipe(value)
    recipe.check_images(10 * recipe.batch_size)
    with pytest.raises(InputError, match=r"phases\[1\].warmup_epochs: .* the 15 steps .* 16.5"):
        recipe.check_images(11 * recipe.batch_size)
    with pytest.raises(InputError, match=r"recipe.batch_size: expected at most the 7 training im"):
        recipe.check_images(7)


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("DE", "did you mean DEU (Germany)?"),
        ("deu", "did you mean DEU (Germany)?"),
        ("Austria", "did you mean AUT (Austria)?"),
        ("AT", "or AUT (Austria)"),
        ("Atlantis", "such as DEU, got 'Atlantis'"),
    ],
)
def test_a_country_is_named_by_the_code_that_the_energy_meter_knows(tmp_path, code, meant):
    path = tmp_path / "mine.toml"
    text = (RECIPES / "debug.toml").read_text()
    path.write_text(text.replace('country = "USA"', f'country = "{code}"'))
    with pytest.raises(InputError, match=r"mine\.toml: line 13: recipe.country: ") as caught:
        load_recipe(path)
    assert meant in str(caught.value)


def test_broken_toml_is_an_input_error(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = ")
    with pytest.raises(InputError, match=r"broken\.toml: expected a TOML file: "):
        load_recipe(path)
