"""Stores the bytes of accepted images, in PostgreSQL or in an object store beside it (ADR 20)."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import structlog
from sqlalchemy import text

from aigen_bridge import metrics
from aigen_bridge.domain.errors import ImageDamagedError, ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database

OWNER = "owner"
"""The key of the object with which a database marks the store that it keeps its images in."""
OWNER_SECONDS = 60.0
"""Seconds between looks at that object."""
AWAY_SECONDS = 10.0
"""Seconds without a call to a store that did not answer."""

_GET = text("""
    SELECT content FROM images AS i WHERE i.request_id = :request_id AND NOT EXISTS (
        SELECT FROM requests AS r WHERE r.request_id = i.request_id AND r.image ->> 'sha256' <> :sha256)
    UNION ALL SELECT content FROM original_images WHERE request_id = :request_id AND sha256 = :sha256
    LIMIT 1
""")
"""Bytes without a request that describes them are those of an image that came while its request was being changed."""

_OWNER = text("SELECT token::text, location, is_draining FROM image_store")
_LOCATE = text("UPDATE image_store SET location = :url WHERE location IS DISTINCT FROM :url AND NOT is_draining")
_ADOPT = text("UPDATE image_store SET token = CAST(:token AS uuid)")
_IS_KEPT = text("""
    SELECT token::text = :token AND NOT is_draining
        AND NOT EXISTS (SELECT FROM image_garbage WHERE request_id = :request_id AND sha256 = :sha256)
    FROM image_store
