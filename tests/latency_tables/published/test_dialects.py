"""Every dialect of every space, in files of every form, gives the table that its figures say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import yaml

from latency_tables.published.assembly import NEGLIGIBLE_MS, IncompleteTable
from latency_tables.published.formats import read_foreign_table
from latency_tables.table.table import space_layers
from models.errors import InputError
from models.spaces import layer_plan, published_spaces
from tests.latency_tables.published.dialects import (
    by_channels,
    by_modules,
    by_ratio,
    channels_first,
    named,
)
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

PROXYLESS = replace(
    DEBUG,
    name="proxyless-like",
    feature_width=0,
    stages=tuple(replace(stage, se=False, act="relu6") for stage in DEBUG.stages),
)
OWN = replace(FASHION_LIKE, name="own", resolutions=(20, 28), stages=FASHION_LIKE.stages[::2])
dump = partial(yaml.dump, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
DIALECTS = (by_channels, by_ratio, by_modules, channels_first)


def read(path, space, **options):
    return read_foreign_table(path, space, device="board", source="made up", **options)


def figures(space, dialect, resolutions=None):
    """By resolution, a time in ms by name: one that says the layer."""
    found: dict[int, dict[str, float]] = {}
    for resolution, layer, name in named(space, dialect):
        if resolutions is None or resolution in resolutions:
            own = found.setdefault(resolution, {})
            # To 12 digits: what is alike by name costs the same.
            own.setdefault(name, round(0.1 + layer.macs / 1e7 + resolution / 1e6, 12))
    return found


def expected_ms(space, arch, dialect):
    """The network's time by the sum of figures, without what a dialect leaves out."""
    plan = layer_plan(space, arch)
    return sum(
        0.1 + layer.macs / 1e7 + arch.resolution / 1e6
        for layer in plan
        if layer.name != "pool" or dialect is by_channels
    )


def check_sums(table, space, dialect):
    for arch in (space.smallest, space.largest):
        plan = layer_plan(space, arch)
        assert table.network_ms(plan) == pytest.approx(expected_ms(space, arch, dialect), abs=1e-5)


@pytest.mark.parametrize("space", [DEBUG, PROXYLESS, OWN], ids=lambda space: space.name)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
def test_one_file_a_resolution(space, dialect, tmp_path):
    for resolution, own in figures(space, dialect).items():
        entries = {name: {"mean": ms, "var": 0.0004, "count": 9} for name, ms in own.items()}
        (tmp_path / f"{resolution}_lookup_table.yml").write_text(dump(entries))
    imported = read(tmp_path, space)
    assert imported.unmapped == ()
    assert imported.table.missing(space) == []
    assert imported.table.covered(space).resolutions == space.resolutions
    check_sums(imported.table, space, dialect)
    entry = imported.table.entry(layer_plan(space, space.largest)[0])
    assert entry is not None
    assert (entry.std_ms, entry.count) == (pytest.approx(0.02), 9)
    means = [note for note in imported.table.notes if "mean before the classifier" in note.text]
    assert len(means) == (dialect is not by_channels)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
@pytest.mark.parametrize("form", ["nested", "json with tabs", "list", "csv with resolution"])
def test_one_file_for_all(dialect, form, tmp_path):
    found = figures(DEBUG, dialect)
    path = tmp_path / "lut.txt"
    if form == "nested":
        path.write_text(dump({"device": "a board", "latency": found}))
    elif form == "json with tabs":
        path.write_text(json.dumps({f"r{r}": own for r, own in found.items()}, indent="\t"))
    elif form == "list":
        listed = [
            {"name": name, "latency_us": 1000 * ms, "resolution": r}
            for r, own in found.items()
            for name, ms in own.items()
        ]
        path = path.with_suffix(".json")
        path.write_text(json.dumps(listed))
    else:
        rows = [f"{r}\t{n}\t{ms}" for r, own in found.items() for n, ms in own.items()]
        path.write_text("\n".join(["resolution\tblock\tAverage Time (ms)", *rows]))
    imported = read(path, DEBUG)
    assert [row.name for row in imported.unmapped] == (["device"] if form == "nested" else [])
    assert imported.table.missing(DEBUG) == []
    check_sums(imported.table, DEBUG, dialect)


