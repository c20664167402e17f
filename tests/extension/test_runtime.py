"""A runtime is added from a file of its own: kits, tables, answers and checks use and name it."""

import json
import subprocess
import sys
import zipfile
from io import BytesIO

import pytest

from latency_tables.benchmark import MeasureOptions, build_kit, measure_space
from latency_tables.runtimes import register_runtime, unregister_runtime
from models.spaces import layer_plan
from service.catalog import open_catalog
from service.delivery import ModelBuilder, deliver, verify_file
from service.settings import Settings
from service.storage import ArtifactStore
from tests.extension.mac_counter import RUNTIME
from tests.processes import PATIENCE_S
from tests.service.conftest import SUPERNET, make_bundle

QUICK = MeasureOptions(
    device="board", target_s=0, min_rounds=2, warmup=0, networks=8, runtime=RUNTIME.name
)


@pytest.fixture
def catalog(tmp_path):
    register_runtime(RUNTIME)
    make_bundle(tmp_path / "home" / "supernets" / SUPERNET)
    yield open_catalog(Settings(home=tmp_path / "home"))
    unregister_runtime(RUNTIME.name)


def run_kit(kit, folder):
    """What the kit writes in a process of its own."""
    zipfile.ZipFile(BytesIO(kit)).extractall(folder)
    command = [sys.executable, "-I", folder / "measure.py", "board", "--seconds", "0"]
    command += ["--batch", "1", "--batch", "3"]
    done = subprocess.run(command, cwd=folder, check=True, timeout=PATIENCE_S, capture_output=True)
    assert done.stdout.split() == [b"board.json", b"board-batch-3.json"]
    batch_3 = json.loads((folder / "board-batch-3.json").read_text())
    assert (batch_3["name"], batch_3["batch"]) == ("board-batch-3", 3)
    return json.loads((folder / "board.json").read_text())


@pytest.mark.slow
def test_from_a_kit_to_a_verified_file(catalog, tmp_path):
    space = catalog.supernets.get(SUPERNET).space
    kit = build_kit(space, QUICK)
    table = catalog.read_profile(run_kit(kit, tmp_path / "kit"))
    assert (table.device, table.conditions.runtime) == ("board", RUNTIME.name)
    assert table.missing(space) == []
    assert table.expected_error == pytest.approx(0, abs=1e-3)
    here = measure_space(space, options=QUICK)
    for key, entry in here.entries.items():
        assert table.entries[key].p50_ms == pytest.approx(entry.p50_ms, abs=2e-6)

    catalog.keep_device(table)
    context = catalog.context(SUPERNET, "board")
    limit_ms = table.network_ms(layer_plan(space, space.largest)) / 2
    files = ArtifactStore(tmp_path / "files")
    builder = ModelBuilder(context.bundle, threads=1)
    answer = deliver(context, lambda: builder, {"latency_ms": limit_ms}, 0, artifacts=files)
    assert answer["provenance"]["latency_ms"]["conditions"]["runtime"] == RUNTIME.name
    timed = answer["verified"]["latency_ms"]
    assert timed["conditions"]["runtime"] == RUNTIME.name
    assert timed["value"] == pytest.approx(answer["latency_ms"], rel=0.01)
    assert timed["statistic"] == "p50"

    checks = verify_file(files.get(answer["sha256"]), catalog, threads=1)
    (latency,) = [check for check in checks if check.name == "latency"]
    assert latency.passed
    assert latency.found == timed["value"]
    assert f"under {RUNTIME.name}" in latency.detail
