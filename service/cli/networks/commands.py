"""The `networks` group."""

from __future__ import annotations

import typer

from service.cli.networks import importing, published

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("list")(published.list_)
app.command()(published.export)
app.command("import")(importing.import_)
app.command()(importing.remove)
