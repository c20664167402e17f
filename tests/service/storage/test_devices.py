"""Tables are read strictly, kept whole, and found by device."""

import copy
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from latency_tables.fitting.profiles import parse_profile
from latency_tables.published.builtin import BuiltinDevices, Device
from latency_tables.table.codec import table_from_json
from latency_tables.table.conditions import Conditions
from latency_tables.table.files import load, save
from latency_tables.table.names import file_name, read_name
from latency_tables.table.table import LatencyTable, LayerLatency, table_to_json
from models.errors import InputError, NotFound
from models.spaces.files import published_spaces
from models.spaces.plan import macs

KEY = "conv-in8x8x1-out8x8x8-mid0-k3-s1-se0-skip0-hswish"


def table_of(device="bench", space="debug", p50_ms=0.5, precision="fp32"):
    return LatencyTable(
        device=device,
        space=space,
        origin="measured",
        source="a test",
        conditions=Conditions(
            runtime="onnxruntime",
            runtime_version="1.20.0",
            precision=precision,
            batch=1,
            threads=1,
            measured_at="2025-01-31T12:00:00+00:00",
        ),
        entries={
            KEY: LayerLatency(p50_ms=p50_ms, mean_ms=0.6, std_ms=0.01, count=120),
            "another": LayerLatency(p50_ms=1e-6, mean_ms=2.0, std_ms=0.0, count=1),
        },
        network_overhead_ms=0.015,
        expected_error=0.02,
    )


PROFILE = {
    "name": "my-board",
    "runtime": "tflite",
    "precision": "int8",
    "batch": 1,
    "conditions": {"threads": 4, "processor": "Cortex-A76"},
    "space": "debug",
    "table": {KEY: {"p50_ms": 0.5}, "another": {"p50_ms": 2, "mean_ms": 2.5, "count": 30}},
}


def edited(document, path, value):
    """A copy with the value at `path` set, or removed where `value` is `...`."""
    document = copy.deepcopy(document)
    target = document
    for step in path[:-1]:
        target = target[step]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return document


# -- files --------------------------------------------------------------------------------


def test_file_round_trip(tmp_path) -> None:
    path = tmp_path / "bench@debug.json"
    save(table_of(), path)
    assert load(path) == table_of()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no temporary file is left


