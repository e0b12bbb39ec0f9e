"""`aigen-bridge requests`: one request's whole story."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aigen_bridge.cli.common import say
from aigen_bridge.cli.operate import REQUESTS, Api, local_api

app = typer.Typer(help="Requests: show one.", no_args_is_help=True)

COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow"}


@app.callback()
def requests() -> None:
    """Requests: show one."""


@app.command()
def show(request_id: Annotated[str, typer.Argument(help="The requestId.")]) -> None:
    """Show how a request stands and everything that happened to it."""

    async def run() -> None:
        async with local_api() as api:
            await show_story(api, request_id)

    asyncio.run(run())


async def show_story(api: Api, request_id: str) -> None:
    """Print how a request stands, and its timeline."""
    request = await api.get(f"{REQUESTS}/{request_id}")
    timeline = await api.get(f"{REQUESTS}/{request_id}/timeline")
    console = Console()
    colour = COLOURS.get(request["status"], "cyan")
    console.print(f"Request {request_id}: [{colour}]{request['status']}[/], version {request['version']}")
    console.print(f"  correlation id {request['correlationId']}", highlight=False)
    if request["errorMessage"]:
        console.print(f"  {request['errorCode']}: {request['errorMessage']}", markup=False, highlight=False)
    told = request["deliveredAt"]
    console.print(f"  Odoo knew at {told}" if told else "  Odoo does not know this version yet", highlight=False)
    console.print(_story(request, timeline["entries"]))
    if purged := timeline["attemptsPurgedAt"]:
        console.print(f"  Attempts before {purged} are no longer kept", highlight=False)
    say(f'curl "$BRIDGE{REQUESTS}/{request_id}/timeline" -H "X-API-Key: $OPS_KEY"\n')


def _story(request: dict[str, Any], entries: list[dict[str, Any]]) -> Table:
    table = Table("after", "what", "took", "detail")
    start = datetime.fromisoformat(request["createdAt"])
    for entry in entries:
        after = f"{(datetime.fromisoformat(entry['at']) - start).total_seconds():.3f} s"
        if entry["kind"] == "state":
            colour = COLOURS.get(entry["status"], "cyan")
            table.add_row(after, f"[bold {colour}]{entry['status']}[/]", "", entry["note"] or "")
        else:
            took, detail = f"{entry['durationMs']:.0f} ms", entry["detail"] or ""
            table.add_row(after, f"{entry['step']} #{entry['number']} {entry['outcome']}", took, detail)
    return table
