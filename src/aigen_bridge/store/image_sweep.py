"""Finds objects that nothing refers to, and deletes those that are noted in `image_garbage` (ADR 20).

Nothing deletes an object that was not noted a day before, unless it is certain that nothing will refer to it again.
Times are those of the database, never of the object store, whose clock may differ.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from aigen_bridge.domain.image import SHARDS, ImageRef, parse_key
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import GRACE, IS_REFERENCED, note
from aigen_bridge.store.images import ObjectImages, Objects

LOOKED_UP = 1000
"""Objects that one statement looks up."""
BATCH = 100
"""Objects deleted at a time."""

_NEXT_SHARD = text(f"""
    UPDATE image_store SET shard = (shard + 1) % {SHARDS}, shard_due_at = now() + interval '1 day' / {SHARDS}
    WHERE shard_due_at <= now() RETURNING shard
""")  # noqa: S608 - a constant

_UNREFERENCED = text(f"""
    SELECT g.request_id, g.sha256
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:sha256 AS text[])) AS g (request_id, sha256)
    WHERE NOT {IS_REFERENCED}
        AND NOT EXISTS (SELECT FROM image_garbage AS n WHERE n.request_id = g.request_id AND n.sha256 = g.sha256)
""")  # noqa: S608 - a constant

# What was claimed once is deleted, even if something refers to it since then: a writer that finds its object noted
# stores the bytes in PostgreSQL.
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (
        SELECT g.request_id, g.sha256, g.is_certain OR g.claimed_at IS NOT NULL OR NOT {IS_REFERENCED} AS goes
        FROM image_garbage AS g
        WHERE g.deleted_at IS NULL AND g.due_at <= now()
            AND (g.claimed_at IS NULL OR g.claimed_at < now() - interval '1 hour')
        ORDER BY g.due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    ), kept AS (
        DELETE FROM image_garbage AS g USING due AS d
        WHERE g.request_id = d.request_id AND g.sha256 = d.sha256 AND NOT d.goes
    )
    UPDATE image_garbage AS g SET claimed_at = now() FROM due AS d
    WHERE g.request_id = d.request_id AND g.sha256 = d.sha256 AND d.goes
    RETURNING g.request_id, g.sha256, g.claimed_at
""")  # noqa: S608 - constants

_DELETED = text("""
    UPDATE image_garbage AS g SET deleted_at = now()
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:sha256 AS text[]), CAST(:claimed_at AS timestamptz[]))
        AS done (request_id, sha256, claimed_at)
    WHERE g.request_id = done.request_id AND g.sha256 = done.sha256 AND g.claimed_at = done.claimed_at
""")

_FORGET = text("""
    DELETE FROM image_garbage WHERE (request_id, sha256) IN (
        SELECT request_id, sha256 FROM image_garbage
        WHERE deleted_at < now() - make_interval(secs => :grace) LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
""")


class ImageSweep:
    """Sweeps the object store. Safe to run concurrently. Methods raise `StoreUnavailableError`.

    They raise `ImageStoreAwayError` if the object store is away or belongs to another database.
    """

    def __init__(self, database: Database, images: ObjectImages) -> None:
        self._database = database
        self._images = images

    async def find(self) -> int | None:
        """Looks through the next part of the object store, and notes what nothing refers to, to be deleted in a day.

        Returns how many objects it noted. None: no part is due. All parts take a day.
        """
        objects = await self._images.objects()
        async with self._database.writing() as connection:
            shard = await connection.scalar(_NEXT_SHARD)
        if shard is None:
            return None
        found = [ref for key in await objects.names(f"{shard:02x}/") if (ref := parse_key(key))]
        parts = (found[start : start + LOOKED_UP] for start in range(0, len(found), LOOKED_UP))
        return sum([await self._note(refs) for refs in parts])

    async def delete(self) -> int:
        """Deletes a batch of the noted objects that are due. Returns how many; fewer than `BATCH` are the last ones."""
        objects = await self._images.objects()
        claimed = await self._claim()
        if claimed:
            await self._delete(objects, claimed)
        return len(claimed)

    async def _delete(self, objects: Objects, claimed: Sequence[Row[Any]]) -> None:
        await objects.delete([ImageRef(row.request_id, row.sha256).key for row in claimed])
        row = {name: [getattr(each, name) for each in claimed] for name in ("request_id", "sha256", "claimed_at")}
        async with self._database.writing() as connection:
            await connection.execute(_DELETED, row)

    async def _note(self, refs: Sequence[ImageRef]) -> int:
        row = {"request_id": [ref.request_id for ref in refs], "sha256": [ref.sha256 for ref in refs]}
        async with self._database.transaction() as connection:
            unreferenced = [ImageRef(*found) for found in await connection.execute(_UNREFERENCED, row)]
            await note(connection, unreferenced, is_certain=False, wait=GRACE)
        return len(unreferenced)

    async def _claim(self) -> Sequence[Row[Any]]:
        async with self._database.writing(patient=True) as connection:
            await connection.execute(_FORGET, {"grace": GRACE.total_seconds()})
            return (await connection.execute(_CLAIM)).all()
