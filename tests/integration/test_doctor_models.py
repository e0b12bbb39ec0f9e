"""The doctor on the catalogue of models."""

from uuid import UUID, uuid4

from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.models import look_at_models
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.store.catalogue_changes import CatalogueChanges
from aigen_bridge.store.database import Database
from outages import write
from stage import make_settings

PROVIDER = {"kind": "fal", "endpoint": "https://fal.run/x"}
PRICE = {"amount": "0.05", "currency": "USD", "per": "image"}
BUDGET = """
    INSERT INTO budgets (name, most, currency, period, time_zone, is_hard)
    VALUES ('all', 100, 'USD', 'month', 'UTC', true)
"""


async def put(database: Database, **entry: object) -> UUID:
    """Puts a model."""
    changes, model_id = CatalogueChanges(database), uuid4()
    model = ModelEntry.model_validate({"name": "Ink", "provider": PROVIDER} | entry)
    await changes.put({model_id: model}, OperatorAction("ops"))
    return model_id


async def look(database_url: str) -> list[Finding]:
    """Returns the findings about the catalogue."""
    subject = Subject.of(make_settings(database_url))
    return await examine(subject, [Check("models", look_at_models)])


async def test_models_without_a_price_are_named_while_there_are_budgets(database: Database, database_url: str) -> None:
    await put(database, name="Oil", price=PRICE)
    await put(database, name="Ink")
    await put(database, name="Chalk", active=False)
    without_budgets = await look(database_url)
    await write(database, BUDGET)

    [finding] = await look(database_url)

    assert [each.mark for each in without_budgets] == [Mark.OK]
    assert finding.mark is Mark.WARNING
    assert finding.found.endswith("because they have no price: Ink.")


async def test_budgets_with_an_empty_catalogue_hold_nothing(database: Database, database_url: str) -> None:
    empty = await look(database_url)
    await write(database, BUDGET)

    [finding] = await look(database_url)

    assert [each.mark for each in empty] == [Mark.OK]
    assert (finding.mark, "no budget holds" in finding.found) == (Mark.WARNING, True)


async def test_an_entry_that_cannot_be_read_is_named(database: Database, database_url: str) -> None:
    broken = await put(database)
    await write(database, "UPDATE models SET entry = '[]'")

    [finding] = await look(database_url)

    assert finding.mark is Mark.WRONG
    assert f"model {broken} cannot be read (the entry must be an object)" in finding.found
