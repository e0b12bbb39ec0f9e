"""Requests: accepted, read, moved."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import AwaitedImage, Change, FailedBy, ImageRequest, Status
from aigen_bridge.store import changes
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import COLUMNS, if_readable, to_request
from aigen_bridge.store.schema import images, requests
from aigen_bridge.store.wakeup import CHANNEL

_ACCEPT = text(f"""
    WITH created AS (
        INSERT INTO requests (request_id, correlation_id, event, traceparent)
        SELECT request_id, correlation_id, CAST(event AS jsonb), traceparent
        FROM unnest(
            CAST(:request_id AS uuid[]), CAST(:correlation_id AS uuid[]), CAST(:event AS text[]),
            CAST(:traceparent AS text[])
        ) AS wanted (request_id, correlation_id, event, traceparent)
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id, created_at
    ), owed AS (
        INSERT INTO outbox (request_id, step) SELECT request_id, 'dispatch' FROM created
    )
    SELECT request_id, created_at, pg_notify('{CHANNEL}', 'dispatch') FROM created
""")  # noqa: S608 - a constant of ours

_FIND = text(f"SELECT {COLUMNS} FROM requests AS r WHERE r.request_id = ANY (CAST(:request_id AS uuid[]))")  # noqa: S608 - columns of ours
"""One statement for any number of ids, so that it stays prepared; `IN` would be another one for each number."""


@dataclass(frozen=True, slots=True)
class NewRequest:
    """EVT-AIG-001 as it is to be stored; `event` as `ImageRequest.event`."""

    request_id: UUID
    correlation_id: UUID
    event: Mapping[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests to list. `before` is the last one of the page before."""

    status: Status | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and its end as the next part's `RequestFilter.before`; None when there is no next part."""

    items: list[ImageRequest]
    end: tuple[datetime, UUID] | None


