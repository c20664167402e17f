"""What the layout of every view is judged on: a stocked server, the views, the widths."""

from __future__ import annotations

from pathlib import Path

from latency_tables.table.conditions import Conditions
from tests.e2e.browser import BOUNDED, EXPLORE_TINY, RATIOS, SUPERNET, TINY, tiny_search
from tests.service.conftest import keep, make_bundle, make_table
from tests.trainings import write_training

WIDTHS = (360, 390, 768, 1024, 1440, 2560)
LAYOUT = Path(__file__).with_suffix(".js").read_text()
"""A function of JavaScript that returns what is wrong in a page."""
SIZES = ("", "187.5%")
"""Of text: as it is, and twice as large."""


def stock(home: Path) -> None:
    """Give a home one of everything that the page shows, beside what is shipped."""
    make_bundle(home / "supernets" / TINY)
    write_training(home)
    keep(home, make_table())
    int8 = Conditions(runtime="fake", precision="int8", batch=1)
    keep(home, make_table(BOUNDED, residual_ratios=RATIOS))
    keep(home, make_table(BOUNDED, conditions=int8, network_overhead_ms=0.05))


def views(url: str) -> list[tuple[str, str]]:
    """The address of each view, and what is there once the view is; the server is searched."""
    ids = [tiny_search(url, 0.9, seed)["id"] for seed in range(2)]
    return [
        (f"{EXPLORE_TINY}&search={ids[0]}", "#download"),
        ("/?view=searches", "#searches tbody tr"),
        (f"/?view=searches&compare={','.join(ids)}", "#searches figure svg.subnet"),
        ("/?view=devices", "#devices tbody tr"),
        (f"/?view=devices&device={BOUNDED}", "#devices .plot svg"),
        ("/?view=supernets", "#supernets tbody tr"),
        (f"/?view=supernets&supernet={SUPERNET}", "#supernets .plot svg"),
    ]
