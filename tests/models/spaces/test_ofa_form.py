"""`models.spaces.ofa_form`: architectures as Once-for-All writes them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidDocument
from models.spaces import Arch, ArchReader, MobileSpace, SearchSpace, published_spaces
from models.spaces.ofa_form import to_ofa
from models.spaces.resnet import ResNetSpace
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

PUBLISHED = published_spaces()
PROXYLESS, RESNET50 = PUBLISHED["ofa-proxyless-w1.3"], PUBLISHED["ofa-resnet50"]
W10 = PUBLISHED["ofa-mbv3-w1.0"]
SPACES = {space.name: space for space in (*PUBLISHED.values(), DEBUG, FASHION_LIKE, RESNET)}
ENTRIES = {
    "ofa-mbv3-w1.0": {"ks": 20, "e": 20, "d": 5},
    "ofa-mbv3-w1.2": {"ks": 20, "e": 20, "d": 5},
    "ofa-proxyless-w1.3": {"ks": 21, "e": 21, "d": 6},
    "ofa-resnet50": {"d": 5, "e": 18, "w": 6},
}
LARGEST = to_ofa(PROXYLESS, PROXYLESS.largest)
SMALLEST50 = to_ofa(RESNET50, RESNET50.smallest)


def by_upstreams_rule(value: dict, space: SearchSpace) -> Arch:
    """What `set_active_subnet` of the published code makes active."""
    if isinstance(space, MobileSpace):
        sizes = [max(stage.depths) for stage in space.stages]
        counts = [min(d, size) for d, size in zip(value["d"], sizes, strict=True)]
        depth, width = tuple(counts), ()
    else:
        assert isinstance(space, ResNetSpace)
        most = max(space.extra_depths)
        sizes = [stage.least_blocks + most for stage in space.stages]
        counts = [size - (most - d) for size, d in zip(sizes, value["d"][1:], strict=True)]
        depth = (int(value["d"][0] == most), *value["d"][1:])
        width = tuple(space.widths[i] for i in value["w"])

    def of(name: str) -> tuple:
        left, stages = list(value.get(name, [])), []
        for size, count in zip(sizes, counts, strict=True):
            block, left = left[:size], left[size:]
            stages.append(tuple(block[:count]))
        return tuple(stages) if name in value else ()

    size = value["r" if "r" in value else "image_size"]
    return Arch(size, depth, of("ks"), of("e"), width)


def sampled(space: SearchSpace, rng: np.random.Generator) -> dict:
    """As upstream's `sample_active_subnet` draws it: every entry a choice, active or not."""

    def draw(choices: tuple, count: int) -> list:
        return [choices[i] for i in rng.integers(0, len(choices), count)]

    r = draw(space.resolutions, 1)[0]
    if isinstance(space, MobileSpace):
        depths = [stage.depths for stage in space.stages]
        blocks = sum(map(max, depths))
        ks, e = draw(space.kernels, blocks), draw(space.expands, blocks)
        return {"ks": ks, "e": e, "d": [draw(d, 1)[0] for d in depths], "r": r}
    assert isinstance(space, ResNetSpace)
    extra = space.extra_depths
    blocks = sum(stage.least_blocks + max(extra) for stage in space.stages)
    d = [*draw((min(extra), max(extra)), 1), *draw(extra, len(space.stages))]
    w = draw(tuple(range(len(space.widths))), len(space.stages) + 2)
    return {"d": d, "e": draw(space.expands, blocks), "w": w, "image_size": r}


@pytest.mark.parametrize("name", SPACES)
def test_networks_of_the_space_make_the_way_there_and_back(name):
    space = SPACES[name]
    for arch in space.decode(space.sample(200, np.random.default_rng(24))):
        value = to_ofa(space, arch)
        assert space.read_arch(value) == by_upstreams_rule(value, space) == arch
        sizes = {key: len(entries) for key, entries in value.items() if isinstance(entries, list)}
        assert sizes == ENTRIES.get(name, sizes)


@given(name=st.sampled_from(sorted(SPACES)), seed=st.integers(0, 2**32))
def test_what_upstream_samples_is_read_by_its_rule(name, seed):
    space = SPACES[name]
    value = sampled(space, np.random.default_rng(seed))
    arch = space.read_arch(value)
    assert arch == by_upstreams_rule(value, space)
    assert space.read_arch(to_ofa(space, arch)) == arch


