"""OFA's form of one static network, the `net.config` of its model zoo, read as an architecture.

A `net.config` lists every module with its shape. The resolution is not in it: that is `image_size`
of the `run.config` beside it. So three documents are read:

* `{"net.config": {...}, "run.config": {"image_size": 224}}`
* a `net.config` with a further field `image_size` or `resolution`
* either of them in the later naming, which calls the inner module of a block `conv` rather than
  `mobile_inverted_conv`

The widths, activations and so on must be those of a space, since an `Arch` holds none of them.
Source: mit-han-lab/once-for-all, the `config` of networks and layers, f03b267 and tag v0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from models.errors import FieldPath, FieldProblem, InvalidDocument, show_value
from models.layers import LayerSpec
from models.spaces.arch import Arch, Note

if TYPE_CHECKING:
    from models.spaces.space import SearchSpace

NET, RUN = "net.config", "run.config"
SIZES = ("image_size", "resolution")
BLOCKS = "blocks"
_INNER = ("mobile_inverted_conv", "conv")
"""What a block calls its inverted bottleneck: at first, and later."""
_ACTS = {"hswish": "h_swish"}
"""Their names of activations, where they differ from ours."""
_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "conv": {
        "kernel_size": 3,
        "stride": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "use_bn": True,
        "act_func": "relu",
        "ops_order": "weight_bn_act",
    },
    "mbconv": {
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 6,
        "mid_channels": None,
        "act_func": "relu6",
        "use_se": False,
        "groups": None,
    },
    "linear": {"bias": True, "use_bn": False, "act_func": None, "ops_order": "weight_bn_act"},
}
"""What a module has that does not say so."""


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object and its place in the document."""

    fields: Mapping[str, Any]
    path: FieldPath

    @classmethod
    def of(cls, value: object, path: FieldPath) -> _Object:
        """The object that a value must be."""
        if not isinstance(value, Mapping):
            text = f"expected an object, got {show_value(value)}"
            raise InvalidDocument.at("arch", path, text)
        return cls(value, path)

    def child(self, name: str) -> _Object:
        """The object in a field."""
        return self.of(self.fields.get(name), (*self.path, name))

    def integer(self, name: str, default: object = None) -> int:
        """A positive integer."""
        found = self.fields.get(name, default)
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise self.wrong(name, f"expected a positive integer, got {show_value(found)}")
        return found

    def wrong(self, name: str, text: str) -> InvalidDocument:
        """An error at a field."""
        return InvalidDocument.at("arch", (*self.path, name), text)


def is_net_config(value: object) -> bool:
    """Whether a JSON value is a `net.config`, or one with its `run.config`."""
    return isinstance(value, Mapping) and (NET in value or BLOCKS in value)


def lacks_resolution(value: object) -> bool:
    """Whether a JSON value is a `net.config` alone, which is read with its `run.config` only."""
    return isinstance(value, Mapping) and BLOCKS in value and not any(s in value for s in SIZES)


def read_net_config(
    value: Mapping[str, Any], space: SearchSpace, note: Note = lambda text: None
) -> Arch:
    """The architecture of `space` that a static network is.

    Args:
        value: for which `is_net_config` holds.
        note: nothing is ignored, so it is told nothing.

    Raises:
        InvalidDocument: naming the module and the field that is damaged, or that no network of
            `space` has.
    """
    net, resolution = _parts(_Object(value, ()))
    if "input_stem" in net.fields:
        text = 'a ResNet is read as {"d", "e", "w", "image_size"}, and not as a net.config'
        raise InvalidDocument.at("arch", net.path, text)
    blocks = _inner_modules(net)
    arch = _arch(blocks, resolution)
    _check_modules(space, net)
    _check_choices(space, arch, blocks)
    if problems := list(_differences(space, arch, net, blocks)):
        problems[0] = replace(problems[0], text=f"{problems[0].text} (space {space.name!r})")
        raise InvalidDocument(problems, "arch")
    return arch


# -- reading -------------------------------------------------------------------------------


def _parts(document: _Object) -> tuple[_Object, int]:
    """The network and the resolution, pixels."""
    if NET in document.fields:
        return document.child(NET), document.child(RUN).integer("image_size")
    for name in SIZES:
        if name in document.fields:
            return document, document.integer(name)
    text = f"is missing: add that of the {RUN}, or give {{{NET!r}: ..., {RUN!r}: ...}}"
    raise document.wrong("image_size", text)


def _inner_modules(net: _Object) -> list[_Object]:
    """The inverted bottleneck of each block, in order."""
    blocks = net.fields.get(BLOCKS)
    if not isinstance(blocks, list) or len(blocks) < 2:
        raise net.wrong(BLOCKS, f"expected a list of at least two blocks, got {show_value(blocks)}")
    found = []
    for i, value in enumerate(blocks):
        block = _Object.of(value, (*net.path, BLOCKS, i))
        inner = next((name for name in _INNER if block.fields.get(name)), None)
        if inner is None:
            kind = show_value(block.fields.get("name"))
            raise InvalidDocument.at(
                "arch", block.path, f"expected an inverted bottleneck in {_INNER[0]!r}, got {kind}"
            )
        found.append(block.child(inner))
    return found


