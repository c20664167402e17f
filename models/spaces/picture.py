"""A network as a picture: SVG drawn from the plan, for the page, a report, a browser.

Read from left to right. A layer's width stands for its kernel and its height for its channels,
both to scale; a block's narrow part, what leaves an inverted bottleneck and the middle of a
classical one, is drawn over its wide part.
Blocks that the space allows and this network leaves out are dashed. With times, a second row
shows each layer's share of the latency. The text of `<desc>` says the same in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from models.layers import LayerSpec, kind_of
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from models.spaces.space import SearchSpace

PIXELS_A_TAP = 4
"""Width of a layer, for each row of its kernel."""
LEAST_WIDTH = 6
TALLEST = 130
"""Height of the layer with the most channels."""
LEAST_HEIGHT = 3
GAP, STAGE_GAP, MARGIN = 4, 16, 16
TOP = 46
LABELS = 56
"""Height of the stages' labels."""
SHARE_HEIGHT = 44

STYLE = """
.subnet{--ink:#1c2733;--soft:#5b6b7b;--line:#c3ccd6;--paper:#fff;--k1:#9db4c8;--k3:#7fb2e5;
--k5:#3f86cf;--k7:#1f4f91;--out:#0b2545;--time:#d9822b;background:var(--paper);
font:11px system-ui,sans-serif}
@media (prefers-color-scheme:dark){.subnet{--ink:#e8eef4;--soft:#9fb0c0;--line:#3d4b59;
--paper:#12181f;--k1:#5b7388;--k3:#79b8f0;--k5:#3f8de0;--k7:#2b62b8;--out:#dcebfa;--time:#f0a04b}}
.subnet text{fill:var(--ink)}.subnet .soft{fill:var(--soft)}
.subnet .k1{fill:var(--k1)}.subnet .k3{fill:var(--k3)}.subnet .k5{fill:var(--k5)}
.subnet .k7{fill:var(--k7)}.subnet .out{fill:var(--out);fill-opacity:.55}
.subnet .time{fill:var(--time)}.subnet .rule{stroke:var(--line)}
.subnet .absent{fill:none;stroke:var(--soft);stroke-dasharray:3 2}
.subnet .skip{fill:none;stroke:var(--soft)}
"""
"""Scoped by its class, so that a page can hold the picture inline."""


def architecture_svg(
    space: SearchSpace, arch: Arch, latency_ms: Mapping[str, float] | None = None
) -> str:
    """The picture of `arch`, readable on light and on dark ground.

    Args:
        latency_ms: time of each layer by its name, if the second row is wanted.

    Returns:
        An SVG document of its own; equal arguments give equal text.

    Raises:
        InputError: if `arch` is not in `space`.
    """
    title = f"{space.name}, {arch.resolution}x{arch.resolution} pixels"
    slots = [layer.name for layer in layer_plan(space, space.largest)]
    return plan_svg(title, layer_plan(space, arch), slots, latency_ms)


def plan_svg(
    title: str,
    plan: Sequence[LayerSpec],
    slots: Sequence[str] | None = None,
    latency_ms: Mapping[str, float] | None = None,
) -> str:
    """The picture of a network of which only the plan is known.

    Args:
        slots: names of all layers that the space could have; by default those of `plan`.
        latency_ms: as `architecture_svg` takes it.
    """
    present = {layer.name: layer for layer in plan}
    slots = list(present) if slots is None else slots
    widest = max(_channels(layer) for layer in plan)
    total_ms = sum(latency_ms[layer.name] for layer in plan) if latency_ms else 0.0
    drawn: list[str] = []
    x, base = float(MARGIN), TOP + TALLEST / 2
    spans: dict[str, tuple[float, float, list[LayerSpec]]] = {}
    for before, name in zip([None, *slots], slots, strict=False):
        group = _group(name)
        if before is not None:
            x += GAP if _group(before) == group else STAGE_GAP
        layer = present.get(name)
        width = LEAST_WIDTH if layer is None else _width(layer)
        if layer is None:
            drawn.append(
                f'<rect class="absent" x="{x:g}" y="{base - 12:g}" width="{width}" height="24">'
                f"<title>{escape(name)}: left out</title></rect>"
            )
        else:
            drawn += _layer(layer, x, base, widest)
            if latency_ms:
                drawn.append(_share(layer, x, latency_ms, total_ms))
        start, _, layers = spans.get(group, (x, x, []))
        spans[group] = (start, x + width, [*layers, *([layer] if layer else [])])
        x += width
    right = x + MARGIN
    labels = _labels(spans)
    height = TOP + TALLEST + LABELS + (SHARE_HEIGHT + 24 if latency_ms else 0)
    if latency_ms:
        y = TOP + TALLEST + LABELS + SHARE_HEIGHT
        slowest = max(plan, key=lambda layer: latency_ms[layer.name])
        labels.append(f'<line class="rule" x1="{MARGIN}" x2="{x:g}" y1="{y}" y2="{y}"/>')
        labels.append(
            f'<text class="soft" x="{MARGIN}" y="{y + 15}">share of the layers\' '
            f"{total_ms:.3g} ms; "
            f"most: {escape(slowest.name)}, {latency_ms[slowest.name] / total_ms:.0%}</text>"
        )
    body = "\n".join([*_legend(plan), *drawn, *labels])
    # A page may hold several pictures, and an id only once.
    mark = hashlib.sha256(f"{title}{body}".encode()).hexdigest()[:8]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:g} {height}" '
        f'width="{right:g}" height="{height}" class="subnet" role="img" '
        f'aria-labelledby="title-{mark} desc-{mark}">\n'
        f'<title id="title-{mark}">{escape(title)}</title>\n'
        f'<desc id="desc-{mark}">{escape(_in_words(spans, plan, latency_ms, total_ms))}</desc>\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _layer(layer: LayerSpec, x: float, base: float, widest: int) -> list[str]:
    def height(channels: int) -> float:
        return max(LEAST_HEIGHT, TALLEST * channels / widest)

    width, whole = _width(layer), height(_channels(layer))
    parts = [
        f"<g><title>{escape(_line(layer))}</title>",
        f'<rect class="{_shade(layer)}" x="{x:g}" y="{base - whole / 2:.4g}" width="{width}" '
        f'height="{whole:.4g}" rx="1"/>',
    ]
    if layer.mid_channels:
        narrow = height(min(layer.mid_channels, layer.out_channels))
        parts.append(
            f'<rect class="out" x="{x:g}" y="{base - narrow / 2:.4g}" width="{width}" '
            f'height="{narrow:.4g}"/>'
        )
    if layer.skip:
        top, end = base - whole / 2 - 1, x + width
        parts.append(
            f'<path class="skip" d="M{x - GAP / 2:g} {top:.4g}q{(end - x + GAP) / 2:g} -8 '
            f'{end - x + GAP:g} 0"/>'
        )
    return [*parts, "</g>"]


