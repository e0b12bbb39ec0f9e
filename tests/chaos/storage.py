"""The image store of a run, and what is in it at the end."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from aigen_bridge.domain.image import SHARDS, ImageRef, parse_key
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.image_sweep import ImageSweep
from chaos.schedule import Storage
from image_stores import Folder
from outages import write
from s3_server import S3Server

ImagesAt = Folder | S3Server

DAYS = 3
"""An object is noted on the first day, and deleted on the second. On the third, nothing may be left to do."""
A_DAY_LATER = """
    UPDATE image_garbage SET noted_at = noted_at - interval '25 hours', due_at = due_at - interval '25 hours',
        claimed_at = claimed_at - interval '25 hours', deleted_at = deleted_at - interval '25 hours'
"""


def storage_of(kind: Storage, home: Path) -> ImagesAt | None:
    """Returns the place outside of PostgreSQL in which a run keeps its images."""
    match kind:
        case Storage.FILE:
            return Folder(home / "images")
        case Storage.S3:
            server = S3Server(home / "s3")
            server.make_bucket()
            return server
    return None


@contextmanager
def unmounted(folder: Folder) -> Iterator[None]:
    """Puts an empty folder in the place of this one while the block runs."""
    with folder.away():
        folder.path.mkdir()
        yield
        shutil.rmtree(folder.path)


def hashes(storage: ImagesAt) -> dict[str, str]:
    """Returns the SHA-256 of each object's bytes, by its key."""
    keys = storage.keys()
    return {key: hashlib.sha256((storage.path / key).read_bytes()).hexdigest() for key in keys}


async def pass_days(database_url: str, storage: ImagesAt) -> frozenset[str]:
    """Lets days pass for the database, and sweeps the image store in each. Returns the keys of what is left.

    No process of the bridge may run: their settings have the usual times.
    """
    engine = open_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=2, name="days")
    database = Database(engine)
    sweep = ImageSweep(database, storage.images(database))
    await storage.objects().put(ImageRef(uuid4(), "00" * 32).key, b"as a writer left it that was killed")
    for _ in range(DAYS):
        for _ in range(SHARDS):
            await write(database, "UPDATE image_store SET shard_due_at = now()")
            await sweep.find()
        while await sweep.delete():
            pass
        await write(database, A_DAY_LATER)
    await database.close()
    return frozenset(storage.keys())


def owner_of(key: str) -> str:
    """Returns the request that an object belongs to, or its key."""
    ref = parse_key(key)
    return str(ref.request_id) if ref else key
