"""`aigen-bridge images`: shows where the images are, moves them, and takes over an image store."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.running import until_stopped
from aigen_bridge.cli.story import ago
from aigen_bridge.cli.terminal import Reason, fail, given, person, say
from aigen_bridge.doctor.finding import size, spoken
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from aigen_bridge.store.image_moves import ImageMoves, Moved
    from aigen_bridge.store.image_state import ImageStoreState
    from aigen_bridge.store.images import ObjectImages
    from aigen_bridge.wiring import ApiParts

SHOWN = 20
"""The most images that are named because they could not be moved."""
Target = Literal["store", "postgresql"]
PLACES: Mapping[Target, str] = {"store": "the image store", "postgresql": "PostgreSQL"}
DAMAGED: Mapping[Target, str] = {
    "store": "them in PostgreSQL from a backup",
    "postgresql": "the objects from a backup or an earlier version",
}
"""The objects or rows that an operator restores when they could not be moved to this place."""

app = typer.Typer(help="Show where the images are, move them, and take over an image store.", no_args_is_help=True)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show where the images are, and what waits to be moved or deleted.

    This reads the database only. 'aigen-bridge doctor' tries the image store.
    """

    async def run() -> tuple["ImageStoreState", str | None]:
        from aigen_bridge.store.image_state import read_state

        async with operating() as parts:
            return await read_state(parts.database), parts.settings.image_store.url

    state, url = asyncio.run(run())
    if as_json:
        shown = asdict(state) | {"setting": url, "due_for": state.due_for and state.due_for.total_seconds()}
        del shown["token"]
        say(json.dumps(shown, default=str, indent=2))
        return
    for name, value in _facts(state, url):
        say(f"{name:<21} {one_line(value)}")


def _facts(state: "ImageStoreState", url: str | None) -> list[tuple[str, str]]:
    facts = [("setting", _setting(state, url)), ("images are in", _places(state))]
    if state.away_since:
        facts.append(("away", f"since {ago(state.away_since)}: {state.away_reason or 'no reason is known'}"))
    if state.location or url:
        facts.append(("images in PostgreSQL", _at_most(state.waiting)))
        late = f", the first of them for {spoken(state.due_for)}" if state.due_for else ""
        facts.append(("due for deletion", _at_most(state.due) + late))
    return facts


def _setting(state: "ImageStoreState", url: str | None) -> str:
    if url is None and state.location is None:
        return "none: images are kept in PostgreSQL"
    return url or "none, for this command: AIGEN_IMAGE_STORE__URL is not set"


def _places(state: "ImageStoreState") -> str:
    if state.location is None:
        return "PostgreSQL"
    doing = "being moved to PostgreSQL" if state.is_draining else "new ones, too"
    return f"{state.location} ({doing})"


def _at_most(number: int) -> str:
    from aigen_bridge.store.image_state import MOST

    return f"{number}{' or more' if number >= MOST else ''}"


@app.command()
def move(
    to: Annotated[Target, typer.Option("--to", help="Where all images are to be.")],
    max_per_second: Annotated[
        float, typer.Option(help="The most images that are moved per second.", min=0.01, max=1000)
    ] = 50,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be moved.")] = False,
    reason: Reason = None,
) -> None:
    """Move all images to the image store or to PostgreSQL, while API and workers run.

    New images go there, too, from the beginning. It may be stopped, and run again: it goes on where it was. A move to
    PostgreSQL takes at least a minute, because it waits for images that are being stored when it begins. The exit
    status is 1 if it was stopped, or if an image could not be moved.
    """
    action = OperatorAction(person(), given(reason))
    until_stopped(lambda stop: _move(to, action, stop, max_per_second, dry_run=dry_run))


