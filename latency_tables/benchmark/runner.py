"""Time many models in rounds, so that disturbances of the machine affect all of them alike.

A round visits every model once, in random order: a few untimed runs, then a few timed ones. Rounds
go on for a given time, so that a drifting clock or other work on the machine slows all models by
the same share. Finished rounds can be kept in a file, from which an interrupted measurement
resumes.

This file imports nothing of its project: a measuring kit carries it as `measure.py`, beside the
file of the runtime that it times with.

Shapes: R rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import os
import platform
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from latency_tables.runtimes import OpenModel, Runtime

Floats = npt.NDArray[np.float64]
TimedRuns = Callable[[int, int], Floats]
"""(untimed runs, timed runs) -> milliseconds of each timed run."""
OnProgress = Callable[[float], None]
"""Called with the finished share, 0..1, which never falls."""
Visits = dict[str, list[tuple[float, float]]]

IO = ("host", "device")
"""Where input and output of a timed inference lie."""
MAX_ROUNDS = 2000
OPENINGS = 4
"""How often a measurement opens its models, by default."""
SAVE_EVERY_S = 10.0
PREPARING = 0.1
"""Share of the progress for opening the models."""


class WrongPartial(ValueError):
    """The file of finished rounds is damaged, or of another measurement."""


@dataclass(frozen=True)
class Rounds:
    """How long and how to time."""

    target_s: float = 240.0
    """Time to spend in rounds, seconds. The last round starts before it is over."""
    min_rounds: int = 10
    warmup: int = 2
    """Untimed runs at the start of each visit, except where another model runs in between."""
    runs: int = 4
    """Timed runs of each visit: few, so that there are many rounds, whose median other work on the
    machine hardly changes."""
    seed: int = 0
    openings: int = OPENINGS
    """How often the models are opened again, spread evenly. Openings of one model differ by about
    1 %, depending on where its weights lie in memory."""

    def share(self, done: int, spent_s: float) -> float:
        """The finished share after so many rounds and seconds, 0..1."""
        in_time = spent_s / self.target_s if self.target_s > 0 else 1.0
        return min(done / self.min_rounds, in_time, 1.0)


def time_rounds(
    names: Sequence[str],
    prepare: Callable[[str], TimedRuns],
    rounds: Rounds,
    partial: Partial,
    on_progress: OnProgress = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Floats]:
    """Time every model in rounds until `rounds.target_s` is over.

    Args:
        prepare: opens the model of a name. It is called again at each opening, after the results of
            earlier calls were released.

    Returns:
        (R, 2) milliseconds a model: median and mean of each round's visit.

    Raises:
        WrongPartial: the partial file is damaged, or of another measurement.
    """
    visits, spent_s = partial.load(names)
    prepared: dict[str, TimedRuns] = {}
    saved_s, opening = spent_s, -1
    for done in range(len(visits[names[0]]), MAX_ROUNDS):
        if (share := rounds.share(done, spent_s)) >= 1:
            break
        if opening < int(rounds.openings * share):
            first, opening = opening < 0, int(rounds.openings * share)
            prepared.clear()
            # In random order as well: models that were opened last ran 1 % faster, from where
            # their weights lay in memory.
            order = np.random.default_rng([rounds.seed, opening, done]).permutation(len(names))
            for opened, index in enumerate(order):
                prepared[names[index]] = prepare(names[index])
                if first:
                    on_progress(PREPARING * (opened + 1) / len(names))
        start = clock()
        for index in np.random.default_rng([rounds.seed, done]).permutation(len(names)):
            times = prepared[names[index]](rounds.warmup, rounds.runs)
            visits[names[index]].append(visit_summary(times))
        spent_s += clock() - start
        if spent_s - saved_s >= SAVE_EVERY_S:
            partial.save(visits, spent_s)
            saved_s = spent_s
        on_progress(PREPARING + (1 - PREPARING) * rounds.share(done + 1, spent_s))
    partial.save(visits, spent_s)
    return {name: np.array(rows) for name, rows in visits.items()}


def visit_summary(times_ms: Floats) -> tuple[float, float]:
    """What is kept of a visit: median and mean of its runs, (R,) given."""
    return float(np.median(times_ms)), float(times_ms.mean())


class Partial:
    """The file of finished rounds; its fingerprint says of which measurement."""

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def load(self, names: Sequence[str]) -> tuple[Visits, float]:
        """The finished rounds (none without a file) and the seconds spent on them."""
        if self.path is None or not self.path.exists():
            return {name: [] for name in names}, 0.0
        try:
            stored = json.loads(self.path.read_bytes())
            fingerprint, spent_s = stored["fingerprint"], float(stored["spent_s"])
            visits = {
                name: [(float(p50), float(mean)) for p50, mean in stored["visits"][name]]
                for name in (names if fingerprint == self.fingerprint else ())
            }
        except (ValueError, KeyError, TypeError) as error:
            raise WrongPartial(
                f"{self.path}: expected finished rounds of a measurement, got a damaged file "
                f"({type(error).__name__}: {error}); remove it to start over"
            ) from error
        if fingerprint != self.fingerprint or len({len(rows) for rows in visits.values()}) != 1:
            raise WrongPartial(
                f"{self.path}: expected rounds of these models, this machine, runtime and options, "
                "got those of another measurement; remove it to start over"
            )
        return visits, spent_s

    def save(self, visits: Visits, spent_s: float) -> None:
        """Write the rounds; a reader sees the old file or the new one, never a part."""
        if self.path is not None:
            content = {"fingerprint": self.fingerprint, "spent_s": spent_s, "visits": visits}
            _write(self.path, json.dumps(content))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    os.replace(draft, path)


# -- one model -----------------------------------------------------------------------------


def timed_runs(model: OpenModel, after: OpenModel | None = None) -> TimedRuns:
    """A function that times `model`; each timed run follows a run of `after`, if that is given."""

    def timed(warmup: int, runs: int) -> Floats:
        for _ in range(warmup if after is None else 0):
            model.run()
        times_ms = np.empty(runs)
        for index in range(runs):
            if after is not None:
                after.run()
            times_ms[index] = model.time_ms()
        return times_ms

    return timed


def open_model(
    runtime: Runtime, model: bytes, *, provider: str | None, threads: int, batch: int, io: str
) -> OpenModel:
    """A model as a runtime opens it.

    Raises:
        ValueError: the provider does not run it, or the runtime has no memory for such io.
    """
    if io not in IO:
        raise ValueError(f"io: expected {' or '.join(IO)}, got {io!r}")
    if io == "host":
        return runtime.open(model, provider=provider, threads=threads, batch=batch)
    if "io" not in inspect.signature(runtime.open).parameters:
        raise ValueError(
            f"io: expected 'host', since runtime {runtime.name!r} keeps input and output in this "
            f"machine's memory, got {io!r}"
        )
    return runtime.open(model, provider=provider, threads=threads, batch=batch, io=io)


def note_provider(model: OpenModel, ran_on: set[str]) -> None:
    """Add to `ran_on` what ran a model, if its runtime tells."""
    provider = getattr(model, "ran_on", None)
    if provider is not None:
        ran_on.add(provider)


def host_conditions(
    runtime: Runtime, provider: str | None, threads: int, io: str = "host"
) -> dict[str, Any]:
    """The conditions of a measurement with a runtime on this machine, now.

    Raises:
        ValueError: if the runtime lacks the provider here.
    """
    return {
        "processor": processor(),
        **runtime.conditions(provider, threads),
        "io": io,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017
    }


def processor() -> str:
    """The processor's name as its maker gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine()


