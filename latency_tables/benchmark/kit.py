"""A measuring kit, a zip for devices that the service cannot log into, and the file that it writes.

The kit holds the same models, the same code (`runner`, `open_models`) and the same file of the
runtime as a measurement on this machine, and `kit_script` as `measure.py`. Its file holds the times
of each visit, from which the same functions make the table.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from latency_tables.benchmark import kit_script, open_models, runner
from latency_tables.benchmark.plan import BenchmarkPlan, Chain, plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.runner import MAX_ROUNDS, Floats, OnProgress
from latency_tables.benchmark.table_assembly import assemble_table, p50_ms
from latency_tables.runtimes import find_runtime, runtime_source
from latency_tables.table import MAX_MS, Conditions, LatencyTable, Sitting
from models.errors import InputError
from models.spaces import SearchSpace

FORMAT = 1
_ROUNDS = ("format", "resolutions", "networks", "warmup", "runs", "seed", "times_ms")
_STAMP = (1980, 1, 1, 0, 0, 0)
"""Date of every file in the zip, so that equal kits are equal bytes."""


def build_kit(
    space: SearchSpace,
    options: MeasureOptions,
    on_progress: OnProgress = lambda share, doing="": None,
) -> bytes:
    """The zip of a space; its options say runtime, batch, precision, networks, runs and seed.

    Raises:
        NotFound: no such runtime is registered.
    """
    from latency_tables.benchmark.models import chain_model, random_tensors  # needs onnx

    plan = plan_benchmark(space, options.networks, options.seed)
    runtime = find_runtime(options.runtime)
    files: dict[Chain, str] = {}
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:

        def add(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, _STAMP), data, zipfile.ZIP_DEFLATED, 9)

        chains = dict.fromkeys(
            chain for t in plan.timings.values() for chain in (t.chain, t.after) if chain
        )
        for index, chain in enumerate(chains):
            files[chain] = f"models/{index:04d}.onnx"
            model = chain_model(chain, random_tensors, options.precision)
            add(files[chain], runtime.convert(model, options.precision))
            on_progress((index + 1) / len(chains))
        timings = {
            name: {"model": files[t.chain], **({"after": files[t.after]} if t.after else {})}
            for name, t in plan.timings.items()
        }
        kit = {
            "space": space.name,
            "runtime": runtime.name,
            "precision": options.precision,
            "batch": options.batch,
            "rounds": {
                "format": FORMAT,
                "resolutions": list(space.resolutions),
                "networks": options.networks,
                "warmup": options.warmup,
                "runs": options.runs,
                "seed": options.seed,
            },
            "timings": timings,
        }
        kit["id"] = hashlib.sha256(json.dumps(kit, sort_keys=True).encode()).hexdigest()
        add("kit.json", json.dumps(kit, indent=1).encode())
        add("measure.py", Path(kit_script.__file__).read_bytes())
        add("open_models.py", Path(open_models.__file__).read_bytes())
        add("runner.py", Path(runner.__file__).read_bytes())
        add("runtime.py", runtime_source(runtime))
        add("README.md", _readme(space, options).encode())
    return content.getvalue()


def table_from_kit(
    profile: Mapping[str, Any],
    conditions: Conditions,
    space: SearchSpace,
    *,
    at_usual_speed: bool = False,
) -> LatencyTable:
    """The table of a file that a kit wrote.

    Args:
        profile, conditions: as `latency_tables.fitting.parse_head` gives them.
        at_usual_speed: the times are already as if the device's speed had never changed.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    part, plan, runs, times = _read_rounds(profile, space)
    return assemble_table(
        part,
        plan,
        times,
        device=profile["name"],
        conditions=conditions,
        runs=runs,
        seed=None if at_usual_speed else profile["rounds"]["seed"],
    )


def sitting_from_kit(
    profile: Mapping[str, Any], conditions: Conditions, space: SearchSpace, table: LatencyTable
) -> Sitting:
    """What a file that a kit wrote later says of a table's device: its whole networks alone count.

    Raises:
        InputError: as `table_from_kit`; or it was measured under other conditions than the table.
    """
    from latency_tables.benchmark.table_validation import check_alike  # needs onnx

    check_alike(table, conditions)
    if conditions.batch != table.conditions.batch:
        raise InputError(
            f"profile.batch: expected {table.conditions.batch} as in the table of device "
            f"{table.device!r}, got {conditions.batch}"
        )
    _, plan, _, times = _read_rounds(profile, space)
    ratios = [
        p50_ms(times[name]) / table.network_ms(network) for name, network in plan.networks.items()
    ]
    return Sitting(
        measured_at=conditions.measured_at,
        networks=len(ratios),
        ratio=round(float(np.median(ratios)), 5),
    )