def test_equal_tables_are_equal_files() -> None:
    table = table_of()
    backwards = LatencyTable(
        **{
            **{f: getattr(table, f) for f in table.__dataclass_fields__},
            "entries": dict(reversed(table.entries.items())),
        }
    )
    assert table_to_json(backwards) == table_to_json(table)
    assert json.loads(table_to_json(table))["schema_version"] == 1


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "bench@debug.json"
    save(table_of(), path)

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        save(table_of(p50_ms=9.0), path)
    assert load(path) == table_of()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_missing_file_is_not_found(tmp_path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load(tmp_path / "none@debug.json")


def test_oversized_file_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("latency_tables.table.files.MAX_BYTES", 100)
    path = tmp_path / "bench@debug.json"
    save(table_of(), path)
    with pytest.raises(InputError, match="expected at most 100 bytes"):
        load(path)


DOCUMENT = json.loads(table_to_json(table_of()))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema_version"], 2, "schema_version: expected 1, got 2"),
        (["schema_version"], ..., "field 'schema_version' is missing"),
        (["conditions"], ..., "field 'conditions' is missing"),
        (["extra"], 1, "unknown field 'extra'"),
        (["device"], "../up", "table.device: expected 1 to 64 of a-z"),
        (["device"], 5, "table.device: expected text, got 5"),
        (["space"], None, "table.space: expected text, got None"),
        (["origin"], "guessed", "table.origin: expected one of"),
        (["source"], "", "table.source: expected one line"),
        (["network_overhead_ms"], -1, "table.network_overhead_ms: expected a finite"),
        (["network_overhead_ms"], None, "network_overhead_ms: expected a number, got None"),
        (["expected_error"], "2%", "expected_error: expected a number, got '2%'"),
        (["conditions"], [], r"table.conditions: expected an object, got \[\]"),
        (["conditions", "precision"], "fp8", "table.conditions.precision: expected one of"),
        (["conditions", "batch"], 0, "table.conditions.batch: expected"),
        (["conditions", "batch"], 1.0, "conditions.batch: expected an integer, got 1.0"),
        (["conditions", "threads"], True, "conditions.threads: expected an integer, got true"),
        (["conditions", "runtime"], ..., "table.conditions: field 'runtime' is missing"),
        (["conditions", "colour"], "red", "unknown field 'colour'"),
        (["conditions", "measured_at"], "soon", "measured_at: expected ISO 8601"),
        (["entries"], {}, "entries: expected 1 to 50000 layers, got 0"),
        (["entries"], [1], r"table.entries: expected an object, got \[1\]"),
        (["entries", KEY], 0.5, r"entries\['conv.*'\]: expected an object, got 0.5"),
        (["entries", KEY, "std_ms"], ..., "field 'std_ms' is missing"),
        (["entries", KEY, "p99_ms"], 1, "unknown field 'p99_ms'"),
        (["entries", KEY, "p50_ms"], "0.5", "p50_ms: expected a number, got '0.5'"),
        (["entries", KEY, "p50_ms"], True, "p50_ms: expected a number, got true"),
        (["entries", KEY, "p50_ms"], 0, r"\]\.p50_ms: expected a finite number above 0"),
        (["entries", KEY, "p50_ms"], 1e7, r"p50_ms: .*up to 1e\+06, got 1e\+07"),
        (["entries", KEY, "p50_ms"], 10**400, "p50_ms: expected a smaller number"),
        (["entries", KEY, "count"], 2.5, "count: expected an integer, got 2.5"),
        (["entries", KEY, "count"], 10**30, "count: expected a finite number"),
    ],
)
def test_bad_file_is_refused_with_its_place(tmp_path, path, value, message) -> None:
    file = tmp_path / "bench@debug.json"
    file.write_text(json.dumps(edited(DOCUMENT, path, value)))
    with pytest.raises(InputError, match=message) as caught:
        load(file)
    assert str(caught.value).startswith("bench@debug.json: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "JSON: not readable"),
        ("[1]", r"table: expected an object, got \[1\]"),
        ('{"a": NaN}', "JSON: expected finite numbers, got NaN"),
        ('{"a": -Infinity}', "JSON: expected finite numbers, got -Infinity"),
        ('{"a": 1, "b": 2, "a": 3}', "field 'a' is given twice"),
        ("[" * 100_000, "JSON: not readable"),
        (b"\xff\xfe\xfa", "JSON: not readable"),
        (table_to_json(table_of()).replace("0.015", "1e999"), "network_overhead_ms: .*got inf"),
        (table_to_json(table_of()).replace("0.015", "9" * 5000), "JSON: not readable"),
        (table_to_json(table_of())[:-40], "JSON: not readable"),
    ],
)
def test_what_is_not_strict_json_is_refused(content, message) -> None:
    with pytest.raises(InputError, match=message):
        table_from_json(content)


def test_ratios_are_kept_and_a_table_without_them_has_the_text_it_always_had() -> None:
    plain = table_of()
    assert "residual_ratios" not in table_to_json(plain)
    table = replace(plain, residual_ratios=(1.1, 0.9, 1.0), estimated_resolutions=(8, 12))
    assert table_from_json(table_to_json(table)) == table
    assert table.residual_ratios == (0.9, 1.0, 1.1)
    assert table.upper_factor(0.75) == pytest.approx(1.1)
    assert (table.usual_confidence, plain.usual_confidence) == (0.75, None)
    for wrong in ([0.0], [float("inf")], ["1"], 1.0, [-1]):
        text = json.loads(table_to_json(plain)) | {"residual_ratios": wrong}
        with pytest.raises(InputError, match="residual_ratios|JSON"):
            table_from_json(json.dumps(text))


# -- posted profiles ----------------------------------------------------------------------


def test_profile_with_a_table() -> None:
    table = parse_profile(PROFILE)
    assert (table.device, table.space, table.origin) == ("my-board", "debug", "measured")
    assert table.conditions == Conditions(
        runtime="tflite", precision="int8", batch=1, threads=4, processor="Cortex-A76"
    )
    assert table.entries == {
        KEY: LayerLatency(p50_ms=0.5, mean_ms=0.5, std_ms=0.0, count=1),
        "another": LayerLatency(p50_ms=2.0, mean_ms=2.5, std_ms=0.0, count=30),
    }
    assert (table.network_overhead_ms, table.expected_error) == (0.0, None)
    assert "user" in table.source