def _share(layer: LayerSpec, x: float, latency_ms: Mapping[str, float], total_ms: float) -> str:
    ms = latency_ms[layer.name]
    height = SHARE_HEIGHT * ms / max(latency_ms.values())
    y = TOP + TALLEST + LABELS + SHARE_HEIGHT - height
    return (
        f'<rect class="time" x="{x:g}" y="{y:.5g}" width="{_width(layer)}" height="{height:.4g}">'
        f"<title>{escape(layer.name)}: {ms:.3g} ms, {ms / total_ms:.1%}</title></rect>"
    )


def _labels(spans: Mapping[str, tuple[float, float, list[LayerSpec]]]) -> list[str]:
    """Under each stage its name, channels and pixels; single layers lie too close for that."""
    labels = []
    for group, (start, end, layers) in spans.items():
        if not group.startswith("stage") or not layers:
            continue
        y, middle, last = TOP + TALLEST + 14, (start + end) / 2, layers[-1]
        labels.append(
            f'<line class="rule" x1="{start:g}" x2="{end:g}" y1="{y - 10}" y2="{y - 10}"/>'
        )
        for row, (kind, text) in enumerate(
            [
                ("", group.removeprefix("stage")),
                ("soft", f"{last.out_channels} ch"),
                ("soft", f"{last.out_size}x{last.out_size}"),
            ]
        ):
            style = f' class="{kind}"' if kind else ""
            labels.append(
                f'<text{style} x="{middle:g}" y="{y + 4 + 13 * row}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
    return labels


def _legend(plan: Sequence[LayerSpec]) -> list[str]:
    kernels = sorted({layer.kernel for layer in plan})
    parts, x = [], float(MARGIN)
    for kernel in kernels:
        parts.append(
            f'<rect class="k{min(kernel, 7)}" x="{x:g}" y="12" width="{kernel * PIXELS_A_TAP}" '
            'height="10" rx="1"/>'
            f'<text x="{x + kernel * PIXELS_A_TAP + 4:g}" y="21">{kernel}x{kernel}</text>'
        )
        x += kernel * PIXELS_A_TAP + 44
    return [*parts, f'<text class="soft" x="{x:g}" y="21">height: channels</text>']


def _in_words(
    spans: Mapping[str, tuple[float, float, list[LayerSpec]]],
    plan: Sequence[LayerSpec],
    latency_ms: Mapping[str, float] | None,
    total_ms: float,
) -> str:
    first = plan[0]
    lines = [f"Image of {first.in_channels} x {first.in_size} x {first.in_size}."]
    for group, (_, _, layers) in spans.items():
        if not layers:
            continue
        if len(layers) == 1 and not group.startswith("stage"):
            lines.append(_line(layers[0]) + ".")
            continue
        kinds = ", ".join(f"kernel {x.kernel} over {x.mid_channels}" for x in layers)
        last = layers[-1]
        blocks = "1 block" if len(layers) == 1 else f"{len(layers)} blocks"
        lines.append(
            f"{group}: {blocks} of {last.out_channels} channels at "
            f"{last.out_size} x {last.out_size}: {kinds} channels."
        )
    if latency_ms:
        slow = sorted(plan, key=lambda layer: -latency_ms[layer.name])[:3]
        shares = ", ".join(f"{x.name} {latency_ms[x.name] / total_ms:.0%}" for x in slow)
        lines.append(f"Most of the layers' {total_ms:.3g} ms: {shares}.")
    return " ".join(lines)


def _line(layer: LayerSpec) -> str:
    """One layer in a line."""
    words = [f"{layer.name}: {layer.kind}"]
    if kind_of(layer).has_window:
        words.append(f"kernel {layer.kernel}, stride {layer.stride}")
    channels = f"{layer.in_channels} to {layer.out_channels} channels"
    if layer.mid_channels:
        channels += f" over {layer.mid_channels}"
    words.append(channels)
    if layer.se_channels:
        words.append("squeeze and excitation")
    words.append(f"{layer.out_size} x {layer.out_size}")
    return ", ".join(words)


def _group(name: str) -> str:
    """The stage of a block; any other layer stands by itself."""
    return name.partition("_")[0] if name.startswith("stage") else name


def _channels(layer: LayerSpec) -> int:
    """What a layer's height stands for: its most channels, but for those that come in."""
    return max(layer.mid_channels, layer.out_channels)


def _width(layer: LayerSpec) -> int:
    return max(LEAST_WIDTH, PIXELS_A_TAP * layer.kernel)


def _shade(layer: LayerSpec) -> str:
    return f"k{min(layer.kernel, 7)}"
