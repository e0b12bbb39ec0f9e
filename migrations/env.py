"""Alembic's entry: migrates over the connection that `aigen_bridge.store.migrations` hands in."""

from alembic import context
from sqlalchemy import text

from aigen_bridge.store.schema import metadata

MIGRATION_LOCK = 0x61696765
"""One migration at a time, the others wait. The lock goes with the connection."""

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
connection.commit()
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
