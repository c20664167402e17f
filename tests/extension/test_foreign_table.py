"""Foreign forms are added from outside: a CSV table, and architectures as Once-for-All has them."""

import csv

import pytest
from typer.testing import CliRunner

from latency_tables.published import register_table_format, unregister_table_format
from latency_tables.table import Conditions, LatencyTable, LayerLatency, space_layers
from models.spaces import Arch, layer_plan, register_arch_form, unregister_arch_form
from service.catalog import open_catalog
from service.cli import app
from service.settings import Settings
from tests.service.conftest import SUPERNET, make_bundle
from tests.spaces import DEBUG

HEADER = "layer,microseconds"


def is_csv(path):
    return path.is_file() and path.read_text().startswith(HEADER)


def read_csv(path, space, *, device, source, unit):
    with path.open() as file:
        times_ms = {row["layer"]: float(row["microseconds"]) / 1e3 for row in csv.DictReader(file)}
    return LatencyTable(
        device=device,
        space=space.name,
        origin="measured",
        source=source,
        conditions=Conditions(runtime="made up", precision="fp32", batch=1),
        entries={
            key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.0, count=1)
            for key, ms in times_ms.items()
        },
    )


@pytest.fixture
def csv_format():
    name = "a CSV file of layers"
    register_table_format(name, is_csv, read_csv)
    yield
    unregister_table_format(name)


@pytest.mark.slow
def test_a_csv_of_layers_is_imported(tmp_path, monkeypatch, csv_format):
    home = tmp_path / "home"
    make_bundle(home / "supernets" / SUPERNET)
    monkeypatch.setenv("SUBNET_HOME", str(home))
    micros = {key: 50 + layer.macs / 1e3 for key, layer in space_layers(DEBUG).items()}
    file = tmp_path / "board.csv"
    file.write_text("\n".join([HEADER, *(f"{key},{time}" for key, time in micros.items())]))
    words = ["devices", "import", "board", "--space", SUPERNET, "--ofa-lut", str(file)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    table = open_catalog(Settings(home=home)).devices.table("board", DEBUG.name)
    plan = layer_plan(DEBUG, DEBUG.largest)
    assert table.network_ms(plan) == pytest.approx(sum(micros[layer.key] for layer in plan) / 1e3)


def is_flat(value):
    return isinstance(value, dict) and {"r", "d", "ks", "e"} == set(value)


def read_flat(value):
    """Kernels and expansions in one list each, as many a stage as the deepest stage has blocks."""
    depth = value["d"]
    most = len(value["ks"]) // len(depth)
    kernel, expand = (
        [value[name][s * most : s * most + d] for s, d in enumerate(depth)] for name in ("ks", "e")
    )
    return Arch.from_json(
        {"resolution": value["r"], "depth": depth, "kernel": kernel, "expand": expand}
    )


@pytest.fixture
def flat_form():
    register_arch_form("flat lists", is_flat, read_flat)
    yield
    unregister_arch_form("flat lists")


def test_an_architecture_in_flat_lists_is_read(flat_form):
    arch = DEBUG.smallest
    most = max(DEBUG.largest.depth)
    padded = {
        name: [v for stage in stages for v in (*stage, *[0] * (most - len(stage)))]
        for name, stages in (("ks", arch.kernel), ("e", arch.expand))
    }
    assert Arch.from_json({"r": arch.resolution, "d": list(arch.depth), **padded}) == arch
    assert Arch.from_json(arch.to_json()) == arch