def _arch(blocks: Sequence[_Object], resolution: int) -> Arch:
    """A stage begins where a block has another width than its input, or a stride."""
    stages: list[list[_Object]] = []
    for block in blocks[1:]:
        widths = block.integer("in_channels"), block.integer("out_channels")
        if not stages or widths[0] != widths[1] or block.integer("stride", 1) != 1:
            stages.append([])
        stages[-1].append(block)

    def values(name: str) -> tuple[tuple[int, ...], ...]:
        default = _DEFAULTS["mbconv"][name]
        return tuple(tuple(block.integer(name, default) for block in stage) for stage in stages)

    depth = tuple(len(stage) for stage in stages)
    return Arch(resolution, depth, values("kernel_size"), values("expand_ratio"))


# -- comparing with a space ----------------------------------------------------------------


def _paths(space: SearchSpace) -> dict[str, str]:
    """The module of the `net.config` that each layer with weights is, by the layer's name."""
    modules = space.published_modules(_INNER[0])
    return {name: module.path.split(".")[0] for name, module in modules.items()}


def _check_modules(space: SearchSpace, net: _Object) -> None:
    expected = {*_paths(space).values()} - {BLOCKS}
    found = {name for name, value in net.fields.items() if isinstance(value, Mapping)} - {"bn"}
    if expected != found:
        text = f"expected modules {sorted(expected)} as in space {space.name!r}"
        raise InvalidDocument.at("arch", net.path, f"{text}, got {sorted(found)}")


def _check_choices(space: SearchSpace, arch: Arch, blocks: Sequence[_Object]) -> None:
    """Refuse, with its place, what the space does not leave open; `SearchSpace.validate` knows no
    places in a `net.config`."""
    if len(arch.depth) != len(space.block_counts):
        text = f"expected {len(space.block_counts)} stages for space {space.name!r}"
        raise InvalidDocument.at(
            "arch",
            blocks[0].path[:-2],
            f"{text}, each from a block with a stride or another width, got {len(arch.depth)}",
        )
    first = 1
    for s, depth in enumerate(arch.depth):
        if depth not in space.block_counts[s]:
            text = f"expected a stage of {_one_of(space.block_counts[s])} blocks, got {depth}"
            raise InvalidDocument.at("arch", blocks[first].path[:-1], text)
        for b in range(depth):
            for gene, name in (("kernel", "kernel_size"), ("expand", "expand_ratio")):
                value = getattr(arch, gene)[s][b]
                of = space.genes[space.column[gene, s, b]].choices
                if value not in of:
                    raise blocks[first + b].wrong(name, f"expected {_one_of(of)}, got {value}")
        first += depth
    if arch.resolution not in space.resolutions:
        text = f"expected {_one_of(space.resolutions)}, got {arch.resolution}"
        raise InvalidDocument.at("arch", ("image_size",), text)


def _differences(
    space: SearchSpace, arch: Arch, net: _Object, blocks: Sequence[_Object]
) -> Iterator[FieldProblem]:
    """The fields of modules in which they differ from the layers of `arch`."""
    eps = net.child("bn").fields.get("eps") if "bn" in net.fields else space.bn_eps
    if eps != space.bn_eps:
        yield _problem(net, ("bn", "eps"), space.bn_eps, eps)
    paths, rest = _paths(space), iter(blocks)
    for spec in space.walk(arch):
        if spec.name not in paths:
            continue
        in_block = paths[spec.name] == BLOCKS
        module = next(rest) if in_block else net.child(paths[spec.name])
        for name, value in _published_fields(spec).items():
            found = module.fields.get(name, _DEFAULTS[spec.kind].get(name))
            if name == "mid_channels" and found is None:
                found = module.integer("in_channels") * module.integer("expand_ratio", 6)
            if name == "groups" and found is None:
                found = 1
            if found != value:
                yield _problem(module, (name,), value, found)
        if in_block:
            yield from _shortcut_problems(net, module, skips=spec.skip)


def _published_fields(spec: LayerSpec) -> dict[str, object]:
    """What the published module of a layer says of itself."""
    act = None if spec.act is None else _ACTS.get(spec.act, spec.act)
    if spec.kind == "linear":
        fixed = {**_DEFAULTS["linear"], "act_func": act}
        return {"in_features": spec.in_channels, "out_features": spec.out_channels, **fixed}
    fields: dict[str, object] = {
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        "kernel_size": spec.kernel,
        "stride": spec.stride,
        "act_func": act,
    }
    if spec.kind == "mbconv":
        return {
            **fields,
            "mid_channels": spec.mid_channels,
            "use_se": spec.se_channels > 0,
            "groups": 1,
        }
    return {**_DEFAULTS["conv"], **fields, "use_bn": spec.norm}


def _shortcut_problems(net: _Object, module: _Object, *, skips: bool) -> Iterator[FieldProblem]:
    path = (*module.path[:-1], "shortcut")
    block: Any = net.fields[BLOCKS][path[-2]]
    shortcut = block.get("shortcut")
    kind = shortcut.get("name") if isinstance(shortcut, Mapping) else shortcut
    if kind != ("IdentityLayer" if skips else None):
        wanted = "an IdentityLayer" if skips else "null"
        yield FieldProblem(path, f"expected {wanted}, got {show_value(kind)}")


def _problem(module: _Object, path: FieldPath, expected: object, found: object) -> FieldProblem:
    text = f"expected {show_value(expected)}, got {show_value(found)}"
    return FieldProblem((*module.path, *path), text)


def _one_of(choices: Sequence[float]) -> str:
    return f"one of {[int(choice) for choice in choices]}"
