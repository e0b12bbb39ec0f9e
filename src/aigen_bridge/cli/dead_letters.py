"""`aigen-bridge dead-letters`: lists, shows, saves, replays and discards dead letters."""

import asyncio
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import ago, show_story
from aigen_bridge.cli.terminal import Reason, beginning, fail, given, person, say, say_json, say_table
from aigen_bridge.cli.times import FORMS, check_period, parse_time
from aigen_bridge.contracts.resources import DeadLetterPage, DeadLetterResource
from aigen_bridge.domain.dead_letter import (
    CALLBACK_KIND,
    DEAD_LETTER_KINDS,
    N8N_KIND,
    DeadLetterFilter,
    DeadLetterName,
    OperatorAction,
)
from aigen_bridge.domain.errors import UnknownDeadLetterError, storable
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.quoting import one_line

DEAD_LETTERS = "/api/v1/ops/dead-letters"
NOTHING_FILTERED = DeadLetterFilter()

app = typer.Typer(help="List, show, save, replay and discard dead letters.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The id of a dead letter, such as entry-7 or callback-7.")]
KindName = StrEnum("KindName", {kind.upper(): kind for kind in DEAD_LETTER_KINDS})  # type: ignore[misc]

Kind = Annotated[KindName | None, typer.Option(help="Only dead letters of this kind.")]
Since = Annotated[datetime | None, typer.Option(parser=parse_time, metavar="TIME", help=f"Dead at or after: {FORMS}.")]
Until = Annotated[datetime | None, typer.Option(parser=parse_time, metavar="TIME", help=f"Dead before: {FORMS}.")]
Code = Annotated[str | None, typer.Option(help="Only dead letters with this error code, such as http_403.")]


