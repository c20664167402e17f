"""Subnets measured for a predictor: which, how kept, and resumed without repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle.measure_accuracy import _measure, subnets_to_measure
from models.bundle.measured import (
    Measured,
    Shift,
    as_arrays,
    compress,
    read_measured,
    shift_to_test_images,
)
from models.errors import InputError
from tests.spaces import FASHION_LIKE


def test_subnets_are_distinct_and_test_ones_never_fitted():
    jobs = subnets_to_measure(FASHION_LIKE, fit=300, test=60, seed=1)
    assert len({arch for arch, _ in jobs}) == len(jobs)
    assert sum(split == "test" for _, split in jobs) == 60
    assert 280 <= sum(split == "fit" for _, split in jobs) <= 300
    archs = [arch for arch, _ in jobs]
    assert FASHION_LIKE.largest in archs
    assert FASHION_LIKE.smallest in archs
    assert jobs == subnets_to_measure(FASHION_LIKE, fit=300, test=60, seed=1)


def test_tilted_subnets_reach_further_than_uniform_ones():
    jobs = subnets_to_measure(FASHION_LIKE, fit=500, test=100, seed=1)
    means = {
        split: np.array([np.mean(sum(arch.expand, ())) for arch, s in jobs if s == split])
        for split in ("fit", "test")
    }
    assert means["fit"].std() > 1.3 * means["test"].std()


def test_table_round_trip(tmp_path: Path):
    arch = FASHION_LIKE.smallest
    rows = [Measured(arch, 91.5, "fit", 90.5), Measured(FASHION_LIKE.largest, 94.0, "test")]
    path = tmp_path / "measured.jsonl.gz"
    path.write_bytes(compress(rows))
    assert read_measured(path) == rows
    assert compress(rows) == path.read_bytes()
    genes, top1 = as_arrays(FASHION_LIKE, rows, "test")
    assert FASHION_LIKE.decode(genes) == [FASHION_LIKE.largest]
    assert top1.tolist() == [94.0]


def test_shift_is_the_mean_difference_of_the_subnets_measured_twice():
    arch = FASHION_LIKE.smallest
    rows = [
        Measured(arch, 91.0, "fit", 90.0),
        Measured(arch, 92.0, "fit", 91.5),
        Measured(arch, 50.0, "fit"),
    ]
    shift = shift_to_test_images(rows)
    assert (shift.points, shift.subnets) == (-0.75, 2)
    assert shift.spread == pytest.approx(0.5 / 2**0.5)  # of -1.0 and -0.5, n - 1 below
    assert shift_to_test_images(rows[2:]) == Shift(0.0, 0.0, 0)


def test_measuring_resumes_after_a_torn_line(tmp_path: Path):
    jobs = subnets_to_measure(FASHION_LIKE, fit=6, test=3, seed=1)
    table, asked = tmp_path / "t.jsonl", []

    def measure(arch, split):
        asked.append(arch)
        return Measured(arch, 90.0 + len(asked), split)

    steps = _measure(jobs, table, measure)
    for _ in range(4):
        next(steps)
    steps.close()
    with table.open("a") as file:
        file.write('{"arch": {"resolu')  # the crash
    assert [*_measure(jobs, table, measure)] == list(range(1, len(jobs) + 1))
    assert len(asked) == len(jobs)
    assert [row.arch for row in read_measured(table)] == [arch for arch, _ in jobs]


def test_a_row_that_is_not_one_is_shown(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"arch": 1}\n')
    with pytest.raises(InputError, match="not a row"):
        read_measured(tmp_path / "t.jsonl")
