"""Stores the bytes of accepted images."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert

from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.schema import images, original_images

_GET = text("""
    SELECT content FROM images AS i WHERE i.request_id = :request_id AND NOT EXISTS (
        SELECT FROM requests AS r WHERE r.request_id = i.request_id AND r.image ->> 'sha256' <> :sha256)
    UNION ALL SELECT content FROM original_images WHERE request_id = :request_id AND sha256 = :sha256
    LIMIT 1
""")
"""Bytes without a request that describes them are those of an image that came while its request was being changed."""


class ImageStore(Protocol):
    """Storage for images. Every method raises `StoreUnavailableError` if the storage does not answer.

    An image is stored before the transition that needs it is committed, so a stored description always has its bytes.
    If the transition then does not apply, the bytes remain unreferenced.
    """

    async def put(self, ref: ImageRef, content: bytes) -> None:
        """Stores the image durably. Does nothing if the reference exists."""
        ...

    async def get(self, ref: ImageRef) -> bytes | None:
        """Returns the bytes, or None if there are none."""
        ...

    async def delete(self, refs: Sequence[ImageRef]) -> None:
        """Deletes those of these images that exist."""
        ...

    async def exists(self, ref: ImageRef) -> bool:
        """Returns whether the bytes are stored."""
        ...


class PostgresImages:
    """Stores images in the same database as the requests.

    A request has one image, so its id identifies the image. If that was marked, its original is a second one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, ref: ImageRef, content: bytes) -> None:
        """See `ImageStore.put`."""
        row = {"request_id": ref.request_id, "content": content}
        async with self._database.writing(patient=True) as connection:
            await connection.execute(insert(images).values(row).on_conflict_do_nothing())

    async def get(self, ref: ImageRef) -> bytes | None:
        """See `ImageStore.get`. The hash tells a marked image from its original."""
        async with self._database.reading(patient=True) as connection:
            content: bytes | None = await connection.scalar(_GET, {"request_id": ref.request_id, "sha256": ref.sha256})
        return content

    async def delete(self, refs: Sequence[ImageRef]) -> None:
        """See `ImageStore.delete`."""
        request_ids = [ref.request_id for ref in refs]
        async with self._database.transaction(patient=True) as connection:
            for table in (images, original_images):
                await connection.execute(delete(table).where(table.c.request_id.in_(request_ids)))

    async def exists(self, ref: ImageRef) -> bool:
        """See `ImageStore.exists`."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(images.c.request_id).where(images.c.request_id == ref.request_id))
            return found.first() is not None


def is_transactional(store: ImageStore) -> bool:
    """Returns whether a transition writes its image in its own transaction.

    In PostgreSQL, image and transition share one commit instead of taking two.
    """
    return isinstance(store, PostgresImages)


async def put_unless_transactional(store: ImageStore, ref: ImageRef, content: bytes) -> bytes | None:
    """Stores an image before its transition. Returns the bytes if the transition has to write them instead."""
    if is_transactional(store):
        return content
    await store.put(ref, content)
    return None
