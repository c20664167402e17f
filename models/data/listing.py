"""The image files of a folder; a file's place says its class and its side of the split.

Links to files are taken. Links to folders are followed where they lead out of the folder, and each
target once, so that no loop is walked.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.data.decoding import SUFFIXES
from models.errors import InputError, NotFound

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation", "eval")
"""Names of split folders, in any case; of several, the first of these is taken."""
JUNK = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini"})
"""What systems leave in folders, besides names that start with a dot."""
EXPECTED = (
    "expected one folder a class with images in it, or train and test with such folders in each"
)
SHOWN = 5
"""Names that one message tells of."""


class FoundFile(NamedTuple):
    """A file; `parts` are the names of the folders on the way, and its own."""

    parts: tuple[str, ...]
    size_bytes: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The path from the folder, with slashes."""
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True)
class Walk:
    """What lies under a folder; `files` and `folders` in the order of their parts."""

    files: list[FoundFile] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files that are no images by their names."""
    skipped_links: list[str] = field(default_factory=list)
    """Links to nothing, and links to folders that are walked already."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images in class folders, with or without a test folder."""

    path: Path
    classes: tuple[str, ...]
    """Of the training images, sorted."""
    files: list[FoundFile]
    labels: npt.NDArray[np.int64]
    """(N,), positions in `classes`."""
    is_test: npt.NDArray[np.bool_] | None
    """(N,); None: there is no test folder."""
    problems: tuple[str, ...] = ()
    """Why nothing can be trained on it."""
    warnings: tuple[str, ...] = ()


def open_image_folder(folder: Path) -> ImageFolder:
    """List a folder of class folders, or one with train and test in it.

    Raises:
        NotFound: if there is no such folder, or it is neither.
        InputError: if a part of it cannot be read.
    """
    walk = walk_folder(folder)
    train, test, notes = _split_folders(folder, walk)
    start = len(train)
    inside = [file for file in walk.files if file.parts[:start] == train]
    classes = sorted(f[start] for f in walk.folders if len(f) == start + 1 and f[:start] == train)
    files = [file for file in inside if len(file.parts) > start + 1]
    notes += [*_file_notes(walk, inside, start), *_name_notes(classes)]
    problems = _class_problems(classes, files, start)
    by_name = {_composed(name): at for at, name in enumerate(classes)}
    is_test = None
    if test is not None:
        tests = [file for file in walk.files if file.parts[0] == test and len(file.parts) > 2]
        found = {name: _composed(name) for name in {file.parts[1] for file in tests}}
        if unknown := set(found.values()) - set(by_name):
            problems.append(
                f"{test} has the classes {listed(unknown)}, which are none of the class folders "
                f"of {train[0]}: {listed(classes)}"
            )
        elif missing := set(by_name) - set(found.values()):
            count = some(len(missing), "class")
            notes.append(f"{test} has no images of {count}: {listed(missing)}")
        files = sorted([*files, *(f for f in tests if found[f.parts[1]] in by_name)])
        is_test = np.array([file.parts[0] == test for file in files], bool)
    label_of = {name: by_name[_composed(name)] for name in {file.parts[start] for file in files}}
    labels = np.array([label_of[file.parts[start]] for file in files], np.int64)
    return ImageFolder(
        folder, tuple(classes), files, labels, is_test, tuple(problems), tuple(notes)
    )


def walk_folder(folder: Path) -> Walk:
    """Every file under a folder that is an image by its name.

    Raises:
        NotFound: if there is no such folder.
        InputError: if a folder in it cannot be read.
    """
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise NotFound(f"images {str(folder)!r}: {what}: {EXPECTED}")
    walk = Walk()
    root = os.path.realpath(folder)
    seen = {root}
    todo: list[tuple[str, ...]] = [()]
    while todo:
        inside = todo.pop()
        try:
            with os.scandir(os.path.join(root, *inside)) as entries:
                found = [entry for entry in entries if not _is_junk(entry.name)]
        except OSError as error:
            where = folder.joinpath(*inside)
            raise InputError(f"images {str(where)!r}: cannot be read: {error.strerror}") from error
        found.sort(key=lambda entry: entry.name)  # then the sort of all has little to do
        for entry in found:
            parts = (*inside, entry.name)
            if _is_new_folder(entry, root, seen):
                walk.folders.append(parts)
                todo.append(parts)
            else:
                _add_file(walk, entry, parts)
    walk.files.sort()
    walk.folders.sort()
    return walk


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _is_new_folder(entry: os.DirEntry[str], root: str, seen: set[str]) -> bool:
    if not entry.is_symlink():
        return entry.is_dir()
    target = os.path.realpath(entry.path)
    if not os.path.isdir(target) or target in seen or _is_inside(target, root):
        return False
    if _is_inside(root, target):  # it leads above the folder, and thus back into it
        return False
    seen.add(target)
    return True


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _add_file(walk: Walk, entry: os.DirEntry[str], parts: tuple[str, ...]) -> None:
    try:
        found = entry.stat()
    except OSError:  # a link to nothing, or to itself
        walk.skipped_links.append("/".join(parts))
        return
    if stat.S_ISDIR(found.st_mode):
        walk.skipped_links.append("/".join(parts))
    elif stat.S_ISREG(found.st_mode) and f".{entry.name.rpartition('.')[2].lower()}" in SUFFIXES:
        walk.files.append(FoundFile(parts, found.st_size, found.st_mtime_ns))
    else:
        walk.others.append("/".join(parts))


