"""Budgets in PostgreSQL: reading and changing them, their usage, and the notices about it.

A change holds the exclusive lock whose shared side accepts and settling hold, so that nobody reserves by the budget as
it was. It raises the revision by which accepting processes notice it.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.budget import (
    Budget,
    BudgetIndex,
    BudgetNameTakenError,
    BudgetState,
    Period,
    Purpose,
    UnknownBudgetError,
    UnknownTimeZoneError,
    Usage,
    notice,
    notice_due,
)
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import PERIOD_START, recompute
from aigen_bridge.store.operations import record

_PERIOD_END = """
    CASE WHEN b.period <> 'total' THEN (
        date_trunc(b.period, now() AT TIME ZONE b.time_zone) + CAST('1 ' || b.period AS interval)
    ) AT TIME ZONE b.time_zone END
"""
_BUDGET = (
    "b.id, b.name, b.most, b.currency, b.period, b.time_zone, b.is_hard, b.odoo, b.user_id, b.campaign_id, b.model_id, "
    "b.contact"
)

_LOAD = text(f"SELECT c.revision, {_BUDGET} FROM budget_changes AS c LEFT JOIN budgets AS b ON true")  # noqa: S608 - constants of this module

_STATES = f"""
    SELECT {_BUDGET}, b.updated_at, p.period_start, {_PERIOD_END} AS period_end,
        coalesce(u.spent, 0) AS spent, coalesce(u.reserved, 0) AS reserved
    FROM budgets AS b
    CROSS JOIN LATERAL (SELECT {PERIOD_START.format(at="now()")} AS period_start) AS p
    LEFT JOIN budget_usage AS u ON u.budget_id = b.id AND u.period_start = p.period_start
"""  # noqa: S608 - constants of this module
_LIST = text(f"""
    {_STATES}
    WHERE (CAST(:odoo AS text) IS NULL OR b.odoo = :odoo) AND (CAST(:name AS text) IS NULL OR b.name = :name)
    ORDER BY b.name
""")
_COUNTING = text(f"""
    {_STATES}
    WHERE (b.odoo IS NULL OR b.odoo = :odoo)
        AND (b.user_id IS NULL OR b.user_id = CAST(:user_id AS uuid))
        AND (b.campaign_id IS NULL OR b.campaign_id = CAST(:campaign_id AS uuid))
        AND (b.model_id IS NULL OR b.model_id = CAST(:model_id AS uuid))
    ORDER BY b.name
""")

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge budgets'))")
_FIND = text(f"SELECT {_BUDGET} FROM budgets AS b WHERE b.name = :name")  # noqa: S608 - constants of this module
_PUT = text("""
    INSERT INTO budgets AS b (
        name, most, currency, period, time_zone, is_hard, odoo, user_id, campaign_id, model_id, contact
    )
    VALUES (
        :name, :most, :currency, :period, :time_zone, :is_hard, :odoo, :user_id, :campaign_id, :model_id, :contact
    )
    ON CONFLICT (name) DO UPDATE SET
        most = excluded.most, currency = excluded.currency, period = excluded.period, time_zone = excluded.time_zone,
        is_hard = excluded.is_hard, odoo = excluded.odoo, user_id = excluded.user_id,
        campaign_id = excluded.campaign_id, model_id = excluded.model_id, contact = excluded.contact, updated_at = now()
    RETURNING b.id
""")
_REMOVE = text("DELETE FROM budgets WHERE name = :name")
_FORGET_USAGE = text("DELETE FROM budget_usage WHERE budget_id = :budget_id")
_KNOWN_TIME_ZONE = text("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = :time_zone)")

# The time of day makes a revision differ from all that were known before a backup was restored.
_RAISE_REVISION = text("""
    UPDATE budget_changes
    SET revision = greatest(revision + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint))
""")
_NOTICE_AGAIN = text("""
    UPDATE budget_usage SET noticed_percent = least(noticed_percent, :due)
    WHERE budget_id = :budget_id AND period_start = :period_start
