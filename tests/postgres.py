"""A PostgreSQL of the tests' own, on a socket in a temporary folder, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.processes import PATIENCE_S

CONFIG = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 200
shared_buffers = 32MB
log_min_messages = fatal
"""
FORGETFUL = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
"""Faster, and a crash may lose what was said to be stored."""


def find_binaries() -> Path | None:
    """The folder of initdb and postgres, if there is one: the newest of Debian's, or PATH's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return None if path is None else Path(path).parent


def _version(path: Path) -> int:
    name = path.parents[1].name
    return int(name) if name.isdigit() else 0


class Cluster:
    """One server and its databases."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self.binaries = folder, binaries
        self._user = _unprivileged()
        self._count = 0

    def url(self, database: str = "postgres") -> str:
        """A SQLAlchemy URL."""
        return f"postgresql://{self._user or ''}@/{database}?host={self.folder}".replace(
            "//@", "//"
        )

    def create_database(self) -> str:
        """A new and empty database; returns its URL."""
        self._count += 1
        name = f"test{self._count}"
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def empty(self, url: str) -> None:
        """Delete all rows of a database but those that say how far it is migrated."""
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables "
                "WHERE schemaname IN ('public', 'dbos') AND tablename NOT IN "
                "('alembic_version', 'dbos_migrations')"
            ).fetchone()
            assert tables is not None
            connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY")

    def _dsn(self) -> str:
        user = f"user={self._user} " if self._user else ""
        return f"{user}host={self.folder} dbname=postgres"

    def make(self, durable: bool) -> None:
        """Make the cluster: no password, nobody else can reach the folder."""
        self._run("initdb", "-D", self._data, "-A", "trust", "-E", "UTF8", "--no-sync")
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(CONFIG.format(folder=self.folder))
            if not durable:
                file.write(FORGETFUL)

    def start(self) -> None:
        """Start, and wait until it answers."""
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-t", str(PATIENCE_S), "-l", log, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop: fast ends connections, immediate is a crash."""
        self._run("pg_ctl", "-D", self._data, "-m", how, "-w", "-t", str(PATIENCE_S), "stop")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *arguments],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")


def _unprivileged() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to be root. None: as ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise RuntimeError("neither a user postgres nor nobody")


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A running cluster.

    Args:
        durable: what was stored outlives a crash.

    Raises:
        FileNotFoundError: if PostgreSQL is not installed.
    """
    binaries = find_binaries()
    if binaries is None:
        raise FileNotFoundError("no PostgreSQL: on Debian, apt-get install postgresql")
    # Short, since the path of a socket may be; and not pytest's, which only we may enter.
    folder = Path(tempfile.mkdtemp(prefix="subnet-pg-"))
    try:
        made = Cluster(folder, binaries)
        if (user := _unprivileged()) is not None:
            shutil.chown(folder, user)
        made.make(durable)
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
