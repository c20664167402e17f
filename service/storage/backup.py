"""Backups: one tar file with all rows as JSON lines, and the models that they refer to.

The tar holds `backup.json` (format and schema), `TABLE.jsonl` in the order in which rows can be
restored, and `artifacts/SHA256`. The job engine's own tables are left out: the first worker
enqueues the searches that wait. A backup of SQLite can be restored to PostgreSQL and vice versa.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from models.errors import Conflict, InputError
from service.storage.artifacts import ArtifactStore
from service.storage.database import head, is_new, migrate, revisions
from service.storage.tables import Base, ExecutorRow, SearchRow, UtcDateTime

FORMAT = 1
BATCH = 500
LEFT_OUT = {ExecutorRow.__tablename__}
"""Tables of running processes, which mean nothing after a restore."""


def tables() -> list[Table]:
    """The tables of a backup, each after those it refers to."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def write_backup(engine: Engine, artifacts: ArtifactStore, path: Path) -> dict[str, int]:
    """Write everything to `path`, whole or not at all, while the service runs.

    Returns:
        number of rows by table, and of "artifacts".

    Raises:
        InputError: if the file exists, or cannot be written.
        ArtifactLost: if a model is gone or damaged; nothing is written.
    """
    if path.exists():
        raise InputError(f"{path}: exists; name a file that does not")
    counts: dict[str, int] = {}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                with tarfile.open(fileobj=file, mode="w") as tar, _snapshot(engine) as connection:
                    about = {"format": FORMAT, "schema": head()}
                    _add(tar, "backup.json", json.dumps(about).encode())
                    for table in tables():
                        counts[table.name] = _add_rows(tar, connection, table)
                    counts["artifacts"] = _add_artifacts(tar, connection, artifacts)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return counts


def restore_backup(engine: Engine, artifacts: ArtifactStore, path: Path) -> dict[str, int]:
    """Restore a backup into an empty database, all of it or nothing, and its models.

    Searches that were running are queued again. An older backup is put into a new database of its
    schema, which is then migrated.

    Returns:
        number of rows by table, and of "artifacts".

    Raises:
        InputError: if the file is not a backup, is damaged, or has another schema.
        Conflict: if the database is not empty.
    """
    counts: dict[str, int] = {}
    try:
        with tarfile.open(path) as tar:
            migrate(engine, _schema_of(tar, path, engine))
            with engine.begin() as connection:
                names = set(tar.getnames())
                kept = [table for table in tables() if f"{table.name}.jsonl" in names]
                for table in kept:
                    _check_empty(connection, table)
                for table in kept:
                    counts[table.name] = _put_rows(tar, connection, table)
                counts["artifacts"] = _put_artifacts(tar, connection, artifacts)
        migrate(engine)
    except InputError:
        raise
    except (OSError, tarfile.TarError, ValueError, KeyError, SQLAlchemyError) as error:
        if isinstance(error, SQLAlchemyError):
            reason = str(getattr(error, "orig", error)).splitlines()[0]
        else:
            reason = str(error)
        raise InputError(f"{path}: not a whole backup: {reason}") from error
    return counts


def _schema_of(tar: tarfile.TarFile, path: Path, engine: Engine) -> str:
    """The schema of a backup.

    Raises:
        InputError: if this version does not know its format or schema.
        Conflict: if it is older than that of a database that exists already.
    """
    about = json.load(_member(tar, "backup.json"))
    schema = about.get("schema") if isinstance(about, dict) else None
    if schema not in revisions() or about != {"format": FORMAT, "schema": schema}:
        raise InputError(
            f"{path}: expected format {FORMAT} and a schema up to {head()}, got {about}: restore "
            "it with the version that made it"
        )
    if schema != head() and not is_new(engine):
        raise Conflict(
            f"{path}: its schema {schema} is older than {head()}: restore it into a database that "
            "does not exist yet, which is then upgraded"
        )
    return str(schema)


def _snapshot(engine: Engine) -> Connection:
    """A consistent snapshot of the database, whatever is written meanwhile."""
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        return connection.execution_options(isolation_level="REPEATABLE READ")
    connection.exec_driver_sql("BEGIN")
    return connection


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _add_rows(tar: tarfile.TarFile, connection: Connection, table: Table) -> int:
    count = 0
    with tempfile.TemporaryFile() as file:
        rows = connection.execution_options(yield_per=BATCH).execute(
            select(table).order_by(*table.primary_key.columns)
        )
        for row in rows.mappings():
            file.write(json.dumps(dict(row), default=_encode).encode() + b"\n")
            count += 1
        info = tarfile.TarInfo(f"{table.name}.jsonl")
        info.size = file.tell()
        file.seek(0)
        tar.addfile(info, file)
    return count


def _hashes(connection: Connection) -> list[str]:
    column = SearchRow.artifact_sha256
    found = connection.scalars(
        select(column).where(column.is_not(None)).distinct().order_by(column)
    )
    return [sha256 for sha256 in found if sha256]


def _add_artifacts(tar: tarfile.TarFile, connection: Connection, artifacts: ArtifactStore) -> int:
    hashes = _hashes(connection)
    for sha256 in hashes:
        _add(tar, f"artifacts/{sha256}", artifacts.get(sha256))
    return len(hashes)


def _check_empty(connection: Connection, table: Table) -> None:
    if connection.scalar(select(func.count()).select_from(table)):
        raise Conflict(f"the database is not empty ({table.name} has rows): restore into a new one")


def _put_rows(tar: tarfile.TarFile, connection: Connection, table: Table) -> int:
    count = 0
    for batch in _batches(_member(tar, f"{table.name}.jsonl")):
        rows = [_decode(table, row) for row in batch]
        if table.name == SearchRow.__tablename__:
            for row in rows:
                if row["status"] == "running":
                    row |= {"status": "queued", "worker": None}
        connection.execute(insert(table), rows)
        count += len(rows)
    if connection.dialect.name == "postgresql" and "id" in table.c and count:
        column = table.c["id"]
        if column.autoincrement is True:
            # The restored rows have ids already: continue after the largest.
            connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) "
                    f"FROM {table.name}"
                )
            )
    return count


def _put_artifacts(tar: tarfile.TarFile, connection: Connection, artifacts: ArtifactStore) -> int:
    hashes = _hashes(connection)
    for sha256 in hashes:
        content = _member(tar, f"artifacts/{sha256}").read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"artifact {sha256[:12]} is damaged")
        artifacts.put(content)
    return len(hashes)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file


def _batches(file: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for line in file:
        batch.append(json.loads(line))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON form of {type(value).__name__}")


def _decode(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row, with times read from text."""
    for name, value in row.items():
        if value is not None and isinstance(table.c[name].type, UtcDateTime):
            row[name] = datetime.fromisoformat(value)
    return row
