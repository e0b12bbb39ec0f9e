"""Reads the budgets and their usage from PostgreSQL."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.budget import (
    Budget,
    BudgetIndex,
    BudgetState,
    Period,
    Purpose,
    UnknownBudgetError,
    Usage,
)
from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import PERIOD_START

_PERIOD_END = """
    CASE WHEN b.period <> 'total' THEN (
        date_trunc(b.period, now() AT TIME ZONE b.time_zone) + CAST('1 ' || b.period AS interval)
    ) AT TIME ZONE b.time_zone END
"""
BUDGET = (
    "b.id, b.name, b.most, b.currency, b.period, b.time_zone, b.is_hard, b.odoo, b.user_id, b.campaign_id, b.model_id, "
    "b.contact"
)

_LOAD = text(f"SELECT c.revision, {BUDGET} FROM budget_changes AS c LEFT JOIN budgets AS b ON true")  # noqa: S608 - constants of this module

_STATES = f"""
    SELECT {BUDGET}, b.updated_at, p.period_start, {_PERIOD_END} AS period_end,
        coalesce(u.spent, 0) AS spent, coalesce(u.reserved, 0) AS reserved
    FROM budgets AS b
    CROSS JOIN LATERAL (SELECT {PERIOD_START.format(at="now()")} AS period_start) AS p
    LEFT JOIN budget_usage AS u ON u.budget_id = b.id AND u.period_start = p.period_start
"""  # noqa: S608 - constants of this module
LIST = text(f"""
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

_IS_USED = text("""
    SELECT EXISTS (
        SELECT FROM ledger
        WHERE (CAST(:odoo AS text) IS NULL OR odoo = :odoo)
            AND (CAST(:user_id AS uuid) IS NULL OR user_id = :user_id)
            AND (CAST(:campaign_id AS uuid) IS NULL OR campaign_id = :campaign_id)
            AND (CAST(:model_id AS uuid) IS NULL OR model_id = :model_id)
    )
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
    return KnownBudgets(rows[0].revision, BudgetIndex(to_budget(row) for row in rows if row.id is not None))


class Budgets:
    """The budgets in PostgreSQL. With `odoo`, those that do not match this Odoo alone count as not existing."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
            return [_state(row) for row in await connection.execute(_COUNTING, purpose_columns(purpose))]

    async def is_used(self, purpose: Purpose) -> bool:
        """Returns whether the ledger has an entry that a budget for this purpose counts."""
        async with self._database.reading(patient=True) as connection:
            return bool(await connection.scalar(_IS_USED, purpose_columns(purpose)))

    async def _states(self, name: str | None, odoo: str | None) -> list[BudgetState]:
        async with self._database.reading() as connection:
            return [_state(row) for row in await connection.execute(LIST, {"name": name, "odoo": odoo})]


def purpose_columns(purpose: Purpose) -> dict[str, Any]:
    return dict(zip(("odoo", "user_id", "campaign_id", "model_id"), purpose.parts, strict=True))


def to_budget(row: Row[Any]) -> Budget:
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


def to_usage(row: Row[Any]) -> Usage:
    return Usage(period_start=row.period_start, spent=row.spent, reserved=row.reserved)


def _state(row: Row[Any]) -> BudgetState:
    return BudgetState(to_budget(row), to_usage(row), row.period_end, row.updated_at)
