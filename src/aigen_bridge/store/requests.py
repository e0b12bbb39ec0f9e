"""Accepts, reads and moves requests in PostgreSQL. Concurrent calls share statements and commits."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, case, func, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert

from aigen_bridge import metrics
from aigen_bridge.domain.budget import Refusal
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.facts import NO_FACTS, Facts
from aigen_bridge.domain.generation import Generation
from aigen_bridge.domain.image import CheckedImage, ImageRef
from aigen_bridge.domain.money import NO_RATES, Rates
from aigen_bridge.domain.request import (
    AwaitedImage,
    ImageRequest,
    NewRequest,
    Status,
    Transition,
    VersionedTransition,
)
from aigen_bridge.store import transitions
from aigen_bridge.store.accepts import Accepts, Created
from aigen_bridge.store.batching import Batcher
from aigen_bridge.store.database import Database
from aigen_bridge.store.generation_rows import find_generation, note_once
from aigen_bridge.store.images import ImageStore
from aigen_bridge.store.rights import refuse_missing_rights
from aigen_bridge.store.rows import COLUMNS, facts_columns, if_readable, only_ids, to_request
from aigen_bridge.store.schema import images as images_table
from aigen_bridge.store.schema import requests
from aigen_bridge.store.transitions import Deadlines

Accepted = tuple[ImageRequest, bool]
"""A request that is stored, and whether this call created it."""
BATCH_MAX = 100
"""The most requests in one statement."""
RIGHTS_SECONDS = 10.0

_FIND = text(f"""
    SELECT {COLUMNS} FROM requests AS r
    WHERE r.request_id = ANY (CAST(:request_id AS uuid[])) AND r.odoo = coalesce(CAST(:odoo AS text), r.odoo)
""")  # noqa: S608 - columns of the schema
"""An array takes any number of ids, so the statement stays prepared. `IN` is a different statement for each number."""

_KEEP_COST = text("""
    UPDATE requests SET
        cost = CAST(:cost AS jsonb) || jsonb_build_object('version', version),
        generation_facts = coalesce(generation_facts, CAST(:generation_facts AS jsonb))
    WHERE request_id = :request_id AND cost IS NULL AND status IN ('failed', 'cancelled')
        AND coalesce(generation_facts ->> 'job_id' = CAST(:job_id AS text), true)
