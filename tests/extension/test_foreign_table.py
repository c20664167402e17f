"""Foreign forms are added from outside: a CSV table, and architectures in a text."""

import csv
import re

import pytest
from typer.testing import CliRunner

from latency_tables.published import register_table_format, unregister_table_format
from latency_tables.table import Conditions, LatencyTable, LayerLatency, space_layers
from models.errors import InvalidDocument
from models.spaces import (
    Arch,
    ArchReader,
    layer_plan,
    register_arch_form,
    unregister_arch_form,
)
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


BLOCK = re.compile(r"k(\d+)e(\d+)")


def is_text(value):
    return isinstance(value, dict) and set(value) == {"net"}


def read_text(value, space, note):
    """ "12: k3e4 k5e3, k3e3": the resolution, then the blocks of each stage."""
    size, _, stages = value["net"].partition(":")
    blocks = [[tuple(map(int, b)) for b in BLOCK.findall(stage)] for stage in stages.split(",")]
    if len(blocks) != len(space.block_counts):
        text = f"expected {len(space.block_counts)} stages, got {len(blocks)}"
        raise InvalidDocument.at("arch", ("net",), text)
    if "#" in stages:
        note("what follows # is ignored")
    kernel, expand = ([[b[i] for b in stage] for stage in blocks] for i in (0, 1))
    depth = [len(stage) for stage in blocks]
    return Arch.from_json(
        {"resolution": int(size), "depth": depth, "kernel": kernel, "expand": expand}
    )


@pytest.fixture
def text_form():
    register_arch_form("text", is_text, read_text, with_space=True)
    yield
    unregister_arch_form("text")


def test_an_architecture_in_a_text_is_read(text_form):
    arch = Arch(12, (2, 1), ((3, 5), (3,)), ((4, 3), (3,)))
    reader = ArchReader(DEBUG)
    assert reader({"net": "12: k3e4 k5e3, k3e3 # small"}) == arch == DEBUG.read_arch(arch.to_json())
    assert reader.warnings == ["what follows # is ignored"]
    with pytest.raises(InvalidDocument, match=r"arch\.net: expected 2 stages, got 1"):
        DEBUG.read_arch({"net": "12: k3e4"})
