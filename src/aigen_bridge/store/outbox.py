"""Claims outbox entries of requests, and settles them together with the transitions that they cause."""

from collections.abc import Collection, Container, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.delivery import SET_BACK, Lift
from aigen_bridge.domain.destination import BreakerConfig, Destination
from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.generation import GenerationPolicy, acknowledge
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.outbox import (
    Advance,
    Claim,
    Complete,
    Delivered,
    Due,
    Lease,
    Marked,
    Outcome,
    Received,
    SetBack,
    Settlement,
    delivery_failures,
    later_mark,
    marking_failures,
    set_backs,
    transitions_of,
)
from aigen_bridge.domain.request import ImageRequest, Step
from aigen_bridge.store import destinations, generation_rows, incidents, transitions
from aigen_bridge.store.batching import Batcher
from aigen_bridge.store.connection import PATIENCE
from aigen_bridge.store.database import Database
from aigen_bridge.store.generation_rows import to_job
from aigen_bridge.store.image_garbage import GRACE, note
from aigen_bridge.store.images import ImageStore
from aigen_bridge.store.leases import (
    CLAIM,
    CLAIM_IN_TURN,
    CLAIMED,
    LeaseStore,
    claim_parameters,
    lease_fields,
    settle_entries,
)
from aigen_bridge.store.rows import COLUMNS, only_ids, to_request
from aigen_bridge.store.transitions import Deadlines, LockedRequests

_WithImage = Complete | Received | Marked
"""The effects that bring an image."""

Placed = tuple[Settlement[Claim], bytes | None]
"""A settlement, and the image that its transaction has to write."""

SETTLE_MAX = 200
"""The most claims settled in one transaction."""

_READ_CLAIMED = f"""
    SELECT {CLAIMED}, {COLUMNS}, g.job, d.database_uuid FROM claimed AS c
    JOIN requests AS r ON r.request_id = c.request_id
    LEFT JOIN generations AS g ON g.request_id = c.request_id
    LEFT JOIN odoos AS d ON d.name = r.odoo
    ORDER BY c.entry_id
"""  # noqa: S608 - a constant of this package
_CLAIM, _CLAIM_IN_TURN = text(CLAIM + _READ_CLAIMED), text(CLAIM_IN_TURN + _READ_CLAIMED)

_DELIVERED = text("""
    UPDATE requests AS r SET delivered_at = coalesce(r.delivered_at, now())  -- stays if its image was marked later
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:version AS int[])) AS d (request_id, version)
    WHERE r.request_id = d.request_id AND r.version = d.version
""")

_LEARN_UUIDS = text("""
    INSERT INTO odoos (name, database_uuid)
    SELECT DISTINCT ON (name) name, database_uuid
    FROM unnest(CAST(:name AS text[]), CAST(:database_uuid AS text[])) AS told (name, database_uuid) ORDER BY name
    ON CONFLICT (name) DO NOTHING
""")

_ADD_IMAGE = text("INSERT INTO images (request_id, content) VALUES (:request_id, :content)")

_KEEP_ORIGINAL = text("""
    INSERT INTO original_images (request_id, sha256, content)
    SELECT request_id, :original_sha256, content FROM images WHERE request_id = :request_id
    ON CONFLICT DO NOTHING
""")
"""An image that is marked again keeps its first original."""

_FORGET_ORIGINAL = text("""
    UPDATE requests SET provenance = provenance || '{"original_is_forgotten": true}' WHERE request_id = :request_id
""")
"""Its hash stays in the provenance, and refers to no object any more."""

_DELETE_IMAGE = text("DELETE FROM images WHERE request_id = :request_id")


