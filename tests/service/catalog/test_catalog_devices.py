"""The contract of users' devices, on SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from latency_tables.published.builtin import BuiltinDevices
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import Conditions
from latency_tables.table.files import save
from latency_tables.table.sittings import Sitting
from models.errors import Conflict, NotFound
from service.catalog.catalog import Catalog
from service.catalog.devices import Devices, summarize_devices
from service.catalog.sittings import keep_sitting
from service.contracts.access import Caller
from service.storage.devices import ATTEMPTS, DeviceStore
from service.storage.sessions import unit_of_work
from service.storage.tables import DeviceTableRow, ProfileRow
from tests.service.conftest import make_table
from tests.service.stored import START, ManualClock

INT8 = Conditions(runtime="fake", precision="int8", batch=1)


@pytest.fixture
def store(engine):
    return DeviceStore(engine, ManualClock())


@pytest.fixture
def devices(store, tmp_path):
    """A user's devices beside one that comes with the program."""
    (tmp_path / "builtin").mkdir()
    save(make_table("shipped"), tmp_path / "builtin" / "shipped@debug.json")
    return Devices(lambda _: store, BuiltinDevices(tmp_path / "builtin"))


def tables(store, device):
    return [table_from_json(revision.content) for revision in store.current(device)]


def kept_revisions(engine):
    """Every revision in the database, the oldest first, each with its table's text."""
    rows = select(*DeviceTableRow.__table__.columns, ProfileRow.content).join(ProfileRow)
    with engine.connect() as connection:
        return connection.execute(rows.order_by(DeviceTableRow.revision)).all()


# -- the store -----------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was_given(store):
    table = make_table("phone")
    stored = store.add(table, owner="ann", shared=False)
    (current,) = store.current("phone")
    assert current == stored
    assert table_from_json(current.content) == table
    assert (current.space, current.precision, current.number) == ("debug", "fp32", 1)
    assert (current.created_at, current.owner, current.shared) == (START, "ann", False)
    assert current.sha256 == table.sha256
    assert store.keys() == [("ann", "phone", "debug", "fp32")]
    assert store.current("unknown") == []


@pytest.mark.parametrize("step", ["_add", "_remove"])
@pytest.mark.parametrize("failures", [ATTEMPTS - 1, ATTEMPTS])
def test_what_others_store_meanwhile_is_met_by_so_many_tries(store, monkeypatch, step, failures):
    real, left = getattr(store, step), [failures]

    def disturbed(*args):
        if left[0]:
            left[0] -= 1
            raise IntegrityError("a row", None, ValueError())
        return real(*args)

    monkeypatch.setattr(store, step, disturbed)
    with pytest.raises(IntegrityError) if failures == ATTEMPTS else nullcontext():
        if step == "_add":
            store.add(make_table("phone"))
        else:
            store.remove("phone", "", [("debug", "fp32")])
    assert left == [0]


def test_a_device_has_a_table_for_each_space_and_precision(store):
    for table in (
        make_table("phone"),
        make_table("phone", conditions=INT8),
        make_table("phone", space="other"),
        make_table("board"),
    ):
        store.add(table)
    assert store.keys() == [
        ("", "board", "debug", "fp32"),
        ("", "phone", "debug", "fp32"),
        ("", "phone", "debug", "int8"),
        ("", "phone", "other", "fp32"),
    ]
    assert [(r.space, r.precision) for r in store.current("phone")] == [
        ("debug", "fp32"),
        ("debug", "int8"),
        ("other", "fp32"),
    ]


def test_a_table_is_replaced_only_when_asked_and_the_old_one_stays(engine, store):
    first = store.add(make_table("phone"))
    with pytest.raises(Conflict, match="'phone' has a table for space 'debug' at fp32"):
        store.add(make_table("phone", network_overhead_ms=2.0))
    assert store.current("phone") == [first]
    second = store.add(make_table("phone", network_overhead_ms=2.0), replace=True)
    assert (first.number, second.number) == (1, 2)
    assert store.current("phone") == [second]
    kept = [(row.revision, row.content) for row in kept_revisions(engine)]
    assert kept == [(1, first.content), (2, second.content)]
    # Back to the first table: a third revision, of the same text.
    third = store.add(make_table("phone"), replace=True)
    assert (third.number, third.sha256) == (3, first.sha256)


