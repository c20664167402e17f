"""Train on more images than fit into memory, killed at random moments, to the same bits.

    python -m tests.stress.many_images                    (200,000 images of 64 pixels, 1 GiB)
    python -m tests.stress.many_images --images 2000 --steps 12

Each training process may have `--memory-gib` of memory of its own: by a cgroup where systemd-run
makes one, else by RLIMIT_DATA. Pages of the image cache are the system's, and not counted by the
latter. Prints the time from the start of the command to the first step once the images are decoded
(bar: 5 s), and exits 1 if a bar is missed or the bits differ.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, SIZE, BATCH = 10, 64, 128
FIRST_STEP_S = 5.0
CHECKPOINT_STEPS = 5
PATIENCE_S = 3600.0


def make_folder(folder: Path, count: int) -> None:
    """Different files of 400 different pictures: bytes behind a JPEG's end are ignored."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(400):
        coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        coarse[number % CLASSES % 8] = 25 * (number % CLASSES)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((SIZE, SIZE)).save(buffer, "JPEG")
        pictures.append(buffer.getvalue())
    for label in range(CLASSES):
        (folder / f"class-{label}").mkdir(parents=True)
    for number in range(count):
        content = pictures[number % len(pictures)] + number.to_bytes(8, "big")
        (folder / f"class-{number % CLASSES}" / f"{number:06}.jpg").write_bytes(content)


def train(folder: Path, home: Path, steps: int) -> None:
    """What a child does: go on with the training up to a step. Prints when it decodes and steps."""
    from models.machine import keep_freed_memory
    from models.training import TrainingProgress, load_recipe, trainer

    keep_freed_memory()
    trainer.CHECKPOINT_STEPS = CHECKPOINT_STEPS
    debug = load_recipe("debug")
    space = replace(debug.space, channels=3, classes=CLASSES, resolutions=(32, SIZE))
    first, last = debug.phases[0], debug.phases[-1]
    phases = (replace(first, epochs=1), replace(last, resolutions=(32, SIZE), distill=0.0))
    recipe = replace(
        debug,
        dataset=str(folder),
        holdout=100,
        batch_size=BATCH,
        mean=(0.5,) * 3,
        std=(0.3,) * 3,
        space=space,
        phases=phases,
    )

    def on_images(share: float, doing: str) -> None:
        print(f"decoding {share:.4f} {doing}", flush=True)

    def on_progress(now: TrainingProgress) -> None:
        print(f"step {now.step}", flush=True)
        if now.step >= steps:
            raise SystemExit

    here = home / "training"
    trainer.Trainer(recipe, here, True, home / "images", on_images).run(on_progress)


def limited(memory_gib: float) -> list[str]:
    """The start of a command that runs with so much memory."""
    scope = ["systemd-run", "--scope", "--quiet", "-p", f"MemoryMax={int(memory_gib * 2**30)}"]
    try:
        subprocess.run([*scope, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return scope


class Child:
    """One training process."""

    def __init__(self, scope: list[str], folder: Path, home: Path, steps: int, gib: float) -> None:
        command = [sys.executable, "-m", "tests.stress.many_images", "--child", str(folder)]
        command += [str(home), "--steps", str(steps)]

        def limit() -> None:
            if not scope:
                resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30),) * 2)

        self.started = time.monotonic()
        self.peak_bytes = 0
        self.process = subprocess.Popen(
            [*scope, *command], stdout=subprocess.PIPE, text=True, preexec_fn=limit
        )

    def lines(self) -> Iterator[tuple[str, float]]:
        """What it prints, and how long after its start, s."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.peak_bytes = max(self.peak_bytes, self._own_memory_bytes())
            yield line.strip(), time.monotonic() - self.started

    def _own_memory_bytes(self) -> int:
        """Without pages of files."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields.get("RssAnon", "0").split()[0]) * 1024

    def end(self, kill: bool = False) -> int:
        """Wait for its end, or kill it first."""
        if kill:
            self.process.kill()
        return self.process.wait(timeout=PATIENCE_S)


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bits(home: Path) -> tuple[str, str]:
    """Hashes of the decoded images and of the checkpoint's tensors."""
    from safetensors.torch import load_file

    (images,) = home.glob("images/*/images.npy")
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(home / "training/checkpoint.safetensors").items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return sha256(images), digest.hexdigest()


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder on a disk, for /tmp is memory on some systems."""
    folder = Path(tempfile.mkdtemp(prefix="many-images-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run(images: int, steps: int, kills: int, gib: float, seed: int) -> bool:
    """All of it; whether every bar is met."""
    drawn = random.Random(seed)
    scope = limited(gib)
    print(f"{images} images, {gib:g} GiB by {'a cgroup' if scope else 'RLIMIT_DATA'}", flush=True)
    with workplace() as place:
        folder, whole, cut = (place / name for name in ("photos", "whole", "cut"))
        make_folder(folder, images)
        print("folder made; decode and train without interruption", flush=True)
        child = Child(scope, folder, whole, steps, gib)
        decoded_s = 0.0
        for line, after_s in child.lines():
            if line.startswith("decoding"):
                decoded_s = after_s
            print(f"  {line} after {after_s:.1f} s", end="\r", flush=True)
        if (code := child.end()) != 0:
            print(f"\nthe uninterrupted training ended with {code}: memory?")
            return False
        own_mib = child.peak_bytes / 2**20
        print(f"\ndecoded in {decoded_s:.1f} s; own memory at most {own_mib:.0f} MiB", flush=True)
        moments = [("decoding", share) for share in sorted(drawn.random() for _ in range(kills))]
        moments += [("step", at) for at in sorted(drawn.randrange(1, steps) for _ in range(kills))]
        first_step_s: list[float] = []
        for what, at in [*moments, ("step", float("inf"))]:
            child = Child(scope, folder, cut, steps, gib)
            ended = until(child, what, at, drawn, first_step_s)
            print(f"until {what} {at:.3g}: ended with {ended}", flush=True)
        same = ended == 0 and bits(whole) == bits(cut)
        slowest_s = max(first_step_s)
        print(f"first step after decoding: {slowest_s:.2f} s at most, bar {FIRST_STEP_S:g} s")
        found = "the same bits" if same else "OTHER BITS"
        print(f"killed {len(moments)} times and resumed: {found}")
        return same and slowest_s < FIRST_STEP_S


def until(
    child: Child, what: str, at: float, drawn: random.Random, first_step_s: list[float]
) -> int:
    """Let a child work until it has said `what` with a number of at least `at`, then kill it
    within a tenth of a second. Adds its first step's time, if it found all decoded.

    Returns:
        Its exit status.
    """
    words: set[str] = set()
    for line, after_s in child.lines():
        word, value, *_ = line.split()
        if word == "step" and not words:
            first_step_s.append(after_s)
        words.add(word)
        if word == what and float(value) >= at:
            time.sleep(drawn.random() * 0.1)
            return child.end(kill=True)
    return child.end()


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--kills", type=int, default=4, help="while decoding, and while training")
    parser.add_argument("--memory-gib", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        folder, home = given.child
        train(folder, home, given.steps)
        return
    print(f"seed {given.seed}", flush=True)
    met = run(given.images, given.steps, given.kills, given.memory_gib, given.seed)
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
