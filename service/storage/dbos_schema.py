"""DBOS's own tables, which are in the same database, and DBOS's warnings.

`service.jobs.queue` uses DBOS; this module only prepares the database and the log for it.
"""

from __future__ import annotations

import logging

import structlog
from sqlalchemy import Engine

log = structlog.get_logger("dbos")


def migrate_dbos(engine: Engine) -> None:
    """Bring DBOS's tables to the schema of the installed DBOS; processes may do so at once."""
    from dbos import DBOS  # half a second, which commands that find the schema current save

    quieten_dbos()
    DBOS.migrate(engine.url.render_as_string(hide_password=False))


def quieten_dbos() -> None:
    """Send DBOS's warnings to our log, each at most once in `SILENCE_S`, and nothing elsewhere."""
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, _ToStructlog) for handler in logger.handlers):
        logger.handlers[:] = [_ToStructlog(logging.WARNING)]
        logger.propagate = False


class _ToStructlog(logging.Handler):
    """Passes warnings on. While the database is gone every poll warns, so the same line of code is
    passed on once in `SILENCE_S`."""

    SILENCE_S = 10.0

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._passed_on_s: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.pathname, record.lineno)
        if record.created - self._passed_on_s.get(place, 0.0) < self.SILENCE_S:
            return
        self._passed_on_s[place] = record.created
        log.warning("dbos", detail=record.getMessage().splitlines()[0][:300])
