"""`aigen-bridge requests`: lists requests, shows the history of one, and sends a failed one again."""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import ago, show_story, status_text
from aigen_bridge.cli.terminal import Reason, beginning, given, person, say, say_json, say_table
from aigen_bridge.cli.times import FORMS, check_period, parse_time
from aigen_bridge.contracts.resources import RequestPage, RequestResource
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.request import DEFAULT_ODOO, Status

app = typer.Typer(help="List, show and replay requests.", no_args_is_help=True)

Since = Annotated[
    datetime | None, typer.Option(parser=parse_time, metavar="TIME", help=f"Created at or after: {FORMS}.")
]
Until = Annotated[datetime | None, typer.Option(parser=parse_time, metavar="TIME", help=f"Created before: {FORMS}.")]


@app.command()
def show(request_id: Annotated[UUID, typer.Argument(help="The requestId.")]) -> None:
    """Show the state of a request, its history and its next step."""

    async def run() -> None:
        async with operating() as parts:
            await show_story(parts, request_id)

    asyncio.run(run())


@app.command()
def replay(request_id: Annotated[UUID, typer.Argument(help="The requestId.")], reason: Reason = None) -> None:
    """Send a request again that failed for a reason of the bridge, such as timed_out, dead letter or not."""

    async def run() -> None:
        async with operating() as parts:
            request = await parts.replays.replay_request(request_id, OperatorAction(person(), given(reason)))
        again = "sent again" if request.finished_at is None else "delivered to Odoo again"
        say(f"Request {request_id} is {request.status} and is {again}.")

    asyncio.run(run())


@app.command(name="list")
def list_requests(
    failed: Annotated[bool, typer.Option("--failed", help="Short for --status failed.")] = False,
    status: Annotated[Status | None, typer.Option(help="Only requests in this state.")] = None,
    since: Since = None,
    until: Until = None,
    odoo: Annotated[str | None, typer.Option(help="Only requests of this Odoo, such as default.")] = None,
    search: Annotated[
        str | None, typer.Option(help="The beginning of a requestId, a whole correlationId, or words of the prompt.")
    ] = None,
    error_code: Annotated[str | None, typer.Option(help="Only requests with this error code.")] = None,
    user_id: Annotated[UUID | None, typer.Option(help="Only requests of this person.")] = None,
    model_id: Annotated[UUID | None, typer.Option(help="Only requests for this model.")] = None,
    campaign_id: Annotated[UUID | None, typer.Option(help="Only requests for this campaign.")] = None,
    limit: Annotated[int, typer.Option(help="The most to list.", min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List requests, newest first."""
    if failed and status not in {None, Status.FAILED}:
        raise typer.BadParameter("--failed and another --status exclude each other")
    check_period(since, until)
    wanted_status = Status.FAILED if failed else status

    async def run() -> None:
        from aigen_bridge.contracts.views import request_page
        from aigen_bridge.store.search import RequestSearch

        wanted = RequestSearch(
            q=search,
            statuses=(wanted_status,) if wanted_status else (),
            error_code=storable(error_code) if error_code else None,
            user_id=user_id,
            model_id=model_id,
            campaign_id=campaign_id,
            odoo=storable(odoo) if odoo else None,
            created_after=since,
            created_before=until,
        )
        async with operating() as parts:
            found = await parts.search.page(wanted, limit)
            ids = [request.request_id for request in found.items]
            holds, generations = await parts.destinations.held(ids), await parts.generations.find(ids)
            page = request_page(found.items, holds, generations, found.end)
        if as_json:
            say_json(page)
        else:
            _print(page)

    asyncio.run(run())


def _print(page: RequestPage) -> None:
    if not page.items:
        say("No such requests.")
        return
    rows = [(str(request.request_id), ago(request.created_at), _outcome(request)) for request in page.items]
    say_table(("request", "created", "status"), rows)
    if page.next_cursor:
        say("There are more: raise --limit, or filter.")


def _outcome(request: RequestResource) -> Text:
    """Returns the status, whether Odoo knows, and the error on a line of its own. The default Odoo is not named."""
    delivered = "delivered" if request.delivered_at else "not delivered"
    delivered += "" if request.odoo == DEFAULT_ODOO else f" to Odoo {request.odoo}"
    error = ": ".join(text for text in (request.error_code, request.error_message) if text)
    return Text.assemble(status_text(request.status), f", {delivered}", f"\n{beginning(error)}" if error else "")
