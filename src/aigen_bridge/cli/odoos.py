"""`aigen-bridge odoos`: lists the Odoo databases, and confirms one that was moved or replaced."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import ago
from aigen_bridge.cli.terminal import fail, person, say, say_table
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import StepError, storable
from aigen_bridge.settings import Settings

if TYPE_CHECKING:
    from aigen_bridge.settings.sections import OdooSettings
    from aigen_bridge.store.odoos import OdooState

TIMEOUT = timedelta(seconds=10)

app = typer.Typer(help="List the Odoo databases, and confirm one that was moved or replaced.", no_args_is_help=True)


@app.command(name="list")
def list_odoos() -> None:
    """List every Odoo: its database, the uuid that the bridge knows of it, its breaker and its backlog."""

    async def run() -> None:
        from aigen_bridge.store.odoos import Odoos

        async with operating() as parts:
            known = parts.settings.all_odoos
            rows = [_row(state, known[state.name]) for state in await Odoos(parts.database).states(list(known))]
        say_table(("Odoo", "database", "uuid of the database", "breaker", "backlog", "url"), rows)

    asyncio.run(run())


def _row(state: "OdooState", odoo: "OdooSettings") -> tuple[str, ...]:
    breaker = f"open since {ago(state.opened_at)}" if state.opened_at else "closed"
    if state.paused_at:
        breaker = f"paused since {ago(state.paused_at)}"
    return state.name, odoo.database, state.database_uuid or "unknown", breaker, str(state.backlog), odoo.url


@app.command()
def confirm(
    name: Annotated[str, typer.Argument(help="The name of the Odoo: default, or one of AIGEN_ODOOS.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Accept the database that an Odoo has now, after it was moved, restored or replaced.

    Asks Odoo for the uuid of its database. From then on, results are delivered to this database, and calls from another
    one are refused.
    """

    async def run() -> None:
        from aigen_bridge.store.odoos import Odoos

        async with operating() as parts:
            settings, odoos = _settings_of(name, parts.settings), Odoos(parts.database)
            uuid, known = await _database_uuid(name, settings), (await odoos.known()).get(name)
            if uuid == (known.lower() if known else None):
                found = f"has the uuid {uuid}, as before" if uuid else "tells no uuid, and none is known"
                say(f"The database of Odoo {name} {found}. Nothing was changed.")
                return
            say(f"Odoo {name}: database {settings.database!r} at {settings.url}")
            say(f"uuid until now: {known or 'unknown'}\nuuid from now on: {uuid or 'unknown'}")
            if not yes:
                typer.confirm("Are results to be delivered to this database?", abort=True)
            note = f"the database is {uuid or 'unknown'}, it was {known or 'unknown'}"
            await odoos.confirm(name, uuid, OperatorAction(person(), storable(note)))
        say(_outcome(name, uuid))

    asyncio.run(run())


def _settings_of(name: str, settings: Settings) -> "OdooSettings":
    if name not in settings.all_odoos:
        fail(f"There is no Odoo {name!r}. There is: {', '.join(settings.all_odoos)}.", status=2)
    return settings.all_odoos[name]


async def _database_uuid(name: str, settings: "OdooSettings") -> str | None:
    """Asks Odoo for the uuid of its database. None if its addon is too old to tell it."""
    from aigen_bridge.clients.odoo import OdooProbe
    from aigen_bridge.clients.odoo_auto import odoo_transport

    probe = OdooProbe(odoo_transport(settings.model_copy(update={"timeout": min(settings.timeout, TIMEOUT)})))
    try:
        return await probe.database_uuid()
    except StepError as error:
        fail(
            f"Odoo {name} does not tell which database it has. {error.detail}",
            f"Nothing was changed. 'aigen-bridge doctor' says what to correct; then run 'odoos confirm {name}' again.",
        )
    finally:
        await probe.aclose()


def _outcome(name: str, uuid: str | None) -> str:
    if uuid is None:
        return (
            f"The addon of Odoo {name} is too old to tell the uuid, so the known one is forgotten. The next delivery "
            "teaches it again, once the addon is up to date."
        )
    return f"Odoo {name} is confirmed. Results that were held are delivered within seconds."
