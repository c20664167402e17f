"""Give files of every kind of wrong to the command line: spaces, recipes, architectures,
measurements, checkpoints and predictors.

    python -m tests.stress.fuzz_files [--files 2000] [--seed 1] [--processes 40]

Each file is a good one with a part replaced, removed, added or damaged. It is taken, or refused
with exit code 2 and one error that names the field (or says what the file is not); nothing is left
behind, no code in it is run. What is wrong for certain must be refused. A share is run as real
processes, the others in this one.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from service.cli import app
from tests.service.conftest import SUPERNET, make_bundle
from tests.stress.wrong_checkpoints import MARKER, good_tensors, safe_bytes
from tests.stress.wrong_files import (
    GOOD_CHECKPOINT,
    GOOD_SPACE,
    KINDS,
    Wrong,
    good_space,
    toml_text,
)

MAX_RSS_BYTES = 2 * 2**30
MAX_TOLD = 20
"""Failures that are printed."""
INTERNALS = re.compile(r"Traceback|site-packages|\.py\b|pydantic|KeyError|TypeError|ValueError")


class Target:
    """An installation that is given files, and what it answered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest = (0.0, "")
        self.failures: list[str] = []
        (folder / GOOD_CHECKPOINT).write_bytes(safe_bytes(good_tensors("checkpoint")))
        (folder / GOOD_SPACE).write_text(toml_text(good_space()))
        make_bundle(self.home / "supernets" / SUPERNET)
        self.before = self.files()

    def files(self) -> set[str]:
        """Every file of the installation and beside it, but for its database and locks."""
        found = (p.relative_to(self.folder) for p in self.folder.rglob("[!.]*") if p.is_file())
        return {str(p) for p in found if len(p.parts) != 2}

    def clean(self) -> None:
        """Remove what a command made of a file that it took."""
        for name in ("fuzzed", "ofa-mbv3-w1.2"):
            shutil.rmtree(self.home / "supernets" / name, ignore_errors=True)
        (self.folder / "out.onnx").unlink(missing_ok=True)

    def give(self, kind: str, wrong: Wrong, run: Callable[[list[str]], tuple[int, str]]) -> None:
        """Give one file, and hold the answer to what is promised."""
        path = self.folder / f"fuzzed{wrong.suffix}"
        path.write_bytes(wrong.content)
        started = time.monotonic()
        code, stderr = run([*map(str, KINDS[kind].command(self.folder, path))])
        self.slowest = max(self.slowest, (time.monotonic() - started, f"{kind}: {wrong.how}"))
        path.unlink()
        told = f"{kind}: {wrong.how}\n{wrong.content[:2000]!r}\nexit {code}\n{stderr[-3000:]}"
        assert code in (0, 2), told
        assert not (self.folder / MARKER).exists(), f"code of the file was run: {told}"
        if code == 0:
            self.clean()
            self.before = self.files()  # an export keeps its batch-norm statistics for the next
            assert not wrong.certainly, f"taken, and should not be: {told}"
            self.outcomes[kind, "taken"] += 1
            return
        errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, told
        assert not INTERNALS.search(errors[0].replace(wrong.how, "")), told
        assert errors[0].isprintable(), told
        assert len(errors[0]) < 3000, f"a refusal as long as a book: {told}"
        assert wrong.named(errors[0]), f"no field is named: {told}"
        left = self.files() - self.before
        self.before |= left  # told once
        assert not left, f"{sorted(left)} is left: {told}"
        self.outcomes[kind, "refused"] += 1


def in_process(home: Path) -> Callable[[list[str]], tuple[int, str]]:
    """Runs a command in this process; an exception that nothing caught is exit code 1."""

    def run(args: list[str]) -> tuple[int, str]:
        result = CliRunner().invoke(app, args, env={"SUBNET_HOME": str(home)})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return 1, f"{result.stderr}\nTraceback: {result.exception!r}"
        return result.exit_code, result.stderr

    return run


def as_process(home: Path) -> Callable[[list[str]], tuple[int, str]]:
    """Runs a command as users do."""

    def run(args: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "service", *args],
            env={
                "SUBNET_HOME": str(home),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": ":".join(sys.path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return run


def fuzz(target: Target, files: int, processes: int, seed: int) -> None:
    """Give so many files, the kinds in turn; the last `processes` as processes of their own."""
    rng = random.Random(seed)
    runs = (in_process(target.home), as_process(target.home))
    for number in range(files):
        kind = list(KINDS)[number % len(KINDS)]
        wrong = KINDS[kind].draw(rng, target.folder)
        try:
            target.give(kind, wrong, runs[number >= files - processes])
        except AssertionError as error:
            target.failures.append(str(error))
            target.clean()
        if sys.stderr.isatty() and number % 20 == 0:
            sys.stderr.write(f"\r{number}/{files}")


def main() -> int:
    """Run; prints what became of the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=40)
    given = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp()), time.monotonic()
    try:
        target = Target(folder)
        fuzz(target, given.files, given.processes, given.seed)
    finally:
        shutil.rmtree(folder)
    rss = 1024 * max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    assert rss < MAX_RSS_BYTES, f"{rss} bytes of memory"
    for (kind, outcome), count in sorted(target.outcomes.items()):
        sys.stdout.write(f"{kind:<14} {outcome:<8} {count:5}\n")
    seconds, what = target.slowest
    sys.stdout.write(
        f"{given.files} files in {time.monotonic() - started:.0f} s, {given.processes} of them as "
        f"processes; most memory {rss / 2**20:.0f} MiB; slowest {seconds:.1f} s ({what})\n"
    )
    for failure in target.failures[:MAX_TOLD]:
        sys.stdout.write(f"\n{failure}\n")
    sys.stdout.write(f"{len(target.failures)} failures\n")
    return min(len(target.failures), 1)


if __name__ == "__main__":
    sys.exit(main())
