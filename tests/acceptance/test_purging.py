"""`aigen-bridge purge`, as a real process; also one that is killed."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from aged import Aged, every_kind, write
from aigen_bridge.store.database import Database
from processes import COMMAND, run

MANY = 800
HALVES = text("""
    SELECT count(*) FROM requests AS r
    WHERE (image_purged_at IS NULL) <> EXISTS (SELECT FROM images AS i WHERE i.request_id = r.request_id)
""")


@pytest.fixture
def only_the_database(database_url: str) -> dict[str, str]:
    """All that purging needs to know; a table must have room."""
    return {"AIGEN_DATABASE_URL": database_url, "COLUMNS": "120"}


async def read(database: Database, statement: Any) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(statement) or 0)


REQUESTS, IMAGES, RECORDS = (text(f"SELECT count(*) FROM {table}") for table in ("requests", "images", "operations"))  # noqa: S608 - names of ours


def rows(table: str) -> dict[str, list[str]]:
    """The printed table: what → kept for, count, setting."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if "│" in line]
    return {line[0]: line[1:] for line in lines}


async def test_a_dry_run_says_what_would_go_and_the_purge_what_went(
    database: Database, only_the_database: dict[str, str], tmp_path: Path
) -> None:
    kinds = await write(database, every_kind())
    gone = sum(kind.may_go for kind in kinds.values())
    planned = run("purge", "--dry-run", environment=only_the_database, cwd=tmp_path)
    untouched = await read(database, REQUESTS), await read(database, RECORDS)
    done = run("purge", environment=only_the_database, cwd=tmp_path)

    assert (planned.returncode, done.returncode) == (0, 0), planned.stderr + done.stderr
    assert untouched == (len(kinds), 0)
    assert rows(planned.stdout) == rows(done.stdout)
    assert rows(done.stdout)["requests"] == ["365 days", str(gone), "AIGEN_RETENTION__REQUESTS"]
    assert ("to delete" in planned.stdout, "Nothing was changed." in planned.stdout) == (True, True)
    assert (await read(database, REQUESTS), await read(database, RECORDS)) == (len(kinds) - gone, 1)


async def test_settings_decide_and_for_ever_is_said(
    database: Database, only_the_database: dict[str, str], tmp_path: Path
) -> None:
    await write(database, [Aged()] * 3)
    settings = {"AIGEN_RETENTION__REQUESTS": "forever", "AIGEN_RETENTION__IMAGES": "401d"}
    done = run("purge", environment=only_the_database | settings, cwd=tmp_path)

    assert rows(done.stdout)["requests"][:2] == ["forever", "-"]
    assert rows(done.stdout)["images"][:2] == ["401 days", "0"]
    assert await read(database, REQUESTS) == 3


def test_a_request_cannot_go_before_its_image(only_the_database: dict[str, str], tmp_path: Path) -> None:
    settings = {"AIGEN_RETENTION__IMAGES": "forever"}
    done = run("purge", environment=only_the_database | settings, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("AIGEN_RETENTION is wrong: requests must be kept at least as long as images")


async def test_a_purge_that_is_killed_leaves_whole_batches_and_the_next_one_does_the_rest(
    database: Database, only_the_database: dict[str, str], tmp_path: Path
) -> None:
    await write(database, [Aged()] * MANY + [Aged(entries=("dead",))])
    purging = await asyncio.create_subprocess_exec(*COMMAND, "purge", env=os.environ | only_the_database, cwd=tmp_path)
    async with asyncio.timeout(60):
        while await read(database, IMAGES) > MANY - 200:
            await asyncio.sleep(0.02)
    purging.kill()
    await purging.wait()
    left = await read(database, IMAGES)
    halves = await read(database, HALVES)
    again = run("purge", environment=only_the_database, cwd=tmp_path)

    assert (purging.returncode, 1 < left < MANY, halves) == (-signal.SIGKILL, True, 0)
    assert rows(again.stdout)["images"][1] == str(left - 1)
    assert (await read(database, REQUESTS), await read(database, IMAGES)) == (1, 1)
    assert await read(database, RECORDS) == 2
