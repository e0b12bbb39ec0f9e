"""An image store in a folder, for tests of what happens when images are kept outside of PostgreSQL."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_place import Credentials, Place
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_sweep import ImageSweep
from aigen_bridge.store.images import OWNER, ObjectImages
from aigen_bridge.store.schema import images, original_images

_COMPLETE = text("""
    INSERT INTO requests (request_id, correlation_id, event, client, status, completed_at, delivered_at,
        image, provenance)
    VALUES (:request_id, gen_random_uuid(), '{}', 'odoo', 'completed', now(), now(),
        jsonb_build_object('sha256', CAST(:sha256 AS text)),
        jsonb_build_object('original_sha256', CAST(:original_sha256 AS text)))
""")

_DAYS_PASS = (
    """UPDATE image_garbage SET noted_at = noted_at - :past, due_at = due_at - :past,
        claimed_at = claimed_at - :past, deleted_at = deleted_at - :past""",
    "UPDATE image_store SET shard_due_at = shard_due_at - :past, move_due_at = move_due_at - :past",
)
_SHARD_IS_DUE = text("UPDATE image_store SET shard = :before, shard_due_at = now()")


class Folder:
    """A folder with the image store's objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir()

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    @property
    def settings(self) -> dict[str, Any]:
        """The section of the settings that leads here."""
        return {"image_store": {"url": self.url}}

    def images(self, database: Database) -> ObjectImages:
        """The image store with this folder."""
        return ObjectImages(database, self.objects())

    def objects(self) -> ObjectStore:
        """The object store alone."""
        return ObjectStore(Place(self.url), Credentials())

    def keys(self) -> set[str]:
        """The keys of the images that are there."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)) for path in files} - {OWNER}

    def file(self, ref: ImageRef) -> Path:
        """The file of an image."""
        return self.path / ref.key

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the folder away while the block runs."""
        elsewhere = self.path.rename(self.path.with_name("elsewhere"))
        try:
            yield
        finally:
            elsewhere.rename(self.path)

    def clear(self) -> None:
        """Deletes the objects of all images."""
        for key in self.keys():
            (self.path / key).unlink()


async def keep_completed(database: Database, content: bytes, *, original: bytes | None = None) -> ImageRef:
    """Stores a delivered request whose image, and the original that was marked, are in PostgreSQL.

    Returns the image's reference. The bytes need not be an image.
    """
    ref = ImageRef(uuid4(), hashlib.sha256(content).hexdigest())
    first = hashlib.sha256(original or content).hexdigest()
    row = {"request_id": ref.request_id, "sha256": ref.sha256, "original_sha256": first}
    async with database.transaction() as connection:
        await connection.execute(_COMPLETE, row)
        await connection.execute(images.insert().values(request_id=ref.request_id, content=content))
        if original:
            kept = {"request_id": ref.request_id, "sha256": first, "content": original}
            await connection.execute(original_images.insert().values(kept))
    return ref


async def days_pass(database: Database, days: float) -> None:
    """Moves the times of the image store's tables into the past."""
    async with database.transaction() as connection:
        for statement in _DAYS_PASS:
            await connection.execute(text(statement), {"past": timedelta(days=days)})


async def find_all(database: Database, sweep: ImageSweep, folder: Folder) -> int:
    """Sweeps those parts of the store that have objects. Returns how many objects were noted."""
    noted, keys = 0, folder.keys()
    for shard in {key[:2] for key in keys}:
        async with database.transaction() as connection:
            await connection.execute(_SHARD_IS_DUE, {"before": int(shard, 16) - 1})
        noted += await sweep.find() or 0
    return noted
