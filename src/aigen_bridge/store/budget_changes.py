"""Changes budgets, and records the notices about their usage.

A change holds the exclusive lock whose shared side accepts and settling hold, so that nobody reserves by the budget as
it was. It raises the revision by which accepting processes notice it.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.budget import (
    Budget,
    BudgetNameTakenError,
    UnknownBudgetError,
    Usage,
    notice,
    notice_due,
)
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.money import amount_text
from aigen_bridge.domain.seen import Seen
from aigen_bridge.store import incidents
from aigen_bridge.store.budgets import BUDGET, LIST, Budgets, purpose_columns, to_budget, to_usage
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import HOLD_BUDGETS, PERIOD_START, check_time_zone, recompute
from aigen_bridge.store.operations import changed, record

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge budgets'))")
_FIND = text(f"SELECT {BUDGET} FROM budgets AS b WHERE b.name = :name")  # noqa: S608 - constants of this module
_UPDATED_AT = text("SELECT updated_at FROM budgets WHERE name = :name")
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

# The time of day makes a revision differ from all that were known before a backup was restored.
_RAISE_REVISION = text("""
    UPDATE budget_changes
    SET revision = greatest(revision + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint))
""")
_NOTICE_AGAIN = text("""
    UPDATE budget_usage SET noticed_percent = least(noticed_percent, :due)
    WHERE budget_id = :budget_id AND period_start = :period_start
""")
SETTLED_WITHIN = "2 days"
"""How long after its end a period is watched: costs are reported later than a request is accepted."""
BATCH = 1000
"""Usage of ended periods that is deleted at once."""
_NOTEWORTHY = text(f"""
    SELECT {BUDGET}, u.period_start, u.spent, u.reserved, u.noticed_percent
    FROM budgets AS b JOIN budget_usage AS u ON u.budget_id = b.id
    WHERE u.period_start >= {PERIOD_START.format(at=f"now() - interval '{SETTLED_WITHIN}'")}
        AND u.spent + u.reserved > 0 AND (u.spent + u.reserved) * 2 >= b.most
    ORDER BY b.id, u.period_start
""")  # noqa: S608 - constants of this module
_FORGET_ENDED = text(f"""
    DELETE FROM budget_usage WHERE (budget_id, period_start) IN (
        SELECT u.budget_id, u.period_start FROM budget_usage AS u JOIN budgets AS b ON b.id = u.budget_id
        WHERE u.period_start < {PERIOD_START.format(at=f"now() - interval '{SETTLED_WITHIN}'")}
        LIMIT {BATCH}
        FOR UPDATE OF u SKIP LOCKED
    )
""")  # noqa: S608 - constants of this module
_NOTICE = text("""
    UPDATE budget_usage SET noticed_percent = :due
    WHERE budget_id = :budget_id AND period_start = :period_start AND noticed_percent < :due