@pytest.mark.parametrize("extra_depths", [(0,), (2,), (1, 2)])
def test_the_stem_is_told_apart_whatever_the_depths(extra_depths):
    space = replace(RESNET, extra_depths=extra_depths)
    for stem in (0, 1):
        arch = replace(space.largest, depth=(stem, *space.largest.depth[1:]))
        value = to_ofa(space, arch)
        assert (value["d"][0] == max(extra_depths)) == bool(stem)
        assert space.read_arch(value) == arch


SAME: dict[str, dict] = {
    "the size in a list": {"r": [260]},
    "another name of the size": {"r": None, "image_size": 260},
    "both names of it": {"resolution": 260},
    "no widths": {"wid": None},
    "a list of no widths": {"wid": [None] * 25},
    "one value for all": {"ks": 7, "e": 6, "d": 4},
    "a list a stage": {"ks": [[7] * 4] * 5 + [[7]], "e": [[6] * 4] * 5 + [[6]]},
    "depths in lists": {"d": [[4]] * 5 + [[1]]},
    "a depth of the last stage that it cannot have": {"d": [4, 4, 4, 4, 4, 3]},
    "no depth of the last stage": {"d": [4, 4, 4, 4, 4]},
}


@pytest.mark.parametrize("case", SAME)
def test_forms_in_use(case):
    assert PROXYLESS.read_arch(LARGEST | SAME[case]) == PROXYLESS.largest


@pytest.mark.parametrize("filler", [0, 3, 7, 99, -1, 2.5, None])
def test_entries_that_are_not_active_are_ignored_and_said(filler):
    value = to_ofa(W10, W10.smallest)
    for s in range(5):
        value["ks"][4 * s + 2 : 4 * s + 4] = value["e"][4 * s + 2 : 4 * s + 4] = [filler] * 2
    reader = ArchReader(W10)
    assert reader(value) == W10.smallest
    said = "entries of blocks beyond the depth of their stage are ignored, as Once-for-All does"
    assert reader.warnings == [said]
    reader(to_ofa(W10, W10.largest))
    assert reader.warnings == [f"1 of 2 networks: {said}"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"d": 4}, "d is read as 1, the only depth of its stage, as Once-for-All does"),
        ({"d": [4] * 6}, "d[5] is read as 1, the only depth of its stage, as Once-for-All does"),
        ({"d": [4] * 5}, "d has no entry for a last stage, which has one depth alone"),
        ({"ks": [[7] * 4] * 5 + [[7]]}, None),
    ],
)
def test_what_is_said_of_a_network_without_inactive_entries(change, said):
    reader = ArchReader(PROXYLESS)
    reader(LARGEST | change)
    assert reader.warnings == ([said] if said else [])


