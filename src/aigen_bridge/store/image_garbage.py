"""Notes the objects of images that nothing refers to any more, before they are deleted.

An image whose object is noted is stored in PostgreSQL. The note stays for a day after the deletion, so that a slow
writer sees it, too.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.image import ImageRef

_NOTE = text("""
    INSERT INTO image_garbage AS g (request_id, sha256, is_certain, due_at)
    SELECT DISTINCT request_id, sha256, CAST(:is_certain AS boolean), now() + make_interval(secs => :wait)
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:sha256 AS text[])) AS noted (request_id, sha256)
    ORDER BY request_id, sha256
    ON CONFLICT (request_id, sha256) DO UPDATE SET
        is_certain = g.is_certain OR excluded.is_certain,
        due_at = least(g.due_at, excluded.due_at),
        claimed_at = NULL,
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
