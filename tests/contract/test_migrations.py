"""The migrations: they build what the code works with, forwards and back, also from an installed wheel."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
import structlog
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from aigen_bridge.domain.errors import UnsuitableDatabaseError
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


def test_marking_is_not_undone_while_images_wait_for_their_marks(empty_database_url: str) -> None:
    """The version before would fail their requests."""
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(ACCEPT)
        connection.execute("UPDATE requests SET status = 'received', image = '{}'")
        with pytest.raises(UnsuitableDatabaseError, match=r"(?i)images .*wait"):
            migrations.migrate(url, "base")
        connection.execute("UPDATE requests SET status = 'completed', completed_at = now()")
    migrations.migrate(url, "base")


LOCKS = "pg_locks JOIN pg_database AS d ON d.oid = database AND d.datname = current_database()"
"""The locks in this database: other tests share the server."""
WAITING = f"SELECT count(*) FROM {LOCKS} WHERE NOT granted AND relation = '{{}}'::regclass"  # noqa: S608 - a constant
ACCEPT = "INSERT INTO requests (request_id, correlation_id, event) VALUES (gen_random_uuid(), gen_random_uuid(), '{}')"


def test_requests_are_accepted_while_a_migration_waits_for_an_open_transaction(empty_database_url: str) -> None:
    """Whoever waits for an exclusive lock stops everybody behind it: accepts would fail as long as the lock is held."""
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url, "0008")
    with (
        structlog.testing.capture_logs() as lines,
        ThreadPoolExecutor(1) as threads,
        psycopg.connect(empty_database_url, application_name="pg_dump") as holder,
    ):
        pid = holder.info.backend_pid
        holder.execute("SELECT count(*) FROM requests")
        migrating = threads.submit(migrations.migrate, url)
        with psycopg.connect(empty_database_url, autocommit=True) as watcher:
            waits = WAITING.format("requests")
            watcher.execute("SET lock_timeout = '5s'")  # as the API
            until(lambda: watcher.execute(waits).fetchone() == (1,))
            watcher.execute(ACCEPT)
        assert not migrating.done()
        holder.rollback()
        migrating.result(timeout=60)
    waited_for = [line["blocked_by"] for line in lines if line["event"] == "migrate.waiting"]
    assert f"process {pid} (pg_dump, user postgres" in waited_for[0]


def test_a_migration_that_gives_up_says_how_far_it_came_and_who_was_in_the_way(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_PATIENCE", timedelta(milliseconds=1))
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url, "0009")
    with psycopg.connect(empty_database_url, application_name="report") as holder:
        for table, progress in (
            ("requests", "It is still at revision 0009."),
            ("destinations", "It was migrated from revision 0009 up to 0011."),
        ):
            holder.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
            with pytest.raises(UnsuitableDatabaseError) as raised:
                migrations.migrate(url)
            holder.rollback()
            assert "lock timeout" in raised.value.detail
            assert raised.value.detail.endswith(progress)
            assert f"process {holder.info.backend_pid} (report" in raised.value.advice
            assert "'aigen-bridge migrate' again" in raised.value.advice
    monkeypatch.undo()  # an index that is built concurrently may have to wait for autovacuum
    migrations.migrate(url)


def test_an_index_that_is_built_concurrently_replaces_what_an_interrupted_build_left() -> None:
    for path in migrations.folder().glob("versions/*.py"):
        upgrade = path.read_text().partition("def downgrade")[0]
        for built in re.finditer(r'op\.create_index\(\s*"(\w+)"[^)]*postgresql_concurrently=True', upgrade):
            dropped = rf'op\.drop_index\(\s*"{built[1]}"[^)]*postgresql_concurrently=True[^)]*if_exists=True'
            assert re.search(dropped, upgrade[: built.start()]), path.name


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


def test_a_step_of_a_migration_locks_one_table(empty_database_url: str) -> None:
    """Otherwise nobody could accept while the entries of the outbox are checked, and a claim could meet it halfway."""
    url = sqlalchemy_url(empty_database_url)
    migrations.migrate(url, "0016")
    held = f"SELECT relation::regclass::text FROM {LOCKS} WHERE granted AND mode = 'AccessExclusiveLock'"  # noqa: S608 - a constant
    waits = WAITING.format("operations")
    with ThreadPoolExecutor(1) as threads, psycopg.connect(empty_database_url) as holder:
        holder.execute("SELECT count(*) FROM operations")
        migrating = threads.submit(migrations.migrate, url)
        with psycopg.connect(empty_database_url, autocommit=True) as watcher:
            until(lambda: watcher.execute(waits).fetchone() == (1,))
            locked = watcher.execute(held + " AND relation <> 'operations'::regclass").fetchall()
        holder.rollback()
        migrating.result(timeout=60)
    assert locked == []


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