""")


class ChangeableBudgets(Budgets):
    """The budgets, with what changes them."""

    def __init__(self, database: Database, alert_window: timedelta) -> None:
        super().__init__(database)
        self._alert_window = alert_window

    async def put(self, budget: Budget, action: OperatorAction, seen: Seen | None = None) -> None:
        """Adds or changes the budget with this name; its `id` is ignored. It counts what was accepted in this period.

        Raises `BudgetNameTakenError` if the operator may not see the budget that has the name,
        `UnknownTimeZoneError`, and `ChangedMeanwhileError` if the operator saw another state of it.
        """
        async with self._database.transaction(patient=True) as connection:
            await connection.execute(_LOCK)
            before = await _locked(connection, budget.name)
            if before and action.odoo not in {None, before.purpose.odoo}:
                raise BudgetNameTakenError(budget.name)
            await _check(connection, budget.name, seen)
            await check_time_zone(connection, budget.time_zone)
            budget_id = (await connection.execute(_PUT, _columns(budget))).scalar_one()
            await connection.execute(_RAISE_REVISION)
            after = replace(budget, id=budget_id)
            if before is None or _counted(before) != _counted(after):
                await recompute(connection, [budget_id])
            else:
                await _notice_again(connection, after)
            change = changed(_fields(before), _fields(after))
            await record(connection, _on(action, budget), "put", f"budget:{budget.name}", None, **change)

    async def remove(self, name: str, action: OperatorAction, seen: Seen | None = None) -> None:
        """Removes a budget and its usage. Raises `UnknownBudgetError`, and `ChangedMeanwhileError` as `put` does."""
        async with self._database.transaction(patient=True) as connection:
            await connection.execute(_LOCK)
            before = await _locked(connection, name)
            if before is None or action.odoo not in {None, before.purpose.odoo}:
                raise UnknownBudgetError(name)
            await _check(connection, name, seen)
            await connection.execute(_REMOVE, {"name": name})
            await connection.execute(_RAISE_REVISION)
            change = changed(_fields(before), None)
            await record(connection, _on(action, before), "remove", f"budget:{name}", None, **change)

    async def notice(self) -> list[str]:
        """Records an incident for each budget of which so much is used that people must know. Returns the words."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_NOTEWORTHY)).all()
        found = [(to_budget(row), to_usage(row), row.noticed_percent) for row in rows]
        due = [(budget, usage) for budget, usage, noticed in found if notice_due(budget, usage.total) > noticed]
        if not due:
            return []
        async with self._database.transaction() as connection:
            await connection.execute(HOLD_BUDGETS)
            texts = [text for budget, usage in due if (text := await _noticed(connection, budget, usage))]
            occurrences = [Occurrence(Cause.BUDGET_NOTICE, text) for text in texts]
            await incidents.record(connection, occurrences, self._alert_window)
        return texts

    async def forget_ended(self) -> None:
        """Deletes usage of periods that are not watched any more, at most `BATCH`. The ledger keeps everything."""
        async with self._database.writing() as connection:
            await connection.execute(_FORGET_ENDED)


async def _noticed(connection: AsyncConnection, budget: Budget, usage: Usage) -> str | None:
    """Marks that people are told how much of a budget is used. Returns the words; None if they know it already."""
    due = notice_due(budget, usage.total)
    marked = {"due": due, "budget_id": budget.id, "period_start": usage.period_start}
    return notice(budget, usage, due) if (await connection.execute(_NOTICE, marked)).rowcount else None


async def _notice_again(connection: AsyncConnection, budget: Budget) -> None:
    """Lets people be told again of what a raised limit has made untrue."""
    row = (await connection.execute(LIST, {"name": budget.name, "odoo": None})).one()
    due = notice_due(budget, row.spent + row.reserved)
    marked = {"due": due, "budget_id": budget.id, "period_start": row.period_start}
    await connection.execute(_NOTICE_AGAIN, marked)


async def _locked(connection: AsyncConnection, name: str) -> Budget | None:
    row = (await connection.execute(_FIND, {"name": name})).one_or_none()
    return to_budget(row) if row else None


async def _check(connection: AsyncConnection, name: str, seen: Seen | None) -> None:
    if seen is not None:
        seen.check(await connection.scalar(_UPDATED_AT, {"name": name}), f"the budget {name!r}")


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
        **purpose_columns(budget.purpose),
    }


def _on(action: OperatorAction, budget: Budget) -> OperatorAction:
    """Returns the action, which concerns the Odoo of the budget."""
    return replace(action, odoo=budget.purpose.odoo)


def _fields(budget: Budget | None) -> dict[str, Any] | None:
    """Returns the fields of a budget in the form of the API, for the record of the change."""
    if budget is None:
        return None
    match = {
        "odoo": budget.purpose.odoo,
        "userId": budget.purpose.user_id,
        "campaignId": budget.purpose.campaign_id,
        "modelId": budget.purpose.model_id,
    }
    return {
        "limit": amount_text(budget.limit),
        "currency": budget.currency,
        "period": budget.period.value,
        "kind": "hard" if budget.is_hard else "soft",
        "match": {name: str(value) for name, value in match.items() if value is not None},
        "contact": budget.contact,
        "timeZone": budget.time_zone,
    }