def test_the_same_table_again_is_no_revision_but_measurements_are(engine, store):
    store.add(make_table("phone"))
    assert store.add(make_table("phone"), replace=True).number == 1
    measured: dict[str, object] = {"arch": [], "latency_ms": []}
    again = store.add(make_table("phone"), replace=True, measurements=measured)
    assert (again.number, again.measurements) == (2, measured)
    assert kept_revisions(engine)[0].measurements is None


def test_many_at_once_lose_no_revision(engine, store):
    store.add(make_table("phone"))
    overheads = [float(i) for i in range(1, 5)]

    def add(overhead_ms):
        return store.add(make_table("phone", network_overhead_ms=overhead_ms), replace=True)

    with ThreadPoolExecutor(4) as pool:
        numbers = sorted(revision.number for revision in pool.map(add, overheads))
    assert numbers == [2, 3, 4, 5]
    kept = kept_revisions(engine)
    assert [row.revision for row in kept] == [1, 2, 3, 4, 5]
    assert sorted(table_from_json(row.content).network_overhead_ms for row in kept[1:]) == overheads


def test_current_hashes_of_many_devices(store):
    for device in ("a", "b"):
        for overhead_ms in (1.0, 2.0):
            table = make_table(device, network_overhead_ms=overhead_ms)
            store.add(table, replace=True)
    store.add(make_table("a", conditions=INT8))
    dumb = {
        ("", device, (table.space, table.conditions.precision)): table.sha256
        for device in ("a", "b")
        for table in tables(store, device)
    }
    assert store.current_sha256(["a", "b", "c"]) == dumb
    assert len(dumb) == 3
    assert store.current_sha256([]) == {}


def test_the_database_refuses_impossible_rows(store, engine):
    store.add(make_table("phone"))
    for change in ("revision = 0", "sha256 = 'none'", "private_to = 'ann'"):
        with pytest.raises(IntegrityError), unit_of_work(engine) as session:
            session.connection().exec_driver_sql(f"UPDATE device_tables SET {change}")


# -- with the devices that come with the program ---------------------------------------------


def test_added_tables_join_their_device(devices):
    devices.add(make_table("host"))
    devices.add(make_table("shipped", conditions=INT8))
    assert devices.names() == ["host", "shipped"]
    assert devices.keys() == {
        "host": [("debug", "fp32")],
        "shipped": [("debug", "fp32"), ("debug", "int8")],
    }
    fp32, int8 = devices.get("shipped")
    assert (fp32.revision, int8.revision) == (None, 1)
    assert devices.table("shipped", "debug", "int8") == int8.table
    assert devices.table("shipped", "debug") == fp32.table == make_table("shipped")


def test_a_builtin_table_is_never_replaced(devices):
    with pytest.raises(Conflict, match="built in: choose another name"):
        devices.add(make_table("shipped", network_overhead_ms=2.0), replace=True)


def test_a_builtin_table_may_be_corrected(devices):
    corrected = make_table("shipped", network_overhead_ms=2.0)
    assert devices.add(corrected, follows=devices.kept("shipped", "debug")).number == 1
    assert devices.table("shipped", "debug") == corrected
    (kept,) = devices.get("shipped")
    assert kept.revision == 1
    assert devices.current_sha256(["shipped"]) == {"shipped": {corrected.sha256}}


def test_unknown_devices_and_spaces_are_answered_with_known_ones(devices):
    devices.add(make_table("host"))
    with pytest.raises(NotFound, match="unknown device 'hosd': did you mean 'host'"):
        devices.table("hosd", "debug")
    with pytest.raises(NotFound, match=r"no latency table for space 'other' at fp32.*debug \(fp32"):
        devices.table("host", "other")
    with pytest.raises(NotFound, match="at int8"):
        devices.table("host", "debug", "int8")


def test_hashes_of_all_current_tables(devices):
    devices.add(make_table("host"))
    devices.add(make_table("shipped", conditions=INT8))
    dumb = {n: {t.sha256 for t in devices.tables(n)} for n in devices.names()}
    assert devices.current_sha256(["host", "shipped", "unknown"]) == dumb


# -- names and owners --------------------------------------------------------------------------


@pytest.fixture
def of(devices):
    """The devices as each caller sees them. Ann and bob have a private `host` each, ann an `own`
    besides, and everybody has the shared `common`."""
    seen = {name: devices.seen_by(Caller(owner=name, scope="search")) for name in ("ann", "bob")}
    seen |= {"root": devices.seen_by(Caller(owner="root", scope="admin")), "local": devices}
    for number, (owner, name) in enumerate((("ann", "host"), ("bob", "host"), ("ann", "own")), 2):
        seen[owner].add(make_table(name, network_overhead_ms=float(number)))
    seen["bob"].add(make_table("common"), shared=True)
    return seen


