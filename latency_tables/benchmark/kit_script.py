"""Measure this machine with the kit that lies beside this file.

This file imports nothing of its project: a measuring kit carries it as `measure.py`. What it needs
lies beside it in the kit, and need not be on the import path.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

FOLDER = Path(__file__).resolve().parent
ON_TERMINAL_S, ELSEWHERE_S = 0.5, 2.0
"""How often the progress is shown: over the last line of a terminal, or in a line of its own."""


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure, and write one JSON file for each batch."""
    kit = json.loads((FOLDER / "kit.json").read_bytes())
    runtime = _load("runtime").RUNTIME
    parser = argparse.ArgumentParser(description=f"Measure this machine for {kit['space']}.")
    parser.add_argument("name", help="of the device: a-z 0-9 . _ -, such as my-board")
    parser.add_argument("-o", "--out", type=Path, help="file to write; default NAME.json")
    parser.add_argument("--provider", help=f"of {runtime.name}; default: its usual one")
    parser.add_argument(
        "--io", choices=("host", "device"), default="host", help="where input and output lie"
    )
    parser.add_argument("--threads", type=int, default=1, help="of one inference")
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="images of one inference; repeatable: NAME-batch-N is a device of its own. "
        f"Default: {kit['batch']}",
    )
    parser.add_argument(
        *("--target-s", "--seconds"),  # the second is its name in earlier kits
        type=float,
        default=240.0,
        help="seconds to measure for, each batch",
    )
    parser.add_argument("--power-w", type=float, help="mean power when busy, watts, if known")
    given = parser.parse_args(None if arguments is None else list(arguments))
    batches = list(dict.fromkeys(given.batch or [kit["batch"]]))
    if min(batches) < 1:
        parser.error(f"--batch: expected at least 1, got {min(batches)}")
    if given.out is not None and len(batches) > 1:
        parser.error("-o: expected one --batch, since each batch has a file of its own")
    try:
        for batch in batches:
            name = given.name if batch == batches[0] else f"{given.name}-batch-{batch}"
            print(_measure({**kit, "batch": batch}, runtime, given, name))  # noqa: T201
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _measure(kit: Mapping[str, Any], runtime: Any, given: argparse.Namespace, name: str) -> Path:
    """Measure at one batch, and write the file; returns its path."""
    models, runner = _load("open_models"), _load("runner")
    out: Path = given.out or Path(f"{name}.json")
    conditions = models.host_conditions(runtime, given.provider, given.threads, given.io)
    if given.power_w is not None:
        conditions["power_w"] = given.power_w
    same = [kit["id"], *(conditions[key] for key in ("runtime_version", "processor", "provider"))]
    partial_path = out.with_name(f"{out.name}.partial")
    fingerprint = json.dumps([*same, given.threads, given.io, kit["batch"]])
    timings: Mapping[str, Mapping[str, str]] = kit["timings"]
    opened = models.OpenModels(
        lambda file: models.open_model(
            runtime,
            (FOLDER / file).read_bytes(),
            provider=given.provider,
            threads=given.threads,
            batch=kit["batch"],
            io=given.io,
        )
    )

    def prepare(timing: str) -> Any:
        files = timings[timing]
        after = opened.get(files["after"]) if "after" in files else None
        return models.timed_runs(opened.get(files["model"]), after)

    settings = {key: kit["rounds"][key] for key in ("warmup", "runs", "seed")}
    with _progress() as progress:
        times = runner.time_rounds(
            list(timings),
            prepare,
            runner.Rounds(target_s=given.target_s, **settings),
            runner.Partial(partial_path, fingerprint),
            progress.show,
            say=progress.say,
            models_of=lambda timing: timings[timing].values(),
        )
    if opened.ran_on is not None:
        conditions["ran_on"] = opened.ran_on
    runner.write(out, json.dumps(runner.profile_of(kit, name, conditions, times)))
    partial_path.unlink(missing_ok=True)
    return out


class _Shown:
    """What is shown on stderr, from a thread of its own: a model that takes long to open is not
    silent."""

    def __init__(self) -> None:
        self.ended = Event()
        self._start, self._share, self._doing = time.monotonic(), 0.0, "starting"

    def show(self, share: float, doing: str = "") -> None:
        """So much is done, 0..1."""
        self._share, self._doing = share, doing

    def say(self, text: str) -> None:
        """Print a line now."""
        before = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{before}{text}", file=sys.stderr, flush=True)  # noqa: T201

    def keep_showing(self) -> None:
        """Print the progress until the work has ended."""
        while not self.ended.wait(ON_TERMINAL_S if sys.stderr.isatty() else ELSEWHERE_S):
            self.print()

    def print(self) -> None:
        """Print the progress now."""
        share, terminal = self._share, sys.stderr.isatty()
        left_s = (time.monotonic() - self._start) * (1 - share) / share if share > 0 else None
        left = "" if left_s is None else f", {left_s:.0f} s left"
        text = f"{share:.0%} done{left}" + (f" ({self._doing})" if share < 1 else "")
        last = share >= 1 or not terminal
        start = "\r\033[K" if terminal else ""
        print(f"{start}{text}", end="\n" if last else "", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _progress() -> Iterator[_Shown]:
    """Show the progress while the block runs, and once at its end."""
    shown = _Shown()
    thread = Thread(target=shown.keep_showing, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        shown.ended.set()
        thread.join()
    shown.print()


def _load(name: str) -> Any:
    """The file of that name beside this one, as a module."""
    spec = importlib.util.spec_from_file_location(f"kit_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