class Requests:
    """The requests in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def accept(self, wanted: Sequence[NewRequest]) -> list[tuple[ImageRequest, bool]]:
        """Insert those that are new, each with its `dispatch` entry, in one commit.

        Returns for each wanted one the request as it is now and whether this call created it.
        """
        ordered = sorted(wanted, key=lambda new: new.request_id)  # one lock order for all processes
        async with self._database.writing() as connection:
            created = await insert_requests(connection, ordered)
        metrics.MOVES.labels(Status.QUEUED.value).inc(len(created))
        known = await self.find([new.request_id for new in wanted if new.request_id not in created])
        answers = []
        for new in wanted:
            first = new.request_id not in known  # of several with one id in this call, the first was inserted
            if first and new.request_id not in created:
                raise StoreUnavailableError(f"Request {new.request_id} was known and is being purged at this moment.")
            if first:
                known[new.request_id] = _fresh(new, created[new.request_id])
            answers.append((known[new.request_id], first))
        return answers

    async def find(self, request_ids: Sequence[UUID]) -> dict[UUID, ImageRequest]:
        """Those of the requests that exist."""
        if not request_ids:
            return {}
        async with self._database.reading() as connection:
            rows = await connection.execute(_FIND, {"request_id": list(request_ids)})
            return {row.request_id: to_request(row) for row in rows}

    async def get(self, request_id: UUID) -> ImageRequest | None:
        """The request, or None."""
        return (await self.find([request_id])).get(request_id)

    async def traceparent(self, request_id: UUID) -> str | None:
        """The trace that the request belongs to, or None."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(requests.c.traceparent).where(requests.c.request_id == request_id))

    async def get_each(self, request_ids: Sequence[UUID]) -> list[ImageRequest | None]:
        """Each of them, or None."""
        found = await self.find(request_ids)
        return [found.get(request_id) for request_id in request_ids]

    async def page(self, wanted: RequestFilter, limit: int) -> Page:
        """At most `limit` requests, newest first, without those that cannot be read."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_page(wanted).limit(limit + 1))).all()
        last = rows[limit - 1] if len(rows) > limit else None
        items = [request for row in rows[:limit] if (request := if_readable(row))]
        return Page(items, (last.created_at, last.request_id) if last else None)

    async def move(self, change: Change) -> int | None:
        """Make the move, whatever else happens to the request; returns the new version, None if it was elsewhere."""
        async with self._database.transaction() as connection:
            await changes.lock(connection, [change.request_id])  # the move sees what others were just writing
            return (await changes.make(connection, [change], self._deadlines)).get(change.request_id)

    async def move_as_read(self, wanted: Sequence[Change], content: bytes | None = None) -> list[int | None]:
        """Make moves of requests that are still as they were read, each with its version, in one commit and round trip.

        Returns the new versions, None for a request that was moved meanwhile, or the only one when somebody else owed
        meanwhile what it owes; of several moves of one request the first is made. `content` is the image of the only
        one. Raises `ValueError` for what must lock first.
        """
        if any(change.version is None or change.failed_by is FailedBy.BRIDGE for change in wanted):
            raise ValueError("only for moves of a version that was read, and not for failures of ours")
        first: dict[UUID, Change] = {}
        for change in wanted:
            first.setdefault(change.request_id, change)
        try:
            async with self._database.writing(patient=content is not None) as connection:
                moved = await changes.move(connection, list(first.values()), self._deadlines, content)
        except IntegrityError as error:
            if len(wanted) > 1 or not changes.is_owed_twice(error):
                raise  # of many, each is tried alone
            return [None]
        return [moved.get(c.request_id) if first[c.request_id] is c else None for c in wanted]

    async def keep_awaited(self, request_id: UUID, awaited: AwaitedImage) -> bool:
        """Keep where an image is that came after the request was cancelled; False when the request has changed."""
        async with self._database.transaction() as connection:
            kept = await connection.execute(
                requests.update()
                .where(requests.c.request_id == request_id, requests.c.awaited.is_(None))
                .values(awaited=json.loads(json.dumps(asdict(awaited), default=str)))
            )
        return bool(kept.rowcount)

    async def keep_image(self, request_id: UUID, image: CheckedImage) -> bool:
        """Keep an image that came after the request was cancelled; False when the request has changed.

        The request is written first: one that is being purged has no place for an image.
        """
        row = {"request_id": request_id, "content": image.content}
        async with self._database.transaction(patient=True) as connection:
            kept = await connection.execute(
                requests.update()
                .where(requests.c.request_id == request_id, requests.c.image.is_(None))
                .values(image=asdict(image.described))
            )
            if kept.rowcount:
                await connection.execute(insert(images).values(row).on_conflict_do_nothing())
        return bool(kept.rowcount)

    async def image(self, request_id: UUID) -> bytes | None:
        """The bytes of the request's image, or None."""
        async with self._database.reading(patient=True) as connection:
            return await connection.scalar(select(images.c.content).where(images.c.request_id == request_id))


async def insert_requests(connection: AsyncConnection, wanted: Sequence[NewRequest]) -> dict[UUID, datetime]:
    """Insert those that are new, each with its `dispatch` entry; returns when each of them was created."""
    rows = await connection.execute(_ACCEPT, _columns(wanted))
    return {row.request_id: row.created_at for row in rows}


def _fresh(new: NewRequest, at: datetime) -> ImageRequest:
    return ImageRequest(
        request_id=new.request_id,
        correlation_id=new.correlation_id,
        event=new.event,
        status=Status.QUEUED,
        version=1,
        traceparent=new.traceparent,
        created_at=at,
        updated_at=at,
    )


def _columns(wanted: Sequence[NewRequest]) -> dict[str, list[Any]]:
    return {
        "request_id": [new.request_id for new in wanted],
        "correlation_id": [new.correlation_id for new in wanted],
        "event": [json.dumps(new.event) for new in wanted],
        "traceparent": [new.traceparent for new in wanted],
    }


def _page(wanted: RequestFilter) -> Select[Any]:
    columns = requests.c
    query = select(requests).order_by(columns.created_at.desc(), columns.request_id.desc())
    if wanted.status:
        query = query.where(columns.status == wanted.status.value)
    if wanted.created_after:
        query = query.where(columns.created_at >= wanted.created_after)
    if wanted.created_before:
        query = query.where(columns.created_at < wanted.created_before)
    if wanted.before:
        query = query.where(tuple_(columns.created_at, columns.request_id) < wanted.before)
    return query
