"""`aigen-bridge budgets`: lists, puts and removes budgets."""

import asyncio
import re
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.terminal import complaints, fail, person, say, say_json, say_table
from aigen_bridge.contracts.budgets import NAME_PATTERN, BudgetList, BudgetMatch, BudgetResource, BudgetTerms
from aigen_bridge.contracts.refusal import InvalidMessageError, field_errors
from aigen_bridge.domain.budget import EVERY_PERIOD, Period
from aigen_bridge.domain.dead_letter import OperatorAction

KEYS = tuple(field.alias or name for name, field in BudgetMatch.model_fields.items())

app = typer.Typer(help="List, put and remove budgets.", no_args_is_help=True)


class Kind(StrEnum):
    """What happens when the limit is reached."""

    HARD = "hard"
    SOFT = "soft"


def _name(name: str) -> str:
    if not re.match(NAME_PATTERN, name):
        raise typer.BadParameter("must be lower-case letters, digits and -, at most 63, such as marketing")
    return name


Name = Annotated[str, typer.Argument(help="The name of the budget, such as marketing.", callback=_name)]


@app.command(name="list")
def list_budgets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the budgets, and how much of each is used in the current period."""

    async def run() -> None:
        async with operating() as parts:
            found = BudgetList.of(await parts.budgets.states())
        if as_json:
            say_json(found)
        elif found.items:
            columns = ("budget", "limit", "spent", "reserved", "left", "kind", "counts")
            say_table(columns, [_row(budget) for budget in found.items], least=len("campaignId=") + 36)
        else:
            say("There are no budgets.")

    asyncio.run(run())


@app.command()
def put(
    name: Name,
    limit: Annotated[str, typer.Option(help="The most in each period, such as 100 or 99.50.")],
    currency: Annotated[str, typer.Option(help="The currency of the limit, such as USD.")],
    period: Annotated[Period, typer.Option(help="How long it counts before it begins anew.")],
    kind: Annotated[Kind, typer.Option(help="hard refuses what would exceed it; soft only tells people.")] = Kind.HARD,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help=f"Count only such requests: {', '.join(KEYS)}. Several: all of them must match."
        ),
    ] = None,
    contact: Annotated[str | None, typer.Option(help="Whom people can ask when a request is refused.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also while an Odoo with an addon before 1.5.0 is known.")
    ] = False,
) -> None:
    """Add a budget, or replace the one with this name. It holds for every request that is accepted from then on."""
    terms = _terms(
        {"limit": limit, "currency": currency, "period": period, "kind": kind.value, "match": _match(match or [])}
        | ({"contact": contact} if contact else {})
    )

    async def run() -> None:
        async with operating() as parts:
            budget = terms.budget(name, parts.settings.money.time_zone)
            state, remarks = await parts.budget_changes.put(budget, OperatorAction(person()), force=force)
        found = BudgetResource.of(state)
        say(f"{name}: {found.limit} {found.currency} {EVERY_PERIOD[found.period]} ({found.kind}), {found.left} left.")
        for remark in remarks:
            say(f"Note: {remark}")

    asyncio.run(run())


@app.command()
def remove(name: Name) -> None:
    """Remove a budget. The ledger keeps what was spent."""

    async def run() -> None:
        async with operating() as parts:
            await parts.budgets.remove(name, OperatorAction(person()))
        say(f"The budget {name} is removed.")

    asyncio.run(run())


def _terms(values: dict[str, Any]) -> BudgetTerms:
    try:
        return BudgetTerms.model_validate(values)
    except ValidationError as error:
        fail(*complaints(InvalidMessageError("The budget", field_errors(error, BudgetTerms))), status=2)


def _match(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in KEYS or not value or key in found:
            fail(
                f"--match {pair} is wrong: use each of {', '.join(KEYS)} at most once, such as odoo=default.", status=2
            )
        found[key] = value
    return found


def _row(budget: BudgetResource) -> tuple[str, ...]:
    given = budget.match.model_dump(mode="json", by_alias=True, exclude_none=True)
    counts = ", ".join(f"{key}={value}" for key, value in given.items()) or "every request"
    limit = f"{budget.limit} {budget.currency} {EVERY_PERIOD[budget.period]}"
    return budget.name, limit, budget.spent, budget.reserved, budget.left, budget.kind, counts
