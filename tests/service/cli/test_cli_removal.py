"""What was made is taken out whole, removed, and put back, here and on a service."""

from __future__ import annotations

import csv
import io
import json

import pytest

from latency_tables.fitting.profiles import parse_profile, profile_of_table
from latency_tables.table.conditions import Conditions
from latency_tables.table.sittings import Sitting
from latency_tables.table.table import Note
from models.bundle.bundle import BundleRegistry, add_to_bundle
from models.bundle.use import LOCK
from models.errors import NotFound
from models.training.training_log import running
from service.catalog.devices import Devices
from service.catalog.supernets.measure_accuracy import measure_jobs
from service.catalog.supernets.predictor_fit import fit_predictor
from service.catalog.supernets.sharing_gap import measure_sharing_gap
from service.settings import Settings
from service.storage.database import current_database
from service.storage.searches import SearchStore
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table
from tests.service.serving import serving
from tests.service.stored import new, succeed
from tests.spaces import DEBUG
from tests.trainings import TRAINING, write_training

WHOLE = make_table(
    "board",
    origin="fitted",
    conditions=Conditions(runtime="fake", precision="int8", batch=2, threads=3, power_w=4.5),
    residual_ratios=(0.9, 1.0, 1.1),
    estimated_resolutions=(8,),
    notes=(Note("trend", "networks take longer at the end"),),
    sittings=(Sitting(measured_at=None, networks=5, ratio=1.01, searched_ratios=(1.0,)),),
)
"""A table with every field."""


@pytest.fixture
def searches(home):
    """The stored searches of the home."""
    with current_database(Settings(home=home).database) as engine:
        yield SearchStore(engine)


@pytest.fixture(params=["here", pytest.param("there", marks=pytest.mark.slow)])
def where(request, home):
    """The option that names the place: this installation, or a service on it."""
    if request.param == "here":
        yield ()
        return
    with serving(Settings(home=home, workers=0)) as url:
        yield ("--server", url)


def test_a_table_is_taken_out_and_put_back(run, run_json, home, tmp_path, where):
    keep(home, WHOLE)
    profile = run("devices", "show", "board", "--table", *where).stdout
    (removed,) = run_json("devices", "remove", "board", *where)["removed"]
    assert removed["sha256"] == WHOLE.sha256
    assert "board" not in [item["name"] for item in run_json("devices", "list", *where)]
    assert "unknown device" in run("devices", "remove", "board", *where, code=2).stderr
    (tmp_path / "board.json").write_text(profile)
    run("devices", "import", tmp_path / "board.json")
    assert catalog_of(home).devices.tables("board") == [WHOLE]


def test_times_go_to_a_spreadsheet_and_come_back(run, home, tmp_path):
    printed = run("devices", "show", DEVICE, "--csv").stdout
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(printed))}
    entries = make_table().entries
    assert {key: float(row["p50_ms"]) for key, row in rows.items()} == {
        key: entry.p50_ms for key, entry in entries.items()
    }
    (tmp_path / "sheet.csv").write_text(printed)
    run("devices", "import", "copy", tmp_path / "sheet.csv", "--space", SUPERNET)
    (copied,) = catalog_of(home).devices.tables("copy")
    assert copied.entries.keys() == entries.keys()
    for key, entry in copied.entries.items():
        assert entry.p50_ms == pytest.approx(entries[key].p50_ms)
        assert entry.std_ms == pytest.approx(entries[key].std_ms)
        assert entry.count == entries[key].count


def test_of_several_tables_one_is_named(run, run_json, home):
    keep(home, make_table("board"))
    keep(home, WHOLE)
    refused = run("devices", "show", "board", "--table", code=2).stderr
    assert "debug (fp32), debug (int8)" in refused
    taken = json.loads(run("devices", "show", "board", "--table", "--precision", "int8").stdout)
    assert taken["precision"] == "int8"
    assert "has no such table" in run("devices", "remove", "board", "--space", "x", code=2).stderr
    found = run_json("devices", "remove", "board", "--precision", "int8")
    assert [table["precision"] for table in found["remaining"]] == ["fp32"]
    assert catalog_of(home).devices.tables("board") == [make_table("board")]


