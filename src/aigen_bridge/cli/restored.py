"""`aigen-bridge restored`: reconciles the requests with Odoo after the database was restored from a backup."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from aigen_bridge import logs
from aigen_bridge.cli.running import until_stopped
from aigen_bridge.cli.terminal import fail, person, say
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.settings import Settings, load

if TYPE_CHECKING:
    from aigen_bridge.store.images import ImageStore
    from aigen_bridge.store.restoration import Restoration

app = typer.Typer()


@app.command()
def restored(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be changed.")] = False,
    max_per_second: Annotated[float, typer.Option(help="The rate of deliveries to Odoo.", min=0.01, max=1000)] = 10,
) -> None:
    """Reconcile with Odoo after restoring the bridge's database from a backup, before the workers start.

    Odoo may know later news than the backup, and ignores versions that are not newer than what it knows. This raises
    the versions of all requests above what Odoo can know, and delivers again what Odoo may know differently:
    open requests, failures of the bridge, and deliveries that were pending. A picture that Odoo has stays. It also
    takes over the image store, if there is one. Safe to run again, also after it was interrupted.
    """
    settings = load(Settings)
    logs.configure("ERROR", settings.log.format)
    until_stopped(lambda stop: _run(settings, stop, dry_run=dry_run, spacing=timedelta(seconds=1 / max_per_second)))


async def _run(settings: Settings, stop: asyncio.Event, *, dry_run: bool, spacing: timedelta) -> None:
    from aigen_bridge.wiring import open_restoration

    async with open_restoration(settings) as (restoration, images):
        if dry_run:
            counted = await restoration.count()
            say(
                f"Would raise the versions of {counted['requests']} requests and deliver to Odoo again: "
                f"{counted['open']} open, {counted['failed']} that failed for a reason of the bridge, "
                f"{counted['undelivered']} that were to be delivered. Nothing was changed."
            )
            return
        await lift_all(restoration, stop, spacing)
        await own_images(images)


async def lift_all(restoration: "Restoration", stop: asyncio.Event, spacing: timedelta) -> None:
    """Lifts all requests, batch by batch, until `stop` is set: then it fails, because the rest is missing."""
    floor = await restoration.begin(OperatorAction(person()))
    lifted = delivered = 0
    for is_open in (True, False):  # people wait for the open ones
        after: UUID | None = None
        while True:
            batch = await restoration.lift(floor, after, is_open=is_open, delay=delivered * spacing, spacing=spacing)
            lifted, delivered, after = lifted + batch.lifted, delivered + batch.delivered, batch.last
            if after is None:
                break
            if stop.is_set():
                fail(f"Stopped after {lifted} requests. Run it again before the workers start: it begins anew.")
    say(f"Raised the versions of {lifted} requests above {floor}. {delivered} of them are delivered to Odoo again.")


async def own_images(images: "ImageStore") -> None:
    """Makes the image store this database's. The database that it replaces cannot delete images there any more."""
    try:
        await images.adopt(if_owned=True)
    except ImageStoreAwayError as error:
        fail(
            f"The image store was not taken over: {error.reason}. Everything else is done.",
            "Until it is, no image in it can be read. Correct that, then run: aigen-bridge images adopt",
        )
    if images.has_objects:
        say("The image store belongs to this database now.")