""")

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ImageStore(Protocol):
    """Storage for images. Every method raises `StoreUnavailableError` if PostgreSQL does not answer."""

    @property
    def has_objects(self) -> bool:
        """True if images may be kept outside of PostgreSQL."""
        ...

    async def place(self, ref: ImageRef, content: bytes) -> bytes | None:
        """Stores an image before the transition that refers to it. Returns the bytes if that has to write them itself.

        If the transition then does not apply, the bytes remain unreferenced.
        """
        ...

    async def get(self, ref: ImageRef) -> bytes | None:
        """Returns the bytes, or None if there are none.

        Raises `ImageDamagedError` for bytes with another hash, and `ImageStoreAwayError`.
        """
        ...

    async def check(self) -> None:
        """Raises `ImageStoreAwayError` unless the images can be read."""
        ...

    async def adopt(self, *, if_owned: bool = False) -> None:
        """Makes the store this database's, and no other's. Raises `ImageStoreAwayError`.

        A store whose answer was lost may have the new token already. Then it belongs to no database until it is adopted
        again. `if_owned`: not one without an owner, unless this database has no images in any. It may not be mounted.
        """
        ...


class Objects(Protocol):
    """Objects outside of PostgreSQL, by key. Every method raises `ImageStoreAwayError`."""

    @property
    def url(self) -> str: ...
    async def put(self, key: str, content: bytes) -> None: ...
    async def get(self, key: str) -> bytes | None: ...
    async def delete(self, keys: Sequence[str]) -> None: ...
    async def names(self, prefix: str) -> list[str]: ...


class PostgresImages:
    """Stores images in the same database as the requests: image and transition share one commit.

    A request has one image, so its id identifies the image. If that was marked, its original is a second one.
    """

    has_objects = False

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place(self, ref: ImageRef, content: bytes) -> bytes | None:  # noqa: ARG002 - the protocol's
        """See `ImageStore.place`."""
        return content

    async def get(self, ref: ImageRef) -> bytes | None:
        """See `ImageStore.get`."""
        content = await checked(ref, await self.read(ref))
        if content is None:
            await self.check()
        return content

    async def check(self) -> None:
        """See `ImageStore.check`. Images that were moved to an object store can be read only with its URL."""
        async with self._database.reading() as connection:
            location = (await connection.execute(_OWNER)).one().location
        if location is not None:
            raise ImageStoreAwayError(left_behind(location))

    async def adopt(self, *, if_owned: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """See `ImageStore.adopt`. Only an object store has an owner."""
        await self.check()

    async def read(self, ref: ImageRef) -> bytes | None:
        """Returns the bytes without a look at their hash, which tells a marked image from its original."""
        async with self._database.reading(patient=True) as connection:
            content: bytes | None = await connection.scalar(_GET, {"request_id": ref.request_id, "sha256": ref.sha256})
        return content


class ObjectImages:
    """Stores images in an object store. What cannot be stored there is stored in PostgreSQL, and moved later.

    An object is written before the commit that refers to it. Nothing deletes it meanwhile: objects are noted in
    `image_garbage` before they are deleted, and an image that is noted there is stored in PostgreSQL.
    """

    has_objects = True

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database = database
        self._in_postgresql = PostgresImages(database)
        self._objects = objects
        self._token = ""
        self._is_draining = False
        self._doubts = 0
        self._look_at = self._call_at = 0.0
        self._reason = ""

    async def place(self, ref: ImageRef, content: bytes) -> bytes | None:
        """See `ImageStore.place`. Does not fail if the object store does."""
        try:
            return None if await self.put(ref, content) else content
        except ImageStoreAwayError:
            metrics.IMAGES_SPILLED.inc()
            return content

    async def put(self, ref: ImageRef, content: bytes) -> bool:
        """Stores the object. Returns False if its image has to stay in PostgreSQL for now.

        Raises `ImageStoreAwayError`.
        """
        await self._look()
        if self._is_draining:
            return False
        doubts = self._doubts
        await self._try(self._objects.put, ref.key, content)
        if self._doubts != doubts:  # another call has found another store there, or none
            return False
        wanted = {"token": self._token, "request_id": ref.request_id, "sha256": ref.sha256}
        async with self._database.reading() as connection:
            return bool(await connection.scalar(_IS_KEPT, wanted))

    async def get(self, ref: ImageRef) -> bytes | None:
        """See `ImageStore.get`. PostgreSQL may hold any image for a while."""
        if (content := await self._in_postgresql.read(ref)) is not None:
            return await checked(ref, content)
        content = await self._try(self._objects.get, ref.key)
        if await _has_hash(ref, content):
            return content
        await self._look(again=True)  # the folder may not be mounted, or a sign-in page may have answered
        return await checked(ref, await self._in_postgresql.read(ref) or content)  # moved meanwhile

    async def objects(self) -> Objects:
        """Returns the object store for other calls. Raises `ImageStoreAwayError` if it is not this database's."""
        await self._look(again=True)
        return self._objects

    async def check(self) -> None:
        """See `ImageStore.check`."""
        await self._look(again=True)

    async def adopt(self, *, if_owned: bool = False) -> None:
        """See `ImageStore.adopt`. The database gets a new token: that of a copy would be the same."""
        if if_owned:
            await self._refuse_unowned()
        token = str(uuid4())
        await self._try(self._objects.put, OWNER, token.encode())
        async with self._database.writing() as connection:
            await connection.execute(_ADOPT, {"token": token})
        await self._locate()
        self._doubt()

    async def _refuse_unowned(self) -> None:
        async with self._database.reading() as connection:
            location = (await connection.execute(_OWNER)).one().location
        if location is not None and await self._try(self._objects.get, OWNER) is None:
            raise ImageStoreAwayError(not_ours(self._objects.url, location, None))

    async def _look(self, *, again: bool = False) -> None:
        """Raises `ImageStoreAwayError` unless the store is this database's."""
        if time.monotonic() < self._look_at and not again:
            return
        async with self._database.reading() as connection:
            row = (await connection.execute(_OWNER)).one()
        owner = await self._try(self._objects.get, OWNER)
        if row.location is None and not row.is_draining and owner is None:
            await self._own(row.token)
        elif row.location is None and row.is_draining and owner is None:
            pass  # all images were moved to PostgreSQL, and the store may have been emptied since
        elif owner != row.token.encode():
            self._doubt()
            raise ImageStoreAwayError(not_ours(self._objects.url, row.location, owner))
        elif row.location != self._objects.url:
            await self._locate()
        self._token, self._is_draining = row.token, row.is_draining
        self._look_at = time.monotonic() + OWNER_SECONDS

    async def _own(self, token: str) -> None:
        await self._try(self._objects.put, OWNER, token.encode())
        await self._locate()

    async def _locate(self) -> None:
        async with self._database.writing() as connection:
            await connection.execute(_LOCATE, {"url": self._objects.url})

    async def _try(self, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Calls the store. After a failure, one call each `AWAY_SECONDS` finds out whether it answers again."""
        if (now := time.monotonic()) < self._call_at:
            raise ImageStoreAwayError(self._reason)
        if self._call_at:
            self._call_at = now + AWAY_SECONDS
        try:
            answer = await call(*arguments)
        except ImageStoreAwayError as error:
            log.warning("image_store.away", reason=error.reason)
            self._call_at, self._reason = time.monotonic() + AWAY_SECONDS, error.reason
            self._doubt()
            raise
        self._call_at = 0.0
        return answer

    def _doubt(self) -> None:
        """The next call looks first whose store it is. What is being put counts as not stored."""
        self._doubts, self._look_at = self._doubts + 1, 0.0


def left_behind(location: str) -> str:
    """Returns why images cannot be read without the setting of their store."""
    return f"the images are in {location}, but AIGEN_IMAGE_STORE__URL is not set"


def not_ours(url: str, location: str | None, owner: bytes | None) -> str:
    """Returns why the store at `url` is not the one in which this database keeps its images.

    `location` is the URL where they are. `owner` is the token in the store, if there is one.
    """
    advice = "If that is intended, run 'aigen-bridge images adopt'"
    if owner is not None:
        return f"the images in {url} belong to another database, such as the one that this is a copy of. {advice}"
    if location == url:
        return f"{url} is empty or another store than before: is the folder mounted? {advice}"
    return f"the images are in {location}, and {url} has none of them: copy them, with '{OWNER}'. {advice}"


async def checked(ref: ImageRef, content: bytes | None) -> bytes | None:
    """Returns the bytes. Raises `ImageDamagedError` if they have another hash."""
    if content is not None and not await _has_hash(ref, content):
        raise ImageDamagedError(f"the image of request {ref.request_id}")
    return content


async def _has_hash(ref: ImageRef, content: bytes | None) -> bool:
    return content is not None and (await asyncio.to_thread(hashlib.sha256, content)).hexdigest() == ref.sha256
