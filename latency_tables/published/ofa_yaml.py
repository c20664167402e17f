"""The latency tables of Once-for-All: one YAML file a resolution, one entry a layer, milliseconds.

There are two dialects. In MobileNetV3, `expand` is the number of middle channels, and keys state
squeeze-and-excitation and activation. In ProxylessNAS, `expand` is the ratio, and the pooling is
part of the logits. A layer may have a figure in several files; entries are kept for each
resolution, since a network's layers are those of one file.

Format: mit-han-lab/once-for-all, tag v0.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from latency_tables.table import Conditions, LatencyTable, LayerLatency, at_resolution
from models.errors import InputError, NotFound, show_value
from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan

UNITS_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
NEGLIGIBLE_MS = 1e-6
"""Time of a layer that the format includes in another one."""
FILES = "*.y*ml"
MAX_FILE_BYTES = 8 << 20
MAX_NUMBER = 1e300
CONVOLUTIONS = {"stem": "Conv", "head": "Conv_1", "feature": "Conv_2"}
"""The format's names of convolutions outside blocks, by the layer's name."""


def is_ofa_lut(folder: Path) -> bool:
    """Whether a folder holds YAML files."""
    return any(folder.glob(FILES))


def import_ofa_lut(
    folder: Path, space: SearchSpace, *, device: str, source: str, unit: str = "ms"
) -> LatencyTable:
    """Read every YAML file of a folder into one table.

    Args:
        source: who measured it, in a sentence.
        unit: of the files' figures: "ms" as published, "s" or "us".

    Raises:
        NotFound: there is no such folder, or no YAML file in it.
        InputError: naming the file and the wrong entry, or the layers that are missing.
    """
    if unit not in UNITS_MS:
        raise InputError(f"unit: expected one of {sorted(UNITS_MS)}, got {unit!r}")
    if space.family != "mobile":
        raise InputError(f"the published tables are of mobile spaces, not of {space.name!r}")
    if not is_ofa_lut(folder):
        raise NotFound(f"{str(folder)!r}: expected a folder of YAML files, found none")
    entries: dict[str, LayerLatency] = {}
    missing: list[str] = []
    for path in sorted(folder.glob(FILES)):
        figures = _read(path, UNITS_MS[unit])
        resolution = _resolution(path, figures)
        if resolution not in space.resolutions:
            raise InputError(
                f"{path.name}: it is of resolution {resolution}, which space {space.name!r} lacks; "
                "take it out of the folder"
            )
        for layer, key in _keys(space.at([resolution])):
            if key is None:
                entries[at_resolution(layer)] = LayerLatency(
                    p50_ms=NEGLIGIBLE_MS, mean_ms=NEGLIGIBLE_MS, std_ms=0.0, count=1
                )
            elif key in figures:
                entries[at_resolution(layer)] = figures[key]
            else:
                missing.append(f"{path.name}: {key}")
    if missing:
        raise InputError(
            f"{len(missing)} layers of space {space.name!r} are missing, first "
            f"{'; '.join(missing[:3])}"
        )
    return LatencyTable(
        device=device,
        space=space.name,
        origin="measured",
        source=source,
        conditions=Conditions(runtime="not stated", precision="fp32", batch=1),
        entries=entries,
    )


def _read(path: Path, unit_ms: float) -> dict[str, LayerLatency]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: too many digits
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path.name}: not a YAML file of plain values ({reason})") from error
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path.name}: expected entries by layer, got {type(content).__name__}")
    return {str(key): _entry(f"{path.name}: {key}", v, unit_ms) for key, v in content.items()}


def _entry(where: str, value: Any, unit_ms: float) -> LayerLatency:
    if not isinstance(value, Mapping) or not {"mean", "count"} <= set(value):
        raise InputError(f"{where}: expected count, mean and std, got {show_value(value)}")
    mean, count = value["mean"], value["count"]
    std = value.get("std", math.sqrt(v) if _positive(v := value.get("var", 0)) else 0.0)
    for name, number in (("mean", mean), ("count", count), ("std", std)):
        if not _positive(number) and not (name == "std" and number == 0):
            raise InputError(
                f"{where}: {name}: expected a positive number, got {show_value(number)}"
            )
    mean_ms = float(mean) * unit_ms
    # The format has no median.
    return LayerLatency(
        p50_ms=mean_ms, mean_ms=mean_ms, std_ms=float(std) * unit_ms, count=int(count)
    )


def _positive(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= MAX_NUMBER  # type: ignore[operator]


def _resolution(path: Path, figures: Mapping[str, LayerLatency]) -> int:
    sizes = {int(m[1]) for key in figures if (m := re.match(r"Conv-input:(\d+)x", key))}
    if len(sizes) != 1:
        raise InputError(
            f"{path.name}: expected one entry Conv-input:RxRx..., which tells the resolution, "
            f"got {len(sizes)}"
        )
    return sizes.pop()


def _keys(space: SearchSpace) -> Iterator[tuple[LayerSpec, str | None]]:
    """Each layer of a space of one resolution, with its published key or None."""
    proxyless = not getattr(space, "feature_width", 0)
    seen, pooled = set(), 1
    for arch in space.covering():
        ratios = iter(ratio for stage in arch.expand for ratio in stage)
        for layer in layer_plan(space, arch):
            ratio = 1 if layer.name == "first" else 0
            if layer.name.startswith("stage"):
                ratio = int(next(ratios))
            if layer.name == "pool":
                pooled = layer.in_size if proxyless else 1
            if layer.key not in seen:
                seen.add(layer.key)
                yield layer, _key(layer, proxyless, ratio, pooled)


def _key(layer: LayerSpec, proxyless: bool, ratio: int, pooled: int) -> str | None:
    size_in, size_out = layer.in_size, layer.out_size
    shape = f"input:{size_in}x{size_in}x{layer.in_channels}"
    full = f"{shape}-output:{size_out}x{size_out}x{layer.out_channels}"
    if (name := CONVOLUTIONS.get(layer.name)) is not None:
        return f"{name}-{full}"
    if layer.name == "pool":
        return None if proxyless else f"AvgPool2D-{full}"
    if layer.name == "classifier":
        return f"Logits-input:{pooled}x{pooled}x{layer.in_channels}-output:{layer.out_channels}"
    expand = ratio if proxyless else layer.mid_channels
    key = (
        f"expanded_conv-{full}-expand:{expand}-kernel:{layer.kernel}"
        f"-stride:{layer.stride}-idskip:{int(layer.skip)}"
    )
    flags = f"-se:{int(layer.se_channels > 0)}-hs:{int(layer.act == 'hswish')}"
    return key if proxyless else key + flags
