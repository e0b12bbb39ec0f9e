"""`aigen-bridge dead-letters`: what needs a person, and what a person can do about it."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aigen_bridge.cli.common import fail, say
from aigen_bridge.cli.operate import DEAD_LETTERS, Api, local_api
from aigen_bridge.cli.story import show_story
from aigen_bridge.cli.times import moment

app = typer.Typer(help="What needs a person: list, show, replay, discard.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its id, such as entry-7 or callback-7.")]
Kind = Annotated[str | None, typer.Option(help="dispatch, fetch, deliver, alert, callback or n8n.")]
Since = Annotated[str | None, typer.Option(help="Dead since: 2h, 3d, or an ISO 8601 time.")]
Until = Annotated[str | None, typer.Option(help="Dead before: 2h, 3d, or an ISO 8601 time.")]
Code = Annotated[str | None, typer.Option(help="With this error code, such as http_403.")]


@app.command(name="list")
def list_letters(
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    error_code: Code = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List them, newest first."""

    async def run() -> None:
        async with local_api() as api:
            query = {"kind": kind, "since": moment(since), "until": moment(until), "errorCode": error_code}
            page = await api.get(DEAD_LETTERS, limit=limit, **query)
        if as_json:
            say(json.dumps(page, indent=2))
        else:
            _print_list(page)

    asyncio.run(run())


def _print_list(page: dict[str, Any]) -> None:
    if not page["items"]:
        say("No dead letters: nothing needs a person.")
        return
    table = Table("id", "since", "kind", "times", "error", "request", "detail")
    for letter in page["items"]:
        request = (letter["requestId"] or "")[:8]
        row = (letter["id"], letter["at"][:19], letter["kind"], str(letter["times"]), letter["errorCode"], request)
        table.add_row(*row, letter["detail"][:80])
    Console().print(table)
    if page["nextCursor"]:
        say("There are more: raise --limit, or filter.")


@app.command()
def show(name: Name) -> None:
    """Show one: what failed last, the request's story, and how to act on it."""

    async def run() -> None:
        async with local_api() as api:
            letter = await api.get(f"{DEAD_LETTERS}/{name}")
            say(f"{letter['id']}: {letter['kind']} failed {letter['times']} times, dead since {letter['at']}")
            say(f"{letter['errorCode']}: {letter['detail']}\n")
            if letter["requestId"] and letter["kind"] not in {"callback", "n8n"}:
                await show_story(api, letter["requestId"])
        say(_how_to_act(name))

    asyncio.run(run())


def _how_to_act(name: str) -> str:
    path = f'"$BRIDGE{DEAD_LETTERS}/{name}'
    return "\n".join(
        [
            "Put it back:",
            f"  aigen-bridge dead-letters replay {name}",
            f'  curl -X POST {path}/replay" -H "X-API-Key: $OPS_KEY"',
            "Or say that nothing needs to be done:",
            f"  aigen-bridge dead-letters discard {name} --reason '…'",
        ]
    )


@app.command()
def replay(
    name: Annotated[str | None, typer.Argument(help="Its id; or use --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that the filters let through.")] = False,
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    error_code: Code = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be put back.")] = False,
    max_per_second: Annotated[float, typer.Option(help="They become due at this rate.", min=0.01, max=1000)] = 10,
) -> None:
    """Put one back, or all that the filters let through."""
    if (name is None) == (not every):
        raise typer.BadParameter("give one id, or --all")
    wanted = {"kind": kind, "since": moment(since), "until": moment(until), "errorCode": error_code}
    body = {key: value for key, value in wanted.items() if value is not None}

    async def run() -> None:
        async with local_api() as api:
            if name is not None:
                await _replay_one(api, name, dry_run=dry_run)
            else:
                await _replay_all(api, body | {"dryRun": dry_run, "maxPerSecond": max_per_second})

    asyncio.run(run())


async def _replay_one(api: Api, name: str, *, dry_run: bool) -> None:
    if dry_run:
        letter = await api.get(f"{DEAD_LETTERS}/{name}")
        of = f" of request {letter['requestId']}" if letter["requestId"] else ""
        say(f"Would put back {name}: {letter['kind']}{of}.")
        return
    done = await api.post(f"{DEAD_LETTERS}/{name}/replay")
    state = f"; request {done['requestId']} is {done['status']}" if done["requestId"] else ""
    say(f"{name} is put back{state}.")


async def _replay_all(api: Api, body: dict[str, Any]) -> None:
    done = await api.post(f"{DEAD_LETTERS}/replay", body)
    verb = "Would put back" if done["dryRun"] else "Put back"
    say(f"{verb} {len(done['replayed'])} of {done['matched']}: {', '.join(done['replayed']) or 'none'}")
    if done["more"]:
        say("There are more: run it again.")
    if done["failed"]:
        fail(*(f"{name}: {reason}" for name, reason in done["failed"].items()))


@app.command()
def discard(name: Name, reason: Annotated[str, typer.Option(help="Why nothing needs to be done; it is kept.")]) -> None:
    """Take one off the list for good."""

    async def run() -> None:
        async with local_api() as api:
            await api.post(f"{DEAD_LETTERS}/{name}/discard", {"reason": reason})
        say(f"{name} is discarded.")

    asyncio.run(run())