# -- as the runner of a kit ----------------------------------------------------------------


def profile_of(
    kit: Mapping[str, Any], name: str, conditions: Mapping[str, Any], times: Mapping[str, Floats]
) -> dict[str, Any]:
    """The file that a kit writes: the times of each visit, and the conditions.

    Args:
        kit: the kit's own description.
        times: (R, 2) milliseconds a model, as `time_rounds` gives them.
    """
    return {
        "name": name,
        "runtime": kit["runtime"],
        "precision": kit["precision"],
        "batch": kit["batch"],
        "conditions": dict(conditions),
        "space": kit["space"],
        "rounds": {
            **kit["rounds"],
            "times_ms": {
                model: {
                    "p50": [round(value, 6) for value in rows[:, 0].tolist()],
                    "mean": [round(value, 6) for value in rows[:, 1].tolist()],
                }
                for model, rows in times.items()
            },
        },
    }


def _show(share: float) -> None:
    """Show the time left: over the last line of a terminal, elsewhere in a line now and then."""
    now, terminal = time.monotonic(), sys.stderr.isatty()
    if share < 1 and now - _progress["at"] < (0.5 if terminal else 2.0):
        return
    _progress["at"] = now
    spent_s = now - _progress["start"]
    left = f", {spent_s * (1 - share) / share:5.0f} s left" if share > 0 else ""
    text = f"{share:4.0%} done{left} "
    shown, end = (f"\r{text}", "\n" if share >= 1 else "") if terminal else (text.strip(), "\n")
    print(shown, end=end, file=sys.stderr, flush=True)  # noqa: T201


