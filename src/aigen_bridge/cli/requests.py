"""`aigen-bridge requests`: find requests, and read one's whole story."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aigen_bridge.cli.common import say
from aigen_bridge.cli.operate import REQUESTS, local_api
from aigen_bridge.cli.story import ago, show_story, status_text
from aigen_bridge.cli.times import moment
from aigen_bridge.domain.request import Status

app = typer.Typer(help="Requests: list them, show one.", no_args_is_help=True)


@app.command()
def show(request_id: Annotated[str, typer.Argument(help="The requestId.")]) -> None:
    """Show how a request stands, everything that happened to it, and what comes next."""

    async def run() -> None:
        async with local_api() as api:
            await show_story(api, request_id)

    asyncio.run(run())


@app.command(name="list")
def list_requests(
    failed: Annotated[bool, typer.Option("--failed", help="The same as --status failed.")] = False,
    status: Annotated[Status | None, typer.Option(help="Only those in this state.")] = None,
    since: Annotated[str | None, typer.Option(help="Asked for since: 2h, 3d, or an ISO 8601 time.")] = None,
    until: Annotated[str | None, typer.Option(help="Asked for before: 2h, 3d, or an ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List them, newest first."""
    if failed and status not in {None, Status.FAILED}:
        raise typer.BadParameter("--failed and another --status exclude each other")
    query = {
        "status": Status.FAILED.value if failed else status and status.value,
        "createdAfter": moment(since),
        "createdBefore": moment(until),
    }

    async def run() -> None:
        async with local_api() as api:
            page = await api.get(REQUESTS, limit=limit, **query)
        if as_json:
            say(json.dumps(page, indent=2))
        else:
            _print(page)

    asyncio.run(run())


def _print(page: dict[str, Any]) -> None:
    if not page["items"]:
        say("No such requests.")
        return
    table = Table("asked", "request", "status", "Odoo knows", "error")
    table.columns[1].no_wrap = True  # to be copied
    for request in page["items"]:
        error = ": ".join(text for text in (request["errorCode"], request["errorMessage"]) if text)
        knows = "yes" if request["deliveredAt"] else "no"
        asked = ago(request["createdAt"])
        table.add_row(asked, request["requestId"], status_text(request["status"]), knows, escape(error[:120]))
    Console(highlight=False).print(table)
    if page["nextCursor"]:
        say("There are more: raise --limit, or filter.")
