"""HTML for notebooks: a plot of a front, a card of a search with its network drawn.

The HTML is self-contained and has no scripts; its inline SVG takes the notebook's colours. Every
number has its origin and expected error. This module does not load torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from models.layers import LayerSpec
from models.spaces import plan_svg
from service.contracts import (
    asked_in_words,
    bound_in_words,
    images_in_words,
    measured_in_words,
    under_runtime,
)

if TYPE_CHECKING:
    from service.contracts import FrontRead, SearchRead

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 44
TICKS = 5
"""Approximate number of ticks on an axis."""
LABELS = {"top1": "top1, percent"}
FRACTION = "fraction "


def front_html(front: FrontRead) -> str:
    """A front as a staircase with the expected error of its accuracies shaded."""
    if not front.points:
        return "<p>A front without networks.</p>"
    latency_ms = [point.latency_ms for point in front.points]
    top1 = [point.top1 for point in front.points]
    error = front.expected_error.get("top1") or 0.0
    about = (
        f"{len(front.points)} networks, {latency_ms[0]:.4g} to {latency_ms[-1]:.4g} ms"
        f"{images_in_words(front.batch)}{under_runtime(front.runtime)}, "
        f"top1 {top1[0]:.2f} to {top1[-1]:.2f} %. Both predicted; expected error: "
        f"{_error_in_words(front.expected_error)}."
    )
    return (
        f'<figure style="margin:0">{_plot(latency_ms, top1, error, about, front.batch)}'
        f'<figcaption style="font-size:small">{escape(about)}</figcaption></figure>'
    )


def search_html(search: SearchRead) -> str:
    """A search as a card: its numbers with origin and error, its network drawn."""
    request = search.request
    limits = asked_in_words(request, at_most="<= ")
    runtime = under_runtime(None if search.result is None else search.result.runtime)
    head = (
        f"<b>{escape(request['supernet'])}</b> on <b>{escape(str(request['device']))}</b>"
        f"{escape(runtime)}, "
        f"{escape(limits)}, seed {request['seed']}: <b>{escape(search.status)}</b> "
        f"<code>{escape(search.id)}</code>"
    )
    if search.error is not None:
        return f"<div><p>{head}</p><p>{escape(str(search.error.get('detail', '')))}</p></div>"
    result = search.result
    if result is None:
        return f"<div><p>{head}</p></div>"
    rows = []
    first = ("top1", "latency_ms", "latency_upper_ms")
    numbers = {name: getattr(result, name) for name in first} | result.limit_numbers()
    for name, value in numbers.items():
        if value is None:
            continue
        source = result.provenance.get(name, {"origin": "exact"} if name == "model_bytes" else {})
        images = images_in_words(result.batch) if name.startswith("latency") else ""
        rows.append(_row(f"{LABELS.get(name, name)}{images}", value, source))
        if name == "latency_ms" and images:
            rows.append(_row("latency_ms of one image", value / result.batch, source))
        if isinstance(checked := result.verified.get(name), Mapping):
            rows.append(_row(f"{LABELS.get(name, name)}{images}", checked["value"], checked))
    stale = "" if search.current else "<p>The device's table has changed since.</p>"
    return (
        f"<div><p>{head}</p>{stale}<table><thead><tr><th>number</th><th>value</th><th>origin</th>"
        f"<th>expected error</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<div style="overflow-x:auto">{_picture(result.layers, result.arch.resolution)}</div>'
        f"<p>ONNX file, sha256 <code>{escape(result.sha256)}</code></p></div>"
    )


def measured(verified: Mapping[str, Any], name: str) -> float | None:
    """The value measured on the finished model; None if it was not measured."""
    found = verified.get(name)
    return float(found["value"]) if isinstance(found, Mapping) else None


def _row(name: str, value: float, source: Mapping[str, Any]) -> str:
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    error, unit = source.get("expected_error"), source.get("expected_error_unit", "")
    if source.get("origin") == "exact":
        words = "none"
    elif "confidence" in source:
        words = bound_in_words(source)
    elif "p99" in source:
        words = measured_in_words(source)
    elif error is None:
        words = "unknown"
    elif unit.startswith(FRACTION):
        words = f"{100 * error:.3g} % {unit.removeprefix(FRACTION)}"
    else:
        words = f"{error:.3g} {unit}"
    return _cells(name, shown, source.get("origin", "unknown"), words)


def _cells(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _error_in_words(expected: Mapping[str, float | None]) -> str:
    top1, latency = expected.get("top1"), expected.get("latency_ms")
    return ", ".join(
        (
            "top1 unknown" if top1 is None else f"top1 {top1:.2g} points",
            "latency unknown" if latency is None else f"latency {100 * latency:.2g} %",
        )
    )


def _picture(layers: Sequence[Mapping[str, Any]], resolution: int) -> str:
    names = [field.name for field in dataclasses.fields(LayerSpec)]
    plan = [LayerSpec(**{name: layer[name] for name in names}) for layer in layers]
    times = {layer["name"]: layer["latency_ms"] for layer in layers}
    title = f"the network found, {resolution}x{resolution} pixels"
    return plan_svg(title, plan, latency_ms=None if None in times.values() else times)


def _plot(x: Sequence[float], y: Sequence[float], error: float, about: str, batch: int) -> str:
    """The staircase plot: between two networks, the faster one answers a budget."""
    left, right = x[0], x[-1] + (0.04 * (x[-1] - x[0]) or 0.1 * x[0])
    low, high = y[0] - error, y[-1] + error
    span = (high - low) or 1.0

    def at(ms: float, top1: float) -> str:
        across = LEFT + (ms - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        up = TOP + (high - top1) / span * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f} {up:.1f}"

    corners = [(x[0], y[0])]
    for ms, top1 in zip(x[1:], y[1:], strict=True):
        corners += [(ms, corners[-1][1]), (ms, top1)]
    corners.append((right, y[-1]))
    stairs = "M" + "L".join(at(ms, top1) for ms, top1 in corners)
    above = [at(ms, top1 + error) for ms, top1 in corners]
    below = [at(ms, top1 - error) for ms, top1 in reversed(corners)]
    axes = []
    for ms in _ticks(left, right):
        across, _ = at(ms, low).split()
        axes.append(
            f'<text x="{across}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{ms:g}</text>'
        )
    for top1 in _ticks(low, high):
        _, up = at(left, top1).split()
        axes.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up}" y2="{up}" stroke="currentColor" '
            f'stroke-opacity=".15"/><text x="{LEFT - 6}" y="{float(up) + 4:.1f}" '
            f'text-anchor="end">{top1:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="max-width:{WIDTH}px;font:11px sans-serif;fill:currentColor" role="img" '
        f'aria-label="{escape(about)}">{"".join(axes)}'
        f'<path d="M{"L".join([*above, *below])}Z" fill="#3f86cf" fill-opacity=".2"/>'
        f'<path d="{stairs}" fill="none" stroke="#3f86cf" stroke-width="2"/>'
        f'<text x="{middle:g}" y="{HEIGHT - 8}" text-anchor="middle">latency_ms'
        f"{images_in_words(batch)}, predicted</text>"
        f'<text x="14" y="{(TOP + HEIGHT - BOTTOM) / 2:g}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2:g})">top1, percent, predicted'
        "</text></svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * n, 12) for n in range(first, last + 1)]
