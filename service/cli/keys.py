"""`keys` and `audit`: API keys, and the log of what was changed by whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import Json, settings
from service.cli.output import print_json, print_table

if TYPE_CHECKING:
    from service.settings import Settings
    from service.storage import AuditLog, Key, KeyStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True)
class Admin:
    """What these commands change and read."""

    keys: KeyStore
    audit: AuditLog


@contextmanager
def open_admin(configured: Settings) -> Iterator[Admin]:
    """The keys and the audit log of an installation."""
    from service.storage import AuditLog, current_database, open_keys

    with current_database(configured.database) as engine:
        yield Admin(open_keys(engine, configured), AuditLog(engine))


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Owner of whatever is created with the key.")],
    scope: Annotated[
        str,
        typer.Option(help="read; search: also ask for searches and add devices; admin: see all."),
    ] = "search",
    expires_days: Annotated[
        float | None, typer.Option(help="Days until the key expires. Default: never.")
    ] = None,
    json: Json = False,
) -> None:
    """Create an API key. It is shown once: only its hash is stored."""
    configured = settings()
    with open_admin(configured) as admin:
        first = not admin.keys.exist()
        secret, key = admin.keys.create(owner, scope, expires_days)
        _record(admin.audit, "keys create", key, 201)
    if json:
        print_json({"key": secret, **_plain(key)})
        return
    typer.echo(secret)
    until = "until revoked" if key.expires_at is None else f"until {_short(key.expires_at)}"
    typer.echo(f"key {key.id} of {owner}, scope {scope}, {until}; it is not shown again", err=True)
    if first and configured.access != "off":
        typer.echo("from now on every request to a service on this database needs a key", err=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the API keys, without their secrets."""
    with open_admin(settings()) as admin:
        keys = admin.keys.keys()
    if json:
        print_json([_plain(key) for key in keys])
        return
    print_table(
        ("id", "owner", "scope", "created", "used", "expires", "revoked"),
        [
            (
                key.id,
                key.owner,
                key.scope,
                *(_short(at) for at in (key.created_at, key.used_at, key.expires_at)),
                _short(key.revoked_at),
            )
            for key in keys
        ],
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, from `keys list`.")],
    json: Json = False,
) -> None:
    """Revoke an API key."""
    with open_admin(settings()) as admin:
        key = admin.keys.revoke(key_id)
        _record(admin.audit, "keys revoke", key, 200)
    if json:
        print_json(_plain(key))
    else:
        typer.echo(f"key {key.id} of {key.owner} is revoked")


def audit(
    owner: Annotated[str | None, typer.Option(help="Only changes by this owner.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Maximum number of entries.")
    ] = 100,
    json: Json = False,
) -> None:
    """List who changed what, newest first."""
    with open_admin(settings()) as admin:
        entries = admin.audit.entries(owner=owner, limit=limit)
    if json:
        print_json([_plain(entry) for entry in entries])
        return
    print_table(
        ("at", "owner", "key", "action", "target", "status", "request"),
        [
            (
                _short(entry.at),
                entry.owner or "-",
                entry.key_id or "-",
                entry.action,
                entry.target or "-",
                entry.status or "-",
                entry.request_id or "-",
            )
            for entry in entries
        ],
    )


def _record(log: AuditLog, command: str, key: Key, status: int) -> None:
    from service.contracts import LOCAL

    log.end(log.begin(LOCAL, command), status, f"key {key.id} of {key.owner}, scope {key.scope}")


def _plain(value: Any) -> dict[str, Any]:
    return {
        name: item.isoformat() if isinstance(item, datetime) else item
        for name, item in asdict(value).items()
    }


def _short(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