def test_profile_may_state_overhead_error_and_source() -> None:
    more = {"network_overhead_ms": 0.1, "expected_error": 0.05, "source": "our lab"}
    table = parse_profile({**PROFILE, **more})
    assert (table.network_overhead_ms, table.expected_error, table.source) == (0.1, 0.05, "our lab")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["name"], ..., "profile: field 'name' is missing"),
        (["name"], "My Board", "profile.name: expected 1 to 64 of a-z"),
        (["source"], "two\nlines", "profile.source: expected one line"),
        (["source"], 7, "profile.source: expected text, got 7"),
        (["batch"], "1", "conditions.batch: expected an integer, got '1'"),
        (["precision"], "fast", "conditions.precision: expected one of"),
        (["conditions"], None, "profile.conditions: expected an object, got None"),
        (["conditions", "batch"], 2, "profile.conditions: unknown field 'batch'"),
        (["table"], ..., r"profile: expected one of 'table', .* got \[\]"),
        (["measurements"], {}, r"expected one of .* got \['table', 'measurements'\]"),
        (["table", KEY], {}, "field 'p50_ms' is missing"),
        (["table", KEY], {"p50_us": 3}, "field 'p50_ms' is missing"),
        (["table", KEY, "p50_ms"], float("nan"), "p50_ms: .*got nan"),
        (["table", KEY, "p50_ms"], -3, "p50_ms: .*above 0"),
        (["table", 7], {"p50_ms": 1}, "profile.table: expected text as keys, got 7"),
        (["table", "x" * 501], {"p50_ms": 1}, "entries: key: expected one line"),
    ],
)
def test_bad_profile_is_refused_with_its_place(path, value, message) -> None:
    with pytest.raises(InputError, match=message):
        parse_profile(edited(PROFILE, path, value))


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_profile_must_be_an_object(value) -> None:
    with pytest.raises(InputError, match="profile: expected an object"):
        parse_profile(value)


def networks_profile(count, **changes):
    space = published_spaces()["ofa-mbv3-w1.0"]
    archs = space.decode(space.sample(count, np.random.default_rng(0)))
    times = [0.001 * macs(space, arch) ** 0.5 for arch in archs]
    head = {k: v for k, v in PROFILE.items() if k != "table"}
    measured = {"arch": [arch.to_json() for arch in archs], "latency_ms": times}
    return {**head, "space": space.name, "measurements": measured, **changes}


def test_profile_with_measurements_becomes_a_fitted_table() -> None:
    table = parse_profile(networks_profile(12, source="our lab"))
    assert (table.device, table.space, table.origin) == ("my-board", "ofa-mbv3-w1.0", "fitted")
    assert table.source == "our lab; layer costs fitted to 12 whole networks"
    assert table.conditions.processor == "Cortex-A76"
    assert len(table.residual_ratios) == 12
    assert not table.missing(published_spaces()["ofa-mbv3-w1.0"])


def test_profile_with_a_donor_asks_for_its_table_at_its_precision() -> None:
    asked = []

    def donor_of(device, space, precision):
        asked.append((device, space, precision))
        return BuiltinDevices().get(device).table(space)

    profile = networks_profile(4, donor="lg-g8")
    table = parse_profile(profile, donor_of=donor_of)
    assert asked == [("lg-g8", "ofa-mbv3-w1.0", "int8")]
    assert "near the costs of device 'lg-g8' under another runtime" in table.source
    assert "to 4 whole networks" in table.source
    with pytest.raises(NotFound, match="no other device is known"):
        parse_profile(profile)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "elsewhere"}, "profile.space: .*expected one of ofa-mbv3-w1.0.*got 'elsewhere'"),
        ({"expected_error": 0.1}, "profile.expected_error: expected it with a 'table' only"),
        ({"measurements": []}, "measurements: expected an object"),
        ({"donor": 3}, "profile.donor: expected text, got 3"),
        ({"source": "two\nlines"}, "profile.source: expected one line"),
        ({"name": "My Board"}, "profile.name: expected 1 to 64 of a-z"),
        ({"table": {}}, "expected one of 'table', 'measurements'"),
    ],
)
def test_bad_profile_with_measurements_is_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        parse_profile(networks_profile(3, **changes))


