"""The picture is well-formed, says in words what it shows, and its boxes are to scale."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from models.errors import InputError
from models.spaces.picture import (
    MAX_HEIGHT,
    MIN_HEIGHT,
    PIXELS_PER_TAP,
    architecture_svg,
    plan_svg,
)
from models.spaces.plan import layer_plan
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

SVG = "{http://www.w3.org/2000/svg}"
NETWORKS = [
    (space, arch)
    for space in (DEBUG, FASHION_LIKE, RESNET)
    for arch in [
        space.smallest,
        space.largest,
        *space.decode(space.sample(2, np.random.default_rng(0))),
    ]
]


def times_of(plan):
    return {layer.name: float(index + 1) for index, layer in enumerate(plan)}


def drawn(space, arch, times=None):
    return ElementTree.fromstring(architecture_svg(space, arch, times))


@pytest.mark.parametrize(("space", "arch"), NETWORKS)
def test_every_layer_is_drawn_to_scale(space, arch):
    plan = layer_plan(space, arch)
    groups = drawn(space, arch).findall(f"{SVG}g")
    assert [group[0].text.partition(":")[0] for group in groups] == [layer.name for layer in plan]
    most = max(max(layer.mid_channels, layer.out_channels) for layer in plan)
    for layer, group in zip(plan, groups, strict=True):
        box = group[1].attrib
        assert float(box["width"]) == max(6, PIXELS_PER_TAP * layer.kernel)
        wide = max(layer.mid_channels, layer.out_channels)
        height = max(MIN_HEIGHT, MAX_HEIGHT * wide / most)
        assert float(box["height"]) == pytest.approx(height, rel=1e-3)


@pytest.mark.parametrize(("space", "arch"), NETWORKS)
def test_nothing_overlaps_or_sticks_out(space, arch):
    plan = layer_plan(space, arch)
    root = drawn(space, arch, times_of(plan))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [
        [float(box.attrib[k]) for k in ("x", "y", "width", "height")]
        for box in root.iter(f"{SVG}rect")
    ]
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    ends = [(float(g[1].attrib["x"]), float(g[1].attrib["width"])) for g in root.findall(f"{SVG}g")]
    assert all(x + w < after for (x, w), (after, _) in zip(ends, ends[1:], strict=False))


def test_blocks_left_out_are_dashed():
    for arch, absent in ((DEBUG.largest, 0), (DEBUG.smallest, 2)):
        boxes = drawn(DEBUG, arch).iter(f"{SVG}rect")
        assert sum(box.get("class") == "absent" for box in boxes) == absent


def test_says_in_words_what_it_shows():
    arch = DEBUG.uniform(12, -1, 5, 4)
    plan = layer_plan(DEBUG, arch)
    root = drawn(DEBUG, arch, times_of(plan))
    ids = {element.get("id"): element.text for element in root if element.get("id")}
    title, words = (ids[name] for name in root.attrib["aria-labelledby"].split())
    assert root.attrib["role"] == "img"
    assert title == "debug, 12x12 pixels"
    assert "stage2: 2 blocks of 16 channels at 3 x 3: kernel 5 over 32, kernel 5 over 64" in words
    assert "Most of the layers' 55 ms: classifier 18%" in words


def test_shares_are_to_scale_and_only_with_times():
    plan = layer_plan(DEBUG, DEBUG.largest)
    assert not [
        b for b in drawn(DEBUG, DEBUG.largest).iter(f"{SVG}rect") if b.get("class") == "time"
    ]
    times = times_of(plan)
    bars = [
        b for b in drawn(DEBUG, DEBUG.largest, times).iter(f"{SVG}rect") if b.get("class") == "time"
    ]
    heights = np.array([float(bar.attrib["height"]) for bar in bars])
    np.testing.assert_allclose(
        heights / heights.max(), np.array(list(times.values())) / max(times.values()), rtol=1e-3
    )


def test_equal_networks_have_equal_pictures():
    assert architecture_svg(DEBUG, DEBUG.largest) == architecture_svg(DEBUG, DEBUG.largest)
    assert architecture_svg(DEBUG, DEBUG.largest) != architecture_svg(DEBUG, DEBUG.smallest)
    with pytest.raises(InputError, match="arch"):
        architecture_svg(RESNET, DEBUG.largest)


def test_names_are_escaped():
    name = "a<b & 'c'"
    layers = layer_plan(DEBUG, DEBUG.smallest)
    plan = [replace(layer, name=f"{name}{index}") for index, layer in enumerate(layers)]
    slots = [*(layer.name for layer in plan), f"{name} left out"]
    root = ElementTree.fromstring(plan_svg(name, plan, slots, times_of(plan)))
    assert root.findtext(f"{SVG}title") == name
    texts = "".join(root.itertext())
    assert all(slot in texts for slot in slots)
