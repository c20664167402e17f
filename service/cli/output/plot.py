"""Plots in the terminal, of braille dots, two by four in a character: fronts and curves.

Between two networks of a front the faster one is the answer, so a front is a staircase and not
a line through the points. A terminal without Unicode gets one star a character.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a character, by row and column."""
TICK_ROWS, TICK_COLUMNS = 4, 14
"""Characters between two labels of an axis."""


def plot_front(
    latency_ms: Sequence[float],
    top1: Sequence[float],
    *,
    width: int,
    height: int,
    budget_ms: float | None = None,
    braille: bool = True,
) -> str:
    """The accuracy of the most accurate network within each latency.

    Args:
        latency_ms: of the networks, ascending.
        top1: their accuracy, percent, ascending.
        width: of the plot area in characters, without the labels.
        height: of the plot area in characters.
        budget_ms: marked by a vertical line, if it is within the plot.
        braille: whether the terminal shows Unicode.

    Returns:
        Lines of text. A label gives the value at the middle of its character.
    """
    across, down = (2, 4) if braille else (1, 1)
    columns, rows = across * width, down * height
    start, high = latency_ms[0], top1[-1]
    # Room for the last step, which is flat.
    reach = 1.05 * (latency_ms[-1] - start) or 0.1 * start
    rise = (high - top1[0]) or 0.1

    def ms_at(column: float) -> float:
        return start + reach * (column + 0.5) / columns

    cells = [[0] * width for _ in range(height)]
    before = None
    for column in range(columns):
        within = bisect.bisect_right(latency_ms, ms_at(column)) - 1
        row = round((high - top1[max(within, 0)]) / rise * (rows - 1))
        for step in range(row, max(row + 1, before or 0)):  # the riser of a step
            cells[step // down][column // across] |= DOTS[step % down][column % across]
        before = row
    marked = None
    if budget_ms is not None and start <= budget_ms < start + reach:
        marked = int((budget_ms - start) / reach * width)
    middle = (down - 1) / 2
    labels = [
        f"{high - rise * (down * row + middle) / (rows - 1):.2f}" if row % TICK_ROWS == 0 else ""
        for row in range(height)
    ]
    places = range(0, width, TICK_COLUMNS)
    below = [f"{ms_at(across * (at + 0.5) - 0.5):.4g}" for at in places]
    return _framed(cells, labels, below, marked, braille)


def plot_curves(
    curves: Sequence[Sequence[tuple[float, float]]], *, width: int, height: int, braille: bool
) -> str:
    """Lines through points (x, y), each curve by ascending x; x are whole numbers.

    Args:
        curves: at least one, of two points or more.
        width: of the plot area in characters, without the labels.
        height: of the plot area in characters.
        braille: whether the terminal shows Unicode.
    """
    across, down = (2, 4) if braille else (1, 1)
    columns, rows = across * width, down * height
    xs, ys = zip(*(point for curve in curves for point in curve), strict=True)
    left, low = min(xs), min(ys)
    reach, rise = (max(xs) - left) or 1.0, (max(ys) - low) or 0.1
    cells = [[0] * width for _ in range(height)]
    for curve in curves:
        for (x0, y0), (x1, y1) in itertools.pairwise(curve):
            start, end = (round((x - left) / reach * (columns - 1)) for x in (x0, x1))
            first, last = (round((low + rise - y) / rise * (rows - 1)) for y in (y0, y1))
            dots = max(abs(end - start), abs(last - first), 1)
            for dot in range(dots + 1):
                column = round(start + (end - start) * dot / dots)
                row = round(first + (last - first) * dot / dots)
                cells[row // down][column // across] |= DOTS[row % down][column % across]
    labels = [
        f"{low + rise * (1 - row / max(height - 1, 1)):.1f}" if row % TICK_ROWS == 0 else ""
        for row in range(height)
    ]
    below = [f"{left + reach * at / width:.0f}" for at in range(0, width, TICK_COLUMNS)]
    return _framed(cells, labels, below, None, braille)


def _framed(
    cells: Sequence[Sequence[int]],
    labels: Sequence[str],
    below: Sequence[str],
    marked: int | None,
    braille: bool,
) -> str:
    """The plot area between its axes.

    Args:
        labels: one a row.
        below: one for every `TICK_COLUMNS` columns.
        marked: the column of an upright line.
    """
    margin = max(map(len, labels))
    edge, corner, floor, tick = "│└─┬" if braille else "|+-+"
    lines = []
    for label, line in zip(labels, cells, strict=True):
        drawn = (_character(cell, at == marked, braille) for at, cell in enumerate(line))
        lines.append(f"{label:>{margin}} {edge}{''.join(drawn)}".rstrip())
    width = len(cells[0])
    ruler = (tick if at % TICK_COLUMNS == 0 else floor for at in range(width))
    lines.append(f"{'':>{margin}} {corner}{''.join(ruler)}")
    spaced = "".join(f"{label:<{TICK_COLUMNS}}" for label in below)
    lines.append(f"{'':>{margin}}  {spaced}".rstrip())
    return "\n".join(lines)


def _character(cell: int, marked: bool, braille: bool) -> str:
    if cell:
        return chr(BRAILLE | cell) if braille else "*"
    return ("╎" if braille else ":") if marked else " "
