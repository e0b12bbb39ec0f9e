"""Reads and writes the rows of generations. Who does has locked their requests before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain.destination import N8N
from aigen_bridge.domain.generation import Generation, Outcome, Progress, ProviderJob, State
from aigen_bridge.domain.request import ImageRequest
from aigen_bridge.store.database import after_commit
from aigen_bridge.store.destinations import OUTAGE_SECONDS, PAUSED_SECONDS
from aigen_bridge.store.rows import COLUMNS, if_readable

N8N_NOW = f"""(
    SELECT now() - make_interval(secs => coalesce(sum(d.out_seconds + {OUTAGE_SECONDS} + {PAUSED_SECONDS}), 0))
    FROM destinations AS d WHERE d.name = '{N8N.name}'
)"""  # noqa: S608 - a constant of this package
"""SQL: the time on N8N's clock, which stands still while N8N is out or paused."""

_FIELDS = tuple(field.name for field in fields(Generation))
_JOB_FIELDS = tuple(field.name for field in fields(ProviderJob))

_READ = text(f"""
    SELECT {COLUMNS}, {", ".join(f"g.{name} AS g_{name}" for name in _FIELDS)}, g.quiet_until < {N8N_NOW} AS is_silent
    FROM requests AS r LEFT JOIN generations AS g ON g.request_id = r.request_id
    WHERE r.request_id = ANY (CAST(:request_id AS uuid[])) ORDER BY r.request_id
""")  # noqa: S608 - constants of this package

_FIND = text(f"SELECT {', '.join(_FIELDS)} FROM generations WHERE request_id = :request_id")  # noqa: S608 - own columns

# The request is locked, so nobody else writes these rows. `before` guards that, too.
_WRITE = text(f"""
    WITH wanted AS (
        SELECT * FROM json_to_recordset(CAST(:wanted AS json)) AS wanted (
            request_id uuid, before text, state text, execution_id text, ask_key text, job jsonb, refusals int,
            ended_jobs int, doubts int, resumes int, is_resuming bool, is_suspended bool, progress jsonb,
            quiet float8, extends_only bool, is_silent bool, told_state text, note text
        )
    ), written AS (
        INSERT INTO generations AS g (
            request_id, state, execution_id, ask_key, job, refusals, ended_jobs, doubts, resumes, is_resuming,
            is_suspended, progress, progress_at, quiet_until
        )
        SELECT request_id, state, execution_id, ask_key, job, refusals, ended_jobs, doubts, resumes, is_resuming,
            is_suspended, progress, CASE WHEN progress IS NOT NULL THEN now() END,
            {N8N_NOW} + make_interval(secs => quiet)
        FROM wanted
        ON CONFLICT (request_id) DO UPDATE SET
            state = excluded.state, execution_id = excluded.execution_id, ask_key = excluded.ask_key,
            job = excluded.job, refusals = excluded.refusals, ended_jobs = excluded.ended_jobs,
            doubts = excluded.doubts, resumes = excluded.resumes, is_resuming = excluded.is_resuming,
            is_suspended = excluded.is_suspended,
            progress = coalesce(excluded.progress, g.progress),
            progress_at = coalesce(excluded.progress_at, g.progress_at),
            quiet_until = (
                SELECT CASE
                    WHEN excluded.quiet_until IS NULL AND NOT w.is_silent THEN g.quiet_until
                    WHEN w.extends_only THEN greatest(g.quiet_until, excluded.quiet_until)
                    ELSE excluded.quiet_until
                END
                FROM wanted AS w WHERE w.request_id = g.request_id
            )
        WHERE g.state = (SELECT w.before FROM wanted AS w WHERE w.request_id = g.request_id)
        RETURNING g.request_id
    ), told AS (
        INSERT INTO generation_changes (request_id, state, note)
        SELECT request_id, told_state, note FROM wanted JOIN written USING (request_id) WHERE note IS NOT NULL
    )
    SELECT count(*) FROM written
""")  # noqa: S608 - constants of this module

_NOTE_ONCE = text("""
    INSERT INTO generation_changes (request_id, state, note)
    SELECT CAST(:request_id AS uuid), :state, CAST(:note AS text) WHERE NOT EXISTS (
        SELECT FROM generation_changes WHERE request_id = :request_id AND note = :note
    )
""")


