"""`aigen-bridge marking`: checks the marks of files, makes a test certificate, lists and marks stored images."""

import asyncio
import csv
import json
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.terminal import Reason, fail, given, person, say
from aigen_bridge.cli.times import FORMS, check_period, parse_time
from aigen_bridge.domain.addon import FIRST_WITH_MARKS, is_older
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.provenance import MarkingMode
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from aigen_bridge.store.marking import Unmarked

COLUMNS = ("acceptedAt", "requestId", "odoo", "userId", "completedAt", "examined", "invalidManifest")
EXTRA_MISSING = "This needs the extra 'marking'. Install it: pip install 'aigen-bridge[marking]'."

app = typer.Typer(help="Check the marks of files, and list and mark stored images.", no_args_is_help=True)

Time = datetime | None
Since = Annotated[
    datetime, typer.Option(parser=parse_time, metavar="TIME", help=f"Requests accepted at or after: {FORMS}.")
]
Until = Annotated[Time, typer.Option(parser=parse_time, metavar="TIME", help="Requests accepted before. Default: now.")]


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Images: PNG, JPEG or WebP.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each file.")] = False,
) -> None:
    """Show the marks in image files that say that AI made them.

    The exit status is 0 if each file carries such a mark, and no mark is broken. Needs no settings.
    """
    passed = [_check(path, as_json=as_json) for path in files]
    raise typer.Exit(0 if all(passed) else 1)


def _check(path: Path, *, as_json: bool) -> bool:
    from aigen_bridge.cli.marks_of_file import NotAnImageError, read_marks

    try:
        marks = read_marks(path)
    except NotAnImageError as error:
        name = one_line(str(path))
        described = {"file": str(path), "error": str(error), "saysGenerated": False}
        say(json.dumps(described) if as_json else f"{name}: {one_line(str(error))}.")
        return False
    say(json.dumps(marks.as_json()) if as_json else one_line(str(path)))
    for name, fact in marks.facts() if not as_json else ():
        say(f"  {name:<13} {fact}")
    return marks.says_generated


@app.command(name="test-certificate")
def test_certificate(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder for both files.")]) -> None:
    """Make a test certificate and its key. Nobody trusts them: publish nothing that is signed with them."""
    try:
        from aigen_bridge.clients.signing_certificate import TEST_LIFETIME, make_test_certificate
    except ImportError:
        fail(EXTRA_MISSING)
    try:
        certificate, key = make_test_certificate(folder, datetime.now(UTC))
    except OSError as error:
        fail(f"{error.filename} cannot be made: {error.strerror}." if error.strerror else str(error))
    say(f"AIGEN_MARKING__CERTIFICATE={certificate.resolve()}")
    say(f"AIGEN_MARKING__KEY={key.resolve()}")
    say(f"For tests only, {TEST_LIFETIME.days} days: nobody trusts it. Publish nothing that is signed with it.")


@app.command()
def report(
    since: Since,
    until: Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each image.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List completed images without a valid mark, neither one that they came with nor one of the bridge."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    period = _period(since, until)

    async def run() -> int:
        count = 0
        show = _writer(as_json=as_json, as_csv=as_csv)
        async with operating() as parts:
            async for images in parts.marking.unmarked(*period, leaves_found=True):
                count += len(images)
                for image in images:
                    show(_row(image))
        return count

    count = asyncio.run(run())
    if not (as_json or as_csv):
        say(f"{_counted(count)} without a valid mark." if count else "There are no images without a valid mark.")


@app.command()
def apply(
    since: Since,
    until: Until = None,
    max_per_second: Annotated[
        float, typer.Option(help="How many images are marked per second.", min=0.01, max=100)
    ] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be marked.")] = False,
    reason: Reason = None,
) -> None:
    """Mark stored images that the bridge has not marked. Status and times stay, and nobody is notified.

    It may be stopped, and run again: images that are marked or waiting to be marked are passed over.
    """
    period, note = _period(since, until), given(reason)
    count = asyncio.run(_apply(*period, note, spacing=timedelta(seconds=1 / max_per_second), dry_run=dry_run))
    if dry_run:
        say(f"Would mark {_counted(count)}. Nothing was changed.")
        return
    if not count:
        say("There are no images to mark: each is marked, is waiting to be marked, or could not be marked.")
        say("To see what could not be marked: aigen-bridge dead-letters list --kind mark")
        return
    say(f"The workers will mark {_counted(count)}, {max_per_second:g} per second.")
    say("Odoo replaces each image with the marked one: links stay valid, and nobody is notified.")
    say("To see what remains: aigen-bridge marking report --since …")
    say("To see what cannot be marked: aigen-bridge dead-letters list --kind mark")


async def _apply(since: datetime, until: datetime, note: str | None, *, spacing: timedelta, dry_run: bool) -> int:
    count = 0
    async with operating() as parts:
        mode = parts.settings.marking.mode
        if mode is MarkingMode.OFF:
            fail("AIGEN_MARKING__MODE is off, so no worker marks images. Set it to metadata or c2pa first.", status=2)
        _refuse_old_addons(await parts.addons.known(), parts.settings.all_odoos)
        leaves_signed = mode is MarkingMode.METADATA  # metadata would break the signature
        if not dry_run:
            # Recorded first: a command that is killed must name its operator, too.
            described = {"since": since.isoformat(), "until": until.isoformat(), "mode": mode.value}
            await parts.marking.record(OperatorAction(person(), note), described)
        async for images in parts.marking.unmarked(since, until, leaves_signed=leaves_signed):
            count += (
                len(images)
                if dry_run
                else await parts.marking.enqueue(images, before=count, spacing=spacing, leaves_signed=leaves_signed)
            )
    return count


def _refuse_old_addons(known: Mapping[str, str | None], odoos: Collection[str]) -> None:
    """Ends the command if an Odoo would ignore marked images, while the bridge would show them as marked."""
    old = {odoo: found for odoo, found in known.items() if odoo in odoos and is_older(found, FIRST_WITH_MARKS)}
    if old:
        versions = ", ".join(f"{odoo} has {found or 'one that reports no version'}" for odoo, found in old.items())
        fail(
            f"Nothing was marked: the Odoo addon must have version {FIRST_WITH_MARKS} or later, and {versions}.",
            "An older addon ignores an image that is marked after it was delivered.",
            "Upgrade the addon, request an image in Odoo, which reports the version, and run this command again.",
            status=2,
        )


def _period(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    period = since, until or datetime.now(UTC)
    check_period(*period)
    return period


def _row(image: "Unmarked") -> dict[str, str | bool | None]:
    accepted, completed = image.created_at.isoformat(), image.completed_at.isoformat()
    known = image.is_examined, image.is_invalid
    values = accepted, str(image.request_id), image.odoo, image.user_id, completed, *known
    return dict(zip(COLUMNS, values, strict=True))


def _writer(*, as_json: bool, as_csv: bool) -> Callable[[dict[str, str | bool | None]], None]:
    """Returns what prints one image."""
    if as_json:
        return lambda row: say(json.dumps(row))
    if not as_csv:
        return lambda row: say(_line(row))
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    return writer.writerow


def _line(row: dict[str, str | bool | None]) -> str:
    at, request_id, odoo, user_id, _, examined, invalid = row.values()
    of = f" of Odoo {odoo}" if odoo != "default" else ""
    note = "no mark" if examined else "not examined: completed by an older version"
    note = "its own C2PA manifest is not valid" if invalid else note
    return one_line(f"{at}  {request_id}  {note}  for {user_id or 'an unknown user'}{of}")


def _counted(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"
