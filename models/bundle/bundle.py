"""A supernet bundle: a folder that is complete by itself.

    card.json              space, data, recipe, metrics, energy, licence, sha256 of every file
    weights.safetensors    the supernet's state dict
    predictor.safetensors  accuracy predictor (written and read by `search`)
    calibration.npz        training images for batch-norm recalibration
    validation.npz         images and labels held out of training
    measured.jsonl.gz      subnets whose accuracy was measured, the predictor's data

Nothing in a bundle is a pickle.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.bundle.capabilities import Capability, NextStep, capabilities, next_steps
from models.bundle.card import (
    CALIBRATION,
    WEIGHTS,
    checked_card,
    photo_fit_of,
    published_card,
    space_of,
)
from models.bundle.replacement import (
    CARD,
    WrongContent,
    open_content,
    remove_abandoned,
    replace_files,
    sync_folder,
)
from models.bundle.use import in_use, out_of_use
from models.errors import Conflict, CorruptBundle, InputError, NotFound
from models.machine import exclusive
from models.schema import read_json
from models.spaces import SearchSpace, published_spaces

if TYPE_CHECKING:
    from models.data import LabelledImages, PhotoFit
    from models.supernet import Supernet

SHIPPED = Path(__file__).with_name("shipped")
"""Bundles shipped with the project."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle on disk; its parts are read on demand."""

    path: Path
    card: Mapping[str, Any]
    space: SearchSpace

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read the card of the bundle at `path`.

        Raises:
            CorruptBundle: if the card is missing or not one.
        """
        try:
            document = read_json(path / "card.json")
            card = document.read(checked_card)
            return cls(path, card, document.read(lambda _: space_of(card)))
        except InputError as error:
            raise CorruptBundle(f"bundle {path.name}: unreadable card.json: {error}") from error

    @property
    def name(self) -> str:
        """The supernet's name."""
        return str(self.card["name"])

    @property
    def sha256(self) -> str:
        """Of weights.safetensors, as the card states it; empty without weights."""
        return str(self.card["files"].get(WEIGHTS, ""))

    @property
    def mean(self) -> tuple[float, ...]:
        """Per-channel mean of the preprocessing, on the 0..1 scale."""
        return tuple(self.card["preprocess"]["mean"])

    @property
    def std(self) -> tuple[float, ...]:
        """Per-channel standard deviation of the preprocessing, on the 0..1 scale."""
        return tuple(self.card["preprocess"]["std"])

    @property
    def photo_fit(self) -> PhotoFit:
        """How photos of any shape become the networks' input."""
        return photo_fit_of(self.card, self.space)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the logits, in their order; None if the card does not have them."""
        names = self.card.get("data", {}).get("classes")
        if not isinstance(names, list) or len(names) != self.space.classes:
            return None
        return tuple(map(str, names))

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe that the supernet was trained with here, without its space.

        Raises:
            InputError: if it was not, so that its held-out images are not known.
        """
        if "recipe" not in self.card:
            raise InputError(
                f"supernet {self.name!r} was not trained here, so there are no held-out images to "
                "measure its subnets on: measure them where the images are, and name the file with "
                f"`subnet-search supernets fit-predictor {self.name} --measurements FILE`"
            )
        recipe: Mapping[str, Any] = self.card["recipe"]
        return recipe

    def load_supernet(self) -> Supernet:
        """The trained supernet, in eval mode, its weights mapped from their file: processes on one
        machine share them, and only what a subnet uses is read. Writing to them writes a copy.

        Raises:
            InputError: if the bundle has no weights yet.
            CorruptBundle: if the weights are not the file that the card names.
        """
        import torch
        from safetensors.torch import load_file

        from models.layers import COUNTER
        from models.layers.modules import channels_last
        from models.supernet import Supernet

        self.check_weights()
        with torch.device("meta"):
            supernet = Supernet(self.space)
        with self.pinned(WEIGHTS) as path:
            tensors = load_file(path)
        weights = {k: v for k, v in tensors.items() if not k.endswith(COUNTER)}
        supernet.load_state_dict(weights, assign=True)
        return channels_last(supernet).eval()

    def calibration(self) -> npt.NDArray[np.uint8]:
        """Training images (N, H, W) or (N, H, W, C) for batch-norm recalibration."""
        with (
            self.pinned(CALIBRATION) as path,
            np.load(path, allow_pickle=False) as arrays,
        ):
            images: npt.NDArray[np.uint8] = arrays["images"]
            return images

    def validation(self) -> LabelledImages:
        """Held-out images with labels."""
        from models.data import LabelledImages

        with self.pinned("validation.npz") as path, np.load(path, allow_pickle=False) as arrays:
            return LabelledImages(arrays["images"], arrays["labels"])

    def check_deliverable(self) -> None:
        """Check that the bundle has everything that a delivered model is made from.

        Raises:
            InputError: if there are no weights, or no images to recalibrate with.
        """
        self.check_weights()
        if not self.has(CALIBRATION):
            raise InputError(
                f"supernet {self.name!r} has no calibration images, without which a subnet's batch "
                f"norms cannot be recalibrated: add some with {self.how_to('deliver')}"
            )

    def check_weights(self) -> None:
        """Check that the bundle has weights.

        Raises:
            InputError: if not, saying how to import them.
        """
        if not self.has(WEIGHTS):
            raise InputError(
                f"supernet {self.name!r} has no weights here: add them with {self.how_to('verify')}"
            )

    @property
    def capabilities(self) -> dict[Capability, bool]:
        """Whether it can be searched, delivered from and verified against."""
        return capabilities(self.card["files"])

    @property
    def next_steps(self) -> list[NextStep]:
        """The commands that add what it cannot do yet."""
        return next_steps(self.name, self.card)

    def how_to(self, capability: Capability) -> str:
        """The command that adds a capability which the bundle lacks, for messages."""
        steps = next_steps(self.name, self.card, [capability])
        step = next(step for step in steps if capability in step.adds)
        return f"`{step.command}`" + (f" ({step.needs})" if step.needs else "")

    def in_use(self) -> AbstractContextManager[None]:
        """Keep it from being removed while it is worked with (`use`).

        Raises:
            NotFound: on entry, if it was removed meanwhile.
        """
        removable = self.card["files"] and self.path.parent != SHIPPED
        return in_use(self.path) if removable else nullcontext()

    def has(self, file: str) -> bool:
        """Whether the card lists `file`."""
        return file in self.card["files"]

    def check(self, file: str) -> None:
        """Compare `file` with the card.

        Raises:
            CorruptBundle: if it is absent, truncated or altered.
        """
        with self.pinned(file):
            pass

    def content(self, file: str) -> bytes:
        """All of `file`, which is the one that the card names.

        Raises:
            CorruptBundle: if it is absent, truncated or altered.
        """
        with self.pinned(file) as path:
            return path.read_bytes()

    @contextmanager
    def pinned(self, file: str) -> Iterator[Path]:
        """A path to the content of `file` that the card names, whoever replaces the file meanwhile
        (`replacement`). It is good until the block ends; what was mapped from it lasts.

        Raises:
            CorruptBundle: if it is absent, truncated or altered.
        """
        expected = self.card["files"].get(file)
        if expected is None:
            raise CorruptBundle(_missing(self.name, file))
        try:
            opened = open_content(self.path, file, expected)
        except (FileNotFoundError, WrongContent) as error:
            if Bundle.open(self.path).card["files"].get(file) != expected:
                raise CorruptBundle(
                    f"bundle {self.name}: {file} was replaced since it was opened; try again"
                ) from error
            if isinstance(error, FileNotFoundError):
                raise CorruptBundle(_missing(self.name, file)) from error
            raise CorruptBundle(
                f"bundle {self.name}: {file} does not match its card "
                f"(sha256 expected {expected[:12]}, got {error.sha256[:12]}, "
                f"{error.size_bytes} bytes); "
                "restore the file or import the supernet again"
            ) from error
        with opened:
            yield Path(f"/dev/fd/{opened.fileno()}")


