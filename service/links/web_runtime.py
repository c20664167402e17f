"""onnxruntime-web, which runs networks in a browser: where it is installed, and installing it.

The version and the hash of its package are pinned in `onnxruntime-web.json`. The service sends its
files to browsers; no page loads them from anywhere else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from models.errors import Conflict, InputError, SubnetSearchError
from service.settings import Settings

PINNED = json.loads(Path(__file__).with_name("onnxruntime-web.json").read_text())
WEB_NAME, VERSION, INTEGRITY = (str(PINNED[name]) for name in ("name", "version", "integrity"))
FILES: Mapping[str, str] = PINNED["files"]
"""Media types of the files that browsers load, by name."""
MAX_PACKAGE_BYTES, MAX_FILE_BYTES = 200 * 2**20, 100 * 2**20
NPM_S = 600
"""Seconds that npm may take."""
WEB_INSTALL = f"subnet-search runtimes install {WEB_NAME}"
Report = Callable[[str], None]


class WebRuntime:
    """The pinned version of onnxruntime-web in this installation.

    Args:
        folders: where runtimes are looked for; the first is installed to.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = [folder / WEB_NAME / VERSION for folder in folders]

    @classmethod
    def of(cls, settings: Settings) -> WebRuntime:
        """That of an installation."""
        others = [] if settings.runtimes is None else [settings.runtimes]
        return cls(settings.home / "runtimes", *others)

    @property
    def folder(self) -> Path | None:
        """Where it is installed; None if it is not."""
        for folder in self._folders:
            if all((folder / name).is_file() for name in FILES):
                return folder
        return None

    def require(self) -> Path:
        """Where it is installed.

        Raises:
            Conflict: if it is not; says how to install it.
        """
        if (folder := self.folder) is None:
            raise Conflict(
                f"{WEB_NAME} {VERSION}, which runs networks in a browser, is not installed: "
                f"`{WEB_INSTALL}` on the service's machine fetches it"
            )
        return folder

    def file(self, name: str, *, compressed: bool) -> tuple[Path, str, bool] | None:
        """One of the files that browsers load: where it is, its media type, and whether it is
        compressed; None if there is none of that name.

        Args:
            compressed: whether a gzip file will do.
        """
        folder = self.folder
        if folder is None or name not in FILES:
            return None
        small = folder / f"{name}.gz"
        if compressed and small.is_file():
            return small, FILES[name], True
        return folder / name, FILES[name], False

    @cached_property
    def version(self) -> str:
        """The pinned version."""
        return str(VERSION)

    def install(self, package: Path | None = None, report: Report = lambda text: None) -> Path:
        """Install the pinned version, whole or not at all; returns its folder.

        Args:
            package: the package's file (`onnxruntime-web-VERSION.tgz`); None: npm fetches it, with
                npm's own settings.
            report: told what is being done.

        Raises:
            InputError: the file is not that package.
            SubnetSearchError: npm is missing or cannot fetch it; says what to do.
        """
        with tempfile.TemporaryDirectory() as folder:
            if package is None:
                report(f"npm fetches {WEB_NAME} {VERSION}")
                package = _fetched(Path(folder))
            report(f"checking {package.name}")
            content = _checked(package)
        report("unpacking")
        target = self._folders[0]
        _write(_unpacked(content, package), target)
        return target


def _fetched(folder: Path) -> Path:
    """The package, as npm packs it into a folder.

    Raises:
        SubnetSearchError: npm is missing or fails.
    """
    by_hand = (
        f"fetch {WEB_NAME}-{VERSION}.tgz on a machine that can (`npm pack {WEB_NAME}@{VERSION}`), "
        f"and `{WEB_INSTALL} --from {WEB_NAME}-{VERSION}.tgz`"
    )
    if (npm := shutil.which("npm")) is None:
        raise SubnetSearchError(
            f"npm is not installed, which fetches {WEB_NAME}: install it, or {by_hand}"
        )
    command = [npm, "pack", f"{WEB_NAME}@{VERSION}", "--pack-destination", str(folder), "--silent"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SubnetSearchError(
            f"npm did not answer within {NPM_S} s: try again, or {by_hand}"
        ) from error
    packed = sorted(folder.glob("*.tgz"))
    if done.returncode or len(packed) != 1:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        raise SubnetSearchError(f"npm could not fetch {WEB_NAME} {VERSION} ({said}): {by_hand}")
    return packed[0]


def _checked(package: Path) -> bytes:
    """The content of the package.

    Raises:
        InputError: it is not readable, or another file.
    """
    try:
        if package.stat().st_size > MAX_PACKAGE_BYTES:
            raise InputError(f"{package}: expected {WEB_NAME}-{VERSION}.tgz, got a far larger file")
        content = package.read_bytes()
    except OSError as error:
        raise InputError(f"{package}: not readable ({error.strerror})") from error
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != INTEGRITY:
        raise InputError(
            f"{package}: expected {WEB_NAME}-{VERSION}.tgz with {INTEGRITY}, got {found}: it is "
            "another version, or damaged; nothing was unpacked"
        )
    return content


def _unpacked(content: bytes, package: Path) -> dict[str, bytes]:
    """The needed files of a package.

    Raises:
        InputError: one of them is missing.
    """
    wanted = {f"package/dist/{name}": name for name in FILES}
    wanted |= {f"package/{name}": name for name in PINNED["about"]}
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = wanted.get(member.name)
            if name is None or not member.isfile() or member.size > MAX_FILE_BYTES:
                continue
            stream = archive.extractfile(member)
            assert stream is not None
            found[name] = stream.read()
    if missing := sorted(set(wanted.values()) - set(found)):
        raise InputError(f"{package}: expected a package with {missing[0]}")
    return found


def _write(files: Mapping[str, bytes], target: Path) -> None:
    """Write a folder, whole or not at all; what browsers load, also compressed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        draft.chmod(0o755)
        for name, content in files.items():
            (draft / name).write_bytes(content)
            if name in FILES:
                (draft / f"{name}.gz").write_bytes(gzip.compress(content, 6, mtime=0))
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
