"""Alembic's entry: migrates over the connection that `aigen_bridge.store.migrations` hands in."""

from datetime import timedelta
from typing import Any

from alembic import context
from sqlalchemy import event, text

from aigen_bridge.store.migrations import LOCK_PATIENCE, SESSION
from aigen_bridge.store.schema import metadata

MIGRATION_LOCK = 0x61696765
"""One migration at a time, the others wait. The lock goes with the connection."""

connection = context.config.attributes["connection"]


@event.listens_for(connection, "before_cursor_execute")
def _wait_longer(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
    """Nobody queues behind an index that is built concurrently, so it may wait for the end of older transactions."""
    if "CONCURRENTLY" in statement:
        cursor.execute(f"SET lock_timeout = '{LOCK_PATIENCE // timedelta(milliseconds=1)}ms'")


@event.listens_for(connection, "after_cursor_execute")
def _wait_as_usual(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
    if "CONCURRENTLY" in statement:
        cursor.execute(f"SET lock_timeout = '{SESSION['lock_timeout']}'")


connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
connection.commit()
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