def test_a_depth_of_the_stem_between_its_two_leaves_the_convolution_out():
    reader = ArchReader(RESNET50)
    assert reader(SMALLEST50 | {"d": [1, 0, 0, 0, 0]}) == RESNET50.smallest
    assert reader.warnings[0].startswith("d[0] is read as 0, without the stem's residual conv")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ks": [7] * 20}, "arch.ks: expected 21 entries, one for each of the 4 + 4 + 4 + 4 + 4"),
        ({"ks": [7] * 7 + [9] + [7] * 13}, "arch.ks[7]: expected one of [3, 5, 7], got 9"),
        ({"ks": [7] * 7 + [7.0] + [7] * 13}, "arch.ks[7]: expected one of [3, 5, 7], got 7.0"),
        ({"ks": [7] * 7 + ["7"] + [7] * 13}, "arch.ks[7]: expected one of [3, 5, 7], got '7'"),
        ({"ks": [7] * 20 + [None]}, "arch.ks[20]: expected one of [3, 5, 7], got None"),
        ({"ks": 9}, "arch.ks: expected one of [3, 5, 7], got 9"),
        ({"ks": "7"}, "arch.ks: expected one of [3, 5, 7], got '7'"),
        ({"ks": {}}, "arch.ks: expected one of [3, 5, 7], got an object"),
        ({"ks": []}, "arch.ks: expected 21 entries"),
        ({"ks": [[7] * 4] * 5}, "arch.ks: expected 6 entries, one for each of the stages, got 5"),
        ({"ks": [[7] * 4] * 5 + [7]}, "arch.ks[5]: expected a list of 1 or 1 entries, got 7"),
        ({"ks": [[7] * 3] + [[7] * 4] * 4 + [[7]]}, "arch.ks[0]: expected a list of 4 or 4"),
        ({"ks": [[7] * 4] * 5 + [[8]]}, "arch.ks[5][0]: expected one of [3, 5, 7], got 8"),
        ({"e": [6] * 20 + [True]}, "arch.e[20]: expected one of [3, 4, 6], got true"),
        ({"d": [4, 4, 5, 4, 4, 1]}, "arch.d[2]: expected one of [2, 3, 4], got 5"),
        ({"d": [4, 4, 4, 4, 1, 1]}, "arch.d[4]: expected one of [2, 3, 4], got 1"),
        ({"d": [4, 4, 4, 4, 4, 0]}, "arch.d[5]: expected one of [1, 2, 3, 4], got 0"),
        ({"d": [4, 4, 4, 4]}, "arch.d: expected 6 entries"),
        ({"d": [True] * 6}, "arch.d[0]: expected one of [2, 3, 4], got true"),
        ({"d": [2] * 6, "ks": [7, 7, "x"] + [7] * 18}, "arch.ks[2]: expected a number, got 'x'"),
        ({"d": [2] * 6, "e": [6, 6, False] + [6] * 18}, "arch.e[2]: expected a number, got false"),
        ({"r": 225}, "arch.r: expected one of [128, 132"),
        ({"r": [224, 260]}, "arch.r: expected one of [128, 132"),
        ({"r": "260"}, "arch.r: expected one of [128, 132"),
        ({"r": None}, "arch: field 'r' is missing: add the input's size in pixels, such as"),
        ({"image_size": 224}, "arch.image_size: expected 260 as in 'r', got 224"),
        ({"wid": 1}, "arch.wid: expected null: this space has no choice of it, got 1"),
        ({"kernel_size": 7}, "arch: unknown field 'kernel_size'; expected (ks, e, d, r) as Once"),
        ({"w": [0] * 6}, "arch: unknown field 'w'; expected (ks, e, d, r) as Once-for-All has it"),
        ({"e": None}, "arch: field 'e' is missing; expected (ks, e, d, r)"),
        ({"depth": [4]}, "arch: unknown field 'd'; expected (resolution, depth, kernel, expand)"),
    ],
)
def test_what_is_not_of_the_space_is_refused_with_its_place(change, words):
    with pytest.raises(InvalidDocument) as error:
        PROXYLESS.read_arch(LARGEST | change)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w": [0, 0, 0, 3, 0, 0]}, "arch.w[3]: expected one of [0, 1, 2], positions in [0.65, 0."),
        ({"w": [0.65] * 6}, "arch.w[0]: expected one of [0, 1, 2], positions in [0.65, 0.8, 1.0]"),
        ({"w": [-1] * 6}, "arch.w[0]: expected one of [0, 1, 2], positions"),
        ({"w": [0] * 5}, "arch.w: expected 6 entries, one for each of the widths, got 5"),
        ({"e": [3] * 18}, "arch.e[0]: expected one of [0.2, 0.25, 0.35], got 3"),
        ({"e": [0.2] * 17}, "arch.e: expected 18 entries, one for each of the 4 + 4 + 6 + 4 block"),
        ({"d": [0] * 4}, "arch.d: expected 5 entries"),
        ({"d": [3, 0, 0, 0, 0]}, "arch.d[0]: expected one of [0, 1, 2], got 3"),
        ({"ks": 3}, "arch: unknown field 'ks'; expected (d, e, w, image_size) as Once-for-All"),
        ({"image_size": None}, "arch: field 'image_size' is missing: add"),
    ],
)
def test_what_is_not_of_a_resnet_space_is_refused_with_its_place(change, words):
    with pytest.raises(InvalidDocument) as error:
        RESNET50.read_arch(SMALLEST50 | change)
    assert str(error.value).startswith(words)


def test_one_value_for_all_of_a_resnet():
    assert RESNET50.read_arch({"d": 2, "e": 0.35, "w": 2, "r": 256}) == RESNET50.largest
