"""A kit measures what `measure` does, by the same code, and its file is read strictly."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import subprocess
import sys
import weakref
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from latency_tables.benchmark import kit_script, open_models, runner
from latency_tables.benchmark.kit import build_kit, sitting_from_kit, table_from_kit
from latency_tables.benchmark.measure import measure_space
from latency_tables.benchmark.plan import plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.fitting.profiles import parse_head
from latency_tables.runtimes import onnxruntime
from models.errors import InputError
from models.spaces import layer_plan
from tests.fake_stopwatch import FakeStopwatch
from tests.latency_tables.table.test_latency_table import every_arch
from tests.spaces import DEBUG

QUICK = MeasureOptions(device="board", target_s=0, min_rounds=2, runs=2, warmup=1, networks=6)


@pytest.fixture(scope="module")
def kit():
    return build_kit(DEBUG, QUICK)


def description(kit):
    with zipfile.ZipFile(BytesIO(kit)) as archive:
        return json.loads(archive.read("kit.json"))


@pytest.fixture(scope="module")
def profile(kit):
    """What a kit writes on a device whose times are known."""
    device = FakeStopwatch()
    times = time_chains(plan_benchmark(DEBUG, QUICK.networks, QUICK.seed).timings, device, QUICK)
    conditions = {"provider": "p", "threads": 1, "processor": "none"}
    return runner.profile_of(description(kit), "board", conditions, times)


def read(profile):
    return table_from_kit(*parse_head(profile, "rounds"), DEBUG)


def test_a_kit_gives_the_table_that_measuring_does(profile):
    table = read(json.loads(json.dumps(profile)))
    measured = measure_space(DEBUG, options=QUICK, stopwatch=FakeStopwatch())
    assert table.missing(DEBUG) == []
    assert table.source == measured.source
    for key, entry in measured.entries.items():  # the file rounds to nanoseconds
        assert table.entries[key].p50_ms == pytest.approx(entry.p50_ms, abs=2e-6)
        assert table.entries[key].count == entry.count
    assert table.expected_error == measured.expected_error
    assert (table.device, table.conditions.provider) == ("board", "p")


def test_equal_kits_are_equal_bytes_and_small(kit):
    assert build_kit(DEBUG, QUICK) == kit
    with zipfile.ZipFile(BytesIO(kit)) as archive:
        raw = sum(item.file_size for item in archive.infolist() if item.filename.endswith("onnx"))
        assert len(kit) < raw / 3
        plan = plan_benchmark(DEBUG, QUICK.networks, QUICK.seed)
        named = json.loads(archive.read("kit.json"))["timings"]
        assert list(named) == list(plan.timings)
        assert {t["model"] for t in named.values()} <= set(archive.namelist())
        assert archive.read("measure.py") == Path(kit_script.__file__).read_bytes()
        assert archive.read("runtime.py") == Path(onnxruntime.__file__).read_bytes()


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        (kit_script, set()),
        (open_models, {"numpy"}),
        (runner, {"numpy"}),
        (onnxruntime, {"numpy", "onnxruntime"}),
    ],
)
def test_what_a_kit_carries_needs_numpy_and_the_runtime_alone(module, needed):
    tree = ast.parse(Path(module.__file__).read_text())
    names = set()
    nodes = [node for node in tree.body if ast.unparse(node)[:16] != "if TYPE_CHECKING"]
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    assert names - set(sys.stdlib_module_names) == needed


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.slow
def test_a_kit_runs_by_itself_and_goes_on_after_a_stop(tmp_path, precision):
    part = DEBUG.at([8])
    small = dataclasses.replace(QUICK, precision=precision, networks=3)
    content = build_kit(part, small)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        archive.extractall(tmp_path / "kit")
    # Without this project on the path, and from another folder.
    command = [sys.executable, "-I", tmp_path / "kit" / "measure.py", "board", "--seconds", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "board.json\n"), done.stderr
    assert done.stderr.splitlines()[-1].startswith("100% done")  # lines where there is no terminal
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.json", "kit"]
    table = read(json.loads((tmp_path / "board.json").read_text()))
    assert table.covered(DEBUG).resolutions == (8,)
    assert table.missing(DEBUG) == []
    conditions = table.conditions
    assert (conditions.runtime, conditions.precision) == ("onnxruntime", precision)
    assert conditions.processor == open_models.processor()
    refused = subprocess.run(
        [*command, "--provider", "NoProvider"], cwd=tmp_path, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "expected one that ONNX Runtime has here" in refused.stderr


def test_a_stopped_kit_goes_on(tmp_path, monkeypatch):
    """Finished rounds are kept, and not repeated."""
    partial = runner.Partial(tmp_path / "p.json", "kit")
    calls = []

    def prepare(name):
        def timed(warmup, runs):
            calls.append(name)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return np.full(runs, 1.0)

        return timed

    monkeypatch.setattr(runner, "SAVE_EVERY_S", 0)
    rounds = runner.Rounds(target_s=0, min_rounds=3, warmup=0, runs=1)
    with pytest.raises(KeyboardInterrupt):
        runner.time_rounds(["a", "b"], prepare, rounds, partial)
    times = runner.time_rounds(["a", "b"], prepare, rounds, partial)
    assert {name: rows.shape for name, rows in times.items()} == {"a": (3, 2), "b": (3, 2)}
    assert len(calls) == 5 + 2
    with pytest.raises(runner.WrongPartial, match="another measurement"):
        runner.time_rounds(["a"], prepare, rounds, runner.Partial(partial.path, "other"))


def test_models_are_opened_anew_and_let_go_before():
    """An opening that happened to be slow is one of several, and never two hold memory."""
    held: weakref.WeakSet[open_models.TimedRuns] = weakref.WeakSet()
    at_once, openings = [], []

    def prepare(name):
        def timed(warmup, runs):
            return np.full(runs, 1.0)

        openings.append(name)
        held.add(timed)
        at_once.append(len(held))
        return timed

    rounds = runner.Rounds(target_s=0, min_rounds=12, openings=3)
    times = runner.time_rounds(["a", "b"], prepare, rounds, runner.Partial(None, "kit"))
    assert sorted(openings) == ["a"] * 3 + ["b"] * 3
    assert max(at_once) == 2
    assert len(times["a"]) == 12


def edited(profile, path, value):
    changed = copy.deepcopy(profile)
    target = changed
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["rounds"], [], "profile.rounds: expected an object"),
        (["rounds", "extra"], 1, "profile.rounds: expected an object"),
        (["rounds", "format"], 9, "format: expected 1, got 9"),
        (["rounds", "resolutions"], [7], "resolutions: expected some of"),
        (["rounds", "resolutions"], [], "resolutions: expected some of"),
        (["rounds", "networks"], 10**9, "networks: expected an integer from 0 to 200"),
        (["rounds", "runs"], "2", "runs: expected an integer"),
        (["rounds", "seed"], 1, "models are missing"),
        (["rounds", "times_ms"], {}, "models are missing, first"),
        (["rounds", "times_ms"], [], "times_ms: expected an object"),
        (["name"], "Bad Name", "profile.name: expected 1 to 64"),
        (["conditions", "threads"], 0, "threads: expected"),
        (["precision"], "fp8", "precision: expected one of"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(profile, path, value, words):
    with pytest.raises(InputError, match=words):
        read(edited(profile, path, value))


@pytest.mark.parametrize(
    "visits",
    [None, {"p50": [1.0]}, {"p50": [1.0, -1.0], "mean": [1.0, 1.0]}, {"p50": [], "mean": []},
     {"p50": [1.0], "mean": [float("nan")]}, {"p50": ["x"], "mean": [1.0]},
     {"p50": [1.0], "mean": [1.0, 2.0]}, {"p50": [[1.0]], "mean": [[1.0]]},
     {"p50": [1.0] * 5, "mean": [1.0] * 5}],
)  # fmt: skip
def test_bad_times_are_refused(profile, visits):
    name = next(iter(profile["rounds"]["times_ms"]))
    with pytest.raises(InputError, match="profile.rounds.times_ms"):
        read(edited(profile, ["rounds", "times_ms", name], visits))


def test_a_kit_run_again_is_a_sitting(kit, profile):
    """Its whole networks took 1.1 times as long: that is the speed of the sitting."""
    table = read(profile)
    slower = FakeStopwatch(drift=lambda visit: 1.1)
    times = time_chains(plan_benchmark(DEBUG, QUICK.networks, QUICK.seed).timings, slower, QUICK)
    conditions = {
        "provider": "p",
        "threads": 1,
        "processor": "none",
        "measured_at": "2026-11-28T09:00:00+00:00",
    }
    later = runner.profile_of(description(kit), "board", conditions, times)
    sitting = sitting_from_kit(*parse_head(later, "rounds"), DEBUG, table)
    assert sitting.ratio == pytest.approx(1.1, rel=1e-3)
    assert (sitting.networks, sitting.searched_ratios) == (QUICK.networks, ())
    assert sitting.measured_at == conditions["measured_at"]
    for changed, words in (({"batch": 8}, "batch"), ({"conditions": {"threads": 2}}, "threads")):
        with pytest.raises(InputError, match=words):
            sitting_from_kit(*parse_head({**later, **changed}, "rounds"), DEBUG, table)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_device_of_two_speeds_is_predicted_as_well_as_a_steady_one(kit, seed):
    """Its visits are divided by its speed; the rounds' seed tells their order."""
    rng = np.random.default_rng(seed)
    slow_V = np.repeat(rng.permutation(np.resize([1, 1.75], 2000)), rng.integers(15, 120, 2000))
    device = FakeStopwatch(drift=lambda visit: slow_V[visit])
    options = dataclasses.replace(QUICK, min_rounds=6)
    plan = plan_benchmark(DEBUG, QUICK.networks, QUICK.seed)
    times = time_chains(plan.timings, device, options)
    conditions = {"provider": "p", "threads": 1, "processor": "none"}
    profile = runner.profile_of(description(kit), "board", conditions, times)
    networks = [layer_plan(DEBUG, arch) for arch in every_arch(DEBUG)]

    def error(table):
        ratios = [table.network_ms(layers) / device.chain_ms(layers) for layers in networks]
        return np.abs(ratios / np.median(ratios) - 1).mean()

    head = parse_head(profile, "rounds")
    found = table_from_kit(*head, DEBUG)
    assert error(found) < 0.001
    assert error(table_from_kit(*head, DEBUG, at_usual_speed=True)) > 0.01, "as timed"
    assert found.expected_error is not None
    assert found.expected_error > 0.03, "a later measurement meets either speed"
    device.visits = 0
    measured = measure_space(DEBUG, options=options, stopwatch=device)
    assert measured.expected_error == found.expected_error
    assert error(measured) == pytest.approx(error(found), abs=1e-6)