""")
_IS_USED = text("""
    SELECT EXISTS (
        SELECT FROM ledger
        WHERE (CAST(:odoo AS text) IS NULL OR odoo = :odoo)
            AND (CAST(:user_id AS uuid) IS NULL OR user_id = :user_id)
            AND (CAST(:campaign_id AS uuid) IS NULL OR campaign_id = :campaign_id)
            AND (CAST(:model_id AS uuid) IS NULL OR model_id = :model_id)
    )
""")

SETTLED_WITHIN = "2 days"
"""How long after its end a period is watched: costs are reported later than a request is accepted."""
_NOTEWORTHY = text(f"""
    SELECT {_BUDGET}, u.period_start, u.spent, u.reserved, u.noticed_percent
    FROM budgets AS b JOIN budget_usage AS u ON u.budget_id = b.id
    WHERE u.period_start >= {PERIOD_START.format(at=f"now() - interval '{SETTLED_WITHIN}'")}
        AND u.spent + u.reserved > 0 AND (u.spent + u.reserved) * 2 >= b.most
    ORDER BY b.id, u.period_start
""")  # noqa: S608 - constants of this module
_NOTICE = text("""
    UPDATE budget_usage SET noticed_percent = :due
    WHERE budget_id = :budget_id AND period_start = :period_start AND noticed_percent < :due
""")


@dataclass(frozen=True, slots=True)
class KnownBudgets:
    """All budgets at one revision."""

    revision: int
    index: BudgetIndex


async def load(connection: AsyncConnection) -> KnownBudgets:
    """Returns the current budgets."""
    rows = (await connection.execute(_LOAD)).all()
    if not rows:
        advice = "Add it: INSERT INTO budget_changes (id, revision) VALUES (1, 0);"
        raise UnsuitableDatabaseError("The table budget_changes has lost its row.", advice)
    return KnownBudgets(rows[0].revision, BudgetIndex(_budget(row) for row in rows if row.id is not None))


class Budgets:
    """The budgets in PostgreSQL. With `odoo`, those that do not match this Odoo alone count as not existing."""

    def __init__(self, database: Database, alert_window: timedelta) -> None:
        self._database = database
        self._alert_window = alert_window

    async def states(self, odoo: str | None = None) -> list[BudgetState]:
        """Returns the budgets by name, with their usage."""
        return await self._states(None, odoo)

    async def state(self, name: str, odoo: str | None = None) -> BudgetState:
        """Returns a budget with its usage. Raises `UnknownBudgetError`."""
        found = await self._states(name, odoo)
        if not found:
            raise UnknownBudgetError(name)
        return found[0]

    async def counting(self, purpose: Purpose) -> list[BudgetState]:
        """Returns the budgets that would count a request for this purpose, by name."""
        async with self._database.reading() as connection:
            return [_state(row) for row in await connection.execute(_COUNTING, _purpose_columns(purpose))]

    async def is_used(self, purpose: Purpose) -> bool:
        """Returns whether the ledger has an entry that a budget for this purpose counts."""
        async with self._database.reading(patient=True) as connection:
            return bool(await connection.scalar(_IS_USED, _purpose_columns(purpose)))

    async def put(self, budget: Budget, action: OperatorAction) -> None:
        """Adds or changes the budget with this name; its `id` is ignored. It counts what was accepted in this period.

        Raises `BudgetNameTakenError` if the operator may not see the budget that has the name, and
        `UnknownTimeZoneError`.
        """
        async with self._database.transaction(patient=True) as connection:
            await connection.execute(_LOCK)
            before = await _locked(connection, budget.name)
            if before and action.odoo not in {None, before.purpose.odoo}:
                raise BudgetNameTakenError(budget.name)
            if not await connection.scalar(_KNOWN_TIME_ZONE, {"time_zone": budget.time_zone}):
                raise UnknownTimeZoneError(budget.time_zone)
            budget_id = (await connection.execute(_PUT, _columns(budget))).scalar_one()
            await connection.execute(_RAISE_REVISION)
            after = replace(budget, id=budget_id)
            if before is None or _counted(before) != _counted(after):
                await connection.execute(_FORGET_USAGE, {"budget_id": budget_id})
                await recompute(connection, [budget_id])
            else:
                await _notice_again(connection, after)
            await record(connection, action, "put", f"budget:{budget.name}", None)

    async def remove(self, name: str, action: OperatorAction) -> None:
        """Removes a budget and its usage. Raises `UnknownBudgetError`."""
        async with self._database.transaction(patient=True) as connection:
            await connection.execute(_LOCK)
            before = await _locked(connection, name)
            if before is None or action.odoo not in {None, before.purpose.odoo}:
                raise UnknownBudgetError(name)
            await connection.execute(_REMOVE, {"name": name})
            await connection.execute(_RAISE_REVISION)
            await record(connection, action, "remove", f"budget:{name}", None)

    async def notice(self) -> list[str]:
        """Records an incident for each budget of which so much is used that people must know. Returns the words."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_NOTEWORTHY)).all()
        found = [(_budget(row), _usage(row), row.noticed_percent) for row in rows]
        due = [(budget, usage) for budget, usage, noticed in found if notice_due(budget, usage.total) > noticed]
        if not due:
            return []
        async with self._database.transaction() as connection:
            texts = [text for budget, usage in due if (text := await _noticed(connection, budget, usage))]
            occurrences = [Occurrence(Cause.BUDGET_NOTICE, text) for text in texts]
            await incidents.record(connection, occurrences, self._alert_window)
        return texts

    async def _states(self, name: str | None, odoo: str | None) -> list[BudgetState]:
        async with self._database.reading() as connection:
            return [_state(row) for row in await connection.execute(_LIST, {"name": name, "odoo": odoo})]


