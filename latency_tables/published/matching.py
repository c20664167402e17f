"""Which layers of a space a foreign name is of.

Sizes, channels, kernel, stride, expansion and squeeze-and-excitation must agree as far as a name
states them. Activation and shortcut follow from the other fields in nearly every space, and writers
get them wrong: they decide between layers that are alike otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from latency_tables.published.layer_names import Description, Group, NotSquare, describe
from models.layers import LayerSpec, kind_of
from models.spaces import SearchSpace, layer_plan, make_divisible

Reading = Literal["channels", "ratio"]
"""What `expand` of a format is: channels in the middle, or their ratio to the input's."""
READINGS: tuple[Reading, ...] = get_args(Reading)


class Unmatched(ValueError):
    """A name is of no layer, or of several; the message says why."""


@dataclass(slots=True)
class Known:
    """A layer of the space, and where it occurs."""

    layer: LayerSpec
    resolutions: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Match:
    """The layer of a row."""

    layer: LayerSpec
    resolutions: frozenset[int] | None
    """Of the networks that the row is for; None: of all that have the layer."""
    odd: int = 0
    """Stated properties that the layer does not have."""
    pooled: bool = False
    """Whether the row includes the pooling before the layer."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the table's entries."""
        if self.resolutions is None:
            return (self.layer.key,)
        return tuple(f"{self.layer.key}@{r}" for r in sorted(self.resolutions))


