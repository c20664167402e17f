"""A network as a picture: SVG drawn from its plan, for the page, notebooks and the API.

The picture is read from left to right. A layer's width shows its kernel and its height its
channels, both to scale. Over a block's inner channels, a darker part shows the channels that leave
it (or, for a classical bottleneck, its middle). Blocks that the space allows and the network leaves
out are dashed. With times, a second row shows each layer's share of the latency. `<desc>` has the
same in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from models.layers import LayerSpec, kind_of
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from models.spaces.space import SearchSpace

PIXELS_PER_TAP = 4
"""Width of a layer divided by its kernel."""
MIN_WIDTH = 6
MAX_HEIGHT = 130
"""Height of the layer with the most channels."""
MIN_HEIGHT = 3
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
"""Scoped by the class, so that a page can contain the picture inline."""

Spans = dict[str, tuple[float, float, list[LayerSpec]]]
"""Group of layers -> left end, right end, its layers."""


def architecture_svg(
    space: SearchSpace, arch: Arch, latency_ms: Mapping[str, float] | None = None
) -> str:
    """The picture of `arch`, for light and dark backgrounds.

    Args:
        latency_ms: time of each layer by its name; without it there is no second row.

    Returns:
        A complete SVG document; equal arguments give equal text.

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
    """The picture of a network given by its plan.

    Args:
        slots: names of all layers that the space could have; by default those of `plan`.
        latency_ms: as `architecture_svg` takes it.
    """
    spans, drawn, right = _row(plan, slots or [layer.name for layer in plan], latency_ms)
    height = TOP + MAX_HEIGHT + LABELS
    words = _in_words(spans, plan, latency_ms)
    body = [*_legend(plan), *drawn, *_labels(spans)]
    if latency_ms:
        height += SHARE_HEIGHT + 24
        body += _caption(plan, right, latency_ms)
    content = "\n".join(body)
    # A page may contain several pictures, and every id must be unique on it.
    mark = hashlib.sha256(f"{title}{content}".encode()).hexdigest()[:8]
    width = right + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" '
        f'width="{width:g}" height="{height}" class="subnet" role="img" '
        f'aria-labelledby="title-{mark} desc-{mark}">\n'
        f'<title id="title-{mark}">{escape(title)}</title>\n'
        f'<desc id="desc-{mark}">{escape(words)}</desc>\n'
        f"<style>{STYLE}</style>\n{content}\n</svg>\n"
    )


def _row(
    plan: Sequence[LayerSpec], slots: Sequence[str], latency_ms: Mapping[str, float] | None
) -> tuple[Spans, list[str], float]:
    """All layers and left-out blocks in a row: their stages, elements, and the row's right end."""
    present = {layer.name: layer for layer in plan}
    max_channels = max(_channels(layer) for layer in plan)
    drawn: list[str] = []
    spans: Spans = {}
    x, base = float(MARGIN), TOP + MAX_HEIGHT / 2
    for before, name in zip([None, *slots], slots, strict=False):
        group = _group(name)
        if before is not None:
            x += GAP if _group(before) == group else STAGE_GAP
        layer = present.get(name)
        width = MIN_WIDTH if layer is None else _width(layer)
        if layer is None:
            drawn.append(
                f'<rect class="absent" x="{x:g}" y="{base - 12:g}" width="{width}" height="24">'
                f"<title>{escape(name)}: left out</title></rect>"
            )
        else:
            drawn += _layer(layer, x, base, max_channels)
            if latency_ms:
                drawn.append(_share(layer, x, latency_ms, _total_ms(plan, latency_ms)))
        start, _, layers = spans.get(group, (x, x, []))
        spans[group] = (start, x + width, [*layers, *([layer] if layer else [])])
        x += width
    return spans, drawn, x


def _caption(plan: Sequence[LayerSpec], right: float, latency_ms: Mapping[str, float]) -> list[str]:
    y, total_ms = TOP + MAX_HEIGHT + LABELS + SHARE_HEIGHT, _total_ms(plan, latency_ms)
    slowest = max(plan, key=lambda layer: latency_ms[layer.name])
    return [
        f'<line class="rule" x1="{MARGIN}" x2="{right:g}" y1="{y}" y2="{y}"/>',
        f'<text class="soft" x="{MARGIN}" y="{y + 15}">share of the layers\' {total_ms:.3g} ms; '
        f"most: {escape(slowest.name)}, {latency_ms[slowest.name] / total_ms:.0%}</text>",
    ]


def _layer(layer: LayerSpec, x: float, base: float, max_channels: int) -> list[str]:
    def height(channels: int) -> float:
        return max(MIN_HEIGHT, MAX_HEIGHT * channels / max_channels)

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
    y = TOP + MAX_HEIGHT + LABELS + SHARE_HEIGHT - height
    return (
        f'<rect class="time" x="{x:g}" y="{y:.5g}" width="{_width(layer)}" height="{height:.4g}">'
        f"<title>{escape(layer.name)}: {ms:.3g} ms, {ms / total_ms:.1%}</title></rect>"
    )


def _labels(spans: Spans) -> list[str]:
    """Name, channels and pixels under each stage; there is no room for them under single layers."""
    labels = []
    for group, (start, end, layers) in spans.items():
        if not group.startswith("stage") or not layers:
            continue
        y, middle, last = TOP + MAX_HEIGHT + 14, (start + end) / 2, layers[-1]
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
            f'<rect class="k{min(kernel, 7)}" x="{x:g}" y="12" width="{kernel * PIXELS_PER_TAP}" '
            'height="10" rx="1"/>'
            f'<text x="{x + kernel * PIXELS_PER_TAP + 4:g}" y="21">{kernel}x{kernel}</text>'
        )
        x += kernel * PIXELS_PER_TAP + 44
    return [*parts, f'<text class="soft" x="{x:g}" y="21">height: channels</text>']


def _in_words(
    spans: Spans, plan: Sequence[LayerSpec], latency_ms: Mapping[str, float] | None
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
        total_ms = _total_ms(plan, latency_ms)
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


def _total_ms(plan: Sequence[LayerSpec], latency_ms: Mapping[str, float]) -> float:
    return sum(latency_ms[layer.name] for layer in plan)


def _group(name: str) -> str:
    """The stage of a block; any other layer is a group of its own."""
    return name.partition("_")[0] if name.startswith("stage") else name


def _channels(layer: LayerSpec) -> int:
    """The channels that the height shows: the more of inner and output channels."""
    return max(layer.mid_channels, layer.out_channels)


def _width(layer: LayerSpec) -> int:
    return max(MIN_WIDTH, PIXELS_PER_TAP * layer.kernel)


def _shade(layer: LayerSpec) -> str:
    return f"k{min(layer.kernel, 7)}"
