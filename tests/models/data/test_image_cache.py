"""Images decoded once: the same pixels as one by one, from memory, disk, or an interrupted run."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import models.data.image_parts
from models.data.datasets import load_dataset
from models.data.image_cache import decode_files
from models.data.images import ImageRows, LabelledImages, hold_out
from models.data.listing import open_image_folder
from models.data.processes import run_parts
from models.data.splits import split_rows
from models.errors import InputError, InputWarning, SubnetSearchError
from models.onnx.export import ImageSet
from models.training.recipe import load_recipe
from models.training.trainer import Trainer
from tests.models.data.dying_worker import die

SPACE = replace(load_recipe("debug").space, channels=3, classes=2, resolutions=(8, 12))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two classes of 40 images of odd sizes."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("made") / "photos"
    for name in ("a", "a-b"):  # as text, "a-b/" comes before "a/"
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 256, (9 + number % 4, 14, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def photos(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(models.data.image_parts, "PART_IMAGES", 7)


def decoded(folder: Path, cache: Path | None, channels: int = 3, **options):
    files = open_image_folder(folder).files
    return decode_files(folder, files, channels=channels, size=12, cache=cache, **options)


def one_by_one(folder: Path, channels: int) -> np.ndarray:
    images = []
    for path in sorted(folder.glob("*/*.png")):
        image = Image.open(path).convert("L" if channels == 1 else "RGB")
        images.append(np.asarray(image.resize((12, 12), Image.Resampling.BILINEAR)))
    return np.stack(images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("on_disk", [False, True])
def test_pixels_are_those_of_decoding_one_by_one(made, tmp_path, small_parts, channels, on_disk):
    found = decoded(made, tmp_path / "images" if on_disk else None, channels)
    assert np.array_equal(found.images, one_by_one(made, channels))
    assert found.damaged == {}
    if on_disk:
        (folder,) = (tmp_path / "images").iterdir()
        assert sorted(os.listdir(folder)) == ["digests.npy", "images.npy", "index.json", "lock"]
        assert np.array_equal(np.load(folder / "images.npy", mmap_mode="r"), found.images)


@pytest.mark.slow
def test_processes_give_the_same(made, tmp_path, small_parts):
    told = []
    found = decoded(
        made, tmp_path, processes=2, on_share=lambda share, doing: told.append((share, doing))
    )
    assert np.array_equal(found.images, one_by_one(made, 3))
    assert told[0] == (0.0, "80 images into a cache of 3.46e-05 GB")
    assert told[-1] == (1.0, "80/80 images into a cache of 3.46e-05 GB")


class Killed(Exception):
    pass


@pytest.mark.parametrize("killed_at", [0, 1, 5, 11])
def test_an_interrupted_run_goes_on_to_the_same_bits(photos, tmp_path, small_parts, killed_at):
    """Finished parts are kept: their files are not read again."""
    cache, shares = tmp_path / "images", []
    files = open_image_folder(photos).files

    def kill(share: float, doing: str) -> None:
        shares.append(share)
        if len(shares) == killed_at + 1:
            raise Killed

    with pytest.raises(Killed):
        decoded(photos, cache, on_share=kill)
    (folder,) = cache.iterdir()
    assert not (folder / "index.json").exists()
    with (folder / "parts.jsonl").open("a") as file:
        file.write('{"part": 11, "dam')  # cut short
    expected = one_by_one(photos, 3)
    for file in files[: 7 * killed_at]:
        photos.joinpath(*file.parts).write_bytes(b"")
    found = decode_files(photos, files, channels=3, size=12, cache=cache)
    assert np.array_equal(found.images, expected)
    assert found.damaged == {}
    assert len({digest.tobytes() for digest in found.digests}) == 80


def test_a_changed_folder_is_decoded_anew_and_the_old_cache_is_named(photos, tmp_path):
    cache = tmp_path / "images"
    first = decoded(photos, cache)
    again = decoded(photos, cache, on_share=lambda share, doing: pytest.fail("decoded again"))
    assert np.array_equal(first.images, again.images)
    Image.new("RGB", (5, 5), "red").save(photos / "a/0.png")
    (old,) = cache.iterdir()
    with pytest.warns(InputWarning, match=f"has changed.* remove {old}"):
        changed = decoded(photos, cache)
    assert tuple(changed.images[0, 0, 0]) == (255, 0, 0)
    assert np.array_equal(first.images[1:], changed.images[1:])


def test_a_full_disk_is_told_before_anything_is_written(photos, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(InputError, match=r"80 images of 12 x 12 need 3.46e-05 GB in .* 0.0671 GB"):
        decoded(photos, tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_too_many_damaged_files_leave_no_cache(photos, tmp_path):
    (photos / "a/3.png").write_bytes(b"no")
    for cache in (None, tmp_path / "images"):
        with pytest.raises(InputError, match=r"damaged: 1 of 80 images, at most 1% .*a/3.png"):
            decoded(photos, cache)
    (place,) = (tmp_path / "images").iterdir()
    assert [path.name for path in place.iterdir()] == ["lock"], "others may wait for it"
    with pytest.raises(InputError, match="damaged: 1 of 80"):
        decoded(photos, tmp_path / "images")


def test_folders_that_look_alike_have_caches_of_their_own(tmp_path):
    """Equal names, sizes and times, and other pixels: of two copies of one folder, for example."""
    for copy, grey in (("one", 10), ("two", 200)):
        for name in ("a", "b"):
            path = tmp_path / copy / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("L", (12, 12), grey).save(path)
            os.utime(path, (1e9, 1e9))
    sizes = {path.stat().st_size for path in tmp_path.glob("*/*/*.png")}
    assert len(sizes) == 1, "the test shows nothing"
    means = [decoded(tmp_path / copy, tmp_path / "images").images.mean() for copy in ("one", "two")]
    assert means == [10, 200]


def test_a_few_are_left_out_and_named(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(models.data.image_parts, "DAMAGED_SHARE", 0.05)
    (photos / "a/3.png").write_bytes(b"no")
    for _ in range(2):  # decoded, and from the cache
        with pytest.warns(InputWarning, match=r"1 of 80 images, left out: a/3.png \(none of"):
            data = load_dataset(str(photos), SPACE, tmp_path / "images")
        assert len(data.train) + len(data.test) == 79


@pytest.mark.slow
def test_a_process_that_dies_is_told_and_what_was_finished_is_kept(photos, tmp_path, small_parts):
    parts = list(
        models.data.image_parts.parts_of(photos, open_image_folder(photos).files, (80, 12, 12), "")
    )
    with pytest.raises(SubnetSearchError, match="a process that decoded images ended"):
        list(run_parts(die, parts, 2))


def test_a_dataset_is_the_same_from_memory_and_from_disk(made, tmp_path):
    memory, disk = (load_dataset(str(made), SPACE, cache) for cache in (None, tmp_path / "images"))
    for ours, theirs in ((memory.train, disk.train), (memory.test, disk.test)):
        assert isinstance(theirs.images, ImageRows)
        assert np.array_equal(ours.labels, theirs.labels)
        assert np.array_equal(ours.images[:], theirs.images[:])
        assert (ours.images.shape, ours.images.ndim) == (theirs.images.shape, theirs.images.ndim)
        rows = np.array([5, 0, 5])
        assert np.array_equal(ours.take(rows).images[:], theirs.take(rows).images[:])
    for ours, theirs in zip(hold_out(memory.train, 9, 1), hold_out(disk.train, 9, 1), strict=True):
        assert isinstance(theirs.images, ImageRows)
        assert np.array_equal(ours.images[:], theirs.images[:])
    assert (len(memory.train), len(memory.test)) == (64, 16)


def test_large_sets_are_measured_in_parts_with_the_same_numbers(made, tmp_path, monkeypatch):
    data = load_dataset(str(made), SPACE, tmp_path / "images").train
    whole = ImageSet(data.images[:], (0.5,) * 3, (0.3,) * 3)
    monkeypatch.setattr("models.onnx.export.CACHE_LIMIT_BYTES", 0)
    parts = ImageSet(data.images, (0.5,) * 3, (0.3,) * 3)
    assert np.array_equal(np.concatenate([*parts.parts(8, 9)]), whole.at(8))
    sizes = [len(batch) for batch in parts.batches(8, 30)]
    assert sizes == [30, 30, 4]
    assert parts.sha256 == whole.sha256


@pytest.mark.slow
def test_training_from_disk_equals_training_from_memory(made, tmp_path):
    """With the frozen teacher, whose answers to every image and its mirror are looked up."""
    debug = load_recipe("debug")
    recipe = replace(
        debug,
        dataset=str(made),
        holdout=8,
        batch_size=16,
        mean=(0.5,) * 3,
        std=(0.3,) * 3,
        space=SPACE,
        phases=tuple(replace(p, resolutions=p.resolutions and (8, 12)) for p in debug.phases[:2]),
    )
    weights = []
    for name, cache in (("memory", None), ("disk", tmp_path / "images")):
        trainer = Trainer(recipe, tmp_path / name, resume=False, images=cache)
        trainer.run()
        weights.append(trainer.supernet.state_dict())
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=60),
    st.integers(0, 5),
)
def test_a_split_is_stratified_and_keeps_equal_files_together(drawn, seed):
    labels = np.array([label for label, _ in drawn], np.int64)
    digests = np.zeros((len(drawn), 16), np.uint8)
    digests[:, 3] = [content for _, content in drawn]
    is_test = split_rows(labels, digests, seed=seed)
    owner: dict[int, int] = {}
    for label, content in drawn:
        owner.setdefault(content, label)
    for content in owner:
        assert len({bool(side) for side in is_test[digests[:, 3] == content]}) == 1
    for label in set(labels):
        mine = [content for content, first in owner.items() if first == label]
        sides = {bool(is_test[digests[:, 3] == content][0]) for content in mine}
        assert sides == ({True, False} if len(mine) > 1 else {False} if mine else set())


def test_a_split_does_not_depend_on_order_and_takes_a_fifth():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [1000, 100])
    digests = rng.integers(0, 256, (1100, 16)).astype(np.uint8)
    is_test = split_rows(labels, digests)
    assert [int(is_test[labels == label].sum()) for label in (0, 1)] == [200, 20]
    order = rng.permutation(1100)
    assert np.array_equal(split_rows(labels[order], digests[order]), is_test[order])
    other = split_rows(labels, digests, seed=1)
    assert not np.array_equal(other, is_test)


def test_rows_are_read_as_an_array_gives_them(tmp_path):
    base = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    rows = ImageRows(base, np.array([4, 0, 2]))
    assert np.array_equal(rows[:2], base[[4, 0]])
    assert np.array_equal(rows[np.array([2, 2])], base[[2, 2]])
    labelled = LabelledImages(rows, np.arange(3)).take(slice(1, 3))
    assert np.array_equal(labelled.images[:], base[[0, 2]])
    assert labelled.images.shape == (2, 3, 4)


def test_an_index_says_where_it_is_from(made, tmp_path):
    decoded(made, tmp_path)
    (index,) = tmp_path.glob("*/index.json")
    assert json.loads(index.read_text())["folder"] == str(made)
