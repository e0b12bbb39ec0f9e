"""`aigen-bridge requests`: lists requests, shows the history of one, and sends a failed one again."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import ago, show_story, status_text
from aigen_bridge.cli.terminal import person, say, say_json
from aigen_bridge.cli.times import parse_time
from aigen_bridge.contracts.resources import RequestPage
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.request import Status

app = typer.Typer(help="List, show and replay requests.", no_args_is_help=True)


@app.command()
def show(request_id: Annotated[UUID, typer.Argument(help="The requestId.")]) -> None:
    """Show the state of a request, its history and its next step."""

    async def run() -> None:
        async with operating() as parts:
            await show_story(parts, request_id)

    asyncio.run(run())


@app.command()
def replay(request_id: Annotated[UUID, typer.Argument(help="The requestId.")]) -> None:
    """Send a request again that failed for a reason of the bridge, such as timed_out, dead letter or not."""

    async def run() -> None:
        async with operating() as parts:
            request = await parts.replays.replay_request(request_id, OperatorAction(person()))
        again = "sent again" if request.finished_at is None else "delivered to Odoo again"
        say(f"Request {request_id} is {request.status} and is {again}.")

    asyncio.run(run())


@app.command(name="list")
def list_requests(
    failed: Annotated[bool, typer.Option("--failed", help="Short for --status failed.")] = False,
    status: Annotated[Status | None, typer.Option(help="Only requests in this state.")] = None,
    since: Annotated[str | None, typer.Option(help="Created at or after: 2h, 3d (ago), or an ISO 8601 time.")] = None,
    until: Annotated[str | None, typer.Option(help="Created before: 2h, 3d (ago), or an ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List requests, newest first."""
    if failed and status not in {None, Status.FAILED}:
        raise typer.BadParameter("--failed and another --status exclude each other")
    created = parse_time(since), parse_time(until)

    async def run() -> None:
        from aigen_bridge.contracts.views import request_page
        from aigen_bridge.store.requests import RequestFilter

        async with operating() as parts:
            found = await parts.requests.page(RequestFilter(Status.FAILED if failed else status, *created), limit)
            holds = await parts.destinations.held([request.request_id for request in found.items])
            page = request_page(found.items, holds, found.end)
        if as_json:
            say_json(page)
        else:
            _print(page)

    asyncio.run(run())


def _print(page: RequestPage) -> None:
    if not page.items:
        say("No such requests.")
        return
    table = Table("created", "request", "status", "delivered", "error")
    table.columns[1].no_wrap = True  # for copying
    for request in page.items:
        error = ": ".join(text for text in (request.error_code, request.error_message) if text)
        delivered = "yes" if request.delivered_at else "no"
        created = ago(request.created_at)
        table.add_row(created, str(request.request_id), status_text(request.status), delivered, escape(error[:120]))
    Console(highlight=False).print(table)
    if page.next_cursor:
        say("There are more: raise --limit, or filter.")
