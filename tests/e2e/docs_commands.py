"""docs/commands.md: every command with its arguments and options, as `--help` has them.

`python -m tests.e2e.docs_commands` writes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from service.cli import app
from tests.e2e.docs_pages import ROOT

PAGE = ROOT / "docs" / "commands.md"
HEAD = """\
# Every command

Each command prints the same by `--help`. This page is made from the parser
(`python -m tests.e2e.docs_commands`), and a test compares them.

- Exit codes: 0, it did what was asked; 2, it was asked wrongly; 1, it failed otherwise; 130, after
  Ctrl-C ([what is kept then](operate.md#long-commands-and-ctrl-c)).
- `--server URL`, or `SUBNET_SERVER`, asks a running service instead of this installation, with the
  key in `SUBNET_API_KEY`. Commands without that option work on this machine.
- `--json` prints one JSON document to stdout; progress and warnings go to stderr.
- `subnet-search --install-completion` makes the shell complete commands, options and names.
"""
LEFT_OUT = ("--help", "--json")
"""Options of every command, which the head explains."""


def commands_page() -> str:
    """The page as the parser would have it."""
    return "\n".join([HEAD, *_sections(typer.main.get_command(app), "subnet-search")])


def _sections(group: Any, name: str) -> Iterator[str]:
    """Of each command of a group; the groups in it come last."""
    groups = []
    for child in group.commands.values():
        if hasattr(child, "commands"):
            groups.append(child)
        else:
            yield _section(child, f"{name} {child.name}", level=2 + (name != "subnet-search"))
    for child in groups:
        yield f"## {child.name}\n\n{_sentences(child.help)}\n"
        yield from _sections(child, f"{name} {child.name}")


def _section(command: Any, name: str, level: int) -> str:
    context = typer.Context(command, info_name=name)
    title = name.removeprefix("subnet-search ")
    usage = " ".join(
        part for part in (name, *command.collect_usage_pieces(context)) if part != "[OPTIONS]"
    )
    parts = [f"{'#' * level} {title}", _sentences(command.help), f"`{usage}`"]
    if rows := list(_rows(command, context)):
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _rows(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is None or not set(LEFT_OUT).isdisjoint(parameter.opts):
            continue
        option, meaning = (_sentences(text).replace("|", "\\|") for text in record)
        yield f"| `{option}` | {meaning} |"


def _sentences(text: str | None) -> str:
    """On one line, with single spaces."""
    return re.sub(r"\s+", " ", text or "").strip()


if __name__ == "__main__":
    PAGE.write_text(commands_page())