def test_huge_profile_is_refused_before_it_is_read(monkeypatch) -> None:
    monkeypatch.setattr("latency_tables.table.codec.MAX_ENTRIES", 1)
    with pytest.raises(InputError, match="expected at most 1 layers, got 2"):
        parse_profile(PROFILE)


# -- what comes with the program ------------------------------------------------------------


@pytest.fixture
def builtin(tmp_path):
    save(table_of("shipped"), tmp_path / "shipped@debug.json")
    return BuiltinDevices(tmp_path)


def test_builtin_devices_and_their_tables(builtin, tmp_path) -> None:
    assert builtin.names() == ["shipped"]
    assert builtin.get("shipped").table("debug") == table_of("shipped")
    for table in (table_of("shipped", space="other"), table_of("shipped", precision="int8")):
        save(table, tmp_path / file_name("shipped", (table.space, table.conditions.precision)))
    keys = [("debug", "fp32"), ("debug", "int8"), ("other", "fp32")]
    assert builtin.keys("shipped") == keys == list(builtin.get("shipped").tables)
    assert builtin.keys("unknown") == []
    for key in keys:
        table = builtin.table("shipped", key)
        assert (table.space, table.conditions.precision) == key
        assert read_name(tmp_path / file_name("shipped", key)) == ("shipped", key)
    assert builtin.table("shipped", ("other", "int8")) is None


def test_a_table_is_found_by_space_and_precision() -> None:
    tables = {("debug", p): table_of(precision=p) for p in ("fp32", "int8")}
    both = Device("bench", tables)
    assert both.table("debug") == both.table("debug", "fp32") == tables["debug", "fp32"]
    assert both.table("debug", "int8") == tables["debug", "int8"]
    only = Device("bench", {("debug", "int8"): tables["debug", "int8"]})
    assert only.table("debug") == tables["debug", "int8"]
    with pytest.raises(NotFound, match=r"no latency table for space 'debug' at fp32; .*\(int8\)"):
        only.table("debug", "fp32")


def test_unknown_names_are_answered_with_known_ones(builtin) -> None:
    with pytest.raises(NotFound, match="unknown device 'shiped': did you mean 'shipped'"):
        builtin.get("shiped")
    with pytest.raises(NotFound, match=r"'shipped' has no .* for space 'debugg' .*debug \(fp32\)"):
        builtin.get("shipped").table("debugg")
    with pytest.raises(NotFound, match="unknown device"):
        builtin.get("../builtin/shipped")


def test_one_bad_file_spoils_only_its_device(builtin, tmp_path) -> None:
    (tmp_path / "bad@debug.json").write_text("{")
    (tmp_path / "notes.txt").write_text("mine")
    assert builtin.names() == ["bad", "shipped"]
    assert builtin.get("shipped") == Device("shipped", {("debug", "fp32"): table_of("shipped")})
    with pytest.raises(InputError, match="bad@debug.json: JSON: not readable"):
        builtin.get("bad")


@pytest.mark.parametrize("name", ["pixel@debug.json", "shipped@debug@int8.json"])
def test_a_renamed_file_is_refused(builtin, tmp_path, name) -> None:
    (tmp_path / "shipped@debug.json").rename(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: .*got device 'shipped'"):
        builtin.get(name.partition("@")[0])


@pytest.mark.slow
def test_shipped_tables_are_valid() -> None:
    builtin = BuiltinDevices()
    for device in builtin.names():
        assert builtin.get(device).tables


def test_the_text_of_a_stored_table_stays() -> None:
    """Tables are known by the hash of their text: a field that is new must not show in old ones."""
    text = table_to_json(table_of())
    expected = "c9e9d4b5c4a3752e2b1128087773a7624bf8a0154ca62bc91bf9ecbb851e44cd"
    assert hashlib.sha256(text.encode()).hexdigest() == expected, text
