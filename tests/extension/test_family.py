"""A family added from outside: one stage of inverted bottlenecks, searched by the service."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import onnx
import pytest

from models.layers import LayerSpec
from models.spaces import Arch, Gene, Scope, SearchSpace, register_family, unregister_family
from service.settings import Settings
from tests.service.conftest import busy_on, keep, make_bundle, make_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyStage:
    width: int
    depths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ToySpace(SearchSpace):
    """Columns of the gene matrix: resolution, depth, then kernel and expansion of each block."""

    family = "toy"

    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    stages: tuple[ToyStage, ...]

    @cached_property
    def genes(self):
        blocks = [
            gene
            for b in range(self.stages[0].depths[-1])
            for gene in (Gene("kernel", 0, b, self.kernels), Gene("expand", 0, b, self.expands))
        ]
        shared = (Gene("resolution", -1, -1, self.resolutions),)
        return (*shared, Gene("depth", 0, -1, self.stages[0].depths), *blocks)

    @property
    def block_counts(self):
        return (self.stages[0].depths,)

    @property
    def depth_columns(self):
        return (1,)

    @cached_property
    def scopes(self):
        depths = self.stages[0].depths
        blocks = {
            f"stage1_block{b + 1}": Scope(
                (0, *columns), None if depths[0] > b else 1, tuple(depth > b for depth in depths)
            )
            for (_, b), columns in self.block_columns.items()
        }
        return {"stem": Scope((0,)), **blocks, "pool": Scope((0,)), "classifier": Scope((0,))}

    def covering(self):
        depth = self.stages[0].depths[-1]
        for size, kernel, expand in itertools.product(self.resolutions, self.kernels, self.expands):
            yield Arch(size, (depth,), ((kernel,) * depth,), ((expand,) * depth,))

    def walk(self, arch):
        width, size = self.stages[0].width, arch.resolution

        def layer(name, kind, into, out, **shape):
            about = {"in_channels": into, "out_channels": out, "resolution": size}
            return LayerSpec(name=name, kind=kind, **about, **shape)

        first = layer(
            "stem", "conv", self.channels, width, in_size=size, kernel=3, stride=2, act="relu",
            norm=True,
        )  # fmt: skip
        yield first
        for b, (kernel, expand) in enumerate(zip(arch.kernel[0], arch.expand[0], strict=True)):
            yield layer(
                f"stage1_block{b + 1}", "mbconv", width, width, in_size=first.out_size,
                mid_channels=width * expand, kernel=kernel, act="relu", norm=True, skip=True,
            )  # fmt: skip
        yield layer("pool", "pool", width, width, in_size=first.out_size)
        yield layer("classifier", "linear", width, self.classes, in_size=1)


@pytest.fixture
def space():
    register_family(ToySpace, ToyStage)
    yield ToySpace(
        name="toy", channels=1, classes=10, resolutions=(8, 12), kernels=(3, 5), expands=(2, 4),
        stages=(ToyStage(width=8, depths=(1, 2, 3)),),
    )  # fmt: skip
    unregister_family("toy")


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_service_searches_a_family_of_a_users_own(space, tmp_path):
    make_bundle(tmp_path / "supernets" / "toy-net", space)
    keep(tmp_path, make_table("toy-device", space))
    request = {"supernet": "toy-net", "device": "toy-device", "constraints": {"latency_ms": 1.0}}
    async with busy_on(Settings(home=tmp_path, poll_interval_s=0.01)) as client:
        answer = await client.post("/v1/searches", json=request, headers={"Prefer": "wait=30"})
        model = await client.get(f"{answer.headers['Location']}/model.onnx")
    search = answer.json()
    assert search["status"] == "succeeded", search
    assert search["result"]["latency_ms"] <= 1.0
    arch = Arch.from_json(search["result"]["arch"])
    space.validate(arch)
    (images,) = onnx.load_from_string(model.content).graph.input
    assert images.type.tensor_type.shape.dim[2].dim_value == arch.resolution
