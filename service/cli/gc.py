"""`gc`: remove stored models that no search refers to any more."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from service.cli.common import Json, settings
from service.cli.output import print_json

MIN_GRACE_H = 1.0
"""A worker may take this long from storing a model to recording it."""


def gc(
    grace_h: Annotated[
        float,
        typer.Option(
            "--grace-hours",
            min=MIN_GRACE_H,
            help="Keep files younger than this: running work may need them.",
        ),
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, but remove nothing.")] = False,
    json: Json = False,
) -> None:
    """Remove stored models that no search refers to; safe while the service works."""
    from service.storage import ArtifactStore, SearchStore, current_database

    configured = settings()
    with current_database(configured.database) as engine:
        found = ArtifactStore(configured.artifacts).collect(
            SearchStore(engine).artifacts, timedelta(hours=grace_h), dry_run=dry_run
        )
    if json:
        print_json({**asdict(found), "dry_run": dry_run})
        return
    word = "would remove" if dry_run else "removed"
    typer.echo(f"{word} {found.removed} files, {found.freed_bytes} bytes; kept {found.kept}")
