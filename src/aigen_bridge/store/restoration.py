"""Reconciles the requests with Odoo after the database was restored from a backup, in batches.

A batch is one transaction. It raises versions above all that Odoo can know, and enqueues the deliveries of what Odoo
may have been told differently. A run that is killed has done whole batches. Another run begins again, which is
harmless: Odoo writes only the new versions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.callback import is_wanted
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.delivery import Lift, version_floor
from aigen_bridge.domain.generation import doubt_after_restore
from aigen_bridge.domain.incident import Cause, incident_key
from aigen_bridge.domain.request import DEFAULT_ODOO, FINAL, Status
from aigen_bridge.store import generation_rows, incidents, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record
from aigen_bridge.store.readiness import prove_writable
from aigen_bridge.store.transitions import Deadlines

BATCH = 500
"""Requests in one transaction."""
NOTE = "the database was restored from a backup"

_NOW = text("SELECT now()")

_END_SESSIONS = text("UPDATE console_sessions SET ended_at = now() WHERE ended_at IS NULL AND expires_at > now()")
_STOP_REPLAYS = text("""
    UPDATE replay_jobs SET
        state = 'stopped', finished_at = now(), fence = fence + 1, lease_owner = NULL, lease_until = NULL
    WHERE finished_at IS NULL
""")

_DISOWN_IMAGES = text("UPDATE image_store SET token = gen_random_uuid()")

_COUNT = text("""
    SELECT count(*) AS requests,
        count(*) FILTER (WHERE completed_at IS NULL) AS open,
        count(*) FILTER (WHERE failed_by = 'bridge') AS failed,
        (
            SELECT count(DISTINCT o.request_id) FROM outbox AS o JOIN requests AS r ON r.request_id = o.request_id
            WHERE split_part(o.step, ':', 1) = 'deliver' AND o.state IN ('pending', 'dead')
                AND r.completed_at IS NOT NULL AND r.failed_by IS DISTINCT FROM 'bridge'
        ) AS undelivered
    FROM requests
""")

_LOCK_NEXT = text("""
    SELECT request_id FROM requests
    WHERE status = ANY (CAST(:status AS text[])) AND (CAST(:after AS uuid) IS NULL OR request_id > :after)
    ORDER BY request_id LIMIT :batch
    FOR NO KEY UPDATE
""")

# One plan for all values would read all requests before `after`, too, and everything to find the few that are open.
_PLAN_EACH_BATCH = text("SET LOCAL plan_cache_mode = force_custom_plan")

# The breaker gives up held requests by the age of their entries. The time in which the database was away is no hold.
_START_DISPATCH_AGAIN = text("""
    UPDATE outbox SET created_at = now()
    WHERE request_id = ANY (CAST(:request_id AS uuid[])) AND split_part(step, ':', 1) = 'dispatch' AND state = 'pending'
""")


@dataclass(frozen=True, slots=True)
class LiftedBatch:
    """The number of requests whose version was raised, how many of them are delivered again, and the last request.

    `last` is None if there are no more requests.
    """

    lifted: int
    delivered: int
    last: UUID | None


class Restoration:
    """Lifts the versions of all requests. Safe while API and workers run, and safe to run again.

    `odoos` are those whose incidents end with it.
    """

    def __init__(self, database: Database, deadlines: Deadlines, odoos: Iterable[str] = (DEFAULT_ODOO,)) -> None:
        self._database = database
        self._deadlines = deadlines
        self._ended = [incident_key(Cause.SET_BACK, odoo) for odoo in odoos]

    async def count(self) -> Mapping[str, int]:
        """Returns the number of requests, and of those that would be delivered again and why.

        The keys are `requests`, `open`, `failed` (by the bridge) and `undelivered`.
        """
        async with self._database.reading(patient=True) as connection:
            return dict((await connection.execute(_COUNT)).one()._mapping)  # noqa: SLF001 - the documented way to a dict

    async def begin(self, action: OperatorAction) -> int:
        """Records who began it, and returns the version above which all versions are to be raised.

        Gives the database a new token, so that neither it nor the one that it replaces owns the image store until that
        is adopted. Ends the incidents that an Odoo knows later news. Ends all sessions of the console, because one may
        have been revoked after the backup, and stops background replays, whose letters may have been handled since.
        Raises `StoreUnavailableError` for tables of an older version.
        """
        await prove_writable(self._database)
        async with self._database.transaction() as connection:
            floor = version_floor((await connection.execute(_NOW)).scalar_one())
            await record(connection, action, "restored", "requests", None, after={"versionsAbove": floor})
            await incidents.recover(connection, *self._ended)
            await connection.execute(_END_SESSIONS)
            await connection.execute(_STOP_REPLAYS)
            await connection.execute(_DISOWN_IMAGES)
        return floor

    async def lift(
        self, floor: int, after: UUID | None, *, is_open: bool, delay: timedelta, spacing: timedelta
    ) -> LiftedBatch:
        """Lifts a batch of the open or of the ended requests, those that follow `after`.

        The first delivery is due after `delay`, each further one `spacing` later.
        """
        states = [status.value for status in Status if (status not in FINAL) == is_open]
        wanted = {"after": after, "status": states, "batch": BATCH}
        async with self._database.transaction(patient=True) as connection:
            await connection.execute(_PLAN_EACH_BATCH)
            locked = await transitions.lock_selected(connection, _LOCK_NEXT, wanted)
            ids = locked.request_ids
            lifts = [Lift(request_id, floor, NOTE, delay) for request_id in ids]
            lifted = await locked.lift(lifts, self._deadlines, spacing=spacing)
            if is_open:
                await connection.execute(_START_DISPATCH_AGAIN, {"request_id": list(ids)})
                await _doubt(connection, ids)
        return LiftedBatch(len(lifted), sum(lifted.values()), ids[-1] if len(ids) == BATCH else None)


async def _doubt(connection: AsyncConnection, request_ids: Sequence[UUID]) -> None:
    """Makes generations without a job doubtful: what N8N did after the backup is not known."""
    found = await generation_rows.read(connection, request_ids)
    outcomes = {
        request_id: doubt_after_restore(each.generation)
        for request_id, each in found.items()
        if is_wanted(each.request)
    }
    await generation_rows.write(connection, found, outcomes, is_silent=True)
