"""What people see of the command: plots, drawings, tables, completion, nearest names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.spaces.files import published_spaces
from models.spaces.plan import layer_plan
from service.catalog.explanation import describe_layers
from service.cli import app as cli
from service.cli import completion
from service.cli.output.networks import draw_arch, layer_table
from service.cli.output.plot import BRAILLE, DOTS, plot_curves, plot_front
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table
from tests.service.serving import serving
from tests.spaces import DEBUG

ON = ("--supernet", SUPERNET, "--device", DEVICE)
ROOT = Path(__file__).resolve().parents[3]


# -- plots ---------------------------------------------------------------------------------

POINTS = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 5)), min_size=1, max_size=60).map(
    lambda steps: np.cumsum(steps, axis=0).T
)


def lit(plot, width, height, braille):
    """The dots of a plot, top row first: `lit[row][column]`."""
    body = [line.split("│" if braille else "|", 1)[1].ljust(width) for line in plot.splitlines()]
    dots = []
    for line in body[:height]:
        if not braille:
            dots.append([character == "*" for character in line])
            continue
        codes = [ord(c) - BRAILLE if BRAILLE <= ord(c) < BRAILLE + 256 else 0 for c in line]
        dots += [[bool(code & bit) for code in codes for bit in bits] for bits in DOTS]
    return np.array(dots)


@pytest.mark.slow
@given(points=POINTS, width=st.integers(10, 60), height=st.integers(2, 20), braille=st.booleans())
def test_a_plot_is_the_staircase_of_answers(points, width, height, braille):
    latency_ms, top1 = (axis.tolist() for axis in points)
    plot = plot_front(latency_ms, top1, width=width, height=height, braille=braille)
    dots = lit(plot.rsplit("\n", 2)[0], width, height, braille)
    reach = 1.05 * (latency_ms[-1] - latency_ms[0]) or 0.1 * latency_ms[0]
    rise = top1[-1] - top1[0]
    rows, columns = dots.shape
    for column in range(columns):
        ms = latency_ms[0] + reach * (column + 0.5) / columns
        best = max(v for x, v in zip(latency_ms, top1, strict=True) if x <= ms)
        lowest = np.flatnonzero(dots[:, column]).max() if column == 0 else None
        row = np.flatnonzero(dots[:, column]).min()
        assert abs(top1[-1] - (rise or 0.1) * row / (rows - 1) - best) <= (rise or 0.1) / (rows - 1)
        assert lowest in (None, row), "the first column is one dot"
    assert all(len(line) <= width + 20 for line in plot.splitlines())


def test_a_plot_marks_the_budget():
    plot = plot_front([1.0, 2.0, 3.0], [50.0, 60.0, 70.0], width=40, height=8, budget_ms=2.5)
    marks = {line.index("╎") for line in plot.splitlines() if "╎" in line}
    (at,) = marks
    column = at - plot.splitlines()[1].index("│") - 1
    assert 1.0 + 1.05 * 2 * column / 40 <= 2.5 <= 1.0 + 1.05 * 2 * (column + 1) / 40
    assert "╎" not in plot_front([1.0, 2.0], [5.0, 6.0], width=40, height=8, budget_ms=9.0)


@given(points=POINTS, width=st.integers(10, 60), height=st.integers(2, 20), braille=st.booleans())
def test_curves_go_through_their_points(points, width, height, braille):
    x, y = points
    curves = [list(zip(x, ys, strict=True)) for ys in (y, y[::-1])]
    plot = plot_curves(curves, width=width, height=height, braille=braille)
    dots = lit(plot.rsplit("\n", 2)[0], width, height, braille)
    rows, columns = dots.shape
    reach, rise = (x[-1] - x[0]) or 1.0, (y[-1] - y[0]) or 0.1
    if len(x) == 1:
        assert not dots.any(), "a point is no line"
        return
    for curve in curves:
        for a, b in curve:
            column, row = (a - x[0]) / reach * (columns - 1), (y[-1] - b) / rise * (rows - 1)
            near = dots[max(round(row) - 1, 0) : round(row) + 2, round(column)]
            assert near.any(), "but for rounding"
    assert dots.any(axis=0).all(), "no gaps"


@pytest.mark.slow
def test_front_plot(run, run_json):
    points = run_json("front", *ON)["points"]
    drawn = run("front", *ON, "--plot").stdout
    assert f"{len(points)} networks" in drawn
    assert len(drawn.splitlines()) < 25
    budget = (points[1]["latency_ms"] + points[2]["latency_ms"]) / 2
    with_budget = run("front", *ON, "--plot", "--latency-ms", budget).stdout
    assert f"{len(points)} networks" in with_budget
    assert with_budget.splitlines()[-1].split()[0] == f"{points[1]['latency_ms']:.4g}"
    assert "choose one" in run("front", *ON, "--plot", "--json", code=2).stderr


# -- a network drawn -----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(published_spaces()))
def test_every_block_of_a_network_is_drawn(name, home):
    space = published_spaces()[name]
    bundle = catalog_of(home).supernets.get(name)
    for genes in space.sample(5, np.random.default_rng(0)):
        (arch,) = space.decode(genes[None])
        layers = describe_layers(bundle, None, arch)
        lines = draw_arch(arch.to_json(), layers)
        stages = [line for line in lines if line.startswith("  stage")]
        plan = [layer for layer in layer_plan(space, arch) if layer.name.startswith("stage")]
        assert sum(line.count("x", 0, line.index(" x ")) for line in stages) == len(plan)
        columns, rows = layer_table(layers)
        assert [row[0] for row in rows] == [layer.name for layer in layer_plan(space, arch)]
        assert [int(row[columns.index("macs")]) for row in rows] == [
            layer.macs for layer in layer_plan(space, arch)
        ]


@pytest.mark.slow
def test_a_search_for_people_has_everything_of_its_json(run, run_json):
    found = run_json("search", *ON, "--latency-ms", 0.8)
    lines = run("search", *ON, "--latency-ms", 0.8).stdout.splitlines()
    table = {words[0]: words for line in lines if (words := line.split())}
    assert table["latency_ms"][1:3] == [f"{found['latency_ms']:.4g}", "predicted"]
    assert table["macs"][1:3] == [str(found["macs"]), "exact"]
    assert "4 % of the latency" in " ".join(table["latency_ms"])
    for layer in found["layers"]:
        assert f"{layer['latency_ms']:.4f}" in table[layer["name"]]
    # The last line is what `export --arch` takes.
    assert json.loads(lines[-1].removeprefix("arch: ")) == found["arch"]
    total = sum(layer["latency_ms"] for layer in found["layers"])
    shares = [float(line.split("%")[0].split()[-1]) for line in lines if " ms " in line]
    assert sum(shares) == pytest.approx(100, abs=len(shares))
    assert total < found["latency_ms"], "what a network takes beyond its layers is no layer's"


# -- completion and nearest names ----------------------------------------------------------


def completing(home, *words):
    """The environment in which a shell asks what to offer for the last word."""
    return {
        "SUBNET_HOME": str(home),
        "_SUBNET_SEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("subnet-search", *words)),
        "COMP_CWORD": str(len(words)),
    }


def complete(home, *words):
    environment = completing(home, *words)
    return CliRunner().invoke(cli, prog_name="subnet-search", env=environment).stdout.split()


@pytest.mark.slow
def test_the_shell_completes_the_installed_command(home):
    result = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, **completing(home, "front", "--device", "deb")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == (f"{DEVICE}\n", "")


@pytest.mark.slow
def test_names_are_completed(home, tmp_path):
    assert complete(home, "search", "--supernet", "deb") == [SUPERNET]
    assert complete(home, "front", "--device", "deb") == [DEVICE]
    assert complete(home, "supernets", "show", "ofa-r") == ["ofa-resnet50"]
    assert complete(home, "sup") == ["supernets"]
    empty = tmp_path / "empty"
    assert complete(empty, "front", "--device", "cpu") == ["cpu-x86-64-ort"]
    assert not empty.exists(), "asking for names makes nothing"


@pytest.mark.slow
def test_names_are_completed_from_a_service(home, settings, tmp_path):
    keep(home, make_table("far-away"))
    with serving(settings) as url:
        words = ("search", "--server", url, "--device", "far")
        assert complete(tmp_path / "none", *words) == ["far-away"]


def test_completion_never_fails(monkeypatch):
    class Context:
        params = {"server": "http://127.0.0.1:1"}

    assert completion.complete_device(Context(), "") == []
    monkeypatch.setenv("SUBNET_WORKERS", "many")
    Context.params = {}
    assert completion.complete_supernet(Context(), "") == []
    assert completion.complete_recipe(Context(), "fashion-m") == ["fashion-mbv3"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("serch",), "Did you mean 'search'"),
        (("search", *ON, "--latency", 1), "--latency-ms"),
        (("devices", "lst"), "Did you mean 'list'"),
    ],
)
def test_misspelt_words_get_the_nearest(run, args, words):
    result = run(*args, code=2)
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_misspelt_file_gets_the_nearest(run, tmp_path):
    (tmp_path / "archs.json").write_text(json.dumps([DEBUG.smallest.to_json()]))
    result = run("predict", *ON, "--archs", tmp_path / "arcs.json", code=2)
    assert f"did you mean {tmp_path / 'archs.json'}?" in result.stderr
    result = run("predict", *ON, "--archs", tmp_path / "gone" / "arcs.json", code=2)
    assert f"there is no folder {tmp_path / 'gone'}" in result.stderr