def test_searches_keep_the_table_that_they_were_asked_with(run, home, searches):
    (kept,) = catalog_of(home).devices.get(DEVICE)
    asked = new(device=DEVICE, supernet="gone")
    searches.submit(
        type(asked)(
            **{name: getattr(asked, name) for name in ("request", "request_sha256", "supernet")},
            device=DEVICE,
            profile_sha256=kept.sha256,
            profile="of the device",
        )
    )
    keep(home, make_table(network_overhead_ms=9.0), replace=True)
    printed = run("devices", "remove", DEVICE).stdout
    assert "revision 2 and those before it" in printed
    store = catalog_of(home).devices.store
    assert store is not None
    assert store.content(kept.sha256) is not None
    assert store.content(make_table(network_overhead_ms=9.0).sha256) is None, "nobody has it"


def test_what_comes_with_the_program_stays(run, home):
    assert "comes with the program" in run("devices", "remove", "gtx-1080ti", code=2).stderr
    assert "comes with the program" in run("supernets", "remove", "fashion-mbv3", code=2).stderr
    assert "has no files here" in run("supernets", "remove", "ofa-mbv3-w1.2", code=2).stderr
    assert "unknown supernet" in run("supernets", "remove", "../supernets", code=2).stderr


def test_a_supernet_is_removed_unless_it_is_in_use(run, run_json, home, searches, where):
    search_id = searches.submit(new(supernet=SUPERNET)).id
    refused = run("supernets", "remove", SUPERNET, *where, code=2).stderr
    assert "wait for its 1 searches, or cancel them" in refused
    searches.cancel(search_id)
    finished = succeed(searches, 1, 1.0, 90.0, supernet=SUPERNET)
    found = run_json("supernets", "remove", SUPERNET, *where)
    assert "weights.safetensors" in found["files"]
    assert (found["training_kept"], found["still_known"]) == (False, False)
    assert SUPERNET not in [item["name"] for item in run_json("supernets", "list", *where)]
    assert list((home / "supernets").iterdir()) == []
    assert searches.get(finished).status == "succeeded"


def test_a_supernet_is_not_removed_while_it_is_measured(run, home):
    bundle = BundleRegistry(home).get(SUPERNET)
    before = sorted((home / "supernets").iterdir())
    with bundle.in_use(), bundle.in_use():
        assert "is in use" in run("supernets", "remove", SUPERNET, code=2).stderr
    assert sorted((home / "supernets").iterdir()) == before
    run("supernets", "remove", SUPERNET)
    for command in (
        lambda: measure_jobs(bundle, home, []),
        lambda: fit_predictor(bundle),
        lambda: measure_sharing_gap(bundle, home),
        lambda: add_to_bundle(bundle, {}, {"new.bin": b"x"}),
    ):
        with pytest.raises(NotFound, match="was removed meanwhile"):
            command()
    assert list((home / "supernets").iterdir()) == []


def test_what_comes_with_the_program_is_in_use_without_a_trace(home):
    shipped = BundleRegistry(home).get("fashion-mbv3")
    with shipped.in_use():
        assert not (shipped.path / LOCK).exists()
    untouched = BundleRegistry(home).get("ofa-mbv3-w1.2")
    with untouched.in_use():
        assert not untouched.path.exists()


def test_the_checkpoint_of_a_training_is_removed_when_asked(run, run_json, home):
    write_training(home)
    (home / "supernets" / SUPERNET).rename(home / "supernets" / TRAINING)
    with running(home / "training" / TRAINING):
        assert "is trained now" in run("supernets", "remove", TRAINING, code=2).stderr
    assert "--resume` makes the supernet again" in run("supernets", "remove", TRAINING).stdout
    assert "unknown supernet" in run("supernets", "remove", TRAINING, code=2).stderr
    found = run_json("supernets", "remove", TRAINING, "--training")
    assert (found["files"], found["training_kept"]) == ({}, False)
    assert not (home / "training" / TRAINING).exists()


@pytest.mark.slow
def test_a_table_is_equal_after_every_form():
    devices = Devices()
    shipped = [table for name in devices.names()[:3] for table in devices.tables(name)]
    for table in (WHOLE, make_table(expected_error=None, of=DEBUG), *shipped):
        assert parse_profile(json.loads(json.dumps(profile_of_table(table)))) == table
