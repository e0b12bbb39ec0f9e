"""`aigen-bridge dead-letters`: lists, shows, saves, replays and discards dead letters."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import show_story
from aigen_bridge.cli.terminal import fail, person, say, say_json
from aigen_bridge.cli.times import parse_time
from aigen_bridge.contracts.resources import REASON_MAX, DeadLetterPage
from aigen_bridge.domain.dead_letter import (
    CALLBACK_KIND,
    DEAD_LETTER_KINDS,
    N8N_KIND,
    DeadLetterFilter,
    DeadLetterName,
    OperatorAction,
)
from aigen_bridge.domain.errors import UnknownDeadLetterError, storable

DEAD_LETTERS = "/api/v1/ops/dead-letters"

app = typer.Typer(help="List, show, save, replay and discard dead letters.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The id of a dead letter, such as entry-7 or callback-7.")]
KindName = StrEnum("KindName", {kind.upper(): kind for kind in DEAD_LETTER_KINDS})  # type: ignore[misc]

Kind = Annotated[KindName | None, typer.Option(help="Only dead letters of this kind.")]
Since = Annotated[str | None, typer.Option(help="Dead at or after: 2h, 3d (ago), or an ISO 8601 time.")]
Until = Annotated[str | None, typer.Option(help="Dead before: 2h, 3d (ago), or an ISO 8601 time.")]
Code = Annotated[str | None, typer.Option(help="Only dead letters with this error code, such as http_403.")]


@app.command(name="list")
def list_letters(
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    error_code: Code = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List dead letters, newest first."""
    wanted = DeadLetterFilter(kind, parse_time(since), parse_time(until), error_code)

    async def run() -> None:
        from aigen_bridge.contracts.views import dead_letter_page

        async with operating() as parts:
            page = dead_letter_page(await parts.dead_letters.page(wanted, limit + 1), limit)
        if as_json:
            say_json(page)
        else:
            _print_list(page)

    asyncio.run(run())


def _print_list(page: DeadLetterPage) -> None:
    if not page.items:
        say("There are no dead letters.")
        return
    table = Table("id", "since", "kind", "times", "error", "request", "detail")
    for letter in page.items:
        request = str(letter.request_id or "")[:8]
        since = f"{letter.at:%Y-%m-%dT%H:%M:%S}"
        table.add_row(letter.id, since, letter.kind, str(letter.times), letter.error_code, request, letter.detail[:80])
    Console().print(table)
    if page.next_cursor:
        say("There are more: raise --limit, or filter.")


@app.command()
def show(name: Name) -> None:
    """Show a dead letter: its last error, the history of its request, and the commands to handle it."""

    async def run() -> None:
        async with operating() as parts:
            letter = await parts.dead_letters.get(name)
            if letter is None:
                raise UnknownDeadLetterError(name[:100])
            say(f"{letter.id}: {letter.kind} failed {letter.times} times, dead since {letter.at.isoformat()}")
            say(f"{letter.error_code}: {letter.detail}\n")
            if letter.request_id and letter.kind not in {CALLBACK_KIND, N8N_KIND}:
                await show_story(parts, letter.request_id)
        say(_how_to_act(name))

    asyncio.run(run())


def _how_to_act(name: str) -> str:
    path = f'"$BRIDGE{DEAD_LETTERS}/{name}'
    is_callback = DeadLetterName.parse(name).kind == CALLBACK_KIND
    return "\n".join(
        [
            *(["Save its body and its images to files:", f"  aigen-bridge dead-letters save {name}"] * is_callback),
            "Replay it:",
            f"  aigen-bridge dead-letters replay {name}",
            f'  curl -X POST {path}/replay" -H "X-API-Key: $OPS_KEY"',
            "Or discard it:",
            f"  aigen-bridge dead-letters discard {name} --reason '…'",
        ]
    )


@app.command()
def save(
    name: Name, folder: Annotated[Path, typer.Argument(help="The folder for the files; it must exist.")] = Path()
) -> None:
    """Save a callback or report to files: its body and each image in it, to complete its request by hand."""

    async def run() -> None:
        from aigen_bridge.contracts.envelope import contents

        wanted = DeadLetterName.parse(name)
        async with operating() as parts:
            kept = await parts.quarantine.get(wanted.number) if wanted.kind == "callback" else None
        if kept is None:
            raise UnknownDeadLetterError(name[:100])
        for file, content in contents(kept).items():
            path = folder / f"{name}.{file}"
            path.write_bytes(content)
            say(f"{path}: {len(content)} bytes")

    asyncio.run(run())


@app.command()
def replay(
    name: Annotated[str | None, typer.Argument(help="The id of a dead letter. Or use --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Replay all that match the filters.")] = False,
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    error_code: Code = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be replayed.")] = False,
    max_per_second: Annotated[float, typer.Option(help="The rate at which they become due.", min=0.01, max=1000)] = 10,
) -> None:
    """Replay one dead letter, or all that match the filters."""
    if (name is None) == (not every):
        raise typer.BadParameter("give one id, or --all")
    wanted = DeadLetterFilter(kind, parse_time(since), parse_time(until), error_code)
    if name is not None:
        asyncio.run(_replay_one(name, dry_run=dry_run))
    else:
        asyncio.run(_replay_all(wanted, per_second=max_per_second, dry_run=dry_run))


async def _replay_one(name: str, *, dry_run: bool) -> None:
    async with operating() as parts:
        if dry_run:
            letter = await parts.dead_letters.get(name)
            if letter is None:
                raise UnknownDeadLetterError(name[:100])
            of = f" of request {letter.request_id}" if letter.request_id else ""
            say(f"Would replay {name}: {letter.kind}{of}.")
            return
        handled = await parts.replays.replay(DeadLetterName.parse(name), OperatorAction(person()))
    state = f"; request {handled.request_id} is {handled.status}" if handled.request_id else ""
    say(f"{name} is replayed{state}.")


async def _replay_all(wanted: DeadLetterFilter, *, per_second: float, dry_run: bool) -> None:
    async with operating() as parts:
        action = OperatorAction(person())
        done = await parts.replays.replay_all(wanted, action, per_second=per_second, dry_run=dry_run)
    verb = "Would replay" if dry_run else "Replayed"
    say(f"{verb} {len(done.replayed)} of {done.matched}: {', '.join(done.replayed) or 'none'}")
    if done.more:
        say("There are more: run it again.")
    if done.failed:
        fail(*(f"{name}: {reason}" for name, reason in done.failed.items()))


@app.command()
def discard(name: Name, reason: Annotated[str, typer.Option(help="The reason, which is recorded.")]) -> None:
    """Discard a dead letter for good."""
    if not 0 < len(reason) <= REASON_MAX:
        raise typer.BadParameter(f"must have 1 to {REASON_MAX} characters", param_hint="--reason")

    async def run() -> None:
        async with operating() as parts:
            await parts.replays.discard(DeadLetterName.parse(name), OperatorAction(person(), storable(reason)))
        say(f"{name} is discarded.")

    asyncio.run(run())
