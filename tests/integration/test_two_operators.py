"""Two operators change one model or one budget at once: what one saw must still be so, or nothing is changed."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.budgets import BudgetTerms
from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.budget import Budget
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.seen import ChangedMeanwhileError, Seen
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.catalogue_changes import CatalogueChanges
from aigen_bridge.store.database import Database
from outages import rows

ANNE = OperatorAction("anne")
NEW = Seen(None)


def entry(name: str) -> ModelEntry:
    return ModelEntry.model_validate(examples.MODEL | {"name": name})


def budget(limit: str, name: str = "marketing") -> Budget:
    terms = BudgetTerms.model_validate({"limit": limit, "currency": "USD", "period": "month"})
    return terms.budget(name, "UTC")


async def outcomes(*attempts: Awaitable[Any]) -> list[str]:
    found = await asyncio.gather(*attempts, return_exceptions=True)
    assert not [each for each in found if isinstance(each, Exception) and not isinstance(each, ChangedMeanwhileError)]
    return sorted("stale" if isinstance(each, ChangedMeanwhileError) else "done" for each in found)


async def changed_at(database: Database, table: str) -> datetime:
    [(at,)] = await rows(database, f"SELECT updated_at FROM {table}")  # noqa: S608 - a name in this file
    assert isinstance(at, datetime)
    return at


async def test_of_many_who_add_change_or_remove_a_model_at_once_one_succeeds(database: Database) -> None:
    changes, model_id = CatalogueChanges(database), uuid4()
    once = ["done", *["stale"] * 5]
    adding = (changes.put({model_id: entry(f"added {number}")}, ANNE, seen=NEW) for number in range(6))
    assert await outcomes(*adding) == once
    seen = Seen(await changed_at(database, "models"))
    changing = (changes.put({model_id: entry(f"changed {number}")}, ANNE, seen=seen) for number in range(6))
    assert await outcomes(*changing) == once
    with pytest.raises(ChangedMeanwhileError):
        await changes.remove(model_id, ANNE, seen=seen)
    seen = Seen(await changed_at(database, "models"))
    assert (
        await outcomes(changes.remove(model_id, ANNE, seen=seen), changes.remove(model_id, ANNE, seen=seen)) == once[:2]
    )
    with pytest.raises(ChangedMeanwhileError):
        await changes.put({model_id: entry("again")}, ANNE, seen=seen)
    recorded = await rows(database, "SELECT action FROM operations ORDER BY id")
    assert [action for (action,) in recorded] == ["put", "put", "remove"]


async def test_of_many_who_add_change_or_remove_a_budget_at_once_one_succeeds(database: Database) -> None:
    budgets = ChangeableBudgets(database, timedelta(minutes=15))
    once = ["done", *["stale"] * 5]
    assert await outcomes(*(budgets.put(budget(str(number)), ANNE, NEW) for number in range(6))) == once
    seen = Seen(await changed_at(database, "budgets"))
    assert await outcomes(*(budgets.put(budget(str(number)), ANNE, seen) for number in range(6))) == once
    with pytest.raises(ChangedMeanwhileError):
        await budgets.remove("marketing", ANNE, seen)
    await budgets.remove("marketing", ANNE, Seen(await changed_at(database, "budgets")))
    with pytest.raises(ChangedMeanwhileError):
        await budgets.put(budget("1"), ANNE, seen)
    recorded = await rows(database, "SELECT action FROM operations ORDER BY id")
    assert [action for (action,) in recorded] == ["put", "put", "remove"]


async def test_without_what_was_seen_the_last_one_wins_as_in_the_api(database: Database) -> None:
    changes, model_id = CatalogueChanges(database), uuid4()
    putting = (changes.put({model_id: entry(f"model {number}")}, ANNE) for number in range(6))
    assert await outcomes(*putting) == ["done"] * 6