class Outbox(LeaseStore):
    """The outbox entries of requests. `breakers` maps destinations to the limits of their calls.

    `keeps_originals`: the bytes of an image as they came stay stored beside the marked ones.
    """

    def __init__(
        self,
        database: Database,
        deadlines: Deadlines,
        images: ImageStore,
        breakers: Mapping[Destination, BreakerConfig] | None = None,
        generations: GenerationPolicy | None = None,
        *,
        keeps_originals: bool = True,
    ) -> None:
        super().__init__(database)
        self._keeps_originals = keeps_originals
        self._generations = generations or GenerationPolicy()
        self._deadlines = deadlines
        self._images = images
        self._breakers = {
            queue: (destination, config)
            for destination, config in (breakers or {}).items()
            for queue in destination.queues
        }
        self._limits: dict[str, int | None] = {}
        if len(self._breakers) < sum(len(destination.queues) for destination in breakers or {}):
            raise ValueError("two breakers are for destinations of the same queue")
        timeout = database.timeout * PATIENCE  # a settlement may carry an image
        self._settlements = Batcher(self._settle_placed, limit=SETTLE_MAX, timeout=timeout)

    def queues(self, lane: str) -> tuple[str, ...]:
        """Returns the queues from which a lane claims: those of its destination."""
        return self._breakers[lane][0].queues if lane in self._breakers else (lane,)

    def limit(self, lane: str) -> int | None:
        """Returns the limit that operators have set for the calls of a lane, as its last claim found it."""
        return self._limits.get(lane)

    async def claim(
        self, lane: str, *, limit: int, lease: timedelta, owner: str, in_progress: Collection[Lease] = ()
    ) -> list[Claim]:
        """Leases up to `limit` due entries of a lane to `owner`, as the breaker allows.

        The longest due come first. Several queues take turns: `in_progress` are the leases that the lane has already.
        """
        of = self._breakers[lane][0].name if lane in self._breakers else None
        wanted = claim_parameters(self.queues(lane), limit, lease, owner, in_progress, of)
        async with self._database.transaction(prepared=True) as connection:
            if lane not in self._breakers:
                return await _claim(connection, wanted)
            destination, breaker = self._breakers[lane]
            admission = await destinations.admit(connection, destination, breaker, limit)
            self._limits[lane] = admission.most
            if not admission.is_open:
                return await _claim(connection, wanted | {"limit": admission.limit})
            if not admission.limit:
                return []  # held entries are claimed only when a probe is due
            if not admission.is_stale:
                overdue = wanted | {"older_than": breaker.hold.total_seconds()}
                if given_up := await _claim(connection, overdue, held_too_long=True):
                    return given_up
            probe = await _claim(connection, wanted | {"limit": admission.limit})
            if probe:
                await destinations.record_probe(connection, destination, breaker)
            return probe

    async def next_due(self, lane: str) -> Due:
        """Returns when the next entry is due, or when its destination may be called again."""
        due = await super().next_due(lane)
        if lane not in self._breakers or due.after is None or due.after > timedelta(0):
            return due
        async with self._database.reading() as connection:
            wait = await destinations.wait_to_claim(connection, *self._breakers[lane])
        return Due(wait, is_blocked=wait > timedelta(0))

    async def settle(self, settlement: Settlement[Claim]) -> Outcome | None:
        """Records how the attempt ended and applies its effect on the request. Returns after the commit.

        Returns the outcome, which is `Held` for a failed attempt whose destination is away; None if the lease was lost.
        """
        return await self._settlements(await self._placed(settlement))

    async def settle_all(self, settlements: Sequence[Settlement[Claim]]) -> list[Outcome | None]:
        """Does the same as `settle` for several claims in one commit. Of several for one claim, the first counts."""
        return await self._settle_placed([await self._placed(settlement) for settlement in settlements])

    async def _placed(self, settlement: Settlement[Claim]) -> Placed:
        """Stores a fetched or marked image, before its settlement joins a batch: no other one waits for that."""
        if not isinstance(effect := settlement.effect, _WithImage):
            return settlement, None
        ref = ImageRef(settlement.claim.request.request_id, effect.image.described.sha256)
        return settlement, await self._images.place(ref, effect.image.content)

    async def _settle_placed(self, placed: Sequence[Placed]) -> list[Outcome | None]:
        wanted, contents = [s.claim.key for s, _ in placed], dict[tuple[int, int], bytes]()
        settlements = _first_of_each([s for s, _ in placed])
        for settlement, content in placed:
            if content is not None:
                contents.setdefault(settlement.claim.key, content)
        async with self._database.transaction(prepared=True, patient=bool(contents)) as connection:
            # Requests, destinations, entries, Odoos, incidents: the lock order of every writer.
            locked = await transitions.lock(connection, [s.claim.request.request_id for s in settlements])
            judged, updates = await self._update_breakers(connection, settlements)
            leased = await settle_entries(connection, list(judged.values()))
            await self._apply(connection, locked, [judged[key] for key in judged if key in leased], contents)
            for update in updates:
                await update.record(connection, self._deadlines.alert_window)
        return [judged[key].outcome if key in leased else None for key in wanted]

    async def _update_breakers(
        self, connection: AsyncConnection, settlements: Sequence[Settlement[Claim]]
    ) -> tuple[dict[tuple[int, int], Settlement[Claim]], list[destinations.BreakerUpdate]]:
        judged = {s.claim.key: s for s in settlements}
        updates = []
        concerned: dict[str, list[Settlement[Claim]]] = {}
        for settlement in settlements:
            if settlement.claim.queue in self._breakers:
                destination, _ = self._breakers[settlement.claim.queue]
                concerned.setdefault(destination.name, []).append(settlement)
        for _, each in sorted(concerned.items()):
            breaker = self._breakers[each[0].claim.queue]
            updates.append(await destinations.update_breaker(connection, *breaker, each))
            judged |= {s.claim.key: s for s in updates[-1].settlements}
        return judged, updates

    async def _apply(
        self,
        connection: AsyncConnection,
        locked: LockedRequests,
        settled: Sequence[Settlement[Claim]],
        contents: Mapping[tuple[int, int], bytes],
    ) -> None:
        await _learn_uuids(connection, settled)
        moved = await locked.apply(transitions_of(settled), self._deadlines)
        await self._acknowledge(connection, [s for s in settled if s.claim.request.request_id in moved])
        moved |= await self._replace_completed(locked, settled)
        for settlement in settled:
            if settlement.claim.request.request_id in moved:
                await self._write_image(connection, settlement, contents.get(settlement.claim.key))
        lifted = await self._lift(locked, settled)
        delivered = [
            (s.claim.request.request_id, s.effect.version)
            for s in settled
            if isinstance(s.effect, Delivered | SetBack) and s.claim.request.request_id not in lifted
        ]
        if delivered:
            ids, versions = zip(*delivered, strict=True)
            await connection.execute(_DELIVERED, {"request_id": list(ids), "version": list(versions)})
        occurrences = [*delivery_failures(settled), *marking_failures(settled), *set_backs(settled)]
        await incidents.record(connection, occurrences, self._deadlines.alert_window)

    async def _replace_completed(self, locked: LockedRequests, settled: Sequence[Settlement[Claim]]) -> set[UUID]:
        """Replaces images whose requests had been completed before they were marked. Returns those requests."""
        replaced = set()
        for settlement in settled:
            request, mark = settlement.claim.request, later_mark(settlement)
            if mark is None or mark.provenance is None or request.image is None:
                continue
            image = mark.image.described if isinstance(mark, Marked) else request.image
            if await locked.replace_completed(
                request.request_id, request.image.sha256, image, mark.provenance, mark.note
            ):
                replaced.add(request.request_id)
        return replaced

    async def _write_image(
        self, connection: AsyncConnection, settlement: Settlement[Claim], content: bytes | None
    ) -> None:
        """Writes a fetched or marked image. Without `content`, it is an object; its original may be in PostgreSQL."""
        request, effect = settlement.claim.request, settlement.effect
        row: dict[str, Any] = {"request_id": request.request_id, "content": content}
        if isinstance(effect, Marked) and effect.original_sha256:
            await self._make_room(connection, request, effect.original_sha256)
        elif not isinstance(effect, Complete | Received):
            return
        if content is not None:
            await connection.execute(_ADD_IMAGE, row)

    async def _make_room(self, connection: AsyncConnection, request: ImageRequest, original_sha256: str) -> None:
        """Keeps the original of an image that is marked, if originals are kept, and deletes the image."""
        row = {"request_id": request.request_id, "original_sha256": original_sha256}
        if not self._keeps_originals and self._images.has_objects:
            # In a day: a database that is restored to before needs it, because it knows no marked image.
            await note(connection, [ImageRef(request.request_id, original_sha256)], is_certain=True, wait=GRACE)
            await connection.execute(_FORGET_ORIGINAL, row)
        if self._keeps_originals and request.image and request.image.sha256 == original_sha256:
            await connection.execute(_KEEP_ORIGINAL, row)
        await connection.execute(_DELETE_IMAGE, row)

    async def _acknowledge(self, connection: AsyncConnection, moved: Sequence[Settlement[Claim]]) -> None:
        """Starts the quiet time of requests that N8N acknowledged."""
        speaks = {s.claim.request.request_id: s.effect.speaks for s in moved if isinstance(s.effect, Advance)}
        if not speaks:
            return
        found = await generation_rows.read(connection, list(speaks))
        outcomes = {
            request_id: acknowledge(each.generation, self._generations, speaks=speaks[request_id])
            for request_id, each in found.items()
        }
        await generation_rows.write(connection, found, outcomes)

    async def _lift(self, locked: LockedRequests, settled: Sequence[Settlement[Claim]]) -> Container[UUID]:
        """Delivers requests again of which Odoo knew later news. Returns them.

        Each at most once until it moves: a second bridge that speaks to the same Odoo would do the same, forever.
        """
        lifts = [
            Lift(s.claim.request.request_id, s.effect.above, s.effect.detail)
            for s in settled
            if isinstance(s.effect, SetBack)
        ]
        return await locked.lift(lifts, self._deadlines, always=True, unless=f"{SET_BACK}%")


