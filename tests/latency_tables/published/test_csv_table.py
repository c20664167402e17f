"""Tables as CSV: columns, delimiters, headers and units are found; what cannot be read is named."""

from __future__ import annotations

import json
import random

import pytest

from latency_tables.published.csv_table import read_csv
from latency_tables.published.formats import read_foreign_table
from latency_tables.published.mapping import read_mapping
from latency_tables.table.table import space_layers
from models.errors import InputError, NotFound
from tests.spaces import DEBUG

LAYERS = space_layers(DEBUG)
TIMES_MS = {key: 0.05 + layer.macs / 1e6 for key, layer in LAYERS.items()}


def write(path, header, rows, delimiter=","):
    lines = [*([header] if header else []), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def times(path, **options):
    table = read_foreign_table(path, DEBUG, device="d", source="s", **options).table
    return {key: entry.p50_ms for key, entry in table.entries.items()}


@pytest.mark.parametrize(
    ("header", "row", "delimiter", "unit"),
    [
        ("key,latency_ms", lambda k, ms: (k, ms), ",", None),
        ("latency_us;layer", lambda k, ms: (ms * 1e3, k), ";", None),
        ("Name\tTime [s]", lambda k, ms: (k, ms / 1e3), "\t", None),
        ("block name|Average Time (µs)|Minimum Time (µs)|Number Of Runs",
         lambda k, ms: (k, ms * 1e3, 1, 500), "|", None),
        (",Kernel Name,Runs,Mean (nanoseconds),Std",
         lambda k, ms: (7, k, 5, ms * 1e6, 2), ",", None),
        ("", lambda k, ms: (k, ms * 1e3), ",", "us"),
        ("", lambda k, ms: (ms / 1e3, k), ";", "s"),
        ("op,milliseconds", lambda k, ms: (f'"{k}"', f'" {ms} "'), ",", "ms"),
        ("layer,value", lambda k, ms: (k, ms * 1e3), ",", "us"),
        ("layer,time,unit", lambda k, ms: (k, ms * 1e3, "us"), ",", None),
        ("units;name;duration", lambda k, ms: ("Seconds", k, ms / 1e3), ";", "ms"),
        ("# made up\nlayer,p50_ms,p90_ms", lambda k, ms: (k, ms, 2 * ms), ",", None),
    ],
)  # fmt: skip
def test_columns_are_found(tmp_path, header, row, delimiter, unit):
    path = tmp_path / "board.csv"
    write(path, header, [row(k, ms) for k, ms in TIMES_MS.items()], delimiter)
    assert times(path, unit=unit) == pytest.approx(TIMES_MS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_newlines(tmp_path, encoding, newline):
    path = tmp_path / "board.txt"
    lines = ["layer,time_ms", *(f"{k},{ms}" for k, ms in TIMES_MS.items()), "", " , "]
    path.write_bytes(newline.join(lines).encode(encoding))
    assert times(path) == pytest.approx(TIMES_MS)


def test_figures_beside_the_time_are_kept(tmp_path):
    path = write(
        tmp_path / "b.csv",
        "std_ms,layer,count,mean_ms",
        [(0.01, key, 7, ms) for key, ms in TIMES_MS.items()],
    )
    table = read_foreign_table(path, DEBUG, device="d", source="s").table
    entry = next(iter(table.entries.values()))
    assert (entry.std_ms, entry.count) == (0.01, 7)


def test_columns_may_say_the_layer(tmp_path):
    rows = [
        (
            layer.kind, f"{layer.in_size}x{layer.in_size}x{layer.in_channels}",
            f"{layer.out_size}x{layer.out_size}x{layer.out_channels}", layer.kernel, layer.stride,
            layer.mid_channels or "", int(layer.se_channels > 0), layer.act or "", TIMES_MS[key],
        )
        for key, layer in LAYERS.items()
    ]  # fmt: skip
    header = "type,input,output,kernel,stride,mid_channels,se,act,latency"
    path = write(tmp_path / "b.csv", header, rows)
    assert times(path) == pytest.approx(TIMES_MS)


def test_a_time_may_be_of_one_resolution(tmp_path):
    rows = [(f"{k}@{layer.resolution}", TIMES_MS[k]) for k, layer in LAYERS.items()]
    shared = [(f"{k}@12", 9.0) for k, layer in LAYERS.items() if layer.in_size == 1]
    path = write(tmp_path / "b.csv", "key,ms", [*rows, *shared])
    table = read_foreign_table(path, DEBUG, device="d", source="s").table
    classifiers = [e.p50_ms for k, e in table.entries.items() if k.startswith("linear")]
    assert sorted(classifiers) == [TIMES_MS[next(k for k in LAYERS if "linear" in k)], 9.0]
    path.write_text(path.read_text().replace("@12", "@13"))
    imported = read_foreign_table(path, DEBUG, device="d", source="s")
    assert imported.table.covered(DEBUG).resolutions == (8,)
    assert {row.why for row in imported.unmapped} == {"no network of resolution 13 has this layer"}


# -- mappings ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "csv", "tsv with header"])
def test_names_are_mapped(tmp_path, form):
    names = {f"Block #{i}": key for i, key in enumerate(TIMES_MS)}
    path = write(
        tmp_path / "b.csv", "block;us", [(n, TIMES_MS[k] * 1e3) for n, k in names.items()], ";"
    )
    mapping = tmp_path / "mapping"
    if form == "json":
        mapping.write_text(json.dumps(names))
    elif form == "csv":
        write(mapping, "", names.items())
    else:
        write(mapping, "name\tkey", names.items(), "\t")
    assert times(path, mapped=read_mapping(mapping)) == pytest.approx(TIMES_MS)


def test_one_name_may_stand_for_several_layers(tmp_path):
    first, second, *others = TIMES_MS
    rows = [("both", 3.0), *((key, TIMES_MS[key]) for key in others)]
    path = write(tmp_path / "b.csv", "block,ms", rows)
    mapping = write(tmp_path / "m.csv", "", [("both", first), ("both", second), ("none", first)])
    mapped = read_mapping(mapping)
    assert mapped["both"] == (first, second)
    imported = read_foreign_table(path, DEBUG, device="d", source="s", mapped=mapped)
    assert {imported.table.entries[k].p50_ms for k in (first, second)} == {3.0}
    assert "names of the mapping in no file: 1, first 'none'" in " ".join(imported.warnings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 3}', "expected a layer's key, got 3"),
        ('{"a": []}', "expected a layer's key"),
        ("{}", "expected 1 to"),
        ("a,b,c", "line 1: expected a name and a layer's key, got 3 cells"),
        ("alone", "got 1 cells"),
        ("", "expected 1 to"),
        ('{"a": "b", "a": "c"}', "JSON"),
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path, text, words):
    (tmp_path / "m").write_text(text)
    with pytest.raises(InputError, match=words):
        read_mapping(tmp_path / "m")


# -- what cannot be read -------------------------------------------------------------------

KEY = next(iter(TIMES_MS))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"key,latency_ms\n{KEY},-1", "line 2: .*mean: expected a positive number, got -1.0"),
        (f"key,latency_ms\n{KEY},0", "expected a positive number"),
        (f"key,latency_ms\n{KEY},nan", "expected a positive number, got nan"),
        (f"key,latency_ms\n{KEY},inf", "expected a positive number, got inf"),
        (f"key,latency_ms\n{KEY},1e400", "expected a positive number, got inf"),
        (f"key,latency_ms\n{KEY},1{'0' * 5000}", "expected a positive number, got inf"),
        (f"key,latency_ms\n{KEY},1e9", "up to 1e.06"),
        (f"key,latency_ms\n{KEY},fast", "expected a number, got 'fast'"),
        (f"key,latency_ms\n{KEY},\u0661\u0662", "expected a number"),
        (f"key;latency_ms\n{KEY};0,5", "expected a number, got '0,5': write a decimal point"),
        (f"key,latency_ms\n{KEY},1,5", "line 2: expected 2 cells as in the header, got 3"),
        (f"{KEY},1,5", "no decimal comma"),
        (f"a\nb,c\n{KEY},1\n{KEY},1", "line 2: expected 1 cells as in the header, got 2"),
        (f"key,latency_ms,count\n{KEY},1,0", "count: expected a positive"),
        (f"key,latency_ms,std\n{KEY},1,-1", "std: expected a positive"),
        (f"key,time,unit\n{KEY},1,weeks", "line 2: .*unit: expected ms, us, ns or s, got 'weeks'"),
        (f"key,cpu latency,gpu latency\n{KEY},1,2", "'cpu latency' and 'gpu latency'"),
        (f"key,latency_ms\n{KEY},1\n{KEY},2", "line 3: .*line 2 has 1 ms of the same layer"),
        ("key,latency_ms", "expected entries by layer, found none"),
        ("a,b\nc,d", "told apart by a header"),
        ("key,latency_ms\n" + "x" * 200_000 + ",1", "not CSV: field larger"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, text, words):
    path = tmp_path / "b.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_foreign_table(path, DEBUG, device="d", source="s")


