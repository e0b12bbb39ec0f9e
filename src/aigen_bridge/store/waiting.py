"""Watches what a migration waits for."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import psycopg
import structlog

POLL_SECONDS = 0.25

_BLOCKERS = """
    SELECT DISTINCT 'process ' || pid || ' (' || concat_ws(
        ', ', NULLIF(application_name, ''), 'user ' || usename, state,
        'its transaction is open since ' || to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS TZ')
    ) || ')'
    FROM unnest(pg_blocking_pids(%s)) AS blocking (pid) LEFT JOIN pg_stat_activity USING (pid) ORDER BY 1
"""
"""Process 0 is a prepared transaction. The role may see only a part of what other users do."""

log = structlog.get_logger(__name__)


class Blockers:
    """The sessions that a migration waited for when it was last looked at, in words. Logs them when they change."""

    def __init__(self) -> None:
        self.last = ""

    def found(self, blockers: str) -> None:
        """Records who blocks the migration now."""
        if blockers and blockers != self.last:
            self.last = blockers
            log.warning("migrate.waiting", blocked_by=blockers)


@contextmanager
def watching(arguments: Mapping[str, Any], blockers: Blockers, pid: int) -> Iterator[None]:
    """Records what blocks the process `pid` of PostgreSQL while the block runs, if another connection can be opened."""
    over = threading.Event()
    with ExitStack() as stack:
        with suppress(psycopg.Error):
            connection = stack.enter_context(closing(psycopg.connect(**arguments, autocommit=True)))
            thread = threading.Thread(target=_watch, args=(connection, blockers, pid, over), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)  # before it is joined
        yield


def _watch(connection: psycopg.Connection[Any], blockers: Blockers, pid: int, over: threading.Event) -> None:
    with suppress(psycopg.Error):  # the migration meets the same error, and reports it
        while not over.wait(POLL_SECONDS):
            blockers.found("; ".join(row[0] for row in connection.execute(_BLOCKERS, [pid])))