async def _move(to: Target, action: OperatorAction, stop: asyncio.Event, rate: float, *, dry_run: bool) -> None:
    from aigen_bridge.store.image_moves import ImageMoves
    from aigen_bridge.store.image_places import Target as Place

    async with operating() as parts:
        moves = ImageMoves(parts.database, _object_images(parts))
        waiting = await moves.waiting(Place(to))
        if dry_run:
            bytes_ = f", {size(waiting.size)}" if waiting.size else ""
            say(f"Would move {_counted(waiting.images)}{bytes_} to {PLACES[to]}. Nothing was changed.")
            return
        await moves.start(Place(to), action)
        try:
            moved, failed = await _all(moves, to, stop, rate, waiting.images)
        except ImageStoreAwayError as error:
            fail(
                f"Stopped: the image store is away: {error.reason}.",
                "Nothing is lost. 'aigen-bridge doctor' says what to correct; then run it again to go on.",
            )
        await _report(moves, to, moved, failed, is_stopped=stop.is_set())


async def _all(
    moves: "ImageMoves", to: Target, stop: asyncio.Event, rate: float, expected: int
) -> tuple[int, list[str]]:
    """Moves until nothing is left or `stop` is set. Returns how many images were moved, and what could not be."""
    pages: AsyncIterator[Moved] = moves.to_store() if to == "store" else moves.to_postgresql()
    images, total, failed = 0, 0, dict[str, None]()
    with Console(stderr=True).status("Moving …") as progress:
        async for page in pages:
            images, total = images + page.images, total + page.size
            failed |= dict.fromkeys(page.failed)
            progress.update(f"Moved {images} of {max(expected, images)} images, {size(total)} …")
            if await _is_set_within(stop, timedelta(seconds=page.images / rate)):
                break
    return images, list(failed)


async def _is_set_within(stop: asyncio.Event, pause: timedelta) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), pause.total_seconds())
    return stop.is_set()


async def _report(moves: "ImageMoves", to: Target, moved: int, failed: list[str], *, is_stopped: bool) -> None:
    say(f"Moved {_counted(moved)} to {PLACES[to]}.")
    for line in failed[:SHOWN]:
        say(f"  {one_line(line)}")
    if is_stopped:
        fail("Stopped before the end. Run it again to go on.")
    if failed:
        fail(
            f"{_counted(len(failed))} could not be moved.",
            f"Restore {DAMAGED[to]}, then run it again.",
        )
    if to == "store":
        await _report_rest(moves)
    elif await moves.finish():
        say("All images are in PostgreSQL, and new ones stay there. The workers delete the objects in a day;")
        say("until then, a backup from before the move finds them. Then remove AIGEN_IMAGE_STORE__URL.")
    else:
        fail("Another 'images move --to store' has begun meanwhile: new images go to the image store again.")


async def _report_rest(moves: "ImageMoves") -> None:
    from aigen_bridge.store.image_places import Target as Place

    rest = await moves.waiting(Place.STORE)
    if rest.images:
        say(f"Still in PostgreSQL: {_counted(rest.images)}, until earlier objects with the same keys are deleted.")
        say("The workers move them afterwards, within two days.")
    else:
        say("All images are in the image store.")


@app.command()
def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = None,
) -> None:
    """Make the image store this database's, after the objects were moved, or this database replaced another.

    The workers of a database delete what it does not know from its store. So never adopt the store of a database that
    is still in use, such as the one that this is a copy of.
    """
    action = OperatorAction(person(), given(reason))

    async def run() -> None:
        from aigen_bridge.store.image_state import read_state
        from aigen_bridge.store.image_watch import adopt as take_over

        async with operating() as parts:
            _object_images(parts)
            state = await read_state(parts.database)
            say(f"Image store:          {parts.settings.image_store.url}")
            say(f"Images until now in:  {state.location or 'PostgreSQL'}")
            if not yes:
                question = "Does it belong to this database alone, and hold its images?"
                typer.confirm(question, abort=True)
            await take_over(parts.database, parts.images, action)
            say("The image store belongs to this database now. Running processes notice within a minute.")

    try:
        asyncio.run(run())
    except ImageStoreAwayError as error:
        fail(
            f"The image store was not taken over: {error.reason}.",
            "'aigen-bridge doctor' says what to correct; then run it again.",
        )


def _object_images(parts: "ApiParts") -> "ObjectImages":
    from aigen_bridge.store.images import ObjectImages

    if not isinstance(parts.images, ObjectImages):
        fail("AIGEN_IMAGE_STORE__URL is not set for this command.", status=2)
    return parts.images


def _counted(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"