def test_the_header_s_unit_is_not_overruled(tmp_path):
    path = write(tmp_path / "b.csv", "key,latency_us", [(KEY, 1)])
    with pytest.raises(InputError, match="header says that times are in us, --unit says ms"):
        read_csv(path, "ms")


def test_files_that_are_no_tables(tmp_path):
    def refused(path):
        with pytest.raises(InputError) as error:
            read_foreign_table(path, DEBUG, device="d", source="s")
        return error.value

    for name, content in {
        "empty.csv": b"",
        "binary.csv": b"\x00\xff\xfe\x01" * 99,
        "nul.csv": b"a,b\n\0,1\n",
        "latin.csv": "größe,1".encode("latin-1"),
        "empty.yaml": b"",
        "empty.json": b"{}",
        "words": b"only words here",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)
    (tmp_path / "folder").mkdir()
    assert isinstance(refused(tmp_path / "folder"), NotFound)
    assert isinstance(refused(tmp_path / "nothing.csv"), NotFound)


SPOILERS = [
    *(
        "\0",
        "\t",
        ",",
        ";",
        "|",
        "\n",
        '"',
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "!!set ",
    ),
    *(
        "nan",
        "-1",
        "1e999",
        "9" * 400,
        "\u0661",
        "\ufeff",
        "@",
        "@9",
        "input:",
        "kernel:0",
        "\x1b[31m",
    ),
]


