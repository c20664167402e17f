"""Figures that several pages state: `docs/figures.toml` holds each of them once.

In a page a figure stands between two comments, which no reader sees:
`<!-- figure: search_time -->0.17 s<!-- end -->`. `python -m tests.e2e.docs_figures` writes all of
them anew.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache

from tests.e2e.docs_pages import PAGES, ROOT

_PLACE = re.compile(r"(<!-- figure: (\w+) -->)(.*?)(<!-- end -->)", re.DOTALL)


@cache
def figures() -> dict[str, dict[str, str]]:
    """By name: `text` as pages show it, `what` it is, and the `command` that finds it."""
    return tomllib.loads((ROOT / "docs" / "figures.toml").read_text())


def filled(page: str) -> str:
    """The text of a page with every figure as it is now.

    Raises:
        KeyError: a page names a figure that there is not.
    """
    return _PLACE.sub(lambda found: f"{found[1]}{figures()[found[2]]['text']}{found[4]}", page)


def named(page: str) -> set[str]:
    """The figures that the text of a page names."""
    return {found[2] for found in _PLACE.finditer(page)}


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
