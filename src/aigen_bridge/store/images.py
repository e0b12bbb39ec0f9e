"""The bytes of accepted images."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.schema import images


class ImageStore(Protocol):
    """A place for images. Every method raises `StoreUnavailableError` when the place does not answer.

    An image is put before the transition that needs it is committed, so a stored description always has its bytes.
    Bytes whose transition lost a race stay behind under a reference that nothing names.
    """

    async def put(self, ref: ImageRef, content: bytes) -> None:
        """Stores the image durably. The same reference again changes nothing."""
        ...

    async def get(self, ref: ImageRef) -> bytes | None:
        """The bytes, or None when there are none."""
        ...

    async def delete(self, refs: Sequence[ImageRef]) -> None:
        """Deletes these images, as far as they exist."""
        ...

    async def exists(self, ref: ImageRef) -> bool:
        """Whether the bytes are there."""
        ...


class PostgresImages:
    """Images in the database of the requests. A request has one image, so its id alone finds it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, ref: ImageRef, content: bytes) -> None:
        """As `ImageStore.put`."""
        row = {"request_id": ref.request_id, "content": content}
        async with self._database.writing(patient=True) as connection:
            await connection.execute(insert(images).values(row).on_conflict_do_nothing())

    async def get(self, ref: ImageRef) -> bytes | None:
        """As `ImageStore.get`."""
        async with self._database.reading(patient=True) as connection:
            return await connection.scalar(select(images.c.content).where(images.c.request_id == ref.request_id))

    async def delete(self, refs: Sequence[ImageRef]) -> None:
        """As `ImageStore.delete`."""
        async with self._database.writing(patient=True) as connection:
            await connection.execute(delete(images).where(images.c.request_id.in_([ref.request_id for ref in refs])))

    async def exists(self, ref: ImageRef) -> bool:
        """As `ImageStore.exists`."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(images.c.request_id).where(images.c.request_id == ref.request_id))
            return found.first() is not None


def is_transactional(store: ImageStore) -> bool:
    """Whether a transition writes its image in its own transaction.

    PostgreSQL writes image and transition in one commit: two would double the time of a completed callback.
    """
    return isinstance(store, PostgresImages)


async def put_unless_transactional(store: ImageStore, ref: ImageRef, content: bytes) -> bytes | None:
    """Stores an image ahead of its transition; returns the bytes if the transition is to write them itself."""
    if is_transactional(store):
        return content
    await store.put(ref, content)
    return None
