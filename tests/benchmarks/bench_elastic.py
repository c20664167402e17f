"""What being elastic costs: a supernet's forward pass against the plain module of the same shape.

    python -m tests.benchmarks.bench_elastic [--rounds 15]

The largest subnet of ofa-mbv3-w1.2 at 224, batch 1 and 8, random weights, both timed in turn.
Wanted: a ratio of at most 1.05. Prints, asserts nothing.
"""

import argparse
import sys
import time

import numpy as np
import torch

from models.layers.modules.elastic import channels_last
from models.spaces.arch import Arch
from models.spaces.files import published_spaces
from models.supernet.extraction import Subnet, extract
from models.supernet.supernet import Supernet, initialize


def report(rounds: int) -> None:
    space = published_spaces()["ofa-mbv3-w1.2"]
    supernet = Supernet(space)
    initialize(supernet, 0)
    channels_last(supernet).eval()
    arch = space.at([224]).largest
    plain = extract(supernet, arch)
    print(f"\n{arch.resolution} px, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for batch in (1, 8):
        x = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
        ms = np.array([_pair_ms(supernet, plain, arch, x) for _ in range(rounds)])
        elastic_ms, plain_ms = np.median(ms, axis=0)
        ratio = np.median(ms[:, 0] / ms[:, 1])
        print(
            f"batch {batch}: elastic {elastic_ms:.1f} ms, plain {plain_ms:.1f} ms, "
            f"ratio {ratio:.3f} (median of {rounds} pairs)"
        )


@torch.no_grad()
def _pair_ms(
    supernet: Supernet, plain: Subnet, arch: Arch, x_BCHW: torch.Tensor
) -> tuple[float, float]:
    start = time.perf_counter()
    supernet(x_BCHW, arch)
    middle = time.perf_counter()
    plain(x_BCHW)
    return (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3


def test_elastic() -> None:
    """For `make bench`."""
    report(rounds=15)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    report(parser.parse_args().rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
