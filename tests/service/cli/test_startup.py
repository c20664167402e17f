"""What a command imports, and what it leaves alone, so that it starts quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from latency_tables.benchmark.rounds import MeasureOptions
from service import __version__
from service.catalog.supernets import importing, measure_accuracy
from service.cli import app
from service.cli.common import MEASURE_S
from service.cli.supernets import bringing, measuring
from tests.processes import PATIENCE_S
from tests.service.conftest import keep, make_table

SLOW = {
    *("alembic", "dbos", "numpy", "onnx", "onnxruntime"),
    *("psycopg", "scipy", "sqlalchemy", "structlog", "torch"),
}


def imported(home, *args):
    """The slow packages that a command imports."""
    code = (
        "import sys; from service.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={"SUBNET_HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return set(done.stderr.split()) & SLOW


@pytest.mark.slow
def test_help_imports_little(tmp_path):
    assert imported(tmp_path, "--help") <= {"numpy"}  # options of limits are made of their costs


@pytest.mark.slow
def test_a_list_of_devices_makes_no_database(tmp_path):
    home = tmp_path / "home"
    assert imported(home, "devices", "list") <= {"numpy"}
    assert not home.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "show"])
def test_a_current_database_is_not_migrated(tmp_path, command):
    keep(tmp_path, make_table("phone"))
    args = ("devices", command, *(["phone"] if command == "show" else []))
    assert imported(tmp_path, *args) <= {"numpy", "sqlalchemy"}


def test_defaults_of_options_are_those_of_the_functions():
    assert MeasureOptions().target_s == MEASURE_S
    assert bringing.SEARCHES == importing.SEARCHES
    assert measuring.FIT_SUBNETS == measure_accuracy.FIT_SUBNETS
    assert measuring.TEST_SUBNETS == measure_accuracy.TEST_SUBNETS


def test_the_command_says_its_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"subnet-search {__version__}\n"
