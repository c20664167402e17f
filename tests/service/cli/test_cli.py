"""The command: one JSON document on stdout or nothing, errors on stderr, exit codes 0, 1, 2."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import zipfile

import numpy as np
import onnx
import pytest

from latency_tables.benchmark import measure, runner
from latency_tables.benchmark.plan import plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.table.table import space_layers
from models.bundle.bundle import BundleRegistry, add_to_bundle
from models.bundle.card import PREDICTOR
from models.errors import InputError
from models.onnx.export import run_onnx
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from search.predictors.gaussian_process_fit import fit_gaussian_process
from tests.fake_stopwatch import FakeStopwatch
from tests.fakes import LinearAccuracy
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table
from tests.spaces import DEBUG

ON = ("--supernet", SUPERNET, "--device", DEVICE)
ARCHS = [DEBUG.smallest, DEBUG.largest]


def write(path, value):
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def archs_file(tmp_path):
    return write(tmp_path / "archs.json", [arch.to_json() for arch in ARCHS])


@pytest.mark.parametrize("args", [("--help",), ("search", "--help"), ("devices", "--help")])
def test_the_command_explains_itself(run, args):
    assert "Usage: subnet-search" in run(*args).stdout


def test_the_ledger_is_told_the_power_and_tells_what_it_does_not_know(run, run_json):
    assert "--power-w" in run("ledger", "--supernet", SUPERNET, code=2).stderr
    found = run_json("ledger", "--supernet", SUPERNET, "--power-w", "10", "--table-s", "36")
    assert found["per_device"]["table"]["energy_kwh"] == pytest.approx(1e-4)
    assert found["total"]["shared_kwh"] == pytest.approx(1e-2)
    assert len(found["missing"]) == 4


# -- reading -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ("supernets", "list"),
        ("supernets", "show", SUPERNET),
        ("devices", "list"),
        ("devices", "show", DEVICE),
        ("devices", "lint", DEVICE),
    ],
)
def test_lists_and_shows(run, run_json, args):
    assert run(*args).stdout.strip()
    assert run_json(*args)


def test_lists_name_what_is_there(run_json):
    assert SUPERNET in [item["name"] for item in run_json("supernets", "list")]
    assert DEVICE in [item["name"] for item in run_json("devices", "list")]


def test_predict_answers_in_order(run_json, archs_file, home):
    rows = run_json("predict", *ON, "--archs", archs_file)
    first = {"arch", "top1", "latency_ms", "macs", "params"}
    assert [set(row) for row in rows] == [first | {"batch", "runtime", "latency_ms_per_image"}] * 2
    assert [row["arch"] for row in rows] == [arch.to_json() for arch in ARCHS]
    assert rows == catalog_of(home).context(SUPERNET, DEVICE).predict(ARCHS)
    assert rows[0]["latency_ms"] < rows[1]["latency_ms"]


def test_predict_without_a_device_leaves_latency_out(run_json, archs_file):
    rows = run_json("predict", "--supernet", SUPERNET, "--archs", archs_file)
    assert [set(row) for row in rows] == [{"arch", "top1", "macs", "params"}] * 2


def test_predict_one_and_none(run_json, tmp_path):
    one = write(tmp_path / "one.json", DEBUG.largest.to_json())
    assert len(run_json("predict", *ON, "--archs", one)) == 1
    assert run_json("predict", *ON, "--archs", write(tmp_path / "none.json", [])) == []


def test_predict_for_people_says_what_it_is_worth(run, archs_file):
    result = run("predict", *ON, "--archs", archs_file)
    assert result.stdout.split()[:4] == ["top1", "latency_ms", "macs", "params"]
    assert "latency_ms is predicted under fake, expected error 0.04 of the latency" in result.stderr


# -- searching -----------------------------------------------------------------------------


@pytest.mark.slow
def test_search(run, run_json, home):
    found = run_json("search", *ON, "--latency-ms", 0.8, "--seed", 3)
    assert found["feasible"] is True
    assert found["seed"] == 3
    assert found["latency_ms"] <= 0.8
    again = run_json("search", *ON, "--latency-ms", 0.8, "--seed", 3)
    assert {**again, "search_seconds": 0} == {**found, "search_seconds": 0}
    context = catalog_of(home).context(SUPERNET, DEVICE)
    genes = DEBUG.encode(all_archs())
    met = context.costs["latency_ms"].evaluate(genes) <= 0.8
    best = context.require_predictor().predict(genes[met]).max()
    assert found["top1"] == pytest.approx(best), "of 800 networks the best is known"
    assert "latency_ms" in run("search", *ON, "--latency-ms", 0.8).stdout


def all_archs():
    """Every architecture of the debug space, as the product of its choices."""
    blocks = list(itertools.product(DEBUG.kernels, DEBUG.expands))
    stages = [
        choice
        for depth in DEBUG.stages[0].depths
        for choice in itertools.product(blocks, repeat=depth)
    ]
    return [
        Arch(
            resolution,
            tuple(len(stage) for stage in pair),
            tuple(tuple(k for k, _ in stage) for stage in pair),
            tuple(tuple(e for _, e in stage) for stage in pair),
        )
        for resolution in DEBUG.resolutions
        for pair in itertools.product(stages, repeat=2)
    ]


@pytest.mark.slow
def test_front(run, run_json):
    points = run_json("front", *ON)["points"]
    assert [p["latency_ms"] for p in points] == sorted(p["latency_ms"] for p in points)
    assert len(run("front", *ON).stdout.splitlines()) == 1 + len(points)
    budget = (points[1]["latency_ms"] + points[2]["latency_ms"]) / 2
    assert run_json("front", *ON, "--latency-ms", budget)["points"] == [points[1]]
    assert "infeasible" in run("front", *ON, "--latency-ms", 0.01, code=2).stderr
    assert run_json("front", *ON, "--precision", "fp32")["points"] == points
    assert "no latency table" in run("front", *ON, "--precision", "int8", code=2).stderr
    assert "positive finite" in run("front", *ON, "--latency-ms", "nan", code=2).stderr


# -- exporting -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--no-recalibrate",)])
def test_export(run_json, tmp_path, flags):
    arch = write(tmp_path / "arch.json", DEBUG.largest.to_json())
    out = tmp_path / "out.onnx"
    answer = run_json("export", "--supernet", SUPERNET, "--arch", arch, "-o", out, *flags)
    content = out.read_bytes()
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    assert answer["verified"]["recalibrated"] == (not flags)
    metadata = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
    assert json.loads(metadata["subnet_search.arch"]) == DEBUG.largest.to_json()
    assert metadata["subnet_search.device"] == ""
    gaps = json.loads(metadata["subnet_search.not_stated"])
    assert gaps.keys() == {"device", "latency_ms"}
    assert answer["not_stated"].keys() == {*gaps, "classes"}


@pytest.mark.slow
def test_export_takes_what_search_printed(run, tmp_path):
    found = tmp_path / "found.json"
    found.write_text(run("search", *ON, "--latency-ms", 0.8, "--json").stdout)
    out = tmp_path / "out.onnx"
    printed = run("export", *ON, "--arch", found, "-o", out).stdout
    assert f"predicted on {DEVICE}" in printed
    assert "the file states no classes: " in printed
    assert "the file states no latency_ms" not in printed
    size = json.loads(found.read_text())["arch"]["resolution"]
    assert run_onnx(out.read_bytes(), np.zeros((2, 1, size, size), np.float32)).shape == (2, 10)


# -- measuring -----------------------------------------------------------------------------


@pytest.mark.slow
def test_measure_this_machine(run, run_json, home, monkeypatch):
    monkeypatch.setattr(
        measure, "RuntimeStopwatch", lambda options, _: FakeStopwatch(precision=options.precision)
    )
    args = ("devices", "measure", "host", "--supernet", SUPERNET, "--target-s", 0)
    assert run_json(*args)["tables"][0]["origin"] == "measured"
    assert catalog_of(home).devices.table("host", "debug").missing(DEBUG) == []
    assert "measure with --replace" in run(*args, code=2).stderr
    run(*args, "--replace")
    run(*args, "--precision", "int8")  # beside the other
    assert catalog_of(home).devices.keys()["host"] == [("debug", "fp32"), ("debug", "int8")]
    assert list((home / "measuring").iterdir()) == []
    wrong = run(*args, "--replace", "--precision", "int4", code=2)
    assert "precision: expected fp32 or int8, got 'int4'" in wrong.stderr


@pytest.mark.slow
def test_measure_goes_on_when_asked_to(run, home, monkeypatch):
    args = ("devices", "measure", "host", "--supernet", SUPERNET, "--target-s", 0)

    def unplug(visit):
        if visit > 1000:
            raise InputError("unplugged")
        return 1.0

    monkeypatch.setattr(runner, "SAVE_EVERY_S", 0)
    monkeypatch.setattr(measure, "RuntimeStopwatch", lambda *_: FakeStopwatch(drift=unplug))
    assert "unplugged" in run(*args, code=2).stderr
    (partial,) = (home / "measuring").iterdir()
    rounds = len(next(iter(json.loads(partial.read_text())["visits"].values())))
    assert rounds > 1
    monkeypatch.setattr(measure, "RuntimeStopwatch", lambda *_: FakeStopwatch())
    assert "go on with --resume" in " ".join(run(*args, code=2).stderr.split())
    run(*args, "--resume")
    assert not partial.exists()


@pytest.mark.slow
def test_a_provider_that_is_not_here_is_refused(run):
    args = ("devices", "measure", "host", "--supernet", SUPERNET, "--provider", "NoProvider")
    assert "CPUExecutionProvider" in run(*args, code=2).stderr


@pytest.mark.slow
def test_from_a_kit_to_a_device(run, run_json, home, tmp_path):
    written = run_json("devices", "kit", SUPERNET, "-o", tmp_path / "kit.zip", "--networks", 4)
    assert written["bytes"] == (tmp_path / "kit.zip").stat().st_size
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        archive.extractall(tmp_path)
    device = FakeStopwatch()
    plan = plan_benchmark(DEBUG, networks=4, seed=0)
    times = time_chains(plan.timings, device, MeasureOptions(target_s=0, networks=4))
    kit = json.loads((tmp_path / "kit.json").read_text())
    profile = runner.profile_of(kit, "board", {"threads": 1}, times)
    file = write(tmp_path / "board.json", profile)
    assert run_json("devices", "import", file)["name"] == "board"
    table = catalog_of(home).devices.table("board", "debug")
    largest = layer_plan(DEBUG, DEBUG.largest)
    assert table.network_ms(largest) == pytest.approx(device.network_ms(largest), rel=1e-3)
    assert "devices import FILE --replace" in run("devices", "import", file, code=2).stderr
    run("devices", "import", file, "--replace")


@pytest.mark.slow
def test_a_table_for_some_resolutions(run, run_json, home, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RuntimeStopwatch", lambda *_: FakeStopwatch())
    run(
        *("devices", "measure", "half", "--supernet", SUPERNET, "--target-s", 0),
        *("--resolution", 12),
    )
    table = catalog_of(home).devices.table("half", "debug")
    assert table.covered(DEBUG).resolutions == (12,)
    assert table.missing(DEBUG) == []
    both = tmp_path / "both.json"
    both.write_text(json.dumps([DEBUG.smallest.to_json(), DEBUG.largest.to_json()]))
    on = ("--supernet", SUPERNET, "--device", "half")
    small, large = run_json("predict", *on, "--archs", both)
    assert (small["latency_ms"], small["top1"] is None) == (None, False)
    assert large["latency_ms"] > 0
    found = run_json("search", *on, "--latency-ms", 10 * large["latency_ms"])
    assert found["arch"]["resolution"] == 12
    points = run_json("front", *on)["points"]
    assert {point["arch"]["resolution"] for point in points} == {12}


def test_a_table_and_a_predictor_without_a_common_resolution(run, home):
    bundle = BundleRegistry(home).get(SUPERNET)
    part = DEBUG.at([8])
    genes = part.sample(60, np.random.default_rng(0))
    fit_gaussian_process(
        part, genes, LinearAccuracy(part).predict(genes), seed=0, target="made up"
    ).save(home / "predictor")
    add_to_bundle(bundle, {}, {PREDICTOR: (home / "predictor").read_bytes()})
    entries = {key: make_table().entries[key] for key in space_layers(DEBUG.at([12]))}
    keep(home, make_table("other", entries=entries))
    bad = run("search", "--supernet", SUPERNET, "--device", "other", "--latency-ms", 1, code=2)
    assert "table is for resolutions [12]" in bad.stderr
    assert "valid at [8]" in " ".join(bad.stderr.split())


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("supernets", "show", "debug-nat"), "did you mean 'debug-net'?"),
        (("devices", "show", "debug-devise"), "did you mean 'debug-device'?"),
        (("devices", "lint", "unknown"), "unknown device"),
        (("supernets", "train", "unknown"), "unknown recipe"),
        (("supernets", "import", "ofa-mbv3-w1.0", "none", "--predictor", "f"), "no such file"),
        (("supernets", "import", "ofa-mbv3-w1.0", "none"), "nothing to import"),
        (("supernets", "import", "ofa-mbv3-w10", "f"), "did you mean 'ofa-mbv3-w1.0'?"),
        (("supernets", "fit-predictor", "ofa-mbv3-w1.2"), "no measured subnets"),
        (("supernets", "export-checkpoint", "ofa-mbv3-w1.2", "-o", "f"), "has no weights"),
        (("devices", "import", "d", "--space", "s", "--ofa-lut", "."), "unknown supernet"),
        (("devices", "import", "d", "--space", "s"), "expected NAME with both"),
        (("devices", "import", "none.json"), "expected a JSON file"),
        (("devices", "import", "README.md"), "expected a JSON file"),
        (("devices", "kit", "unknown", "-o", "k.zip"), "unknown supernet"),
        (("devices", "kit", SUPERNET, "-o", "no-such-folder/k.zip"), "in a folder that exists"),
        (("devices", "import", "d", "--space", SUPERNET, "--ofa-lut", "tests"), "found none"),
        (("devices", "import", "d", "--space", SUPERNET, "no-such-file"), "found none"),
        (("devices", "keys", "unknown"), "unknown supernet"),
        (("devices", "keys", "unknown.toml"), "expected a TOML file"),
        (("devices", "keys", SUPERNET, "--resolution", 9), "no resolution of [9]"),
        (("devices", "fit", "d", "--space", "s", "--measurements", "f"), "expected a JSON file"),
        (("devices", "measure", "Bad Name", "--supernet", SUPERNET), "expected 1 to 64 of"),
        (("devices", "measure", "host", "--supernet", "unknown"), "unknown supernet"),
        (("search", "--supernet", "x", "--device", DEVICE, "--latency-ms", 1), "unknown supernet"),
        (("search", "--supernet", SUPERNET, "--device", "x", "--latency-ms", 1), "unknown device"),
        (("search", *ON, "--latency-ms", -1), "positive finite"),
        (("search", *ON, "--latency-ms", math.nan), "positive finite"),
        (("search", *ON, "--latency-ms", "inf"), "positive finite"),
        (("search", *ON, "--latency-ms", "fast"), "is no number"),
        (("search", *ON, "--latency-ms", 1, "--max-macs", 0), "positive finite"),
        (("search", *ON, "--latency-ms", 1, "--seed", -1), "seed"),
        (("front", "--supernet", SUPERNET, "--device", "x"), "unknown device"),
        (("no-such-command",), "no-such-command"),
    ],
)
def test_bad_words(run, args, words):
    result = run(*args, code=2)
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected a JSON file"),
        ("[NaN]", "expected finite numbers, got NaN"),
        ("7", "expected a JSON list"),
        ("[7]", "archs[0]: expected an object, got 7"),
        ('[{"resolution": 12}]', "archs[0]: field 'depth' is missing"),
        ("largest with resolution 9", "archs[0].resolution: expected one of [8, 12], got 9"),
        ("largest with depth [2, 3]", "lengths [2, 3] as in depth"),
    ],
)
def test_bad_architectures(run, tmp_path, content, words):
    if content.startswith("largest with "):
        field, value = content.removeprefix("largest with ").split(" ", 1)
        content = json.dumps([{**DEBUG.largest.to_json(), field: json.loads(value)}])
    path = tmp_path / "archs.json"
    path.write_text(content)
    result = run("predict", *ON, "--archs", path, "--json", code=2)
    assert words in result.stderr
    assert result.stdout == ""


def test_missing_files_and_folders(run, tmp_path):
    assert "expected a JSON file" in run("predict", *ON, "--archs", "gone.json", code=2).stderr
    arch = write(tmp_path / "arch.json", DEBUG.largest.to_json())
    export = ("export", "--supernet", SUPERNET, "--arch", arch, "-o")
    assert "a folder that exists" in run(*export, tmp_path / "gone" / "out.onnx", code=2).stderr
    out = tmp_path / "out.onnx"
    assert "expected fp32 or int8" in run(*export, out, "--precision", "fp8", code=2).stderr
    assert not out.exists()


def test_broken_weights_exit_1_and_write_nothing(run, home, tmp_path):
    weights = home / "supernets" / SUPERNET / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    arch = write(tmp_path / "arch.json", DEBUG.largest.to_json())
    out = tmp_path / "out.onnx"
    result = run("export", "--supernet", SUPERNET, "--arch", arch, "-o", out, code=1)
    assert "does not match its card" in result.stderr
    assert not out.exists()


def test_bad_settings_are_named(run, monkeypatch):
    monkeypatch.setenv("SUBNET_WORKERS", "many")
    assert "SUBNET_WORKERS" in run("supernets", "list", code=2).stderr