async def _noticed(connection: AsyncConnection, budget: Budget, usage: Usage) -> str | None:
    """Marks that people are told how much of a budget is used. Returns the words; None if they know it already."""
    due = notice_due(budget, usage.total)
    marked = {"due": due, "budget_id": budget.id, "period_start": usage.period_start}
    return notice(budget, usage, due) if (await connection.execute(_NOTICE, marked)).rowcount else None


async def _notice_again(connection: AsyncConnection, budget: Budget) -> None:
    """Lets people be told again of what a raised limit has made untrue."""
    row = (await connection.execute(_LIST, {"name": budget.name, "odoo": None})).one()
    due = notice_due(budget, row.spent + row.reserved)
    marked = {"due": due, "budget_id": budget.id, "period_start": row.period_start}
    await connection.execute(_NOTICE_AGAIN, marked)


async def _locked(connection: AsyncConnection, name: str) -> Budget | None:
    row = (await connection.execute(_FIND, {"name": name})).one_or_none()
    return _budget(row) if row else None


def _counted(budget: Budget) -> tuple[Any, ...]:
    """Returns what decides which entries of the ledger a budget counts, and how."""
    return budget.period, budget.time_zone, budget.currency, budget.purpose


def _columns(budget: Budget) -> dict[str, Any]:
    return {
        "name": budget.name,
        "most": budget.limit,
        "currency": budget.currency,
        "period": budget.period.value,
        "time_zone": budget.time_zone,
        "is_hard": budget.is_hard,
        "contact": budget.contact,
        **_purpose_columns(budget.purpose),
    }


def _purpose_columns(purpose: Purpose) -> dict[str, Any]:
    return dict(zip(("odoo", "user_id", "campaign_id", "model_id"), purpose.parts, strict=True))


def _budget(row: Row[Any]) -> Budget:
    return Budget(
        id=row.id,
        name=row.name,
        limit=row.most,
        currency=row.currency,
        period=Period(row.period),
        time_zone=row.time_zone,
        is_hard=row.is_hard,
        purpose=Purpose(odoo=row.odoo, user_id=row.user_id, campaign_id=row.campaign_id, model_id=row.model_id),
        contact=row.contact,
    )


def _usage(row: Row[Any]) -> Usage:
    return Usage(period_start=row.period_start, spent=row.spent, reserved=row.reserved)


def _state(row: Row[Any]) -> BudgetState:
    return BudgetState(_budget(row), _usage(row), row.period_end, row.updated_at)