class LayerIndex:
    """All layers of a space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.known: dict[str, Known] = {}
        self.needed: dict[int, dict[str, LayerSpec]] = {}
        """By resolution, the layers of its networks by key."""
        self.pooled_sizes: dict[int, int] = {}
        """By resolution, height and width before the mean over them."""
        self.stems: dict[int, LayerSpec] = {}
        """By resolution, the first layer."""
        roles: dict[str, set[str]] = {}
        for arch in space.covering():
            self._add(arch.resolution, layer_plan(space, arch), roles)
        self._roles = roles
        self._near: dict[tuple[int | None, ...], list[Known]] = {}
        for item in self.known.values():
            channels = item.layer.in_channels, item.layer.out_channels
            for place in (channels, (*channels, item.layer.in_size)):
                self._near.setdefault(place, []).append(item)

    def _add(self, resolution: int, plan: Iterable[LayerSpec], roles: dict[str, set[str]]) -> None:
        plan = list(plan)
        self.stems[resolution] = plan[0]
        for layer in plan:
            item = self.known.setdefault(layer.key, Known(layer))
            item.resolutions.add(resolution)
            self.needed.setdefault(resolution, {})[layer.key] = layer
            if is_mean(layer):
                self.pooled_sizes[resolution] = layer.in_size
        for name, layer in roles_of(plan):
            roles.setdefault(name, set()).add(layer.key)

    def match(self, name: str, reading: Reading, resolution: int | None = None) -> Match:
        """The layer of a name: one of our keys, a description, or a layer's bare name.

        Args:
            resolution: of the networks that the row is for, if it is known.

        Raises:
            Unmatched: it is of no layer of this space, or of more than one.
        """
        if (exact := self._exact(name, resolution)) is not None:
            return exact
        try:
            said = describe(name)
        except NotSquare as error:
            raise Unmatched(str(error)) from error
        if said.has_shape:
            found = self._described(said, reading, resolution)
        else:
            found = [(0, self.known[key]) for key in self._roles.get(said.word, ())]
            found = [(odd, k) for odd, k in found if resolution in (None, *k.resolutions)]
            if not found:
                raise Unmatched("the name states no shape, and is not one of a layer of this space")
        least = min(odd for odd, _ in found)
        best = [item for odd, item in found if odd == least]
        if len(best) > 1:
            alike = ", ".join(sorted(item.layer.key for item in best)[:2])
            raise Unmatched(f"it does not say which of {len(best)} layers it is of, first {alike}")
        return self._matched(said, best[0], resolution, least)

    def _exact(self, name: str, resolution: int | None) -> Match | None:
        """One of our own keys, which may name a resolution."""
        key, at, stated = name.strip().rpartition("@")
        if not at:
            key = stated
        if (item := self.known.get(key)) is None:
            return None
        if at:
            if not (stated.isascii() and stated.isdigit()) or int(stated) not in item.resolutions:
                raise Unmatched(f"no network of resolution {stated[:20]} has this layer")
            resolution = int(stated)
        if resolution is None:
            return Match(item.layer, None)
        if resolution not in item.resolutions:
            raise Unmatched(f"no network of resolution {resolution} has this layer")
        return Match(item.layer, frozenset((resolution,)))

    def _described(
        self, said: Description, reading: Reading, resolution: int | None
    ) -> list[tuple[int, Known]]:
        channels = said.in_channels, said.out_channels
        near: Iterable[Known] = self.known.values()
        if None not in channels:
            sized = said.in_size is not None and said.group not in (None, "linear")
            near = self._near.get((*channels, said.in_size) if sized else channels, ())
        alike = [k for k in near if self._agrees(said, k.layer, reading)]
        here = [k for k in alike if resolution in (None, *k.resolutions)]
        if not here:
            raise Unmatched(self._why_none(said, resolution if alike else None))
        return [(oddities(said, k.layer), k) for k in here]

    def _why_none(self, said: Description, resolution: int | None) -> str:
        if resolution is not None:
            return f"networks of resolution {resolution} do not have this layer"
        channels = said.in_channels, said.out_channels
        if None not in channels and channels not in self._near:
            return f"no layer of this space has {channels[0]} channels in and {channels[1]} out"
        if said.in_size is not None and said.group != "linear":
            if (*channels, said.in_size) not in self._near:
                size = f"{said.in_size} x {said.in_size}"
                return f"no layer of this space with these channels has an input of {size}"
        return "no layer of this space has this kernel, stride, expansion and squeeze"

    def _agrees(self, said: Description, layer: LayerSpec, reading: Reading) -> bool:
        kind = kind_of(layer)
        pairs = [(said.in_channels, layer.in_channels), (said.out_channels, layer.out_channels)]
        if kind.has_window:
            pairs += [(said.kernel, layer.kernel), (said.stride, layer.stride)]
        if said.group is not None and said.group != group_of(layer):
            return False
        if any(stated not in (None, actual) for stated, actual in pairs):
            return False
        if not self._sized(said, layer):
            return False
        if said.se is not None and said.se not in (layer.se_channels, int(layer.se_channels > 0)):
            return False
        return not kind.is_block or _expands(said, layer, reading)

    def _sized(self, said: Description, layer: LayerSpec) -> bool:
        if said.out_size not in (None, layer.out_size):
            return False
        if said.in_size in (None, layer.in_size):
            return True
        return kind_of(layer).flattens and said.in_size in self.pooled_sizes.values()

    def _matched(self, said: Description, item: Known, resolution: int | None, odd: int) -> Match:
        layer = item.layer
        at = None if resolution is None else frozenset((resolution,))
        pooled = said.in_size not in (None, layer.in_size)
        if pooled:
            of_size = {r for r, size in self.pooled_sizes.items() if size == said.in_size}
            if at is not None and not at <= of_size:
                raise Unmatched(f"networks of resolution {resolution} have another size there")
            at = at or frozenset(of_size & item.resolutions)
        return Match(layer, at, odd, pooled)


def is_mean(layer: LayerSpec) -> bool:
    """Whether a layer is the mean over height and width."""
    kind = kind_of(layer)
    return not (kind.has_window or kind.flattens) and layer.macs == 0


def group_of(layer: LayerSpec) -> Group:
    """What kind of layer foreign names call it."""
    kind = kind_of(layer)
    if kind.is_block:
        return "block"
    if kind.flattens:
        return "linear"
    return "conv" if layer.macs else "pool"


def roles_of(plan: list[LayerSpec]) -> list[tuple[str, LayerSpec]]:
    """Bare names of the layers of a network outside its blocks, as the published code has them."""
    outside = [layer for layer in plan if not kind_of(layer).is_block]
    mean = next((i for i, layer in enumerate(plan) if is_mean(layer)), len(plan))
    names: list[tuple[tuple[str, ...], LayerSpec]] = [
        *(((layer.name.replace("_", ""),), layer) for layer in outside),
        (("firstconv", "conv"), plan[0]),
        *((("avgpool2d", "avgpool", "globalavgpool"), plan[mean]) for _ in plan[mean : mean + 1]),
        (("logits", "classifierlinear", "linear", "fc"), plan[-1]),
    ]
    convs = [i for i, layer in enumerate(plan) if i and group_of(layer) == "conv"]
    before, after = [i for i in convs if i < mean], [i for i in convs if i > mean]
    if before and len(before) == 1:
        mixes = () if after else ("featuremixlayer",)
        names.append((("finalexpandlayer", "conv1", *mixes), plan[before[0]]))
    if after:
        names.append((("featuremixlayer", "conv2"), plan[after[0]]))
    return [(word, layer) for words, layer in names for word in words]


def oddities(said: Description, layer: LayerSpec) -> int:
    """How many stated properties a layer does not have, of those that do not decide."""
    odd = said.skip is not None and said.skip != layer.skip
    if said.act == "no hswish":
        return odd + (layer.act == "hswish")
    return odd + (said.act not in (None, layer.act))


def _expands(said: Description, layer: LayerSpec, reading: Reading) -> bool:
    mid, ratio = said.mid_channels, said.ratio
    if said.expand is not None:
        mid, ratio = (said.expand, ratio) if reading == "channels" else (mid, said.expand)
    if mid is not None and mid != layer.mid_channels:
        return False
    if ratio is None:
        return True
    channels = round(kind_of(layer).expansion_base(layer) * ratio)
    return layer.mid_channels in (channels, make_divisible(channels))
