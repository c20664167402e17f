"""A front as a plot in the terminal: a staircase of braille dots, two by four in a character.

Between two networks of a front the faster one is the answer, so the curve is a staircase and not
a line through the points. A terminal without Unicode gets one star a character.
"""

from __future__ import annotations

import bisect
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
    margin = max(map(len, labels))
    edge, corner, floor, tick = "│└─┬" if braille else "|+-+"
    lines = []
    for label, line in zip(labels, cells, strict=True):
        drawn = (_character(cell, at == marked, braille) for at, cell in enumerate(line))
        lines.append(f"{label:>{margin}} {edge}{''.join(drawn)}".rstrip())
    ruler = (tick if at % TICK_COLUMNS == 0 else floor for at in range(width))
    lines.append(f"{'':>{margin}} {corner}{''.join(ruler)}")
    places = range(0, width, TICK_COLUMNS)
    below = (f"{ms_at(across * (at + 0.5) - 0.5):<{TICK_COLUMNS}.4g}" for at in places)
    lines.append(f"{'':>{margin}}  {''.join(below)}".rstrip())
    return "\n".join(lines)


def _character(cell: int, marked: bool, braille: bool) -> str:
    if cell:
        return chr(BRAILLE | cell) if braille else "*"
    return ("╎" if braille else ":") if marked else " "
