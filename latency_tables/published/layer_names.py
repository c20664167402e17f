"""What a foreign name of a layer says of it, in any spelling.

`expanded_conv-input:56x56x32-output:56x56x32-expand:96-kernel:3-stride:1-idskip:1-se:0-hs:0`, and
`ResidualBlock-in_32x56x56-out_32-k_3-e_3-s_1-act_relu-use_se_False`, and their like.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

from latency_tables.published.rows import MAX_NAME

Group = Literal["block", "conv", "linear", "pool"]
Act = Literal["relu", "relu6", "hswish", "other", "no hswish"]

_GROUPS: tuple[tuple[Group, str], ...] = (
    ("pool", r"pool"),
    ("block", r"expandedconv|block|bottleneck|residual|mbconv|inverted|^irb"),
    ("linear", r"logits|classifier|linear|dense|^fc|fully"),
    ("conv", r"conv|stem|finalexpand|featuremix|head"),
)
"""What a name's first words mean; the first that is found counts."""

_BY = r"\s*[x*×,]\s*"
_SHAPE = rf"[0-9]{{1,6}}(?:{_BY}[0-9]{{1,6}}){{0,3}}"
_FIELD = re.compile(
    rf"""(?<![a-z0-9])(?:
      (?P<input>input(?:_size|_shape)?|in|ifm)[\s:=_([-]*(?P<input_value>{_SHAPE})
    | (?P<output>output(?:_size|_shape)?|out|ofm)[\s:=_([-]*(?P<output_value>{_SHAPE})
    | (?P<field>
        mid(?:_channels)?|hidden(?:_channels|_dim)?
      | expan(?:d|sion)(?:_ratio)?|exp|ratio|e|t
      | kernel(?:_size)?|ks|k
      | stride|s
      | id_?skip|skip|shortcut|residual
      | use_?se|se
      | hs
      | act(?:ivation)?(?:_func)?
      )[\s:=_-]*(?P<value>[0-9]{{1,9}}(?:\.[0-9]{{1,19}})?(?:x[0-9]{{1,9}})?|true|false|yes|no
        |h_?swish|hard_?swish|relu6|relu|swish|linear|none)
    )(?![a-z0-9.])""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of a layer; None where nothing is."""

    word: str
    """What the layer is called, in lower case, without marks."""
    group: Group | None
    in_size: int | None = None
    in_channels: int | None = None
    out_size: int | None = None
    out_channels: int | None = None
    kernel: int | None = None
    stride: int | None = None
    mid_channels: float | None = None
    ratio: float | None = None
    expand: float | None = None
    """Either of the two before: formats differ."""
    se: int | None = None
    """1, or the squeezed channels; 0 without."""
    act: Act | None = None
    skip: bool | None = None

    @property
    def has_shape(self) -> bool:
        """Whether it is more than a name."""
        return self.in_channels is not None or self.out_channels is not None


class NotSquare(ValueError):
    """A shape that no layer of a space has; the message says which."""


@lru_cache(maxsize=1 << 14)
def describe(name: str) -> Description:
    """Read a name.

    Raises:
        NotSquare: a shape is not of a square image.
    """
    name = name[: 4 * MAX_NAME]
    fields: dict[str, Any] = {}
    start = len(name)
    for match in _FIELD.finditer(name):
        start = min(start, match.start())
        if match["input"]:
            fields["in_size"], fields["in_channels"] = _shape(match["input_value"])
        elif match["output"]:
            fields["out_size"], fields["out_channels"] = _shape(match["output_value"])
        else:
            key, read = _FIELDS[_plain(match["field"])]
            fields[key] = read(match["value"].lower())
    word = _plain(name[:start])
    group = next((group for group, words in _GROUPS if re.search(words, word)), None)
    if group is None and fields.keys() & {"expand", "ratio", "mid_channels"}:
        group = "block"
    return Description(word, group, **fields)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _shape(text: str) -> tuple[int | None, int]:
    """Height and channels of a shape, in either order; a leading 1 of four is the batch."""
    sizes = [int(size) for size in re.split(_BY, text.lower())]
    if len(sizes) == 4 and sizes[0] == 1:
        sizes = sizes[1:]
    if len(sizes) == 1:
        return None, sizes[0]
    if len(sizes) == 3 and sizes[0] == sizes[1]:
        return sizes[0], sizes[2]
    if len(sizes) == 3 and sizes[1] == sizes[2]:
        return sizes[1], sizes[0]
    raise NotSquare(f"the shape {text} is not one of a square image with channels")


def _flag(value: str) -> bool:
    return value in ("true", "yes") or (value.isdigit() and int(value) > 0)


def _count(value: str) -> int:
    return int(float(value.partition("x")[0])) if value[0].isdigit() else int(_flag(value))


def _number(value: str) -> float:
    return float(value.partition("x")[0]) if value[0].isdigit() else float(_flag(value))


def _act(value: str) -> Act:
    plain = _plain(value).replace("hardswish", "hswish")
    return cast(Act, plain) if plain in ("relu", "relu6", "hswish") else "other"


def _hswish(value: str) -> Act:
    return "hswish" if _flag(value) else "no hswish"


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("mid", "midchannels"), ("mid_channels", _number)),
    **dict.fromkeys(("hidden", "hiddenchannels", "hiddendim"), ("mid_channels", _number)),
    **dict.fromkeys(("expandratio", "expansionratio", "ratio", "t"), ("ratio", _number)),
    **dict.fromkeys(("expand", "expansion", "exp", "e"), ("expand", _number)),
    **dict.fromkeys(("kernel", "kernelsize", "ks", "k"), ("kernel", _count)),
    **dict.fromkeys(("stride", "s"), ("stride", _count)),
    **dict.fromkeys(("idskip", "skip", "shortcut", "residual"), ("skip", _flag)),
    **dict.fromkeys(("usese", "se"), ("se", _count)),
    "hs": ("act", _hswish),
    **dict.fromkeys(("act", "actfunc", "activation", "activationfunc"), ("act", _act)),
}