@pytest.mark.slow
def test_a_spoilt_file_is_refused_in_words_or_read(tmp_path):
    """Nothing but an `InputError`, of a bounded length, without control characters."""
    draw = random.Random(0)
    goods = [
        "\n".join(["key,latency_ms", *(f"{k},{ms}" for k, ms in TIMES_MS.items())]),
        json.dumps({"8": {k: {"mean": ms, "std": 0.1} for k, ms in TIMES_MS.items()}}, indent=1),
    ]
    refused = []
    for number in range(100):
        text = goods[number % 2]
        for _ in range(draw.choice([1, 2, 5])):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(SPOILERS) + text[at + draw.choice([0, 0, 1, 30]) :]
        path = tmp_path / f"t{draw.choice(['', '.csv', '.yaml', '.json'])}"
        path.write_text(text)
        try:
            read_foreign_table(path, DEBUG, device="d", source="s")
        except InputError as error:
            refused.append(str(error))
    assert 10 < len(refused) < 100
    assert [text for text in refused if len(text) > 3000 or not text.isprintable()] == []


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = write(tmp_path / "b.csv", "key,latency_ms", [(KEY, 1)] * 20)
    monkeypatch.setattr("latency_tables.published.rows.MAX_ROWS", 10)
    with pytest.raises(InputError, match="at most 10 rows"):
        read_csv(path, None)
    monkeypatch.setattr("latency_tables.published.rows.MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 bytes"):
        read_csv(path, None)
    monkeypatch.setattr("latency_tables.published.rows.MAX_FILES", 0)
    with pytest.raises(InputError, match="at most 0 files"):
        read_csv(tmp_path, None)
