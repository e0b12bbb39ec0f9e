"""`aigen-bridge destinations`: lists, pauses, resumes and limits what the bridge calls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.story import ago
from aigen_bridge.cli.terminal import complaints, fail, person, say, say_json, say_table
from aigen_bridge.contracts.destinations import (
    DestinationChanged,
    DestinationList,
    DestinationPause,
    DestinationResource,
    DestinationResume,
)
from aigen_bridge.contracts.refusal import InvalidMessageError, field_errors
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import Availability
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from aigen_bridge.pipeline.destinations import DestinationChange
    from aigen_bridge.wiring import ApiParts

app = typer.Typer(help="List, pause, resume and limit what the bridge calls: N8N and Odoo.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="n8n, odoo for the first Odoo, odoo:NAME, or marking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(name="list")
def list_destinations(as_json: AsJson = False) -> None:
    """List the destinations: whether each is paused or away, what waits for it, and how many calls it gets."""

    async def run() -> None:
        async with operating() as parts:
            found = DestinationList.of(await parts.destinations.overview())
        if as_json:
            say_json(found)
        else:
            columns = ("destination", "state", "backlog", "oldest", "in flight", "limit", "why")
            say_table(columns, [_row(each) for each in found.items])

    asyncio.run(run())


@app.command()
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for the others: 'Odoo is being upgraded.'")],
    as_json: AsJson = False,
) -> None:
    """Send nothing more to a destination until it is resumed. What waits for it does not expire."""
    note = _reason(DestinationPause, reason)

    def words(made: DestinationChanged) -> str:
        if made.changed:
            return f"{made.name} is paused. Calls in flight are finished; {made.backlog} entries wait."
        return f"Nothing was changed: {made.name} has been paused since {_paused(made)}"

    _change(lambda parts: parts.destination_changes.pause(name, OperatorAction(person(), note)), words, as_json=as_json)


@app.command()
def resume(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="What there is to say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send again what waits for a destination. The time of the pause does not count."""
    note = _reason(DestinationResume, reason)

    def words(made: DestinationChanged) -> str:
        if not made.changed:
            return f"Nothing was changed: {made.name} is not paused."
        away = " It was away before the pause, and is probed at once." if made.state is Availability.OPEN else ""
        return f"{made.name} is resumed; {made.backlog} entries wait.{away}"

    _change(
        lambda parts: parts.destination_changes.resume(name, OperatorAction(person(), note)), words, as_json=as_json
    )


@app.command()
def limit(
    name: Name,
    concurrency: Annotated[str, typer.Argument(help="The most calls in flight over all workers, or 'default'.")],
    as_json: AsJson = False,
) -> None:
    """Limit the calls in flight to a destination. 'default' restores the setting."""
    wanted = _number(concurrency)

    def words(made: DestinationChanged) -> str:
        how = "is" if made.changed else "was already"
        return f"The limit of {made.name} {how} {_limit(made)}."

    _change(
        lambda parts: parts.destination_changes.limit(name, wanted, OperatorAction(person())), words, as_json=as_json
    )


def _change(
    change: "Callable[[ApiParts], Awaitable[DestinationChange]]",
    words: Callable[[DestinationChanged], str],
    *,
    as_json: bool,
) -> None:
    async def run() -> None:
        async with operating() as parts:
            done = await change(parts)
        made = DestinationChanged.made(done.status, changed=done.changed)
        if as_json:
            say_json(made)
        else:
            say(words(made))

    asyncio.run(run())


def _reason(model: type[DestinationPause | DestinationResume], reason: str | None) -> str | None:
    values: dict[str, Any] = {} if reason is None else {"reason": reason}
    try:
        return model.model_validate(values).reason
    except ValidationError as error:
        fail(*complaints(InvalidMessageError("The reason", field_errors(error, model))), status=2)


def _number(text: str) -> int | None:
    if text == "default":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - far more than any limit
        fail(f"The limit {text!r} is wrong. Allowed: a number from 1, or 'default' for the setting.", status=2)
    return int(text)


def _row(each: DestinationResource) -> tuple[str, ...]:
    state = each.state if each.since is None else f"{each.state} since {ago(each.since)}"
    oldest = ago(each.oldest) if each.oldest else "-"
    return each.name, state, str(each.backlog), oldest, str(each.in_flight), _limit(each), _why(each)


def _limit(each: DestinationResource) -> str:
    if each.concurrency is None:
        return "that of each worker"
    of = "" if each.concurrency == each.configured else " (set by an operator)"
    now = f", now {each.allowance}" if each.allowance not in {None, each.concurrency} else ""
    return f"{each.concurrency}{now}{of}"


def _why(each: DestinationResource) -> str:
    if each.state is Availability.PAUSED:
        away = f"; away since {ago(each.away_since)}" if each.away_since else ""
        return f"{each.paused_by}: {each.pause_reason}{away}"
    return each.error_detail or "-" if each.state is Availability.OPEN else "-"


def _paused(each: DestinationResource) -> str:
    since = ago(each.since) if each.since else "?"
    return one_line(f"{since} by {each.paused_by}: {each.pause_reason}")