""")


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Selects requests, of every Odoo if `odoo` is None.

    `before` is the last one on the previous page: its `created_at` and id.
    """

    status: Status | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None
    odoo: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `end` is `RequestFilter.before` of the next page; None if this is the last page."""

    items: list[ImageRequest]
    end: tuple[datetime, UUID] | None


class Requests:
    """Requests in PostgreSQL. Every method raises `StoreUnavailableError` if the database does not answer.

    With `odoo`, a request of another Odoo counts as one that does not exist. It is not even parsed: an unreadable row
    would raise an error that gives it away.
    """

    def __init__(
        self,
        database: Database,
        deadlines: Deadlines,
        images: ImageStore,
        rates: Rates = NO_RATES,
    ) -> None:
        self._database = database
        self._creating = Accepts(database, rates)
        self._deadlines = deadlines
        self._images = images
        self._rights_checked_at = float("-inf")
        self._accepts = Batcher(self.accept_all, limit=BATCH_MAX, timeout=database.timeout)
        self._reads = Batcher(self._get_each, limit=BATCH_MAX, timeout=database.timeout)
        self._versioned = Batcher(self._apply_each, limit=BATCH_MAX, timeout=database.timeout)

    async def accept(self, new: NewRequest) -> Accepted | Refusal:
        """Inserts a request with its `dispatch` entry, unless its id is known or a budget refuses it.

        Returns after the commit: the current request and whether this call created it, or why it is refused.
        """
        return await self._accepts(new)

    async def accept_all(self, wanted: Sequence[NewRequest]) -> list[Accepted | Refusal]:
        """Does the same as `accept` for several requests, in order of arrival and in one commit."""
        await self._check_rights()
        first: dict[UUID, NewRequest] = {}
        for new in wanted:
            first.setdefault(new.request_id, new)
        created = await self._creating.create(list(first.values()))
        known = await self._known([new for new in wanted if new.request_id not in created.at])
        return [await self._accepted(new, created, known, is_first=first[new.request_id] is new) for new in wanted]

    async def _accepted(
        self, new: NewRequest, created: Created, known: dict[UUID, ImageRequest], *, is_first: bool
    ) -> Accepted | Refusal:
        """Returns what became of a request. Adds a created one to those that are known to later ones in this call."""
        if new.request_id in known:
            return known[new.request_id], False
        if new.request_id in created.at:
            known[new.request_id] = _new(new, created.at[new.request_id])
            metrics.TRANSITIONS.labels(Status.QUEUED.value, new.odoo).inc()
            return known[new.request_id], True
        if not is_first:  # it may differ from the refused first one, in its content or its Odoo
            return (await self.accept_all([new]))[0]
        if new.request_id in created.refusals:
            return created.refusals[new.request_id]
        raise StoreUnavailableError(
            f"Request {new.request_id} existed, but was purged while it was being accepted. Retry."
        )

    async def _check_rights(self) -> None:
        """Checks the rights, at most every `RIGHTS_SECONDS`: INSERT alone would accept what no worker can dispatch."""
        if time.monotonic() - self._rights_checked_at >= RIGHTS_SECONDS:
            await refuse_missing_rights(self._database)
            self._rights_checked_at = time.monotonic()

    async def get(self, request_id: UUID, odoo: str | None = None) -> ImageRequest | None:
        """Returns the request, or None."""
        return (await self._find([request_id], odoo)).get(request_id)

    async def generation_of(self, request_id: UUID) -> Generation | None:
        """Returns the generation of the request, if it has one."""
        async with self._database.reading() as connection:
            return await find_generation(connection, request_id)

    async def note_generation(self, request_id: UUID, generation: Generation, note: str) -> None:
        """Adds a note about the generation to the timeline, unless it has it."""
        async with self._database.writing() as connection:
            await note_once(connection, request_id, generation, note)

    async def get_batched(self, request_id: UUID) -> ImageRequest | None:
        """Does the same as `get` in one query with concurrent calls, for callbacks, which arrive in bursts."""
        return await self._reads(request_id)

    async def page(self, wanted: RequestFilter, limit: int) -> Page:
        """Returns at most `limit` requests, newest first, without those that cannot be read."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_page(wanted).limit(limit + 1))).all()
        last = rows[limit - 1] if len(rows) > limit else None
        items = [request for row in rows[:limit] if (request := if_readable(row))]
        return Page(items, (last.created_at, last.request_id) if last else None)

    async def page_of(self, request_ids: Sequence[UUID], odoo: str | None = None) -> Page:
        """Returns those of these requests that exist, newest first, without those that cannot be read."""
        rows = await self._rows(request_ids, odoo)
        newest = sorted(rows, key=lambda row: (row.created_at, row.request_id), reverse=True)
        return Page([request for row in newest if (request := if_readable(row))], None)

    async def apply(self, transition: Transition) -> bool:
        """Applies the transition in its own transaction. Returns False if the request is in no state of `before`."""
        async with self._database.transaction() as connection:
            locked = await transitions.lock(connection, [transition.request_id])
            return bool(await locked.apply([transition], self._deadlines))

    async def apply_versioned(self, transition: VersionedTransition, image: CheckedImage | None = None) -> bool:
        """Applies the transition and stores its image. Returns False if others moved the request since it was read.

        A transition with an image is not batched: writing the image takes longer than the commit that it would share.
        """
        if image is None:
            return await self._versioned(transition)
        content = await self._images.place(_ref(transition.request_id, image), image.content)
        async with self._database.writing(patient=True) as connection:
            return bool(await transitions.apply_versioned(connection, [transition], self._deadlines, content))

    async def keep_awaited(self, request_id: UUID, awaited: AwaitedImage, facts: Facts = NO_FACTS) -> bool:
        """Stores the URL of an image that arrived after the cancellation. Returns False if the request has changed."""
        async with self._database.transaction() as connection:
            kept = await connection.execute(
                requests.update()
                .where(requests.c.request_id == request_id, requests.c.awaited.is_(None), requests.c.image.is_(None))
                .values(awaited=json.loads(json.dumps(asdict(awaited), default=str)), **facts_columns(facts))
            )
        return bool(kept.rowcount)

    async def keep_image(self, request_id: UUID, image: CheckedImage, facts: Facts = NO_FACTS) -> bool:
        """Stores an image that arrived after the cancellation. Returns False if the request has changed.

        The request is written first: if it has been purged, the image is not stored.
        """
        content = await self._images.place(_ref(request_id, image), image.content)
        awaited_sha256 = requests.c.awaited["sha256"].astext
        is_same = or_(awaited_sha256.is_(None), awaited_sha256 == image.described.sha256)
        async with self._database.transaction(patient=True) as connection:
            kept = await connection.execute(
                requests.update()
                .where(requests.c.request_id == request_id, requests.c.image.is_(None), is_same)
                .values(
                    image=asdict(image.described),
                    provenance=asdict(image.provenance) if image.provenance else None,
                    updated_at=_if_delivered(func.now()),
                    **facts_columns(facts),
                )
            )
            if kept.rowcount and content is not None:
                row = {"request_id": request_id, "content": content}
                await connection.execute(insert(images_table).values(row).on_conflict_do_nothing())
        return bool(kept.rowcount)

    async def keep_cost(self, request_id: UUID, facts: Facts) -> None:
        """Stores what N8N says that a request cost which had ended without saying so. The first such report counts.

        That of another job than the known one does not.
        """
        columns = {name: json.dumps(known) for name, known in facts_columns(facts).items()}
        job_id = facts.generation.job_id if facts.generation else None
        row = {"request_id": request_id, "generation_facts": None, "job_id": job_id} | columns
        async with self._database.writing() as connection:
            await connection.execute(_KEEP_COST, row)

    async def _known(self, wanted: Sequence[NewRequest]) -> dict[UUID, ImageRequest]:
        """Returns the known requests with these ids. Of another Odoo's request, only ids and Odoo are valid."""
        if not wanted:
            return {}
        own = {(new.request_id, new.odoo) for new in wanted}
        rows = await self._rows([new.request_id for new in wanted])
        return {row.request_id: to_request(row) if (row.request_id, row.odoo) in own else only_ids(row) for row in rows}

    async def _find(self, request_ids: Sequence[UUID], odoo: str | None = None) -> dict[UUID, ImageRequest]:
        return {row.request_id: to_request(row) for row in await self._rows(request_ids, odoo)}

    async def _rows(self, request_ids: Sequence[UUID], odoo: str | None = None) -> Sequence[Row[Any]]:
        async with self._database.reading() as connection:
            return (await connection.execute(_FIND, {"request_id": list(request_ids), "odoo": odoo})).all()

    async def _get_each(self, request_ids: Sequence[UUID]) -> list[ImageRequest | None]:
        found = await self._find(request_ids)
        return [found.get(request_id) for request_id in request_ids]

    async def _apply_each(self, wanted: Sequence[VersionedTransition]) -> list[bool]:
        """Applies the transitions. Of several for one request, only the first: its version makes the others stale."""
        first: dict[UUID, VersionedTransition] = {}
        for transition in wanted:
            first.setdefault(transition.request_id, transition)
        async with self._database.writing() as connection:
            moved = await transitions.apply_versioned(connection, list(first.values()), self._deadlines)
        return [t.request_id in moved and first[t.request_id] is t for t in wanted]