def _read_rounds(
    profile: Mapping[str, Any], space: SearchSpace
) -> tuple[SearchSpace, BenchmarkPlan, int, dict[str, Floats]]:
    """The part of the space that was timed, what was timed, runs of a visit, and the times."""
    rounds = profile["rounds"]
    if not isinstance(rounds, Mapping) or sorted(rounds) != sorted(_ROUNDS):
        raise InputError(f"profile.rounds: expected an object with {_ROUNDS}, as a kit writes it")
    if rounds["format"] != FORMAT:
        raise InputError(
            f"profile.rounds.format: expected {FORMAT}, got {rounds['format']!r:.40}; make a new "
            "kit with `subnet-search devices kit`"
        )
    sizes = rounds["resolutions"]
    if (
        not isinstance(sizes, list)
        or not sizes
        or not set(map(repr, sizes)) <= set(map(repr, space.resolutions))
    ):
        raise InputError(
            f"profile.rounds.resolutions: expected some of {list(space.resolutions)}, got "
            f"{sizes!r:.60}"
        )
    part = space.at(sizes)
    counts = _counts(rounds)
    plan = plan_benchmark(part, counts["networks"], counts["seed"])
    return part, plan, counts["runs"], read_times(rounds["times_ms"], list(plan.timings))


def _counts(rounds: Mapping[str, Any]) -> dict[str, int]:
    most = {"networks": 200, "warmup": 1000, "runs": 100_000, "seed": 2**53}
    for name, limit in most.items():
        value = rounds[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise InputError(
                f"profile.rounds.{name}: expected an integer from 0 to {limit}, got {value!r:.40}"
            )
    return {name: rounds[name] for name in most}


def read_times(value: object, names: list[str]) -> dict[str, Floats]:
    """Of each name (R, 2) milliseconds, with as many rounds of each."""
    where = "profile.rounds.times_ms"
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected an object by model, got {type(value).__name__}")
    if missing := [name for name in names if name not in value]:
        raise InputError(f"{where}: {len(missing)} models are missing, first {missing[0]!r:.120}")
    times = {name: _visits(value[name], f"{where}[{name!r:.60}]") for name in names}
    if len({len(rows) for rows in times.values()}) != 1:
        raise InputError(f"{where}: expected as many rounds of each model")
    return times


def _visits(value: object, where: str) -> Floats:
    try:
        visits = cast(Mapping[str, Any], value)
        rows = np.array([visits["p50"], visits["mean"]], np.float64).T
        good = 1 <= len(rows) <= MAX_ROUNDS and bool(((rows > 0) & (rows <= MAX_MS)).all())
    except (TypeError, ValueError, KeyError, IndexError):
        good = False
    if not good:
        raise InputError(
            f"{where}: expected p50 and mean, lists of 1 to {MAX_ROUNDS} positive milliseconds"
        )
    return rows


def _readme(space: SearchSpace, options: MeasureOptions) -> str:
    sizes = ", ".join(map(str, space.resolutions))
    return f"""# Measuring kit for {space.name}

Times the layers and some whole networks of {space.name} at input sizes {sizes},
{options.precision}, batch {options.batch}, on the machine where it runs. It needs Python 3.9 or
newer with `numpy` and `{options.runtime}`, nothing else, and it sends nothing anywhere.

    python measure.py my-board

Let nothing else run meanwhile. It takes about four minutes (`--target-s`), shows the time left, and
goes on where it was if it is stopped and started again. `--threads`, `--provider` and `--io` say
how networks will run on the device; `--power-w` states the power it draws. It writes
`my-board.json`, and with `--batch 1 --batch 64` also `my-board-batch-64.json`.

Measured again another day, the same file adds a sitting (`devices import my-board.json --sitting`):
three of them tell how the device's speed drifts.

Bring that file to the service, by either of

    curl -H 'Content-Type: application/json' --data @my-board.json http://localhost:8000/v1/devices
    subnet-search devices import my-board.json
"""
