"""The `supernets` group."""

from __future__ import annotations

import typer

from service.cli.supernets import adapting, bringing, measuring, starting, training

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("list")(bringing.list_)
app.command()(bringing.show)
app.command()(bringing.remove)
app.command("import")(bringing.import_)
app.command()(bringing.download)
app.command("export-checkpoint")(bringing.export_checkpoint)
app.command()(starting.init)
app.command()(training.train)
app.command()(adapting.adapt)
app.command()(training.preview)
app.command()(measuring.collect)
app.command("fit-predictor")(measuring.fit_predictor_)
app.command()(measuring.compare)