_progress = {"at": 0.0, "start": 0.0}


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure the kit beside this file and write one JSON file."""
    folder = Path(__file__).resolve().parent
    kit = json.loads((folder / "kit.json").read_bytes())
    runtime = _load_runtime(folder / "runtime.py")
    parser = argparse.ArgumentParser(description=f"Measure this machine for {kit['space']}.")
    parser.add_argument("name", help="of the device: a-z 0-9 . _ -, such as my-board")
    parser.add_argument("-o", "--out", type=Path, help="file to write; default NAME.json")
    parser.add_argument("--provider", help=f"of {runtime.name}; default: its usual one")
    parser.add_argument("--io", choices=IO, default="host", help="memory of input and output")
    parser.add_argument("--threads", type=int, default=1, help="of one inference")
    parser.add_argument("--seconds", type=float, default=240.0, help="to measure for")
    parser.add_argument("--power-w", type=float, help="mean power when busy, watts, if known")
    given = parser.parse_args(None if arguments is None else list(arguments))
    _progress["start"] = time.monotonic()
    try:
        out = _measure(folder, kit, runtime, given)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)  # noqa: T201
        return 130
    print(out)  # noqa: T201
    return 0


def _measure(
    folder: Path, kit: Mapping[str, Any], runtime: Runtime, given: argparse.Namespace
) -> Path:
    """Measure, and write the file; returns its path."""
    out: Path = given.out or Path(f"{given.name}.json")
    conditions = host_conditions(runtime, given.provider, given.threads, given.io)
    if given.power_w is not None:
        conditions["power_w"] = given.power_w
    same = [kit["id"], *(conditions[name] for name in ("runtime_version", "processor", "provider"))]
    partial_path = out.with_name(f"{out.name}.partial")
    partial = Partial(partial_path, json.dumps([*same, given.threads, given.io]))
    settings = {name: kit["rounds"][name] for name in ("warmup", "runs", "seed")}
    timings: Mapping[str, Mapping[str, str]] = kit["timings"]
    opened: weakref.WeakValueDictionary[str, OpenModel] = weakref.WeakValueDictionary()
    ran_on: set[str] = set()

    def open_once(file: str) -> OpenModel:
        model = opened.get(file)
        if model is None:
            model = opened[file] = open_model(
                runtime,
                (folder / file).read_bytes(),
                provider=given.provider,
                threads=given.threads,
                batch=kit["batch"],
                io=given.io,
            )
            note_provider(model, ran_on)
        return model

    def prepare(name: str) -> TimedRuns:
        timing = timings[name]
        after = open_once(timing["after"]) if "after" in timing else None
        return timed_runs(open_once(timing["model"]), after)

    rounds = Rounds(target_s=given.seconds, **settings)
    times = time_rounds(list(timings), prepare, rounds, partial, _show)
    if ran_on:
        conditions["ran_on"] = ", ".join(sorted(ran_on))
    _write(out, json.dumps(profile_of(kit, given.name, conditions, times)))
    partial_path.unlink(missing_ok=True)
    return out


def _load_runtime(path: Path) -> Runtime:
    """`RUNTIME` of the file, which need not be on the import path."""
    spec = importlib.util.spec_from_file_location("kit_runtime", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    runtime: Runtime = module.RUNTIME
    return runtime


if __name__ == "__main__":
    sys.exit(main())