@app.command(name="list")
def list_letters(
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    error_code: Code = None,
    limit: Annotated[int, typer.Option(help="The most to list.", min=1, max=200)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List dead letters, newest first."""
    check_period(since, until)
    wanted = DeadLetterFilter(kind, since, until, storable(error_code) if error_code else None)

    async def run() -> None:
        from aigen_bridge.contracts.views import dead_letter_page

        async with operating() as parts:
            page = dead_letter_page(await parts.dead_letters.page(wanted, limit + 1), limit)
        if as_json:
            say_json(page)
        else:
            _print_list(page, wanted)

    asyncio.run(run())


def _print_list(page: DeadLetterPage, wanted: DeadLetterFilter) -> None:
    if not page.items:
        say("There are no dead letters." if wanted == NOTHING_FILTERED else "No dead letters match the filters.")
        return
    rows = [(letter.id, ago(letter.at), _facts(letter)) for letter in page.items]
    say_table(("id", "since", "what"), rows, least=len("request ") + 36)
    if page.next_cursor:
        say("There are more: raise --limit, or filter.")


def _facts(letter: DeadLetterResource) -> Text:
    """Returns what failed and how often, the request, and the beginning of the last error, on lines of their own."""
    lines = [f"{letter.kind}, {_times(letter.times)}: {letter.error_code}"]
    of = f" of Odoo {letter.odoo}" if letter.odoo not in {None, DEFAULT_ODOO} else ""
    lines += [f"request {letter.request_id}{of}"] if letter.request_id else []
    return Text("\n".join([*map(one_line, lines), beginning(letter.detail)]))


def _times(count: int) -> str:
    return f"{count} time{'' if count == 1 else 's'}"


@app.command()
def show(name: Name) -> None:
    """Show a dead letter: its last error, the history of its request, and the commands to handle it."""

    async def run() -> None:
        async with operating() as parts:
            letter = await parts.dead_letters.get(storable(name))
            if letter is None:
                raise UnknownDeadLetterError(name[:100])
            say(f"{letter.id}: {letter.kind}, {_times(letter.times)}, dead since {letter.at.isoformat()}")
            say(one_line(f"{letter.error_code}: {letter.detail}") + "\n")
            if letter.request_id and letter.kind not in {CALLBACK_KIND, N8N_KIND}:
                await show_story(parts, letter.request_id)
            say(_how_to_act(letter.id, parts.settings.public_url))

    asyncio.run(run())


def _how_to_act(name: str, url: str) -> str:
    is_callback = DeadLetterName.parse(name).kind == CALLBACK_KIND
    return "\n".join(
        [
            *(["Save its body and its images to files:", f"  aigen-bridge dead-letters save {name}"] * is_callback),
            "Replay it:",
            f"  aigen-bridge dead-letters replay {name}",
            f"  curl -X POST -H \"X-API-Key: $OPS_KEY\" '{url}{DEAD_LETTERS}/{name}/replay'",
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
    max_per_second: Annotated[
        float, typer.Option(help="With --all: the rate at which they become due.", min=0.01, max=1000)
    ] = 10,
    background: Annotated[
        bool, typer.Option("--background", help="With --all: workers replay them, however many there are.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Replay one dead letter, or all that match the filters."""
    if (name is None) == (not every):
        raise typer.BadParameter("give one id, or --all")
    check_period(since, until)
    wanted = DeadLetterFilter(kind, since, until, storable(error_code) if error_code else None)
    if name is not None and wanted != NOTHING_FILTERED:
        raise typer.BadParameter("filters select among all: give --all instead of an id")
    if background and not every:
        raise typer.BadParameter("give --all, too: a single dead letter is replayed at once", param_hint="--background")
    if name is not None:
        asyncio.run(_replay_one(name, given(reason), dry_run=dry_run))
    elif background:
        asyncio.run(_replay_in_background(wanted, given(reason), per_second=max_per_second, dry_run=dry_run))
    else:
        asyncio.run(_replay_all(wanted, given(reason), per_second=max_per_second, dry_run=dry_run))


async def _replay_one(name: str, reason: str | None, *, dry_run: bool) -> None:
    async with operating() as parts:
        if dry_run:
            letter = await parts.dead_letters.get(storable(name))
            if letter is None:
                raise UnknownDeadLetterError(name[:100])
            of = f" of request {letter.request_id}" if letter.request_id else ""
            say(f"Would replay {name}: {letter.kind}{of}.")
            return
        handled = await parts.replays.replay(DeadLetterName.parse(name), OperatorAction(person(), reason))
    state = f"; request {handled.request_id} is {handled.status}" if handled.request_id else ""
    say(f"{name} is replayed{state}.")


async def _replay_all(wanted: DeadLetterFilter, reason: str | None, *, per_second: float, dry_run: bool) -> None:
    async with operating() as parts:
        action = OperatorAction(person(), reason)
        result = await parts.replays.replay_all(wanted, action, per_second=per_second, dry_run=dry_run)
    verb = "Would replay" if dry_run else "Replayed"
    say(f"{verb} {len(result.done)} of {result.matched}: {', '.join(result.done) or 'none'}")
    if result.more:
        say("There are more: run it again.")
    if result.failed:
        fail(*(f"{name}: {reason}" for name, reason in result.failed.items()))


async def _replay_in_background(
    wanted: DeadLetterFilter, reason: str | None, *, per_second: float, dry_run: bool
) -> None:
    async with operating() as parts:
        action = OperatorAction(person(), reason)
        if dry_run:
            preview = await parts.replay_jobs.preview(wanted, action)
            say(f"Would replay {preview.matched}: {', '.join(letter.id for letter in preview.first) or 'none'}")
            if preview.matched > len(preview.first):
                say("These are the oldest.")
            return
        job = await parts.replay_jobs.begin(wanted, action, per_second)
        say(f"Replay {job.id} has begun: {job.matched} dead letter{'' if job.matched == 1 else 's'}.")
        say(f"See {parts.settings.public_url}/console/replays/{job.id}, or GET /api/v1/ops/replays/{job.id}.")


@app.command()
def discard(name: Name, reason: Annotated[str, typer.Option(help="The reason, which is recorded.")]) -> None:
    """Discard a dead letter for good."""
    note = given(reason)

    async def run() -> None:
        async with operating() as parts:
            await parts.replays.discard(DeadLetterName.parse(name), OperatorAction(person(), note))
        say(f"{name} is discarded.")

    asyncio.run(run())
