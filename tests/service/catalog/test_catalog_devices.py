"""The contract of users' devices, on SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from latency_tables.published.builtin import BuiltinDevices
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import Conditions
from latency_tables.table.files import save
from models.errors import Conflict, NotFound
from service.catalog.devices import Devices
from service.storage.devices import DeviceStore
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
    assert store.names() == ["phone"]
    assert store.current("unknown") == []


def test_a_device_has_a_table_for_each_space_and_precision(store):
    for table in (
        make_table("phone"),
        make_table("phone", conditions=INT8),
        make_table("phone", space="other"),
        make_table("board"),
    ):
        store.add(table)
    assert store.keys() == [
        ("board", "debug", "fp32"),
        ("phone", "debug", "fp32"),
        ("phone", "debug", "int8"),
        ("phone", "other", "fp32"),
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
        (device, (table.space, table.conditions.precision)): table.sha256
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
    assert devices.resolve("shipped", "debug", "int8") == int8.table
    assert devices.resolve("shipped", "debug") == fp32.table == make_table("shipped")


def test_a_builtin_table_is_never_replaced(devices):
    with pytest.raises(Conflict, match="built in: choose another name"):
        devices.add(make_table("shipped", network_overhead_ms=2.0), replace=True)


def test_a_builtin_table_may_be_corrected(devices):
    corrected = make_table("shipped", network_overhead_ms=2.0)
    assert devices.add(corrected, replace=True, correcting=True).number == 1
    assert devices.table("shipped", "debug") == corrected
    (kept,) = devices.get("shipped")
    assert kept.revision == 1
    assert devices.current_sha256(["shipped"]) == {"shipped": {corrected.sha256}}


def test_unknown_devices_and_spaces_are_answered_with_known_ones(devices):
    devices.add(make_table("host"))
    with pytest.raises(NotFound, match="unknown device 'hosd': did you mean 'host'"):
        devices.resolve("hosd", "debug")
    with pytest.raises(NotFound, match=r"no latency table for space 'other' at fp32.*debug \(fp32"):
        devices.resolve("host", "other")
    with pytest.raises(NotFound, match="at int8"):
        devices.resolve("host", "debug", "int8")


def test_hashes_of_all_current_tables(devices):
    devices.add(make_table("host"))
    devices.add(make_table("shipped", conditions=INT8))
    dumb = {n: {t.sha256 for t in devices.tables(n)} for n in devices.names()}
    assert devices.current_sha256(["host", "shipped", "unknown"]) == dumb


# -- files of earlier versions ---------------------------------------------------------------