def _missing(bundle: str, file: str) -> str:
    return f"bundle {bundle}: {file} is missing; restore or import it again"


class BundleRegistry:
    """The bundles of this installation: shipped ones, the user's own, and the published
    spaces, which are listed before their weights are imported."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "supernets"

    def names(self) -> list[str]:
        """All names, sorted."""
        places = [place for place in (SHIPPED, self.folder) if place.is_dir()]
        found = {p.parent.name for place in places for p in place.glob("*/card.json")}
        visible = {name for name in found if not name.startswith(".")}  # others are being written
        return sorted(visible | set(published_spaces()))

    def get(self, name: str) -> Bundle:
        """One bundle; a user's bundle hides a shipped one of the same name.

        Raises:
            NotFound: with the nearest known name.
        """
        if name not in self.names():
            raise NotFound.named("supernet", name, self.names())
        for path in (self.folder / name, SHIPPED / name):
            if (path / "card.json").is_file():
                return Bundle.open(path)
        space = published_spaces()[name]
        return Bundle(self.folder / name, published_card(space), space)

    def remove(self, name: str) -> Bundle:
        """Remove a user's bundle, at once for others; who has opened a file of it reads on.

        Raises:
            NotFound: with the nearest known name.
            Conflict: there is nothing to remove: it comes with the program, or it is a published
                supernet of which nothing was imported; or its subnets are measured now, or its
                predictor is fitted.
        """
        bundle = self.get(name)
        if not (self.folder / name / CARD).is_file():
            known = "comes with the program" if bundle.path.is_dir() else "has no files here"
            raise Conflict(f"supernet {name!r} {known}: there is nothing to remove")
        gone = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.folder))
        try:
            with out_of_use(bundle.path), exclusive(bundle.path):
                os.rename(bundle.path, gone / name)  # into the folder: it may be a link
        except (FileNotFoundError, Conflict) as error:
            gone.rmdir()
            if isinstance(error, Conflict):
                raise
            raise NotFound(f"supernet {name!r} was removed meanwhile") from error
        sync_folder(self.folder)
        shutil.rmtree(gone, ignore_errors=True)
        return bundle


def write_bundle(
    path: Path, card: Mapping[str, Any], files: Mapping[str, bytes], *, replace: bool = False
) -> Bundle:
    """Write a whole bundle or nothing: a new one into a sibling folder, then one rename.

    Args:
        card: without "files", which is computed.
        files: contents by file name.
        replace: put it in the place of the bundle at `path`, if there is one.

    Raises:
        Conflict: if `path` exists and `replace` is false.
    """
    if not path.exists():
        _write_new(path, card, files)
    elif replace:
        with exclusive(path):
            replace_files(path, card, {}, files)
    else:
        raise _exists(path)
    return Bundle.open(path)


def _write_new(path: Path, card: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with exclusive(path.parent):
            remove_abandoned(p for p in path.parent.glob(f".{path.name}-*") if p.is_dir())
            partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            held.enter_context(exclusive(partial))
        try:
            partial.chmod(0o755)  # a temporary folder is private, a bundle is not
            replace_files(partial, card, {}, files)
            os.rename(partial, path)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError) and path.exists():  # another writer was first
                raise _exists(path) from error
            raise
    sync_folder(path.parent)


def _exists(path: Path) -> Conflict:
    return Conflict(f"bundle {path.name} exists already: remove it first, or choose another name")


def add_to_bundle(bundle: Bundle, card: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    """Add or replace files and card entries, all at once; other files and entries stay as they are
    on disk now, whoever changed them since `bundle` was opened.

    Raises:
        NotFound: if it was removed meanwhile.
    """
    try:
        with exclusive(bundle.path):
            present = Bundle.open(bundle.path).card
            replace_files(bundle.path, {**present, **card}, present["files"], files)
            return Bundle.open(bundle.path)
    except FileNotFoundError as error:
        raise NotFound(f"supernet {bundle.name!r} was removed meanwhile") from error


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
