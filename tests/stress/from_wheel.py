"""The wheels in environments made anew: time to a first model, own photos, a team behind nginx.

    python -m tests.stress.from_wheel [--python PROGRAM]... [--limit-s 75] [--minutes 9]

For each Python: both wheels are built, the product is installed with the pinned versions into a new
environment, a network is searched and exported in an empty folder. Then the three commands of the
tutorial lead from a folder of images to a model, the service asks for keys behind nginx, and the
client, in an environment of its own, gets a model from it in ten lines.
pip's cache is used: run it twice, the second time tells the time with a warm one. It needs nginx.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image, ImageDraw

from tests.nginx import USUAL, nginx
from tests.processes import installed_server

ROOT = Path(__file__).resolve().parents[2]
NAME = "subnet.example.com"
CLIENT = """
import sys
from subnet_search_client import Client

with Client(sys.argv[1], api_key=sys.argv[2]) as client:
    front = client.front("fashion-mbv3", "cpu-x86-64-ort")
    fastest, slowest = front.points[0].latency_ms, front.points[-1].latency_ms
    search = client.search("fashion-mbv3", "cpu-x86-64-ort", latency_ms=(fastest + slowest) / 2)
    path = client.download(search, "team.onnx")
    print(search.status, search.top1, search.latency_ms, path)
"""
SHAPES: dict[str, list[tuple[float, float]]] = {
    "bar": [(0.4, 0), (0.6, 0), (0.6, 1), (0.4, 1)],
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(0.5, 0), (1, 1), (0, 1)],
}
"""Corners of the shapes on the photos, in a square of side 1."""
TUTORIAL = (
    "supernets init photos --minutes {minutes:g}",
    "supernets train photos.toml",
    "search --supernet photos --device host --measure -o photos.onnx --json",
)


class Place:
    """An empty folder with an environment of one Python in it."""

    def __init__(self, root: Path, python: str) -> None:
        self.root, self.bin = root, root / "environment" / "bin"
        self.folder = root / "folder"
        self.folder.mkdir(parents=True)
        self.variables = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PYTHON"))},
            "SUBNET_HOME": str(self.folder / "home"),
        }
        self.run(python, "-m", "venv", str(root / "environment"))

    def run(self, *command: object) -> str:
        """What a program prints; its name alone means the environment's."""
        program, *arguments = map(str, command)
        there = self.bin / program
        started = time.monotonic()
        done = subprocess.run(
            [str(there) if there.exists() else program, *arguments],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        shown = " ".join([Path(program).name, *arguments])
        print(f"{time.monotonic() - started:6.1f} s  {shown[:110]}", flush=True)
        return done.stdout

    def install(self, wheel: Path) -> None:
        """Install a wheel with the pinned versions of what it needs."""
        constraints = ROOT / "constraints.txt"
        self.run("pip", "install", "--quiet", "--constraint", constraints, wheel)


def first_model(python: str, wheel: Path, root: Path) -> tuple[Place, float]:
    """The environment of the product, and the seconds from nothing to a verified model."""
    started = time.monotonic()
    place = Place(root, python)
    place.install(wheel)
    search = ("--supernet", "fashion-mbv3", "--device", "cpu-x86-64-ort", "--latency-ms", "0.4")
    (place.folder / "arch.json").write_text(place.run("subnet-search", "search", *search, "--json"))
    export = ("--supernet", "fashion-mbv3", "--arch", "arch.json", "-o", "subnet.onnx", "--json")
    made = json.loads(place.run("subnet-search", "export", *export))
    assert made["verified"], made
    return place, time.monotonic() - started


def own_photos(place: Place, minutes: float) -> None:
    """The tutorial's three commands, on made-up photos of a few shapes."""
    write_shapes(place.folder / "photos")
    started = time.monotonic()
    commands = [line.format(minutes=minutes).split() for line in TUTORIAL]
    *_, answer = [place.run("subnet-search", *command) for command in commands]
    spent_s = time.monotonic() - started
    verified = json.loads(answer)["export"]["verified"]
    top1, latency = verified["top1"], verified["latency_ms"]
    assert (place.folder / "photos.onnx").stat().st_size > 10_000
    assert top1["value"] > 100 / len(SHAPES) + 3 * top1["expected_error"], top1
    print(f"{spent_s:6.1f} s from photos to a model, {minutes:g} min of them to train:", flush=True)
    print(f"          top-1 {top1['value']:.1f} % on {top1['images']} images, {latency}")


def write_shapes(folder: Path, *, each: int = 80, side: int = 24) -> None:
    """Pictures of a shape in a colour, at a place and of a size that differ."""
    rng = random.Random(0)
    for name, points in SHAPES.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            paper, ink = (f"#{rng.randrange(1 << 24):06x}" for _ in range(2))
            image = Image.new("RGB", (side, side), paper)
            size = rng.uniform(side / 2, 0.9 * side)
            left, top = rng.uniform(0, side - size), rng.uniform(0, side - size)
            corners = [(left + size * x, top + size * y) for x, y in points]
            ImageDraw.Draw(image).polygon(corners, fill=ink)
            image.save(folder / name / f"{number}.png")


def team(place: Place, client: Place) -> None:
    """A service for a team behind nginx, used by the client from another environment."""
    place.variables |= {"SUBNET_TRUSTED_PROXIES": "127.0.0.1", "SUBNET_ALLOWED_HOSTS": NAME}
    made = json.loads(place.run("subnet-search", "keys", "create", "ann", "--json"))
    command, log = place.bin / "subnet-search", place.root / "serve.log"
    with (
        installed_server(command, place.folder, place.variables, log) as direct,
        nginx(direct, USUAL) as url,
    ):
        refused = httpx.get(f"{url}/v1/searches", timeout=60)
        assert refused.status_code == 401, refused.text
        (client.folder / "client.py").write_text(CLIENT)
        print(client.run("python", "client.py", url, made["key"]).strip())
    assert (client.folder / "team.onnx").stat().st_size > 100_000


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="by default the one that runs this")
    parser.add_argument("--limit-s", type=float, default=75.0)
    parser.add_argument("--minutes", type=float, default=9.0, help="given to `supernets init`")
    options = parser.parse_args()
    slow = []
    for python in options.python or [sys.executable]:
        with tempfile.TemporaryDirectory(prefix="subnet-wheel-") as folder:
            root = Path(folder)
            build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
            for project in (ROOT, ROOT / "wheels" / "client"):
                command = (*build, "--no-build-isolation", "--wheel-dir", root, project)
                subprocess.run(list(map(str, command)), check=True, env=os.environ)
            (product,) = root.glob("subnet_search-*.whl")
            (alone,) = root.glob("subnet_search_client-*.whl")
            place, spent_s = first_model(python, product, root / "product")
            print(f"{spent_s:6.1f} s from the wheel to a verified model: {python}", flush=True)
            if spent_s > options.limit_s:
                slow.append(f"{python}: {spent_s:.0f} s, expected at most {options.limit_s:.0f} s")
            own_photos(place, options.minutes)
            client = Place(root / "client", python)
            client.install(alone)
            team(place, client)
    raise SystemExit("\n".join(slow) or None)


if __name__ == "__main__":
    main()
