"""The `devices` group."""

from __future__ import annotations

import typer

from service.cli.devices import adding, checking, layer_keys, linking, listing, measuring

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("list")(listing.list_)
app.command()(listing.show)
app.command("import")(adding.import_)
app.command()(measuring.measure)
app.command()(checking.check)
app.command()(linking.link)
app.command()(measuring.kit)
app.command()(adding.fit)
app.command()(layer_keys.keys)
app.command()(listing.lint)
app.command()(listing.remove)
