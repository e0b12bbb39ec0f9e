"""Notes the objects of images that nothing refers to any more, before they are deleted.

An image whose object is noted is stored in PostgreSQL. The note stays for a day after the deletion, so that a slow
writer sees it, too.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.image import ImageRef

GRACE = timedelta(days=1)
"""After it, no writer is left that saw an object before it was noted, nor one that did not see the note."""

HAS_ORIGINAL = "r.image_purged_at IS NULL AND r.provenance IS NOT NULL AND NOT r.provenance ? 'original_is_forgotten'"
"""SQL: the request `r` refers to the original of its image, which may be the image itself."""

QUARANTINED = UUID(int=0)
"""Stands for the request in the key of a quarantined callback's part: equal parts share an object."""

IS_REFERENCED = f"""(
    EXISTS (
        SELECT FROM requests AS r WHERE r.request_id = g.request_id AND r.image_purged_at IS NULL
            AND (r.image ->> 'sha256' = g.sha256 OR ({HAS_ORIGINAL} AND r.provenance ->> 'original_sha256' = g.sha256))
    ) OR g.request_id = '{QUARANTINED}' AND EXISTS (
        SELECT FROM quarantine AS q WHERE q.payload_sha256 = g.sha256 OR q.image_sha256 = g.sha256
    ))"""  # noqa: S608 - constants
"""SQL: a row of PostgreSQL refers to the object `g`, whose bytes may be in PostgreSQL, too."""

_NOTE = text("""
    INSERT INTO image_garbage AS g (request_id, sha256, is_certain, due_at)
    SELECT DISTINCT request_id, sha256, CAST(:is_certain AS boolean), now() + make_interval(secs => :wait)
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:sha256 AS text[])) AS noted (request_id, sha256)
    ORDER BY request_id, sha256
    ON CONFLICT (request_id, sha256) DO UPDATE SET
        is_certain = g.is_certain OR excluded.is_certain,
        due_at = least(g.due_at, excluded.due_at),
        claimed_at = CASE WHEN g.deleted_at IS NULL THEN g.claimed_at END,
        deleted_at = NULL
    WHERE excluded.is_certain
""")


async def note(
    connection: AsyncConnection, refs: Sequence[ImageRef], *, is_certain: bool, wait: timedelta = timedelta(0)
) -> None:
    """Notes these objects, to be deleted after `wait`.

    Unless `is_certain`, an object is kept if something refers to it by then.
    """
    if not refs:
        return
    row = {"request_id": [ref.request_id for ref in refs], "sha256": [ref.sha256 for ref in refs]}
    await connection.execute(_NOTE, row | {"is_certain": is_certain, "wait": wait.total_seconds()})
