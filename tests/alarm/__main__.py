"""`python -m alarm`: plays the scenes. The exit status is 0 only if every alert and every resolution was received."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alarm.ground import Ground, ground
from alarm.rendering import FASTER
from alarm.scenes import SCENES, Scene

TOOLS = (("prometheus",), ("prometheus-alertmanager", "alertmanager"))
WARM_UP = 20.0
"""Seconds without faults at the start, to give the rates a baseline."""
OVER_WITHIN = 120.0
"""Seconds after the repair in which everybody must have received the resolution."""

console = Console(width=None if sys.stdout.isatty() else 170)


class NotReceivedError(Exception):
    """An expected alert or mail was not received in time."""


async def _until(what: str, condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Waits for the condition and returns the time that it took, in seconds."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > seconds:
            raise NotReceivedError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.2)
    return time.monotonic() - started


async def _play(scene: Scene, here: Ground) -> list[str]:
    """Plays a scene and returns its row of the table. Raises `NotReceivedError`."""
    await _until(f"{scene.alert} is quiet before", lambda: _quiet(here, scene), OVER_WITHIN)
    began = time.monotonic()
    await scene.breaks(here)
    fired = await _until(f"{scene.alert} fires", lambda: here.firing(scene.alert), scene.within)
    recipients = [scene.to, *([scene.second] if scene.second else [])]
    for recipient in recipients:
        await _mail(here, scene, recipient, over=False, since=began)
    first = here.mailbox.about(scene.alert, scene.to, over=False, since=began)[0]
    mended = time.monotonic()
    await scene.mends(here)
    over = await _until(f"{scene.alert} is over", lambda: _quiet(here, scene), OVER_WITHIN)
    for recipient in recipients:
        await _mail(here, scene, recipient, over=True, since=mended)
    last = here.mailbox.about(scene.alert, scene.to, over=True, since=mended)[-1]
    others = {name for mail in here.mailbox.mails if mail.at >= began for name in mail.alerts} - {scene.alert}
    if extra := others & scene.follows:
        raise NotReceivedError(f"{', '.join(sorted(extra))} should have been silent: it follows from {scene.alert}")
    times = (f"{fired:.0f} s", f"{first.at - began:.0f} s", f"{over:.0f} s", f"{last.at - mended:.0f} s")
    return [scene.name, scene.alert, *times[:2], ", ".join(recipients), *times[2:], ", ".join(sorted(others))]


async def _quiet(here: Ground, scene: Scene) -> bool:
    return not await here.firing(scene.alert)


async def _mail(here: Ground, scene: Scene, recipient: str, *, over: bool, since: float) -> None:
    async def there() -> bool:
        return bool(here.mailbox.about(scene.alert, recipient, over=over, since=since))

    await _until(f"mail to {recipient} that {scene.alert} is {'over' if over else 'there'}", there, OVER_WITHIN)


async def _play_all(home: Path, wanted: list[str]) -> bool:
    table = Table(
        "fault", "alert", "fired", "mail", "to", "over", "mail", "other alerts", title=f"Time {FASTER} times as fast"
    )
    failures = []
    async with ground(home) as here:
        console.print(f"Everything runs. {WARM_UP:.0f} s without faults, then {len(SCENES)} faults.")
        await asyncio.sleep(WARM_UP)
        for scene in SCENES:
            if wanted and not any(word in f"{scene.name} {scene.alert}" for word in wanted):
                continue
            console.print(f"{scene.name} …")
            try:
                table.add_row(*await _play(scene, here))
            except NotReceivedError as error:
                failures.append(str(error))
                table.add_row(scene.name, scene.alert, f"[red]{error}[/]")
                await scene.mends(here)
        console.print(table)
        for mail in here.mailbox.mails:
            console.print(f"  {mail.to}: {mail.subject}", markup=False, highlight=False)
    return bool(table.rows) and not failures


def main() -> None:
    """Plays all scenes, or those that match an argument."""
    missing = [names[0] for names in TOOLS if not any(shutil.which(name) for name in names)]
    if missing:
        text = f"Not installed: {', '.join(missing)}. Debian: apt-get install prometheus prometheus-alertmanager"
        console.print(text, soft_wrap=True)
        raise SystemExit(2)
    home = Path(tempfile.mkdtemp(prefix="aigen-alarm-"))
    succeeded = asyncio.run(_play_all(home, sys.argv[1:]))
    if succeeded:
        shutil.rmtree(home)
    else:
        console.print(f"Logs are in {home}.")
    raise SystemExit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