def test_one_file_without_resolutions_has_one_time_a_layer(tmp_path):
    """Layers of one shape have one time, whatever the network's resolution."""
    flat = {name: 0.1 + layer.macs / 1e7 for _, layer, name in named(PROXYLESS, by_ratio)}
    path = tmp_path / "8_to_12.yaml"
    path.write_text(dump(flat))
    table = read(path, PROXYLESS).table
    for arch in (PROXYLESS.smallest, PROXYLESS.largest):
        plan = layer_plan(PROXYLESS, arch)
        expected = sum(0.1 + layer.macs / 1e7 for layer in plan if layer.name != "pool")
        assert table.network_ms(plan) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
@pytest.mark.parametrize("name", ["ofa-mbv3-w1.2", "ofa-proxyless-w1.3"])
def test_published_spaces(name, dialect, tmp_path):
    space = published_spaces()[name].at([224])
    for resolution, own in figures(space, dialect).items():
        (tmp_path / f"lut_{resolution}.json").write_text(json.dumps(own))
    imported = read(tmp_path, space)
    assert imported.unmapped == ()
    check_sums(imported.table, space, dialect)


def test_a_resnet_by_descriptions(tmp_path):
    rows = ["operator,micros"]
    for layer in space_layers(RESNET).values():
        size, out = layer.in_size, layer.out_size
        name = (
            f"{layer.kind}-in{size}x{size}x{layer.in_channels}-out{out}x{out}x{layer.out_channels}"
        )
        name += f"-k{layer.kernel}-s{layer.stride}-mid{layer.mid_channels}-skip{int(layer.skip)}"
        rows.append(f'"{name}",{100 + layer.macs / 1e3}')
    path = tmp_path / "resnet.csv"
    path.write_text("\n".join(rows))
    table = read(path, RESNET).table
    plan = layer_plan(RESNET, RESNET.largest)
    expected = sum(100 + layer.macs / 1e3 for layer in plan) / 1e3
    assert table.network_ms(plan) == pytest.approx(expected)


def test_resolutions_that_the_space_lacks_are_skipped_and_counted(tmp_path):
    wide = replace(DEBUG, resolutions=(6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26), kernels=(3, 5))
    for resolution, own in figures(wide, by_channels).items():
        (tmp_path / f"{resolution}.yaml").write_text(dump(own))
    imported = read(tmp_path, DEBUG)
    assert imported.table.covered(DEBUG).resolutions == DEBUG.resolutions
    assert imported.unmapped == ()
    (warning,) = imported.warnings
    assert "that space 'debug' lacks, 9 of them: 6, 10, ... 26" in warning
    with pytest.raises(InputError, match="found only .* lacks, 11 of them.*; it has 9"):
        read(tmp_path, replace(DEBUG, resolutions=(9,)))


def test_resolutions_that_the_files_lack_are_not_covered(tmp_path):
    own = figures(DEBUG, by_channels, {12})[12]
    path = tmp_path / "board.yaml"  # the name does not say which
    path.write_text(dump(own))
    imported = read(path, DEBUG)
    assert imported.table.covered(DEBUG).resolutions == (12,)
    assert "covers 1 of the 2 resolutions of space 'debug': 12" in " ".join(imported.warnings)


