"""Measure the accuracy of many subnets: the data of an accuracy predictor.

Some subnets for fitting are drawn uniformly, as the test subnets are. The others are drawn with a
tilt towards small or large choices, because searches end near these corners and uniform samples
hardly ever reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np

from models.bundle.bundle import Bundle
from models.bundle.measured import Measured, Split, read_measured, write_measured
from models.data import LabelledImages
from models.onnx import ImageSet, calibrated_subnet, onnx_top1, subnet_onnx
from models.spaces import Arch, GeneMatrix, SearchSpace

TILTED_SHARE = 0.4
TILT = 2.0
"""Spread of the tilts (`SearchSpace.sample_tilted`)."""
SHIFT_SUBNETS = 40
"""Subnets that are also measured on the test images, to estimate how much harder those are."""

OnMeasured = Callable[[int, int], None]


def subnets_to_measure(
    space: SearchSpace, fit: int, test: int, seed: int
) -> list[tuple[Arch, Split]]:
    """Distinct subnets, "test" ones uniform, "fit" ones partly tilted; in a mixed order, so
    that a run cut short has measured some of each."""
    rng = np.random.default_rng([seed, 7])
    corners = space.encode([space.largest, space.smallest])
    tilted = min(fit, max(int(fit * TILTED_SHARE), len(corners)))
    uniform = _distinct(space.sample(4 * (fit - tilted + test), rng))[: fit - tilted + test]
    corners = corners[:tilted]
    skewed = np.concatenate([corners, space.sample_tilted(tilted - len(corners), TILT, rng)])
    known = {row.tobytes() for row in uniform[:test]}
    fitted = np.array([r for r in [*skewed, *uniform[test:]] if r.tobytes() not in known])
    jobs: list[tuple[Arch, Split]] = [(arch, "test") for arch in space.decode(uniform[:test])]
    jobs += [(arch, "fit") for arch in space.decode(_distinct(fitted))]
    return [jobs[i] for i in rng.permutation(len(jobs))]


def measure_subnets(
    bundle: Bundle,
    held_out: LabelledImages,
    test: LabelledImages,
    table: Path,
    jobs: Sequence[tuple[Arch, Split]],
    *,
    threads: int,
    on_measured: OnMeasured = lambda done, total: None,
) -> list[Measured]:
    """Measure `jobs`, appending each to `table`, and read it all; a second call goes on.

    Args:
        held_out: training images held out of training.
        test: the data set's test images, for the first few subnets that are not "test" ones.
        table: JSON lines, one a subnet; kept after a crash.
    """
    supernet = bundle.load_supernet()
    calibration = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
    held_out_set = ImageSet(held_out.images, bundle.mean, bundle.std)
    test_set = ImageSet(test.images, bundle.mean, bundle.std)
    also_on_test = [arch for arch, split in jobs if split != "test"][:SHIFT_SUBNETS]

    def measure(arch: Arch, split: Split) -> Measured:
        subnet = calibrated_subnet(supernet, arch, calibration, threads)
        model = subnet_onnx(supernet, arch, subnet, {})
        on_test = None
        if arch in also_on_test:
            on_test = onnx_top1(model, arch, test_set, test.labels, threads)
        top1 = onnx_top1(model, arch, held_out_set, held_out.labels, threads)
        return Measured(arch, top1, split, on_test)

    for done in _measure(jobs, table, measure):
        on_measured(done, len(jobs))
    return read_measured(table)


def _measure(
    jobs: Sequence[tuple[Arch, Split]], table: Path, measure: Callable[[Arch, Split], Measured]
) -> Generator[int, None, None]:
    rows = read_measured(table) if table.exists() else []
    known = {row.arch for row in rows}
    write_measured(table, rows)  # drops a line that a crash cut short
    with table.open("a") as file:
        for done, (arch, split) in enumerate(jobs, start=1):
            if arch not in known:
                file.write(measure(arch, split).to_json() + "\n")
                file.flush()
            yield done


def _distinct(genes: GeneMatrix) -> GeneMatrix:
    _, first = np.unique(genes, axis=0, return_index=True)
    return genes[np.sort(first)]
