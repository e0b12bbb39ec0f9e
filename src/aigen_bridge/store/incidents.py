"""Incidents: what people must hear of, folded by cause. Noted in the transaction that causes them.

An alert is an outbox entry like every other: it is sent until somebody heard it. The first one of an incident is
due at once; what happens after it was told comes as one digest for each `digest` of time.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.request import Step
from aigen_bridge.store.leases import DETAIL_MAX
from aigen_bridge.store.wakeup import notify

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge incidents'))")

_REOPEN = text("""
    UPDATE incidents AS i SET recovered_at = NULL, told_over = false
    WHERE i.id IN (
        SELECT DISTINCT ON (cause) id FROM incidents
        WHERE cause = ANY (CAST(:cause AS text[])) AND recovered_at > now() - make_interval(secs => :digest)
        ORDER BY cause, recovered_at DESC
    ) AND NOT EXISTS (SELECT FROM incidents AS o WHERE o.cause = i.cause AND o.recovered_at IS NULL)
""")

_NOTE = text("""
    WITH seen AS (
        SELECT * FROM unnest(CAST(:cause AS text[]), CAST(:request_id AS uuid[]), CAST(:detail AS text[]))
            AS seen (cause, request_id, detail)
    ), noted AS (
        INSERT INTO incidents AS i (cause, times) SELECT cause, count(*) FROM seen GROUP BY cause ORDER BY cause
        ON CONFLICT (cause) WHERE recovered_at IS NULL
            DO UPDATE SET times = i.times + excluded.times, seen_at = now()
        RETURNING id, cause, told_at
    ), recorded AS (
        INSERT INTO occurrences (incident_id, request_id, detail)
        SELECT n.id, s.request_id, s.detail FROM seen AS s JOIN noted AS n USING (cause)
    )
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT id, 'alert', at, at
    FROM noted, greatest(now(), told_at + make_interval(secs => :digest)) AS due (at)
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


async def lock(connection: AsyncConnection) -> None:
    """Until the end of this transaction, nobody else notes, recovers or tells anything.

    A transaction may touch several incidents, and one that it opens has no row yet that could be locked.
    """
    await connection.execute(_LOCK)


async def note(connection: AsyncConnection, occurrences: Sequence[Occurrence], digest: timedelta) -> None:
    """These happened. Best last in a transaction: the others that note something wait for its end."""
    if not occurrences:
        return
    await lock(connection)
    causes = sorted({o.cause.value for o in occurrences})
    await connection.execute(_REOPEN, {"cause": causes, "digest": digest.total_seconds()})
    columns = {
        "cause": [o.cause.value for o in occurrences],
        "request_id": [o.request_id for o in occurrences],
        "detail": [o.detail[:DETAIL_MAX] for o in occurrences],
    }
    await connection.execute(_NOTE, columns | {"digest": digest.total_seconds()})
    await notify(connection, Step.ALERT)


async def recover(connection: AsyncConnection, *causes: Cause, quiet: timedelta = timedelta(0)) -> None:
    """These causes are over, if they have not been seen for `quiet`. Who heard of them hears that, too."""
    await lock(connection)
    over = {"cause": [c.value for c in causes], "quiet": quiet.total_seconds()}
    if (await connection.execute(_RECOVER, over)).first() is not None:
        await notify(connection, Step.ALERT)
