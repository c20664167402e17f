"""A bundle's files change all at once, wherever the process that changes them is stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.bundle import replacement
from models.bundle.bundle import Bundle, BundleRegistry, add_to_bundle, write_bundle
from models.errors import Conflict, CorruptBundle
from models.machine.files import write_atomically
from tests.spaces import DEBUG

ROOT = Path(__file__).resolve().parents[3]
NAME = "tiny"
OLD = {"weights.safetensors": b"old weights" * 999, "predictor.safetensors": b"old" * 9}
NEW = {"predictor.safetensors": b"new" * 5000, "measured.jsonl.gz": b"rows" * 5000}
CARD = {
    "name": NAME,
    "space": DEBUG.to_json(),
    "preprocess": {"mean": [0.3], "std": [0.4]},
    "metrics": {"word": "old"},
}


def written(home: Path) -> Bundle:
    return write_bundle(home / "supernets" / NAME, CARD, OLD)


def contents(bundle: Bundle) -> tuple[object, dict[str, bytes]]:
    """What a reader gets; fails if a file is not the one that the card names."""
    return bundle.card["metrics"]["word"], {n: bundle.content(n) for n in bundle.card["files"]}


def get(home: Path) -> Bundle:
    return BundleRegistry(home).get(NAME)


def add(home: Path) -> None:
    add_to_bundle(get(home), {"metrics": {"word": "new"}}, NEW)


def overwrite(home: Path) -> None:
    write_bundle(home / "supernets" / NAME, {**CARD, "metrics": {"word": "new"}}, NEW, replace=True)


def write_other(home: Path) -> None:
    write_bundle(home / "supernets" / "other", {**CARD, "name": "other"}, NEW)


def stopped_everywhere(home: Path, function: str) -> list[Path]:
    """A copy of a home for each moment at which a process was stopped in `function`."""
    command = [sys.executable, "-m", "tests.models.bundle.stopped_writer"]
    done = subprocess.run(
        [*command, f"{__name__}:{function}", str(home)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    copies = sorted(home.parent.glob(f"{home.name}.*.*"))
    assert len(copies) == 2 * (int(done.stdout) + 1)
    assert int(done.stdout) > 5, "hardly anything was changed: nothing was tried"
    return copies


@pytest.mark.slow
@pytest.mark.parametrize("function", ["add", "overwrite"])
def test_a_writer_that_is_stopped_anywhere_leaves_the_old_bundle_or_the_new(tmp_path, function):
    home = tmp_path / "home"
    written(home)
    old = contents(get(home))
    kept = {} if function == "overwrite" else {"weights.safetensors": OLD["weights.safetensors"]}
    new = ("new", {**kept, **NEW})
    found = []
    for stopped in stopped_everywhere(home, function):
        found.append(contents(get(stopped)))
        assert found[-1] in (old, new), f"torn: {stopped.name}"
        globals()[function](stopped)  # the next change succeeds and puts everything in order
        bundle = get(stopped)
        assert contents(bundle) == new
        listed = {"card.json", *bundle.card["files"]}
        names = {path.name for path in bundle.path.iterdir()}
        assert {name for name in names if not name.startswith(".")} == listed
        kept_for_readers = [name for name in names if name.startswith(".")]
        assert all(name.count(".") >= 2 for name in kept_for_readers)
        assert len(kept_for_readers) <= len(OLD), names
    assert old in found
    assert new in found


@pytest.mark.slow
def test_a_new_bundle_is_there_whole_or_not_at_all(tmp_path):
    home = tmp_path / "home"
    written(home)
    appeared = 0
    for stopped in stopped_everywhere(home, "write_other"):
        registry = BundleRegistry(stopped)
        assert not [name for name in registry.names() if name.startswith(".")]
        if "other" in registry.names():
            appeared += 1
            assert contents(registry.get("other"))[1] == NEW
        else:
            write_other(stopped)
            left = [path.name for path in (stopped / "supernets").iterdir()]
            assert sorted(left) == ["other", NAME], "what the stopped one left is gone"
    assert appeared


def test_a_reader_of_the_old_card_still_finds_the_old_files(tmp_path):
    written(tmp_path)
    reader = get(tmp_path)
    old = contents(reader)
    add(tmp_path)
    assert contents(reader) == old
    assert contents(get(tmp_path))[0] == "new"


@pytest.mark.parametrize("changes", [1, 2])
def test_a_file_that_is_moved_once_it_was_found_is_found_again(tmp_path, monkeypatch, changes):
    """The old file, kept under another name; the new one, which is renamed to its own name."""
    bundle = written(tmp_path)
    name = "predictor.safetensors"
    moves: list[Callable[[], object]] = [lambda: add(tmp_path)]
    if changes == 2:  # as a writer that was stopped has left it
        add(tmp_path)
        bundle = get(tmp_path)
        waiting = bundle.path / f".{name}.{bundle.card['files'][name][:16]}"
        (bundle.path / name).rename(waiting)
        moves = [lambda: replacement.settle(bundle.path)]
    locate = replacement._locate

    def then_moved(*of: Any) -> Path:
        path = locate(*of)
        while moves:
            moves.pop()()
        return path

    monkeypatch.setattr(replacement, "_locate", then_moved)
    with bundle.pinned(name) as path:
        assert path.read_bytes() == {1: OLD, 2: NEW}[changes][name]
    assert not moves


def test_what_is_pinned_stays_whoever_replaces_it(tmp_path):
    with written(tmp_path).pinned("predictor.safetensors") as path:
        for word in (b"one", b"two", b"three"):
            add_to_bundle(get(tmp_path), {}, {"predictor.safetensors": word})
        assert path.read_bytes() == OLD["predictor.safetensors"]


def test_a_reader_of_the_old_card_is_served_until_the_next_change_is_made(tmp_path, monkeypatch):
    reader, read = written(tmp_path), []
    old = contents(reader)
    add(tmp_path)

    def look_first(path: Path, content: bytes) -> None:
        if path.name == replacement.CARD:
            read.append(contents(reader))
        write_atomically(path, content)

    monkeypatch.setattr(replacement, "write_atomically", look_first)
    add_to_bundle(get(tmp_path), {}, {"predictor.safetensors": b"newer"})
    assert read == [old]


def test_a_reader_of_a_card_before_the_last_is_told(tmp_path):
    reader = written(tmp_path)
    for word in (b"one", b"two"):
        add_to_bundle(get(tmp_path), {}, {"predictor.safetensors": word})
    with pytest.raises(CorruptBundle, match="was replaced since it was opened; try again"):
        reader.check("predictor.safetensors")


def test_two_who_add_at_once_lose_nothing_of_each_other(tmp_path):
    bundle = written(tmp_path)

    def add_one(number: int) -> None:
        add_to_bundle(bundle, {f"entry{number}": number}, {f"file{number}": b"%d" % number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(24)))
    after = get(tmp_path)
    assert [after.card[f"entry{n}"] for n in range(24)] == list(range(24))
    assert contents(after)[1] == {**OLD, **{f"file{n}": b"%d" % n for n in range(24)}}


def test_what_is_altered_on_disk_is_not_vouched_for_by_the_next_change(tmp_path):
    bundle = written(tmp_path)
    (bundle.path / "weights.safetensors").write_bytes(b"altered")
    add(tmp_path)
    with pytest.raises(Exception, match=r"weights\.safetensors does not match its card"):
        get(tmp_path).check("weights.safetensors")


def test_of_two_who_write_the_same_new_bundle_one_is_refused(tmp_path):
    def write(number: int) -> bool:
        try:
            write_bundle(tmp_path / NAME, CARD, {**OLD, "number": b"%d" % number})
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    contents(Bundle.open(tmp_path / NAME))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
