"""DBOS's own tables, which lie in the same database, and what DBOS writes to the log.

`service.jobs.queue` uses DBOS; this module only prepares the database for it.
"""

from __future__ import annotations

import logging

import structlog
from dbos import DBOS
from sqlalchemy import Engine

log = structlog.get_logger("dbos")


def migrate_durable(engine: Engine) -> None:
    """Bring DBOS's own tables to its newest schema; several processes may start at once."""
    quieten_dbos()
    DBOS.migrate(engine.url.render_as_string(hide_password=False))


def quieten_dbos() -> None:
    """Let DBOS say what is wrong in our log, once in a while, and nothing else anywhere."""
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, _ToStructlog) for handler in logger.handlers):
        logger.handlers[:] = [_ToStructlog(logging.WARNING)]
        logger.propagate = False


class _ToStructlog(logging.Handler):
    """Passes warnings on. What polls a database that is gone says so at every turn, so the same
    place in the code is heard once in `SILENCE_S`."""

    SILENCE_S = 10.0

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._heard: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.pathname, record.lineno)
        if record.created - self._heard.get(place, 0.0) < self.SILENCE_S:
            return
        self._heard[place] = record.created
        log.warning("dbos", detail=record.getMessage().splitlines()[0][:300])