async def _learn_uuids(connection: AsyncConnection, settled: Sequence[Settlement[Claim]]) -> None:
    """Stores the uuids of databases that were not known."""
    told = [
        (s.claim.request.odoo, s.effect.database_uuid)
        for s in settled
        if isinstance(s.effect, Delivered | SetBack) and s.effect.database_uuid
    ]
    if told:
        names, uuids = zip(*told, strict=True)
        await connection.execute(_LEARN_UUIDS, {"name": list(names), "database_uuid": list(uuids)})


def _first_of_each(settlements: Sequence[Settlement[Claim]]) -> list[Settlement[Claim]]:
    first: dict[tuple[int, int], Settlement[Claim]] = {}
    for settlement in settlements:
        first.setdefault(settlement.claim.key, settlement)
    return list(first.values())


async def _claim(connection: AsyncConnection, wanted: Mapping[str, Any], *, held_too_long: bool = False) -> list[Claim]:
    if not wanted["limit"]:
        return []
    rows = (await connection.execute(_CLAIM if "queue" in wanted else _CLAIM_IN_TURN, wanted)).all()
    return [_read(row, Step(wanted["step"]), held_too_long=held_too_long) for row in rows]


def _read(row: Row[Any], step: Step, *, held_too_long: bool) -> Claim:
    """Returns the claim. An entry whose request cannot be read is claimed too: the worker makes it a dead letter."""
    fields = lease_fields(row, step)
    try:
        return Claim(
            **fields,
            request=to_request(row),
            job=to_job(row.job),
            held_too_long=held_too_long,
            database_uuid=row.database_uuid,
        )
    except UnreadableRequestError as error:
        return Claim(**fields | {"unreadable": error.detail}, request=only_ids(row))