OVERHEADS = {"host@ann": 2.0, "host@bob": 3.0, "own@ann": 4.0}


@pytest.mark.parametrize("who", ["root", "local"])
def test_a_name_alone_means_nobody_elses_private_device(of, who):
    seeing = of[who]
    assert seeing.names() == sorted((*OVERHEADS, "common", "shipped"))
    assert [device.name for device in summarize_devices(seeing)] == seeing.names()
    for name, overhead_ms in OVERHEADS.items():
        assert seeing.table(name, "debug").network_overhead_ms == overhead_ms
    with pytest.raises(NotFound, match="'host' is neither yours nor shared.*: host@ann, host@bob"):
        seeing.table("host", "debug")
    with pytest.raises(NotFound, match="host@ann, host@bob"):
        seeing.remove("host")
    # What is measured here under that name is a device of its own, and replaces only itself.
    for number, replaced in ((1, False), (2, True)):
        table = make_table("host", network_overhead_ms=8.0 + number)
        assert seeing.add(table, replace=replaced).number == number
        assert seeing.table("host", "debug") == table
    assert [r.number for r in seeing.remove("host")] == [2]
    assert seeing.remove("host@bob")[0].owner == "bob"
    with pytest.raises(NotFound):
        of["bob"].get("host")
    assert of["ann"].table("host", "debug").network_overhead_ms == 2.0


def test_owners_see_their_own_by_either_name(of):
    ann = of["ann"]
    assert ann.names() == ["common", "host", "own", "shipped"]
    assert ann.table("host@ann", "debug") == ann.table("host", "debug")
    for unknown in ("host@bob", "common@bob", "host@", "@ann", "host@ann@ann"):
        with pytest.raises(NotFound, match="unknown device"):
            ann.table(unknown, "debug")


def test_a_search_is_current_by_its_owners_device(of):
    mine, theirs = (of[who].table("host", "debug").sha256 for who in ("ann", "bob"))
    assert of["ann"].current_sha256(["host"]) == {"host": {mine}}
    assert of["root"].current_sha256(["host"]) == {"host": {mine, theirs}}
    of["ann"].add(make_table("host", network_overhead_ms=9.0), replace=True)
    assert mine not in of["root"].current_sha256(["host"])["host"]
    assert not of["root"].has_costs_of("host", mine)
    assert of["root"].has_costs_of("host", theirs)


# -- what a table was computed from ---------------------------------------------------------------


def test_what_was_computed_from_an_earlier_table_replaces_no_later_one(of):
    before = of["ann"].kept("host", "debug")
    shipped = of["local"].kept("shipped", "debug")
    for kept, name in ((before, "host"), (shipped, "shipped")):
        corrected = [make_table(name, network_overhead_ms=ms) for ms in (5.0, 6.0)]
        first = of["root"].add(corrected[0], follows=kept)
        assert (first.owner, first.shared) == (kept.owner, kept.shared)
        again = of["root"].add(corrected[0], follows=kept)
        assert again.number == first.number, "the same again is no conflict"
        with pytest.raises(Conflict, match="repeat it with the present table"):
            of["root"].add(corrected[1], follows=kept)
    of["ann"].remove("host")
    with pytest.raises(Conflict, match="or lost it"):
        of["root"].add(make_table("host", network_overhead_ms=7.0), follows=before)


def test_sittings_that_took_place_at_the_same_time_are_all_kept(of, tmp_path):
    catalog = Catalog(tmp_path)
    catalog.devices = of["ann"]
    kept = of["ann"].kept("host", "debug")
    sittings = [Sitting(measured_at=None, networks=60, ratio=ratio) for ratio in (1.1, 1.2)]
    for sitting in sittings:
        found = keep_sitting(catalog, kept, sitting)
        assert found == replace(of["ann"].kept("host", "debug"), created_at=found.created_at)
    assert list(found.table.sittings) == sittings
    of["ann"].add(make_table("host", network_overhead_ms=9.0), replace=True)
    with pytest.raises(Conflict):
        keep_sitting(catalog, kept, sittings[0])


# -- files of earlier versions ---------------------------------------------------------------
