"""The keys of every space, filled with made-up times and imported again, give the same table."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables.published.formats import read_foreign_table
from latency_tables.published.template import key_rows, keys_csv
from latency_tables.table.table import LayerLatency, space_layers
from models.spaces import published_spaces
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

HEADER = "key,layer,kind,resolutions,in_size,in_channels,out_size,out_channels,mid_channels"


def filled(space, times, delimiter=",", quoting=csv.QUOTE_MINIMAL, newline="\n", shuffle=None):
    """The printed table with times in it, and rows in another order."""
    header, *rows = csv.reader(io.StringIO(keys_csv(key_rows(space))))
    assert all(row[-1] == "" for row in rows)
    rows = [[*row[:-1], repr(time)] for row, time in zip(rows, times, strict=True)]
    if shuffle is not None:
        shuffle.shuffle(rows)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=newline)
    writer.writerows([header, *rows])
    return out.getvalue()


def check_same(space, path, times):
    imported = read_foreign_table(path, space, device="d", source="made up")
    keys = [row.key for row in key_rows(space)]
    assert imported.table.entries == {
        key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.0, count=1)
        for key, ms in zip(keys, times, strict=True)
    }
    assert imported.unmapped == () == imported.warnings


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_file_of_the_same_times_is_the_same_table(tmp_path, data):
    space = data.draw(st.sampled_from([DEBUG, RESNET, DEBUG.at([12])]))
    count = len(key_rows(space))
    time = st.floats(1e-5, 1e5)
    times = data.draw(st.lists(time, min_size=count, max_size=count))
    text = filled(
        space,
        times,
        data.draw(st.sampled_from(",;\t|")),
        data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        data.draw(st.sampled_from(["\n", "\r\n", "\r"])),
        data.draw(st.randoms(use_true_random=False)),
    )
    path = tmp_path / data.draw(st.sampled_from(["t.csv", "t", "t.txt", "t-12.tsv"]))
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))))
    check_same(space, path, times)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*published_spaces(), FASHION_LIKE.name])
def test_every_known_space(name, tmp_path):
    space = {**published_spaces(), FASHION_LIKE.name: FASHION_LIKE}[name]
    times = [0.01 + i / 1000 for i in range(len(key_rows(space)))]
    path = tmp_path / "t.csv"
    path.write_text(filled(space, times))
    check_same(space, path, times)


def test_columns_say_the_layer():
    text = keys_csv(key_rows(RESNET))
    assert text.startswith(HEADER)
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(text))}
    assert list(rows) == list(space_layers(RESNET))
    for key, layer in space_layers(RESNET).items():
        row = rows[key]
        assert (row["layer"], row["kind"], row["act"]) == (
            layer.name,
            layer.kind,
            layer.act or "none",
        )
        assert int(row["out_size"]) == layer.out_size
        assert str(layer.resolution) in row["resolutions"].split()


def test_rows_that_are_not_filled_in_are_missing(tmp_path):
    times = [1.0] * len(key_rows(DEBUG))
    header, first, *rows = filled(DEBUG, times).splitlines()
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, first.rpartition(",")[0] + ",", *rows]))
    with pytest.raises(Exception, match="1 row of no layer|layers of space 'debug' are missing"):
        read_foreign_table(path, DEBUG.at([8]), device="d", source="s")
