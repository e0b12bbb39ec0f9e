"""Reads what operators see of the image store."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from aigen_bridge.domain.incident import Cause
from aigen_bridge.store.database import Database
from aigen_bridge.store.readable import since
from aigen_bridge.store.rows import from_row

MOST = 10_000
"""The most images and objects that are counted."""
WAITING = f"""(SELECT count(*) FROM (
    SELECT FROM images UNION ALL SELECT FROM original_images LIMIT {MOST}) AS few)"""  # noqa: S608 - a constant
"""SQL: the images in PostgreSQL."""
DUE = f"""(SELECT count(*) FROM (
    SELECT FROM image_garbage WHERE deleted_at IS NULL AND due_at <= now() LIMIT {MOST}) AS few)"""  # noqa: S608
"""SQL: the objects that are to be deleted by now."""
DUE_FOR = f"""(
    SELECT {since("due_at")} FROM image_garbage WHERE deleted_at IS NULL AND due_at <= now()
    ORDER BY due_at LIMIT 1)"""  # noqa: S608 - constants of this package
"""SQL: how long the first of them has been due. NULL if there is none."""

_STATE = text(
    f"""
    SELECT CAST(s.token AS text) AS token, s.location, s.is_draining, {WAITING} AS waiting, {DUE} AS due,
        {DUE_FOR} AS due_for, coalesce(o.at, i.opened_at) AS away_since, o.detail AS away_reason
    FROM image_store AS s LEFT JOIN incidents AS i ON i.cause = '{Cause.IMAGE_STORE_DOWN}' AND i.recovered_at IS NULL
        LEFT JOIN LATERAL (SELECT at, detail FROM occurrences WHERE incident_id = i.id ORDER BY id DESC LIMIT 1) AS o
            ON true
"""  # noqa: S608 - constants of this package
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStoreState:
    """The state of the image store in the database.

    `location` is the URL of the store that holds images, None if there is none. `token` is the owner's mark in it.
    `is_draining`: its images are being moved to PostgreSQL, and new ones stay there. `waiting` counts the images in
    PostgreSQL, `due` the objects that are to be deleted; both stop at `MOST`. `due_for` is how long the first of those
    has been due. `away_since` and `away_reason` are those of the latest occurrence of the open incident. The store may
    have answered since then.
    """

    token: str
    location: str | None
    is_draining: bool
    waiting: int
    due: int
    due_for: timedelta | None
    away_since: datetime | None
    away_reason: str | None


async def read_state(database: Database) -> ImageStoreState:
    """Reads the state. Calls no object store."""
    async with database.reading() as connection:
        return from_row(ImageStoreState, (await connection.execute(_STATE)).one())
