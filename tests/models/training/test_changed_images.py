"""Whatever goes on after a training reads its images again: they must be the same."""

from __future__ import annotations

import pytest

from models.bundle.bundle import add_to_bundle
from models.bundle.trained_on import training_images
from models.errors import Conflict, InputWarning
from models.training.from_scratch import compare
from models.training.preview import preview_training
from models.training.recipe import load_recipe
from models.training.trainer import Trainer
from service.catalog.supernets.measure_accuracy import measure_jobs
from tests.service.conftest import make_bundle
from tests.trainings import write_photos, write_recipe


def stop_at_once(now):
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*its images are decoded anew")
def test_what_goes_on_is_refused_where_the_images_have_changed(tmp_path):
    """Otherwise labels would be permuted, or networks measured on images they were trained on."""
    photos, folder = write_photos(tmp_path / "photos"), tmp_path / "training"
    recipe = load_recipe(write_recipe(tmp_path / "net.toml", photos))
    trainer = Trainer(recipe, folder, resume=False)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(stop_at_once)
    bundle = make_bundle(tmp_path / "net", recipe.space)
    stated = dict(trainer.stated_data)
    bundle = add_to_bundle(bundle, {"recipe": recipe.to_json(), "data": stated}, {})
    assert bundle.card["data"]["images_sha256"] == training_images(bundle).sha256

    def refused(message: str) -> None:
        for go_on in (
            lambda: Trainer(recipe, folder, resume=True),
            lambda: preview_training(folder, 1),
            lambda: training_images(bundle),
            lambda: measure_jobs(bundle, tmp_path, []),
            lambda: compare(bundle, recipe, tmp_path / "alone", [], threads=1),
        ):
            with pytest.raises(Conflict, match=message):
                go_on()

    try:
        for side in ("train", "test"):
            (photos / side / "0").rename(photos / side / "zero")
        refused(r"(net'|training): .* not those .*: new classes: zero, gone: 0: put them back")
    finally:
        for side in ("train", "test"):
            (photos / side / "zero").rename(photos / side / "0")
    added = photos / "train" / "0" / "a.png"
    added.write_bytes((photos / "train" / "0" / "0.png").read_bytes())
    refused("101 are for training, and 100 were")
    added.unlink()
    moved = (photos / "train" / "0" / "0.png").rename(photos / "train" / "1" / "z.png")
    refused("some have another content, class or place")
    moved.rename(photos / "train" / "0" / "0.png")
    Trainer(recipe, folder, resume=True)

    # A card of an earlier version states less.
    del stated["images_sha256"]
    bundle = add_to_bundle(bundle, {"data": stated}, {})
    with pytest.warns(InputWarning, match="does not state whether the images of 'photos' are thos"):
        training_images(bundle)
