"""Moves images between PostgreSQL and the object store, a page at a time, while the bridge serves (ADR 20).

To the object store: an object is put, then its row is deleted. To PostgreSQL: a row is written, and its object is noted
as garbage, due in a day, because a database that is restored to before the move needs it. A move that is killed goes on
where it was. Readers look into PostgreSQL, then into the object store, then into PostgreSQL again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ImageDamagedError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import GRACE, note
from aigen_bridge.store.image_places import PLACES, ImagePlace, Target
from aigen_bridge.store.images import ObjectImages, checked
from aigen_bridge.store.operations import record
from aigen_bridge.store.transitions import lock

PAGE = 4
"""Images that are moved at the same time. Each is in memory, which takes up to 100 MB."""
SETTLING_SECONDS = 60.0
"""A writer that placed an object just before the store was drained has committed its reference, or failed, by then."""

_SET_DRAINING = text("UPDATE image_store SET is_draining = :is_draining")
_FORGET_LOCATION = text("UPDATE image_store SET location = NULL WHERE is_draining RETURNING id")
_TAKE_TURN = text("""
    UPDATE image_store SET move_due_at = now() + make_interval(secs => :seconds)
    WHERE move_due_at <= now() AND NOT is_draining RETURNING id
""")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a page: images and bytes that were moved, and sentences about those that could not be.

    A part of a callback in quarantine counts as an image.
    """

    images: int = 0
    size: int = 0
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The images that are still to be moved, and their bytes, which are 0 for those in the object store."""

    images: int
    size: int


class ImageMoves:
    """Moves images. Every method raises `StoreUnavailableError`."""

    def __init__(self, database: Database, images: ObjectImages) -> None:
        self._database = database
        self._images = images

    async def start(self, target: Target, action: OperatorAction) -> None:
        """Decides where new images go from now on, and records who decided it."""
        is_draining = target is Target.POSTGRESQL
        async with self._database.transaction() as connection:
            await connection.execute(_SET_DRAINING, {"is_draining": is_draining})
            await record(connection, action, "move", "images", None, after={"to": target.value})

    async def waiting(self, target: Target) -> Waiting:
        """Returns what is yet to be moved there. Looks at every request, or at every image in PostgreSQL."""
        async with self._database.reading(patient=True) as connection:
            found = [(await connection.execute(place.to(target).count)).one() for place in PLACES]
        return Waiting(sum(row.images for row in found), sum(int(row.size) for row in found))

    async def to_store(self) -> AsyncIterator[Moved]:
        """Moves everything to the object store. Yields what each page moved. Raises `ImageStoreAwayError`."""
        await self._images.objects()  # after a failure, only one call finds out whether the store answers again
        walk = self.walk(Target.STORE)
        while moved := await walk.next_page():
            yield moved

    async def to_postgresql(self) -> AsyncIterator[Moved]:
        """Moves everything to PostgreSQL, until a whole pass finds nothing. Yields what each page moved.

        This takes `SETTLING_SECONDS` at least; empty pages let the caller stop meanwhile. What cannot be moved is
        yielded in each pass. Raises `ImageStoreAwayError`.
        """
        await self._images.objects()
        settled_at = time.monotonic() + SETTLING_SECONDS
        walk = self.walk(Target.POSTGRESQL)
        while True:
            began_at, images = time.monotonic(), 0
            while moved := await walk.next_page():
                images += moved.images
                yield moved
            if not images and began_at >= settled_at:
                return
            next_at = time.monotonic() + SETTLING_SECONDS / 10
            while not images and time.monotonic() < next_at:
                yield Moved()
                await asyncio.sleep(SETTLING_SECONDS / 100)

    async def finish(self) -> bool:
        """Records that no image is in the object store any more, so that its settings may be removed.

        Returns False if images go to the object store again.
        """
        async with self._database.writing() as connection:
            return (await connection.execute(_FORGET_LOCATION)).first() is not None

    async def take_turn(self, seconds: float) -> bool:
        """Returns whether this worker is the one to move images to the object store for so many seconds."""
        async with self._database.writing() as connection:
            return (await connection.execute(_TAKE_TURN, {"seconds": seconds})).first() is not None

    def walk(self, target: Target, page: int = PAGE) -> "Walk":
        """Returns a walk through all images that are to be moved there, `page` at a time."""
        return Walk(self._database, self._images, target, page)


class Walk:
    """A walk through the images that are to be moved to `target`. It passes each once, and may begin again."""

    def __init__(self, database: Database, images: ObjectImages, target: Target, page: int) -> None:
        self._database = database
        self._images = images
        self._target = target
        self._page = page
        self._damaged = set[ImageRef]()
        self._begin()

    def _begin(self) -> None:
        self._places = list(PLACES)
        self._after: Any = self._places[0].first

    async def next_page(self) -> Moved | None:
        """Moves the next images. Returns None at the end; the next call begins again.

        Raises `StoreUnavailableError` and `ImageStoreAwayError`. The next call goes on behind the images that this one
        could not move, so that none of them keeps others waiting.
        """
        while self._places:
            place = self._places[0]
            if rows := await self._rows(place):
                self._after = rows[-1].position
                return _sum(await _all(self._move(place, row) for row in rows))
            self._places.pop(0)
            self._after = self._places[0].first if self._places else None
        self._begin()
        return None

    async def _rows(self, place: ImagePlace) -> Sequence[Row[Any]]:
        values = {"after": self._after, "limit": self._page}
        async with self._database.writing(patient=True) as connection:
            return (await connection.execute(place.to(self._target).page, values)).all()

    async def _move(self, place: ImagePlace, row: Row[Any]) -> Moved:
        ref, name = ImageRef(row.request_id, row.sha256), place.called.format(row.position)
        move = self._put if self._target is Target.STORE else self._fetch
        try:
            return await move(place, ref, row.position)
        except ImageDamagedError:
            if ref not in self._damaged:
                log.error("image.damaged", what=name, key=ref.key)  # noqa: TRY400 - not a bug
            self._damaged.add(ref)
            return Moved(failed=(f"The bytes of {name} have been changed: their SHA-256 is not {ref.sha256}.",))

    async def _put(self, place: ImagePlace, ref: ImageRef, position: Any) -> Moved:
        """Moves an image to the object store. It stays if others changed it meanwhile, or if its object is noted."""
        async with self._database.reading(patient=True) as connection:
            content: bytes | None = await connection.scalar(place.read, {"position": position, "sha256": ref.sha256})
        if await checked(ref, content) is None or content is None or not await self._images.put(ref, content):
            return Moved()
        return await self._switch(place, ref, position, content)

    async def _fetch(self, place: ImagePlace, ref: ImageRef, position: Any) -> Moved:
        """Moves an image to PostgreSQL."""
        content = await self._images.get(ref)
        if content is None:
            missing = f"{place.called.format(position)} is not in the image store (key {ref.key})."
            return Moved(failed=(missing,) if place.must_exist else ())
        return await self._switch(place, ref, position, content)

    async def _switch(self, place: ImagePlace, ref: ImageRef, position: Any, content: bytes) -> Moved:
        """Changes where the image is, unless others changed it meanwhile."""
        is_fetched = self._target is Target.POSTGRESQL
        row = {"position": position, "request_id": ref.request_id, "sha256": ref.sha256}
        async with self._database.transaction(patient=True) as connection:
            await lock(connection, [ref.request_id])  # an earlier statement, so that the next sees what others changed
            statement = place.to(self._target).switch
            switched = await connection.execute(statement, row | {"content": content} if is_fetched else row)
            if not switched.rowcount:
                return Moved()
            if is_fetched:
                await note(connection, [ref], is_certain=place.is_only_reference, wait=GRACE)
        return Moved(1, len(content))


async def _all(moves: Iterable[Coroutine[None, None, Moved]]) -> list[Moved]:
    """Waits for all, also if one fails. Raises the first error."""
    ended = await asyncio.gather(*moves, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return [each for each in ended if isinstance(each, Moved)]


def _sum(moved: Sequence[Moved]) -> Moved:
    failed = tuple(failure for each in moved for failure in each.failed)
    return Moved(sum(each.images for each in moved), sum(each.size for each in moved), failed)
