"""The doctor on budgets."""

from datetime import timedelta

from accepting import budget, new, requests_of
from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.doctor.budgets import look_at_budgets
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.budget import Purpose
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.catalogue_changes import CatalogueChanges
from aigen_bridge.store.database import Database
from outages import write
from stage import make_settings

ACTION = OperatorAction("ops")


async def look(database_url: str) -> list[Finding]:
    """Returns the findings about budgets."""
    return await examine(Subject.of(make_settings(database_url)), [Check("budgets", look_at_budgets)])


async def test_budgets_that_hold_are_named(database: Database, database_url: str) -> None:
    assert [finding.found for finding in await look(database_url)] == ["There are none."]
    await ChangeableBudgets(database, timedelta(minutes=15)).put(budget("all"), ACTION)
    assert [finding.found for finding in await look(database_url)] == ["None is used up: all."]


async def test_what_keeps_a_budget_from_working_is_found_with_what_to_do(database: Database, database_url: str) -> None:
    budgets = ChangeableBudgets(database, timedelta(minutes=15))
    await budgets.put(budget("full", "0.035"), ACTION)
    await budgets.put(budget("francs", currency="CHF", purpose=Purpose(odoo="south")), ACTION)
    await budgets.put(budget("elsewhere", time_zone="Europe/Berlin"), ACTION)
    await requests_of(database).accept(new())
    price = {"amount": "0.035", "currency": "USD", "per": "image"}
    entry = ModelEntry.model_validate(
        {"name": "Oil", "provider": {"kind": "fal", "endpoint": "https://fal.run/x"}, "price": price}
    )
    await CatalogueChanges(database).put({new().request_id: entry}, ACTION)
    await write(database, "INSERT INTO addons (odoo, version) VALUES ('default', '1.4.0'), ('gone', NULL)")

    found = {finding.found.partition(":")[0]: finding for finding in await look(database_url)}
    rest = "".join(finding.found for finding in found.values())
    assert found["Budget full"].mark is Mark.WARNING
    assert "0.035 USD of 0.035 USD a month are used" in found["Budget full"].found
    assert "The addon of default is older than 1.5.0" in rest
    assert "AIGEN_MONEY__RATES has no rate: USD/CHF." in rest
    assert "francs counts requests of the Odoo 'south', which is not in AIGEN_ODOOS" in rest
    assert "elsewhere has the time zone Europe/Berlin, and AIGEN_MONEY__TIME_ZONE is UTC" in rest
    assert all(finding.advice for finding in found.values())
