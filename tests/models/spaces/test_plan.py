"""The plan's shapes, MACs and parameters against a walk by hand and published figures."""

from dataclasses import replace

import pytest

from models.errors import InputError
from models.layers import Activation, LayerSpec
from models.spaces.arch import Arch
from models.spaces.genes import make_divisible
from models.spaces.mobile import MobileSpace, StageSpec
from models.spaces.plan import layer_plan, macs, params
from tests.brute import all_archs
from tests.spaces import DEBUG, FASHION_LIKE


def published(widths: tuple[int, ...], head: int, feature: int) -> MobileSpace:
    """The MobileNetV3 spaces of Once-for-All."""
    kinds: list[tuple[Activation, bool, int]] = [
        ("relu", False, 2),
        ("relu", True, 2),
        ("hswish", False, 2),
        ("hswish", True, 1),
    ]
    kinds.append(("hswish", True, 2))
    return MobileSpace(
        name="published", channels=3, classes=1000, resolutions=(160, 224), kernels=(3, 5, 7),
        expands=(3, 4, 6), stem_width=widths[0], stem_stride=2, first_width=widths[0],
        first_act="relu", head_width=head, feature_width=feature, act="hswish",
        stages=tuple(
            StageSpec(width=width, stride=stride, act=act, se=se, depths=(2, 3, 4))
            for width, (act, se, stride) in zip(widths[1:], kinds, strict=True)
        ),
    )  # fmt: skip


W10 = published((16, 24, 40, 80, 112, 160), 960, 1280)
W12 = published((24, 32, 48, 96, 136, 192), 1152, 1536)


def count_by_hand(space: MobileSpace, arch: Arch) -> tuple[int, int]:
    """MACs and parameters, one multiplication at a time, without LayerSpec."""
    n_macs = n_params = 0
    size = -(-arch.resolution // space.stem_stride)

    def conv(c_in, c_out, kernel, out, groups=1, bias=False):
        nonlocal n_macs, n_params
        weights = c_out * (c_in // groups) * kernel * kernel
        n_macs += weights * out * out
        n_params += weights + (c_out if bias else 0)

    def norm(channels):
        nonlocal n_params
        n_params += 2 * channels

    conv(space.channels, space.stem_width, 3, size)
    norm(space.stem_width)
    conv(space.stem_width, space.stem_width, 3, size, groups=space.stem_width)
    norm(space.stem_width)
    conv(space.stem_width, space.first_width, 1, size)
    norm(space.first_width)
    width = space.first_width
    for s, stage in enumerate(space.stages):
        for b in range(arch.depth[s]):
            kernel, mid = arch.kernel[s][b], make_divisible(width * arch.expand[s][b])
            out = -(-size // stage.stride) if b == 0 else size
            conv(width, mid, 1, size)
            norm(mid)
            conv(mid, mid, kernel, out, groups=mid)
            norm(mid)
            if stage.se:
                squeezed = make_divisible(mid // 4)
                conv(mid, squeezed, 1, 1, bias=True)
                conv(squeezed, mid, 1, 1, bias=True)
            conv(mid, stage.width, 1, out)
            norm(stage.width)
            width, size = stage.width, out
    conv(width, space.head_width, 1, size)
    norm(space.head_width)
    conv(space.head_width, space.feature_width, 1, 1)
    conv(space.feature_width, space.classes, 1, 1, bias=True)
    return n_macs, n_params


def test_costs_are_those_counted_by_hand():
    for arch in all_archs(DEBUG)[::7]:
        assert (macs(DEBUG, arch), params(DEBUG, arch)) == count_by_hand(DEBUG, arch)
    for space in (FASHION_LIKE, W10, W12):
        for arch in (space.smallest, space.largest):
            assert (macs(space, arch), params(space, arch)) == count_by_hand(space, arch)


@pytest.mark.parametrize(("space", "expected"), [(W10, 7_664_760), (W12, 10_701_632)])
def test_parameters_of_the_published_networks(space, expected):
    """Once-for-All, MobileNetV3 w1.0 and w1.2, without kernel transformations."""
    assert params(space, space.largest) == expected


def test_costs_of_a_published_subnet():
    """The first row of DyNAS-T's table of measured ofa-mbv3-w1.0 subnets (Apache-2.0)."""
    arch = Arch(
        224,
        (4, 3, 3, 4, 4),
        ((3, 5, 3, 5), (5, 7, 3), (5, 5, 5), (5, 5, 7, 3), (7, 7, 7, 3)),
        ((6, 6, 6, 6), (6, 6, 4), (6, 6, 4), (4, 4, 3, 4), (6, 6, 6, 4)),
    )
    assert (macs(W10, arch), params(W10, arch)) == (378_729_760, 6_208_472)


@pytest.mark.parametrize("arch", [DEBUG.smallest, DEBUG.largest])
def test_layers_fit_together(arch):
    layers = layer_plan(DEBUG, arch)
    assert [layers[0].in_size, layers[0].in_channels] == [arch.resolution, DEBUG.channels]
    assert layers[-1].out_channels == DEBUG.classes
    for before, after in zip(layers[:-1], layers[1:], strict=True):
        assert after.in_channels == before.out_channels
        assert after.in_size == before.out_size
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names) == sum(arch.depth) + 6


def test_skips_join_equal_shapes_only():
    layers = {layer.name: layer for layer in layer_plan(DEBUG, DEBUG.largest)}
    # Stage 1 keeps the width, but its first block has stride 2.
    assert not layers["stage1_block1"].skip
    assert layers["stage1_block2"].skip
    assert not layers["stage2_block1"].skip
    assert layers["first"].skip
    for layer in layers.values():
        if layer.skip:
            assert (layer.in_channels, layer.in_size) == (layer.out_channels, layer.out_size)
    wider = replace(DEBUG, first_width=16)
    assert not layer_plan(wider, wider.largest)[1].skip


def test_size_rounds_up():
    """Padding k // 2 at stride 2 gives ceil: 27 -> 14 -> 7."""
    layer = LayerSpec(name="x", kind="conv", in_channels=1, out_channels=1, in_size=27, stride=2)
    assert layer.out_size == 14
    assert replace(layer, in_size=14).out_size == 7


def test_key_holds_everything_that_a_cost_can_depend_on():
    """Two layers with one key differ in name, norm and the network around them only."""
    groups: dict[str, set[LayerSpec]] = {}
    for arch in all_archs(DEBUG)[::11]:
        for layer in layer_plan(DEBUG, arch):
            groups.setdefault(layer.key, set()).add(
                replace(layer, name="", norm=False, resolution=0)
            )
    assert all(len(group) == 1 for group in groups.values())


def test_key_reads_well():
    layer = layer_plan(DEBUG, DEBUG.largest)[2]
    assert layer.key == "mbconv-in12x12x8-out6x6x8-mid32-k5-s2-se0-skip0-relu"


def test_foreign_architectures_are_refused():
    with pytest.raises(InputError, match="expected 2 stages"):
        layer_plan(DEBUG, FASHION_LIKE.smallest)
