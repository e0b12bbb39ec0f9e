"""Records incidents, one per cause, in the transaction that causes them. Some causes have one for each Odoo.

The column `cause` holds `incident_key`.

An alert is an outbox entry and is retried like every other. The first alert of an incident is due at once. Later
occurrences are reported together, once per alert window.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.incident import Occurrence, incident_key
from aigen_bridge.domain.request import Step
from aigen_bridge.store.leases import DETAIL_MAX
from aigen_bridge.store.wakeup import notify

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge incidents'))")

_REOPEN = text("""
    UPDATE incidents AS i SET recovered_at = NULL, told_over = false
    WHERE i.id IN (
        SELECT DISTINCT ON (cause) id FROM incidents
        WHERE cause = ANY (CAST(:cause AS text[])) AND recovered_at > now() - make_interval(secs => :alert_window)
        ORDER BY cause, recovered_at DESC
    ) AND NOT EXISTS (SELECT FROM incidents AS o WHERE o.cause = i.cause AND o.recovered_at IS NULL)
""")

_COUNT = text("""
    INSERT INTO incidents AS i (cause, times)
    SELECT cause, count(*) FROM unnest(CAST(:cause AS text[])) AS seen (cause) GROUP BY cause ORDER BY cause
    ON CONFLICT (cause) WHERE recovered_at IS NULL DO UPDATE SET times = i.times + excluded.times, seen_at = now()
""")

_RECORD = text("""
    INSERT INTO occurrences (incident_id, request_id, detail)
    SELECT i.id, seen.request_id, seen.detail
    FROM unnest(CAST(:cause AS text[]), CAST(:request_id AS uuid[]), CAST(:detail AS text[]))
        AS seen (cause, request_id, detail)
    JOIN incidents AS i ON i.cause = seen.cause AND i.recovered_at IS NULL
""")

_ENQUEUE = text("""
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT i.id, 'alert', at, at
    FROM incidents AS i, greatest(now(), i.told_at + make_interval(secs => :alert_window)) AS due (at)
    WHERE i.cause = ANY (CAST(:cause AS text[])) AND i.recovered_at IS NULL
    ON CONFLICT (incident_id) WHERE state = 'pending' AND incident_id IS NOT NULL DO NOTHING
""")

_RECOVER = text("""
    WITH over AS (
        UPDATE incidents SET recovered_at = now()
        WHERE recovered_at IS NULL AND cause = ANY (CAST(:cause AS text[]))
            AND seen_at <= now() - make_interval(secs => :quiet)
        RETURNING id, told_at
    )
    INSERT INTO outbox AS o (incident_id, step) SELECT id, 'alert' FROM over WHERE told_at IS NOT NULL
    ON CONFLICT (incident_id) WHERE state = 'pending' AND incident_id IS NOT NULL
        DO UPDATE SET created_at = least(o.created_at, now()), due_at = least(o.due_at, now())
            WHERE o.lease_owner IS NULL
    RETURNING incident_id
""")

_LAST = text("UPDATE incidents SET seen_at = now() WHERE cause = :cause AND recovered_at IS NULL RETURNING id")
_REPLACE_DETAIL = text("""
    UPDATE occurrences SET detail = :detail
    WHERE id = (SELECT max(id) FROM occurrences WHERE incident_id = :incident_id) AND detail <> :detail
""")


async def lock(connection: AsyncConnection) -> None:
    """Keeps other transactions from recording, ending or reporting incidents until this one ends.

    Row locks are not enough: a transaction may write several incidents, and a new incident has no row to lock.
    """
    await connection.execute(_LOCK)


async def record(connection: AsyncConnection, occurrences: Sequence[Occurrence], alert_window: timedelta) -> None:
    """Records these occurrences and enqueues their alerts, at most one per cause and `alert_window`.

    Call it last in a transaction: other transactions that record an incident wait until this one ends.
    """
    if not occurrences:
        return
    await lock(connection)
    causes, seconds = [incident_key(o.cause, o.odoo) for o in occurrences], alert_window.total_seconds()
    await connection.execute(_REOPEN, {"cause": causes, "alert_window": seconds})
    await connection.execute(_COUNT, {"cause": causes})
    details = [o.detail[:DETAIL_MAX] for o in occurrences]
    recorded = {"cause": causes, "request_id": [o.request_id for o in occurrences], "detail": details}
    await connection.execute(_RECORD, recorded)
    await connection.execute(_ENQUEUE, {"cause": causes, "alert_window": seconds})
    await notify(connection, Step.ALERT)


async def record_state(connection: AsyncConnection, occurrence: Occurrence, alert_window: timedelta) -> None:
    """Records an occurrence that is a lasting state. While its incident is open, it is one occurrence.

    The occurrence has the latest detail.
    """
    await lock(connection)
    incident_id = await connection.scalar(_LAST, {"cause": incident_key(occurrence.cause, occurrence.odoo)})
    if incident_id is None:
        await record(connection, [occurrence], alert_window)
        return
    latest = {"incident_id": incident_id, "detail": occurrence.detail[:DETAIL_MAX]}
    await connection.execute(_REPLACE_DETAIL, latest)


async def recover(connection: AsyncConnection, *keys: str, quiet: timedelta = timedelta(0)) -> None:
    """Ends the incidents with these keys that have not occurred for `quiet`; reports the end of reported ones."""
    await lock(connection)
    ended = {"cause": sorted(keys), "quiet": quiet.total_seconds()}
    if (await connection.execute(_RECOVER, ended)).first() is not None:
        await notify(connection, Step.ALERT)