def test_bare_names_are_those_of_the_file_s_resolution(tmp_path):
    """Outside the blocks a name is enough; the file's name says the resolution."""
    own = figures(DEBUG, by_modules, {12})[12]
    bare = {
        name.partition(" - ")[0] if "MBConv" not in name else name: ms for name, ms in own.items()
    }
    path = tmp_path / "board_12.yaml"
    path.write_text(dump(bare))
    part = DEBUG.at([12])
    table = read(path, part).table
    assert table.network_ms(layer_plan(part, part.largest)) == pytest.approx(
        expected_ms(part, part.largest, by_modules), abs=1e-5
    )


def test_missing_layers_and_rows_of_no_layer_are_listed(tmp_path):
    own = figures(DEBUG, by_channels, {8})[8]
    gone = next(name for name in own if "kernel:5" in name)
    strange = {
        "expanded_conv-input:7x5x8-output:7x5x8-expand:24": 1.0,
        "expanded_conv-input:8x8x8-output:4x4x8-stride:2-expand:24": 1.0,
        "conv_of_another_net-input:8x8x99-output:8x8x1": 1.0,
        "embedding": 1.0,
    }
    kept = {name: ms for name, ms in own.items() if name != gone} | strange
    path = tmp_path / "8.yaml"
    path.write_text(dump(kept, sort_keys=False))
    with pytest.raises(IncompleteTable, match="1 layers of space 'debug' are missing") as refused:
        read(path, DEBUG)
    assert len(refused.value.missing) == 1
    assert "-k5-" in refused.value.missing[0]
    assert refused.value.missing[0].endswith("@8")
    reasons = [(row.name, row.line) for row in refused.value.unmapped]
    first = len(kept) - len(strange) + 1
    assert reasons == [(name, first + i) for i, name in enumerate(strange)]
    whys = [row.why for row in refused.value.unmapped]
    for words, why in zip(
        ("not one of a square", "does not say which of 2", "99 channels in", "states no shape"),
        whys,
        strict=True,
    ):
        assert words in why


def test_repeated_rows_are_said_and_different_ones_refused(tmp_path):
    own = figures(DEBUG, by_channels, {8})[8]
    name, ms = next(iter(own.items()))
    lines = [f"{n}: {t}" for n, t in own.items()]
    path = tmp_path / "8.yaml"
    path.write_text("\n".join([*lines, f"{name}: {ms}"]))
    assert "1 row with the same" in " ".join(read(path, DEBUG).warnings)
    path.write_text("\n".join([*lines, f"{name.lower()}: {ms + 1}"]))
    with pytest.raises(
        InputError, match=rf"8\.yaml: line {len(own) + 1}: .*line 1 has .*same layer"
    ):
        read(path, DEBUG)


def test_rows_that_fit_exactly_come_before_those_that_nearly_do(tmp_path):
    own = figures(DEBUG, by_channels, {8})[8]
    name = next(n for n in own if "idskip:1" in n)
    path = tmp_path / "8.yaml"
    nearly = {name.replace("idskip:1", "idskip:0"): 7.0}
    path.write_text(dump(own | nearly, sort_keys=False))
    imported = read(path, DEBUG)
    check_sums(imported.table, DEBUG.at([8]), by_channels)
    assert ["fits better" in row.why for row in imported.unmapped] == [True]
    path.write_text(dump(nearly | own, sort_keys=False))
    assert read(path, DEBUG).table == imported.table
    without = {n: ms for n, ms in own.items() if n != name}
    path.write_text(dump(without | {name.replace("idskip:1", "idskip:0"): own[name]}))
    assert "1 row taken by shape" in " ".join(read(path, DEBUG).warnings)


def test_a_mean_that_is_left_out_has_a_millionth(tmp_path):
    path = tmp_path / "8.yaml"
    path.write_text(dump(figures(PROXYLESS, by_ratio, {8})[8]))
    table = read(path, PROXYLESS).table
    pool = next(
        layer for layer in layer_plan(PROXYLESS, PROXYLESS.smallest) if layer.name == "pool"
    )
    assert table.layer_ms(pool) == NEGLIGIBLE_MS
    assert "part of the classifier's time" in table.notes[0].text