@dataclass(frozen=True, slots=True)
class LockedGeneration:
    """A request that is locked, and its generation. `is_silent`: its quiet time is over."""

    request: ImageRequest
    generation: Generation
    is_silent: bool


async def read(connection: AsyncConnection, request_ids: Sequence[UUID]) -> dict[UUID, LockedGeneration]:
    """Reads requests, which an earlier statement has locked, with their generations. Leaves unreadable ones out."""
    rows = (await connection.execute(_READ, {"request_id": list(request_ids)})).all()
    return {row.request_id: _locked_generation(row, request) for row in rows if (request := if_readable(row))}


async def find_generation(connection: AsyncConnection, request_id: UUID) -> Generation | None:
    """Returns the generation of a request, if it has one."""
    row = (await connection.execute(_FIND, {"request_id": request_id})).one_or_none()
    return _generation({name: getattr(row, name) for name in _FIELDS}) if row else None


async def note_once(connection: AsyncConnection, request_id: UUID, generation: Generation, note: str) -> None:
    """Records a note that changes nothing, unless the request has the same note. Needs no lock."""
    row = {"request_id": request_id, "state": generation.state, "note": note}
    await connection.execute(_NOTE_ONCE, row)


async def write(
    connection: AsyncConnection,
    found: Mapping[UUID, LockedGeneration],
    outcomes: Mapping[UUID, Outcome],
    *,
    progress: Progress | None = None,
    is_silent: bool = False,
) -> None:
    """Writes what these outcomes changed. `is_silent`: the quiet time is over, and only an outcome's own begins anew.

    Raises `RuntimeError` if a generation was changed by a writer that had not locked its request. That is a bug.
    """
    changed = {
        request_id: outcome
        for request_id, outcome in outcomes.items()
        if is_silent or outcome.note or outcome.quiet is not None or outcome.generation != found[request_id].generation
    }
    if not changed:
        return
    rows = [
        _row(request_id, found[request_id].generation, outcome, progress, is_silent=is_silent)
        for request_id, outcome in changed.items()
    ]
    written = await connection.scalar(_WRITE, {"wanted": json.dumps(rows, default=str)})
    if written != len(rows):
        raise RuntimeError(f"{len(rows) - (written or 0)} generations changed without a lock on their requests")
    doubts = sum(o.generation.doubts - found[request_id].generation.doubts for request_id, o in changed.items())
    after_commit(connection, lambda: metrics.MAYBE_PAID.inc(max(0, doubts)))


def _locked_generation(row: Row[Any], request: ImageRequest) -> LockedGeneration:
    if row.g_state is None:
        return LockedGeneration(request, Generation(), is_silent=False)
    values = {name: getattr(row, f"g_{name}") for name in _FIELDS}
    return LockedGeneration(request, _generation(values), is_silent=bool(row.is_silent))


def _generation(values: Mapping[str, Any]) -> Generation:
    """Returns the generation with these columns."""
    return Generation(**{**values, "state": State(values["state"]), "job": to_job(values["job"])})


def to_job(stored: Mapping[str, Any] | None) -> ProviderJob | None:
    """Returns the job in this column. Ignores what a newer version may have added."""
    if stored is None:
        return None
    return ProviderJob(**{name: stored.get(name) for name in _JOB_FIELDS})  # type: ignore[arg-type]


def from_progress(progress: Progress) -> dict[str, Any]:
    """Returns the progress as its column has it. `progress_at` has the time."""
    return {name: value for name, value in asdict(progress).items() if name != "reported_at"}


def _row(
    request_id: UUID, before: Generation, outcome: Outcome, progress: Progress | None, *, is_silent: bool
) -> dict[str, Any]:
    after = outcome.generation
    is_told = outcome.note != (outcome.transition.note if outcome.transition else None)  # else the transition tells it
    is_doubt = after.doubts > before.doubts
    return asdict(after) | {
        "request_id": request_id,
        "before": before.state,
        "progress": from_progress(progress) if progress else None,
        "quiet": outcome.quiet.total_seconds() if outcome.quiet is not None else None,
        "extends_only": outcome.extends_only,
        "is_silent": is_silent,
        "told_state": State.DOUBTFUL if is_doubt else after.state,  # a doubt may end at once, by another grant
        "note": outcome.note if is_told else None,
    }
