"""`models.spaces.space`: choices, canonical genes, conversion, bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.errors import InputError
from models.spaces.arch import Arch
from models.spaces.files import read_space
from models.spaces.genes import make_divisible
from models.spaces.mobile import StageSpec
from tests.brute import all_archs, all_genes
from tests.spaces import DEBUG, FASHION_LIKE

ARCH = DEBUG.uniform(8, -1, 3, 4)


def test_cardinality_counts_every_architecture_once():
    archs = all_archs(DEBUG)
    assert len(set(archs)) == len(archs) == DEBUG.cardinality == 800
    assert len(all_genes(DEBUG)) == DEBUG.cardinality


def test_cardinality_of_the_published_family():
    """9 + 9^... : five stages of 2, 3 or 4 blocks, 9 kinds of block (OFA, section 3)."""
    assert 9**2 + 9**3 + 9**4 == 7371
    one_size = replace(FASHION_LIKE, resolutions=(224,))
    assert one_size.cardinality == 7371**5
    assert FASHION_LIKE.cardinality == 4 * 7371**5


def test_encode_and_decode_are_inverse_on_the_whole_space():
    archs = all_archs(DEBUG)
    genes = DEBUG.encode(archs)
    assert DEBUG.decode(genes) == archs
    assert {row.tobytes() for row in genes} == {row.tobytes() for row in all_genes(DEBUG)}
    assert genes.dtype == np.uint8


def test_active_is_what_decoding_reads():
    """Changing a gene changes the network exactly if the mask says it is active."""
    rng = np.random.default_rng(0)
    for row in DEBUG.sample(20, rng):
        mask = DEBUG.active(row[None])[0]
        for column, n_choices in enumerate(DEBUG.n_choices):
            other = row.copy()
            other[column] = (other[column] + 1) % n_choices
            differs = DEBUG.decode(other[None]) != DEBUG.decode(row[None])
            assert differs == mask[column], column


def test_active_with_stages_of_different_depth():
    stages = (
        replace(DEBUG.stages[0], depths=(1,)),
        replace(DEBUG.stages[1], depths=(2, 3, 5)),
    )
    space = replace(DEBUG, stages=stages)
    genes = space.encode([space.uniform(8, 0, 5, 4)])
    active = {
        (gene.name, gene.stage, gene.block)
        for gene, on in zip(space.genes, space.active(genes)[0], strict=True)
        if on and gene.block >= 0
    }
    blocks = [(0, 0), (1, 0), (1, 1)]
    assert active == {(name, s, b) for name in ("kernel", "expand") for s, b in blocks}


def test_sample_is_canonical_seeded_and_reaches_every_network():
    genes = DEBUG.sample(20_000, np.random.default_rng(3))
    assert (genes == DEBUG.canonical(genes)).all()
    assert len(np.unique(genes, axis=0)) == DEBUG.cardinality
    assert (genes == DEBUG.sample(20_000, np.random.default_rng(3))).all()


def test_corners():
    assert DEBUG.smallest == Arch(8, (1, 1), ((3,), (3,)), ((3,), (3,)))
    assert DEBUG.largest == Arch(12, (2, 2), ((5, 5),) * 2, ((4, 4),) * 2)


def test_json_round_trips():
    assert Arch.from_json(ARCH.to_json()) == ARCH
    assert read_space(FASHION_LIKE.to_json()) == FASHION_LIKE


def test_a_part_of_a_space_has_the_resolutions_asked_for():
    assert DEBUG.at([12, 99]).resolutions == (12,)
    assert DEBUG.at(DEBUG.resolutions) is DEBUG
    with pytest.raises(InputError, match=r"no resolution of \[9\]; it has \[8, 12\]"):
        DEBUG.at([9])


def test_archs_are_values():
    again = Arch.from_json(ARCH.to_json())
    assert hash(again) == hash(ARCH)
    assert {again, ARCH} == {ARCH}
    with pytest.raises(AttributeError):
        ARCH.resolution = 12  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 9}, r"arch\.resolution: expected one of \[8, 12\], got 9"),
        ({"depth": (3, 2)}, r"arch\.depth\[0\]: expected one of \[1, 2\], got 3"),
        ({"depth": (2,)}, "expected 2 stages for space 'debug', got 1"),
        ({"kernel": ((3, 3), (3, 7))}, r"arch\.kernel\[1\]\[1\]: expected one of \[3, 5\], got 7"),
        (
            {"expand": ((3,), (3, 3))},
            r"arch\.expand\[0\]: expected 2 entries \(depth\[0\]\), got 1",
        ),
    ],
)
def test_architectures_outside_the_space_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        DEBUG.encode([replace(ARCH, **change)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": True}, "arch.resolution: expected an integer, got true"),
        ({"resolution": 8.0}, "expected an integer, got 8.0"),
        ({"depth": "22"}, "expected a list, got '22'"),
        ({"depth": [2, None]}, "expected an integer, got None"),
        ({"kernel": [[3, 3], 3]}, "expected a list, got 3"),
        ({"kernel": [[3, 3]]}, r"lengths \[2, 2\] as in depth, got \[2\]"),
        ({"expand": [[3, 3], [3]]}, r"lengths \[2, 2\] as in depth, got \[2, 1\]"),
        ({"kernel": [[3, 3], [3, "3"]]}, r"arch.kernel\[1\]\[1\]: expected an integer, got '3'"),
        ({"width": 3}, "unknown field 'kernel'.*as in ResNet"),
        ({"heads": 3}, "unknown field 'heads'"),
    ],
)
def test_json_of_another_shape_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Arch.from_json(ARCH.to_json() | change)


@pytest.mark.parametrize("value", [None, [], "arch", 3])
def test_json_that_is_no_object_is_refused(value):
    with pytest.raises(InputError, match="expected an object"):
        Arch.from_json(value)


def test_json_without_a_field_is_refused():
    value = ARCH.to_json()
    del value["depth"]
    with pytest.raises(InputError, match="'depth' is missing"):
        Arch.from_json(value)


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        (np.zeros((1, 3), np.uint8), r"expected \(N, 11\), got \(1, 3\)"),
        (np.zeros(11, np.uint8), "expected"),
        (np.full((1, 11), 2, np.uint8), "out of range"),
    ],
)
def test_gene_matrices_of_another_space_are_refused(genes, message):
    with pytest.raises(InputError, match=message):
        DEBUG.decode(genes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": ()}, "space.resolutions: expected ascending"),
        ({"resolutions": (12, 8)}, "space.resolutions: expected ascending"),
        ({"kernels": (3, 3)}, "space.kernels: expected ascending"),
        ({"kernels": (3, 4)}, "space.kernels: expected odd sizes"),
        ({"expands": (0, 3)}, "space.expands: expected ascending positive"),
        ({"stages": ()}, "at least one stage"),
        ({"stages": (replace(DEBUG.stages[0], depths=(2, 1)),)}, "depths: expected ascending"),
    ],
)
def test_impossible_spaces_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(DEBUG, **change)


STAGE = DEBUG.to_json()["stages"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../../evil"}, r"space.name: expected 1 to 64 of a-z .*, got '../../evil'"),
        ({"name": "a\x1b[0m"}, r"space.name: expected 1 to 64 of a-z .*, got 'a.x1b\[0m'"),
        ({"name": "a" * 65}, r"space.name: expected 1 to 64 .*\(65 characters\)"),
        ({"stem_width": -8}, "space.stem_width: expected an integer from 1 to 65536, got -8"),
        ({"stem_width": "8"}, "space.stem_width: expected an integer from 1 to 65536, got '8'"),
        ({"channels": 3.0}, "space.channels: expected an integer from 1 to 1024, got 3.0"),
        ({"classes": True}, "space.classes: expected an integer from 1 to 1000000, got true"),
        ({"classes": 0}, "space.classes: expected an integer from 1 to 1000000, got 0"),
        ({"classes": 10**4000}, "space.classes: .*got an integer of 13288 bits"),
        ({"classes": 10**5000}, "space: a number has thousands of digits"),
        ({"head_width": 0}, "space.head_width: expected an integer from 1 to 65536, got 0"),
        ({"feature_width": -1}, "space.feature_width: expected an integer from 0 to 65536, got -1"),
        ({"resolutions": (48.5, 64)}, r"space.resolutions\[0\]: expected an integer .*got 48.5"),
        ({"resolutions": tuple(range(1, 400))}, "space.resolutions: .*255 entries, got a list of"),
        ({"bn_eps": -1}, "space.bn_eps: expected a number above 0, at most 1, got -1"),
        ({"bn_eps": math.nan}, "space.bn_eps: expected a number above 0, at most 1, got nan"),
        ({"act": "gelu"}, "space.act: expected one of relu, relu6, hswish, got 'gelu'"),
        ({"kernels": 3}, "space.kernels: expected a list of 1 to 255 entries, got 3"),
        ({"kernels": (3, 4)}, r"space.kernels\[1\]: expected an odd integer from 1 to 31, got 4"),
        ({"stages": 3}, "space.stages: expected a list of 1 to 32 entries, got 3"),
        ({"stages": ()}, "space.stages: expected a list of 1 to 32 entries, got "),
        ({"stages": [{"width": 8}]}, r"space.stages\[0\].stride: missing, expected an integer"),
        ({"stages": [STAGE | {"stride": 3}]}, r"stages\[0\].stride: .* from 1 to 2, got 3"),
        ({"stem_stride": True}, "space.stem_stride: expected an integer from 1 to 2, got true"),
        ({"stages": [STAGE | {"se": "no"}]}, r"stages\[0\].se: expected true or false, got 'no'"),
        (
            {"stages": [STAGE | {"with": 8}]},
            r"stages\[0\].with: .* mean 'width'",
        ),
        ({"stages": [STAGE | {"depths": (2, 1)}]}, r"stages\[0\].depths: expected ascending"),
        ({"colour": 1}, "space.colour: unknown field, known: name"),
        ({"family": "toy"}, "space.family: expected one of .*, got 'toy'"),
        ({"family": ["mobile"]}, "space.family: expected one of "),
        ({"stem_width": 60_000, "first_width": 60_000}, "space: its largest network has"),
    ],
)
def test_space_json_that_does_not_hold_names_the_field(change, message):
    with pytest.raises(InputError, match=message):
        read_space(DEBUG.to_json() | change)


def test_space_json_without_a_field_is_refused():
    value = DEBUG.to_json()
    del value["classes"]
    with pytest.raises(InputError, match="classes"):
        read_space(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 8), (8, 8), (11, 16), (12, 16), (19.2, 24), (28.8, 32), (134.4, 136)],
)
def test_make_divisible(value, expected):
    """Published widths: 16 x 1.2 is 24, not 19; 112 x 1.2 is 136, not 134."""
    assert make_divisible(value) == expected
    assert make_divisible(value) >= 0.9 * value


def test_stage_fields_are_named():
    with pytest.raises(TypeError):
        StageSpec(8, 2, "relu", False, (1, 2))  # type: ignore[call-arg]


def test_what_is_active_in_a_space_of_many_depths_needs_more_than_one_table():
    """Ten stages of three depths have 59,049 combinations: against what the depths say by hand."""
    space = replace(FASHION_LIKE, name="deep", stages=FASHION_LIKE.stages * 2)
    rows = np.random.default_rng(0).integers(
        0, space.n_choices, (200, len(space.genes)), dtype=np.uint8
    )
    expected = [
        [
            gene.block < 0
            or gene.block < space.block_counts[gene.stage][row[space.depth_columns[gene.stage]]]
            for gene in space.genes
        ]
        for row in rows
    ]
    assert len(space._kept) > 1
    assert space.active(rows).tolist() == expected
    assert space.canonical(rows).tolist() == np.where(expected, rows, 0).tolist()