def _split_folders(folder: Path, walk: Walk) -> tuple[tuple[str, ...], str | None, list[str]]:
    """Where the class folders of the training images are, the folder of the test images, and notes.

    A folder that is called train and holds images itself is a class, such as of vehicles.

    Raises:
        NotFound: if there are no class folders.
    """
    tops = [parts[0] for parts in walk.folders if len(parts) == 1]
    with_classes = {parts[0] for parts in walk.folders if len(parts) == 2}
    train, test = _first(tops, TRAIN_NAMES), _first(tops, TEST_NAMES)
    where = f"images {str(folder)!r}"
    if train is not None and train in with_classes:
        if test is not None and test not in with_classes:
            raise NotFound(f"{where}: {test} has no class folders in it: {EXPECTED}")
        left = [name for name in tops if name not in (train, test)]
        sides = train if test is None else f"{train} nor {test}"
        note = [f"left out, since it is not {sides}: {listed(left)}"] if left else []
        return (train,), test, note
    if not walk.files:
        raise NotFound(f"{where}: no image files ({', '.join(sorted(SUFFIXES))}) in it: {EXPECTED}")
    if not tops:
        raise NotFound(
            f"{where}: {some(len(walk.files), 'image')}, but no class folders: {EXPECTED}"
        )
    if all(name.lower() in (*TRAIN_NAMES, *TEST_NAMES) for name in tops):
        what = "no train folder beside it" if test in with_classes else "no class folders in it"
        raise NotFound(f"{where}: {listed(tops)} has {what}: {EXPECTED}")
    if len(tops) == 1 and tops[0] in with_classes:
        nested = str(folder / tops[0])
        raise NotFound(f"{where}: one folder with folders in it: is {nested!r} meant? {EXPECTED}")
    return (), None, []


def _first(names: list[str], wanted: Iterable[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _file_notes(walk: Walk, inside: list[FoundFile], start: int) -> list[str]:
    stray = [file.name for file in inside if len(file.parts) == start + 1]
    deeper = [file.name for file in inside if len(file.parts) > start + 2]
    said = (
        (stray, "image", "in no class folder, left out"),
        (deeper, "image", "in folders inside class folders, taken to be of that class"),
        (walk.skipped_links, "link", "to nothing or back into the folder, not followed"),
        (walk.others, "file", "no image by its name, left out"),
    )
    return [f"{some(len(names), n)} {what}: {listed(names)}" for names, n, what in said if names]


def _name_notes(classes: list[str]) -> list[str]:
    alike = _alike(classes, str.casefold)
    return [f"class folders that differ in upper and lower case alone: {alike}"] if alike else []


def _alike(names: list[str], form: Callable[[str], str]) -> str:
    """The names that have the same form as another."""
    forms = Counter(form(name) for name in names)
    return listed(name for name in names if forms[form(name)] > 1)


def _class_problems(classes: list[str], files: list[FoundFile], start: int) -> list[str]:
    problems = []
    if len(classes) < 2:
        problems.append(f"one class, {listed(classes)}: expected at least 2 to tell apart")
    filled = {file.parts[start] for file in files}
    if empty := [name for name in classes if name not in filled]:
        problems.append(
            f"no images of {some(len(empty), 'class')}: {listed(empty)}: add some, or remove it"
        )
    if alike := _alike(classes, _composed):
        problems.append(f"class folders that differ in Unicode form alone: {alike}: join them")
    if broken := [name for name in classes if not name.isprintable()]:
        problems.append(f"names of classes that are no printable UTF-8: {listed(broken)}: rename")
    return problems


def _composed(name: str) -> str:
    """A name as it looks: systems write an accent as a character of its own or not."""
    return unicodedata.normalize("NFC", name)


def some(count: int, noun: str) -> str:
    """A number of things, such as "1 class" or "2 classes"."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else plural}"


def listed(names: Iterable[str]) -> str:
    """The first names of many, as messages show them."""
    ordered = sorted(names)
    shown = [name if name.isprintable() else ascii(name) for name in ordered[:SHOWN]]
    return ", ".join(shown) + (f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else "")
