"""Installing onnxruntime-web: checked before it is unpacked, whole or not at all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile

import pytest

from models.errors import InputError, SubnetSearchError
from service.links import web_runtime
from service.links.web_runtime import FILES, PINNED, WebRuntime
from service.settings import Settings


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package whose hash is the pinned one."""

    def make(names=(*(f"dist/{name}" for name in FILES), *PINNED["about"], "dist/more.js")):
        path = tmp_path / "onnxruntime-web.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                content = f"of {name}".encode()
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        monkeypatch.setattr(web_runtime, "INTEGRITY", f"sha512-{digest}")
        return path

    return make


def test_installed_from_a_file(package, tmp_path):
    runtime = WebRuntime(tmp_path / "runtimes")
    assert runtime.folder is None
    folder = runtime.install(package())
    assert runtime.folder == runtime.require() == folder
    assert {path.name for path in folder.iterdir()} == {
        *FILES,
        *(f"{name}.gz" for name in FILES),
        *PINNED["about"],
    }
    name = "ort.wasm.bundle.min.mjs"
    path, kind, compressed = runtime.file(name, compressed=True)
    assert (kind, compressed) == ("text/javascript", True)
    assert gzip.decompress(path.read_bytes()) == f"of dist/{name}".encode()
    (folder / f"{name}.gz").unlink()
    assert runtime.file(name, compressed=True)[2] is False
    assert runtime.file("package.json", compressed=False) is None
    assert runtime.install(package()) == folder, "again"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "no drafts"


def test_what_is_not_the_package_is_not_unpacked(package, tmp_path, monkeypatch):
    runtime = WebRuntime(tmp_path / "runtimes")
    other = package()
    other.write_bytes(other.read_bytes() + b"x")
    with pytest.raises(InputError, match="another version, or damaged; nothing was unpacked"):
        runtime.install(other)
    with pytest.raises(InputError, match="not readable"):
        runtime.install(tmp_path / "missing.tgz")
    with pytest.raises(InputError, match="expected a package with"):
        runtime.install(package(["dist/ort.wasm.bundle.min.mjs"]))
    assert runtime.folder is None


def test_without_npm_it_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SubnetSearchError, match=r"npm is not installed.*--from onnxruntime-web-"):
        WebRuntime(tmp_path / "runtimes").install()


def test_npm_fetches_it(package, tmp_path, monkeypatch):
    """By the real command's name and arguments; what it says is shown where it fails."""
    made, bin_ = package(), tmp_path / "bin"
    bin_.mkdir()
    npm = bin_ / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack onnxruntime-web@1.30.0" ] && cp {made} "$4"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    assert WebRuntime(tmp_path / "runtimes").install().is_dir()
    npm.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    with pytest.raises(SubnetSearchError, match=r"could not fetch .*\(no network\): fetch"):
        WebRuntime(tmp_path / "other").install()


def test_a_shared_folder_will_do(package, tmp_path):
    shared = tmp_path / "shared"
    folder = WebRuntime(shared).install(package())
    settings = Settings(home=tmp_path / "home", runtimes=shared)
    assert WebRuntime.of(settings).folder == folder
