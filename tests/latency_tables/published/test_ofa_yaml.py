"""The published format of tables, written here by hand and read by `ofa_yaml`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from latency_tables.published.ofa_yaml import import_ofa_lut
from latency_tables.table.codec import table_from_json
from latency_tables.table.table import table_to_json
from models.errors import InputError, NotFound
from models.spaces.genes import make_divisible
from models.spaces.plan import layer_plan
from search.costs.costs import latency_costs
from tests.spaces import DEBUG

PROXYLESS = replace(
    DEBUG,
    name="proxyless-like",
    feature_width=0,
    stages=tuple(replace(stage, se=False, act="relu6") for stage in DEBUG.stages),
)


def layers_by_hand(space, arch) -> list[str]:
    """Keys of a network's layers, as the published code writes them."""
    ratio_dialect = not space.feature_width
    size, width = arch.resolution, space.stem_width
    keys = [f"Conv-input:{size}x{size}x{space.channels}-output:{size}x{size}x{width}"]
    blocks = [(space.first_width, 1, 1, 3, "relu", False)]
    for s, stage in enumerate(space.stages):
        for b in range(arch.depth[s]):
            stride = stage.stride if b == 0 else 1
            kernel, expand = arch.kernel[s][b], arch.expand[s][b]
            blocks.append((stage.width, expand, stride, kernel, stage.act, stage.se))
    for out, expand, stride, kernel, act, se in blocks:
        after = (size - 1) // stride + 1
        mid = make_divisible(round(width * expand))
        key = f"expanded_conv-input:{size}x{size}x{width}-output:{after}x{after}x{out}"
        key += f"-expand:{expand if ratio_dialect else mid}-kernel:{kernel}-stride:{stride}"
        key += f"-idskip:{int(stride == 1 and width == out)}"
        if not ratio_dialect:
            key += f"-se:{int(se)}-hs:{int(act == 'hswish')}"
        keys.append(key)
        size, width = after, out
    head = space.head_width
    keys.append(f"Conv_1-input:{size}x{size}x{width}-output:{size}x{size}x{head}")
    if ratio_dialect:
        return [*keys, f"Logits-input:{size}x{size}x{head}-output:{space.classes}"]
    feature = space.feature_width
    keys.append(f"AvgPool2D-input:{size}x{size}x{head}-output:1x1x{head}")
    keys.append(f"Conv_2-input:1x1x{head}-output:1x1x{feature}")
    return [*keys, f"Logits-input:1x1x{feature}-output:{space.classes}"]


def write_lut(folder: Path, space) -> dict[int, dict[str, dict[str, float]]]:
    """One file a resolution with random figures, another one for every entry of every file."""
    rng, files = np.random.default_rng(0), {}
    for resolution in space.resolutions:
        part = space.at([resolution])
        keys = {key for arch in part.covering() for key in layers_by_hand(part, arch)}
        figures = {
            key: {"count": 500, "mean": float(rng.uniform(0.1, 3)), "std": 0.01}
            for key in sorted(keys)
        }
        (folder / f"{resolution}_lookup_table.yaml").write_text(yaml.safe_dump(figures))
        files[resolution] = figures
    return files


@pytest.mark.parametrize("space", [DEBUG, PROXYLESS], ids=lambda space: space.name)
def test_sums_are_those_of_the_files(space, tmp_path):
    files = write_lut(tmp_path, space)
    table = import_ofa_lut(tmp_path, space, device="phone", source="made up")
    genes = space.sample(300, np.random.default_rng(1))
    archs = space.decode(genes)
    expected = [
        sum(files[arch.resolution][key]["mean"] for key in layers_by_hand(space, arch))
        for arch in archs
    ]
    # The pooling that the ratio dialect counts with the logits has a millionth.
    np.testing.assert_allclose(latency_costs(space, table).evaluate(genes), expected, atol=2e-6)
    plans = [layer_plan(space, arch) for arch in archs[:20]]
    np.testing.assert_allclose([table.network_ms(p) for p in plans], expected[:20], atol=2e-6)
    assert table.missing(space) == []
    assert table_from_json(table_to_json(table)) == table


def test_fewer_files_are_fewer_resolutions(tmp_path):
    write_lut(tmp_path, DEBUG)
    (tmp_path / "8_lookup_table.yaml").unlink()
    table = import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")
    assert table.covered(DEBUG).resolutions == (12,)


def test_the_unit_is_stated(tmp_path):
    write_lut(tmp_path, DEBUG)
    ms, s = (
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up", unit=unit)
        for unit in ("ms", "s")
    )
    plan = layer_plan(DEBUG, DEBUG.largest)
    assert s.network_ms(plan) == pytest.approx(1000 * ms.network_ms(plan))
    with pytest.raises(InputError, match="unit: expected one of"):
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up", unit="min")


def spoil(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop(next(k for k in c if "kernel:5" in k)), "1 layers .* missing, first .*@8"),
        (lambda c: c.update({next(iter(c)): [3.0]}), "expected a number, or count, mean and std"),
        (lambda c: c.update({next(iter(c)): {"std": 3.0}}), "expected count, mean and std"),
        (lambda c: c[next(iter(c))].update(mean=-1.0), "mean: expected a positive number, got -1"),
        (lambda c: c[next(iter(c))].update(mean=float("nan")), "mean: expected a positive"),
        (lambda c: c[next(iter(c))].update(mean="3 ms"), "mean: expected a positive"),
        (lambda c: c[next(iter(c))].update(count=0), "count: expected a positive"),
        (
            lambda c: c.pop(next(k for k in c if k.startswith("Conv-"))),
            "1 layers .* missing, first conv-in8x8x1",
        ),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, change, words):
    write_lut(tmp_path, DEBUG)
    spoil(tmp_path / "8_lookup_table.yaml", change)
    with pytest.raises(InputError, match=words):
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")


REFERENCES = ", ".join(
    f"&a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" if level else "&a0 [lol]"
    for level in range(12)
)
"""A list that is 9^11 words long when it is written out."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [run]",
        "{unclosed",
        "just words",
        "",
        "[" * 5000,
        "Conv-1: " + "9" * 5000,
        f"Conv-1: [{REFERENCES}]",
        "Conv-1: {mean: 1" + "0" * 400 + ", count: 1, std: 0}",
    ],
)
def test_a_file_that_is_no_table_is_refused_and_not_run(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "8.yaml").write_text(text)
    with pytest.raises(InputError, match=r"8\.yaml"):
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")
    assert not (tmp_path / "run").exists()


def test_other_folders_and_spaces_are_refused(tmp_path):
    with pytest.raises(NotFound, match="found none"):
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")
    write_lut(tmp_path, DEBUG)
    space = replace(DEBUG, resolutions=(9,))
    with pytest.raises(InputError, match="resolutions that space 'debug' lacks, 2 of them: 8, 12"):
        import_ofa_lut(tmp_path, space, device="phone", source="made up")


def test_what_is_nested_without_end_is_refused(tmp_path):
    """A hundred thousand brackets, and mappings merged into one another."""
    for text in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000):
        (tmp_path / "8.yaml").write_text(text)
        with pytest.raises(InputError, match="nested too deep"):
            import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")
    many = "\n".join(
        f"  m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 9)
    )
    (tmp_path / "8.yaml").write_text(f"a:\n  m0: &m0 {{mean: 1}}\n{many}\n")
    with pytest.raises(InputError, match=r"write out what \*m0 refers to"):
        import_ofa_lut(tmp_path, DEBUG, device="phone", source="made up")