def _new(new: NewRequest, at: datetime) -> ImageRequest:
    return ImageRequest(
        request_id=new.request_id,
        correlation_id=new.correlation_id,
        event=new.event,
        status=Status.QUEUED,
        version=1,
        created_at=at,
        updated_at=at,
        traceparent=new.traceparent,
        client=new.client,
        odoo=new.odoo,
        model=new.model,
    )


def _if_delivered(at: Any) -> Any:
    """Retention reads `updated_at` of delivered requests; of others, it is the time of the last transition."""
    return case((requests.c.delivered_at.is_not(None), at), else_=requests.c.updated_at)


def _ref(request_id: UUID, image: CheckedImage) -> ImageRef:
    return ImageRef(request_id, image.described.sha256)


def _page(wanted: RequestFilter) -> Select[Any]:
    columns = requests.c
    query = select(requests)
    if wanted.odoo:  # with `=`, PostgreSQL may scan the requests of all Odoos by age; this order has one index
        query = query.where(columns.odoo.between(wanted.odoo, wanted.odoo)).order_by(columns.odoo)
    query = query.order_by(columns.created_at.desc(), columns.request_id.desc())
    if wanted.status:
        query = query.where(columns.status == wanted.status.value)
    if wanted.created_after:
        query = query.where(columns.created_at >= wanted.created_after)
    if wanted.created_before:
        query = query.where(columns.created_at < wanted.created_before)
    if wanted.before:
        query = query.where(tuple_(columns.created_at, columns.request_id) < wanted.before)
    return query
