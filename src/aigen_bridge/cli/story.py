"""One request, told to a person: how it stands, what happened, what comes next, and where to see more."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aigen_bridge.cli.operate import REQUESTS, Api

STATUS_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow"}
OUTCOME_COLOURS = {"done": "green", "retry": "yellow", "held": "yellow", "lost": "magenta", "dead": "red"}


async def show_story(api: Api, request_id: str) -> None:
    """Print it."""
    request = await api.get(f"{REQUESTS}/{request_id}")
    timeline = await api.get(f"{REQUESTS}/{request_id}/timeline")
    console = Console(highlight=False)
    _print_state(console, request)
    console.print(f"  next         {_ahead(timeline['next'])}", markup=False)
    console.print(_table(request, timeline["entries"]))
    if purged := timeline["attemptsPurgedAt"]:
        console.print(f"  Attempts before {purged} are no longer kept.")
    _print_ways(console, request, api.url)


def status_text(status: str) -> str:
    """A status in its colour."""
    return f"[bold {STATUS_COLOURS.get(status, 'cyan')}]{status}[/]"


def ago(moment: str) -> str:
    """`3 minutes ago`, `in 20 seconds`."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A duration as people say it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _print_state(console: Console, request: dict[str, Any]) -> None:
    console.print(f"Request {request['requestId']}: {status_text(request['status'])}, version {request['version']}")
    console.print(f"  asked        {request['createdAt']} ({ago(request['createdAt'])}), {request['resolution']}")
    console.print(f"  correlation  {request['correlationId']}")
    if request["errorMessage"]:
        console.print(
            f"  error        [red]{escape(request['errorCode'] or '-')}[/]: {escape(request['errorMessage'])}"
        )
    if image := request["image"]:
        console.print(f"  image        {image['format']}, {image['width']}x{image['height']}, {image['size']} bytes")
    console.print(f"  took         {_parts(request)}")
    told = request["deliveredAt"]
    console.print(f"  Odoo         knew at {told}" if told else "  Odoo         does not know this version yet")


def _parts(request: dict[str, Any]) -> str:
    """The way so far: each part that is over, and the whole."""
    names = ("createdAt", "dispatchedAt", "completedAt", "deliveredAt")
    at = {name: datetime.fromisoformat(request[name]) for name in names if request[name]}
    parts = [
        f"{span((at[until] - at[since]).total_seconds())} {words}"
        for since, until, words in zip(names, names[1:], ("to N8N", "at N8N", "to Odoo"), strict=False)
        if since in at and until in at
    ]
    whole = span((max(at.values()) - at["createdAt"]).total_seconds())
    return f"{whole}: {', '.join(parts)}" if parts else "nothing is done yet"


def _ahead(following: dict[str, Any]) -> str:
    at = f" ({following['at']}, {ago(following['at'])})" if following["at"] else ""
    letter = f" aigen-bridge dead-letters show {following['deadLetter']}" if following["deadLetter"] else ""
    return f"{following['what']}{at}{letter}"


def _table(request: dict[str, Any], entries: list[dict[str, Any]]) -> Table:
    table = Table("after", "what", "took", "status", "detail")
    start = datetime.fromisoformat(request["createdAt"])
    for entry in entries:
        after = f"{(datetime.fromisoformat(entry['at']) - start).total_seconds():.3f} s"
        if entry["kind"] == "state":
            table.add_row(after, status_text(entry["status"]), "", "", escape(entry["note"] or ""))
        else:
            colour = OUTCOME_COLOURS[entry["outcome"]]
            what = f"{entry['step']} #{entry['number']} [{colour}]{entry['outcome']}[/]"
            reason = ": ".join(text for text in (entry["errorCode"], entry["detail"]) if text)
            table.add_row(after, what, f"{entry['durationMs']:.0f} ms", str(entry["httpStatus"] or ""), escape(reason))
    return table


def _print_ways(console: Console, request: dict[str, Any], url: str) -> None:
    path = f"{url}{REQUESTS}/{request['requestId']}"
    ways = [f"curl -H \"X-API-Key: $OPS_KEY\" '{path}/timeline'"]
    if request["image"]:
        ways.append(f"curl -H \"X-API-Key: $OPS_KEY\" -o image.{request['image']['format']} '{path}/image'")
    if request["status"] in {"queued", "dispatched", "received"}:
        ways.append(f"curl -H \"X-API-Key: $OPS_KEY\" -X POST '{path}/cancel'")
    for way in [*ways, f"documentation: {url}/docs"]:
        console.print(way, markup=False, soft_wrap=True)  # one line each, to be copied
