"""Runs the bridge as a separate process for the demo: starts it, waits until it is ready, stops it with SIGTERM."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS, STOP_SECONDS = 60, 30
_READY = re.compile(r"Ready: (http://\S+?),")


class BridgeNotStartedError(Exception):
    """The process ended, or did not report within `START_SECONDS` that it is ready."""


@dataclass(frozen=True, slots=True)
class BridgeProcess:
    """A running bridge: its base URL, its process, and the file with its log."""

    url: str
    process: asyncio.subprocess.Process
    log: Path


@asynccontextmanager
async def bridge(home: Path, sections: Mapping[str, Any]) -> AsyncIterator[BridgeProcess]:
    """Runs `aigen-bridge up` with its files in `home` and with the given sections of its settings.

    Raises `BridgeNotStartedError`.
    """
    log = home / "bridge.log"
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aigen_bridge", "up", "--port", "0", "--home", str(home)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            env=_environment(home, sections),
            cwd=home,  # a folder without a .env file
            start_new_session=True,  # Ctrl-C reaches only this process, which then stops the bridge
        )
    try:
        yield BridgeProcess(await _ready(process, log), process, log)
    finally:
        await _stop(process)


def _environment(home: Path, sections: Mapping[str, Any]) -> dict[str, str]:
    """Returns this process's environment with only the given settings of the bridge.

    The demo must not reach a real database, N8N or Odoo.
    """
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIGEN_")}
    given = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}
    return clean | given | {"AIGEN_SECRETS_DIR": str(home / "none")}


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - stdout=PIPE above
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stdout:
                if match := _READY.search(line.decode()):
                    return match[1]
    last = log.read_text(errors="replace").strip().splitlines()[-5:]
    raise BridgeNotStartedError("\n".join(["The bridge did not start. Its last words:", *last]))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.communicate(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
