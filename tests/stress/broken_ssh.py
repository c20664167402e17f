"""A measurement over SSH whose line is killed twice gives the table of a kit run here.

    python -m tests.stress.broken_ssh [--seconds 60] [--resolution 28]

A real sshd on loopback. The line is killed when a third and two thirds are done. The same kit then
runs on this machine without a line, for as long. Prints the ratio of the latencies that both tables
predict for 200 random networks; exit code 1 if their median is off by more than 10 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from latency_tables.benchmark import MeasureOptions, build_kit
from latency_tables.remote import Board
from latency_tables.runtimes import find_runtime
from latency_tables.table import LatencyTable
from models.spaces import layer_plan
from service.catalog import open_catalog
from service.settings import Settings
from tests.sshd import HOST, Sshd, sshd

SUPERNET, NETWORKS, WITHIN = "fashion-mbv3", 200, 0.10
BREAK_AT = (1 / 3, 2 / 3)


def over_ssh(server: Sshd, kit: bytes, seconds: float) -> bytes:
    """What the kit writes at the end of a line that is killed twice."""
    arguments = ["--threads=1"]
    board = Board(HOST, sys.executable, name="far", arguments=arguments, seconds=seconds, say=print)
    print(f"runtime there: {board.check(find_runtime('onnxruntime'), None, 1)}")
    left, started, shown = list(BREAK_AT), time.monotonic(), 0.0

    def watch(share: float, word: str) -> None:
        nonlocal shown
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(f"{share:4.0%} after {shown - started:.0f} s {word}")
        if left and share >= left[0]:
            left.pop(0)
            print(f"killed {server.break_lines()} lines")

    content = board.measure(kit, on_progress=watch)
    assert not left, "it had ended before the line was killed twice"
    board.remove(kit)
    assert not (server.home / ".cache" / "subnet-search").exists(), "something was left there"
    return content


def here(kit: bytes, folder: Path, seconds: float) -> bytes:
    """What the kit writes on this machine."""
    zipfile.ZipFile(BytesIO(kit)).extractall(folder)
    command = [sys.executable, "measure.py", "near", f"--seconds={seconds}"]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "near.json").read_bytes()


def main() -> int:
    """Measure twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--resolution", type=int, action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sshd() as server:
        os.environ["PATH"] = server.path
        catalog = open_catalog(Settings(home=Path(name) / "home"))
        space = catalog.context(SUPERNET, None).space
        space = space.at(given.resolution) if given.resolution else space
        print(f"making models of {space.name}")
        kit = build_kit(space, MeasureOptions())
        files = over_ssh(server, kit, given.seconds), here(kit, Path(name) / "kit", given.seconds)
        far, near = (catalog.read_profile(json.loads(content)) for content in files)
    networks = space.decode(space.sample(NETWORKS, np.random.default_rng(0)))
    plans = [layer_plan(space, arch) for arch in networks]

    def predicted(table: LatencyTable) -> np.ndarray:
        return np.array([table.network_ms(plan) for plan in plans])

    ratios = predicted(far) / predicted(near)
    median, worst = float(np.median(ratios)), float(np.abs(ratios - 1).max())
    print(f"over SSH / here: median {median:.4f}, farthest from 1 by {worst:.1%} ({NETWORKS})")
    return int(abs(median - 1) > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
