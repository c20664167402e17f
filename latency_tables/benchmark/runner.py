"""Time many models in rounds, so that disturbances of the machine affect all of them alike.

A round visits every model once, in random order: a few untimed runs, then a few timed ones. Rounds
go on for a given time, so that a drifting clock or other work on the machine slows all models by
the same share. Finished rounds can be kept in a file, from which an interrupted measurement
resumes.

This file imports nothing of its project: a measuring kit carries it.

Shapes: R rounds.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TimedRuns = Callable[[int, int], Floats]
"""(untimed runs, timed runs) -> milliseconds of each timed run."""
Say = Callable[[str], None]
"""Called with a line that the user should read now."""
Visits = dict[str, list[tuple[float, float]]]

MAX_ROUNDS = 2000
OPENINGS = 4
"""How often a measurement opens its models, by default."""
SAVE_EVERY_S = 10.0
CHEAP_OPENING_S = 5.0
"""Models that open faster, all of them, are opened as often as asked, and nothing is said of it."""
OPENING_SHARE = 0.25
"""Of the time, for opening models that do not open so fast: a GPU's runtime searches for the
algorithms of each model at its first run. They are opened once in any case."""
FEWEST_ROUNDS = 5
"""What a table needs where opening once takes more than that."""
ESTIMATE_AFTER_S = 1.0
"""How long models are opened before it is said what opening all of them takes."""
TOO_LATE = 1.1
"""Share of the target above which it is said that a table takes longer."""


class OnProgress(Protocol):
    """Called with the finished share, 0..1, which never falls, and what is being done."""

    def __call__(self, share: float, doing: str = "", /) -> None: ...


class WrongPartial(ValueError):
    """The file of finished rounds is damaged, or of another measurement."""


@dataclass(frozen=True)
class Rounds:
    """How long and how to time."""

    target_s: float = 240.0
    """Time for opening the models and for rounds, seconds; 0: as little as a table needs. The last
    round starts before it is over."""
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

    def beside(self, opening_s: float) -> Rounds:
        """What is left for rounds where opening all models once takes so long.

        Where it is dear, models are opened less often. Where once is too dear, fewer rounds are
        enough: such models run on a processor of their own, which other work here hardly disturbs.
        """
        affordable_s = max(OPENING_SHARE * self.target_s, self.openings * CHEAP_OPENING_S)
        often = affordable_s / opening_s if opening_s > 0 else math.inf
        dear = often < 1
        openings = max(1, int(min(self.openings, often)))
        return replace(
            self,
            target_s=max(self.target_s - openings * opening_s, 0.0),
            min_rounds=min(self.min_rounds, FEWEST_ROUNDS) if dear else self.min_rounds,
            openings=openings,
        )


def time_rounds(
    names: Sequence[str],
    prepare: Callable[[str], TimedRuns],
    rounds: Rounds,
    partial: Partial,
    on_progress: OnProgress = lambda share, doing="": None,
    clock: Callable[[], float] = time.monotonic,
    *,
    say: Say = lambda text: None,
    models_of: Callable[[str], Iterable[Hashable]] = lambda name: (name,),
) -> dict[str, Floats]:
    """Time every model in rounds until `rounds.target_s` is over.

    Args:
        prepare: opens the model of a name. It is called again at each opening, after the results of
            earlier calls were released.
        say: told what opening costs, where it is dear, and whether the time is too short.
        models_of: which models `prepare` opens for a name, unless they are open.

    Returns:
        (R, 2) milliseconds a name: median and mean of each round's visit.

    Raises:
        WrongPartial: the partial file is damaged, or of another measurement.
    """
    visits, spent_s = partial.load(names)
    prepared: dict[str, TimedRuns] = {}
    saved_s, opening = spent_s, -1
    pace, first = rounds, Opening(names, models_of, rounds, on_progress, clock, say)
    for done in range(len(visits[names[0]]), MAX_ROUNDS):
        if (share := pace.share(done, spent_s)) >= 1:
            break
        if opening < int(pace.openings * share):
            opening = int(pace.openings * share)
            prepared.clear()
            # In random order as well: models that were opened last ran 1 % faster, from where
            # their weights lay in memory.
            order = np.random.default_rng([rounds.seed, opening, done]).permutation(len(names))
            shuffled = [names[index] for index in order]
            if pace is rounds:
                pace = first.open(shuffled, prepare, prepared)
            else:
                prepared.update((name, prepare(name)) for name in shuffled)
        start = clock()
        for index in visit_order(rounds.seed, done, len(names)):
            times = prepared[names[index]](rounds.warmup, rounds.runs)
            visits[names[index]].append(visit_summary(times))
        round_s = clock() - start
        spent_s += round_s
        first.check_time(round_s, pace, done)
        if spent_s - saved_s >= SAVE_EVERY_S:
            partial.save(visits, spent_s)
            saved_s = spent_s
        on_progress(first.progress(pace.share(done + 1, spent_s)), f"round {done + 1}")
    partial.save(visits, spent_s)
    return {name: np.array(rows) for name, rows in visits.items()}


class Opening:
    """The first opening of the models: what it costs decides how the time is divided."""

    def __init__(
        self,
        names: Sequence[str],
        models_of: Callable[[str], Iterable[Hashable]],
        rounds: Rounds,
        on_progress: OnProgress,
        clock: Callable[[], float],
        say: Say,
    ) -> None:
        self._models_of, self._rounds = models_of, rounds
        self._on_progress, self._clock, self._say = on_progress, clock, say
        self._count = len({model for name in names for model in models_of(name)})
        self._took_s, self._shown, self._checked = 0.0, 0.0, False

    def open(
        self,
        names: Iterable[str],
        prepare: Callable[[str], TimedRuns],
        prepared: dict[str, TimedRuns],
    ) -> Rounds:
        """Open all models, in this order; returns what is left for rounds."""
        doing = f"opening {self._count} models"
        self._on_progress(0.0, doing)
        start = self._clock()
        opened: set[Hashable] = set()
        with_first, first_s, estimate_s = 0, 0.0, math.nan
        for name in names:
            prepared[name] = prepare(name)
            opened.update(self._models_of(name))
            self._took_s = self._clock() - start
            if not with_first:  # the first one waits until the runtime itself is ready
                with_first, first_s = len(opened), self._took_s
            elif math.isnan(estimate_s) and self._took_s >= ESTIMATE_AFTER_S:
                each_s = (self._took_s - first_s) / max(len(opened) - with_first, 1)
                estimate_s = first_s + each_s * (self._count - with_first)
                self._announce(estimate_s)
            if not math.isnan(estimate_s):
                whole_s = estimate_s + self._rounds.beside(estimate_s).target_s
                self._shown = max(self._shown, min(self._took_s, estimate_s) / whole_s)
                self._on_progress(self._shown, doing)
        return self._rounds.beside(self._took_s)

    def progress(self, share: float) -> float:
        """The share of all work that is done with a share of the rounds."""
        return self._shown + (1 - self._shown) * share

    def check_time(self, round_s: float, pace: Rounds, done: int) -> None:
        """Say after the first round if a table takes longer than asked for."""
        target_s, first, self._checked = self._rounds.target_s, not self._checked, True
        total_s = pace.openings * self._took_s + (pace.min_rounds - done) * round_s
        if first and 0 < TOO_LATE * target_s < total_s:
            self._say(
                f"a round takes {round_s:.0f} s, and a table needs {pace.min_rounds - done}: about "
                f"{total_s:.0f} s in all, not {target_s:.0f} s; fewer input sizes take less"
            )

    def _announce(self, estimate_s: float) -> None:
        """Say what opening costs, where it is dear."""
        pace, target_s = self._rounds.beside(estimate_s), self._rounds.target_s
        if estimate_s <= CHEAP_OPENING_S:
            return
        often = "" if pace.openings == 1 else f", {pace.openings} times"
        cost = f"opening {self._count} models takes about {estimate_s:.0f} s{often}"
        if pace.target_s > 0 or target_s == 0:
            then = f"for {pace.target_s:.0f} s" if target_s else f"{pace.min_rounds} of them"
            self._say(f"{cost}, then rounds {then}")
        else:
            self._say(
                f"{cost}, longer than the {target_s:.0f} s asked for, and {pace.min_rounds} rounds "
                "follow, which a table needs; fewer input sizes take less"
            )


def visit_order(seed: int, number: int, models: int) -> list[int]:
    """The order in which a round, counted from 0, visits the models."""
    order: list[int] = np.random.default_rng([seed, number]).permutation(models).tolist()
    return order


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
        """Write the rounds."""
        if self.path is not None:
            content = {"fingerprint": self.fingerprint, "spent_s": spent_s, "visits": visits}
            write(self.path, json.dumps(content))


def write(path: Path, text: str) -> None:
    """Write a file; a reader sees the old one or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    os.replace(draft, path)


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
