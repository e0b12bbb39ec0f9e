"""The migrations: they build what the code works with, forwards and back, also from an installed wheel."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from aigen_bridge.store import migrations, schema
from stage import sqlalchemy_url


def test_the_migrations_build_exactly_the_tables_that_the_code_knows(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        differences = compare_metadata(context, schema.metadata)
    engine.dispose()
    assert differences == []


def test_every_check_of_the_code_is_in_the_database(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    inspector = inspect(engine)
    for table in schema.metadata.sorted_tables:
        expected = {str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint"}
        assert {c["name"] for c in inspector.get_check_constraints(table.name)} == expected
    engine.dispose()


def test_the_newest_revision_can_be_undone_and_done_again(empty_database_url: str) -> None:
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url)
    migrations.migrate(url, "base")
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()
    migrations.migrate(url)


def test_a_migration_gives_way_while_a_table_is_locked(empty_database_url: str) -> None:
    """Whoever waits for an exclusive lock stops everybody behind it: accepts would fail as long as the lock is held."""
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url, "0008")
    with psycopg.connect(empty_database_url) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute("LOCK TABLE requests IN ROW EXCLUSIVE MODE")
        migrating = threads.submit(migrations.migrate, url)
        with psycopg.connect(empty_database_url, autocommit=True) as watcher:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'requests'::regclass"
            until(lambda: watcher.execute(waits).fetchone() == (1,))
            until(lambda: watcher.execute(waits).fetchone() == (0,))
        assert not migrating.done()
        holder.rollback()
        migrating.result(timeout=60)


def test_the_index_on_attempts_is_built_without_blocking_writers(empty_database_url: str) -> None:
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url, "0012")
    with psycopg.connect(empty_database_url) as reader, ThreadPoolExecutor(1) as threads:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM requests")  # the build waits for the end of an older snapshot
        migrating = threads.submit(migrations.migrate, url)
        with psycopg.connect(empty_database_url, autocommit=True) as watcher:
            until(lambda: watcher.execute("SELECT count(*) FROM pg_stat_progress_create_index").fetchone() == (1,))
        with psycopg.connect(empty_database_url) as writer:
            writer.execute("LOCK TABLE attempts IN ROW EXCLUSIVE MODE NOWAIT")
        assert not migrating.done()
        reader.rollback()
        migrating.result(timeout=60)
        valid = "SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = 'attempts_lease_idx'::regclass"
        assert reader.execute(valid).fetchone() == (True, True)


def test_images_are_stored_without_compression(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        storage = connection.exec_driver_sql(
            "SELECT attstorage::text FROM pg_attribute WHERE attrelid = 'images'::regclass AND attname = 'content'"
        ).scalar()
    engine.dispose()
    assert storage == "e"


def until(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds, at most 30 s."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
