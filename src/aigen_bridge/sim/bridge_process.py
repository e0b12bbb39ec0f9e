"""The bridge as a process of its own, for the demo: started, spoken to over HTTP, stopped with SIGTERM."""

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
    """The process ended, or did not say in time that it is ready."""


@dataclass(frozen=True, slots=True)
class BridgeProcess:
    """A running bridge: where it answers, the process, and the file that its log goes to."""

    url: str
    process: asyncio.subprocess.Process
    log: Path


@asynccontextmanager
async def bridge(home: Path, sections: Mapping[str, Any]) -> AsyncIterator[BridgeProcess]:
    """Run `aigen-bridge up` with its files in `home` and these sections of its settings."""
    log = home / "bridge.log"
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aigen_bridge", "up", "--port", "0", "--home", str(home)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            env=_environment(home, sections),
            cwd=home,  # where no .env is
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order
        )
    try:
        yield BridgeProcess(await _ready(process, log), process, log)
    finally:
        await _stop(process)


def _environment(home: Path, sections: Mapping[str, Any]) -> dict[str, str]:
    """Ours without any setting of the bridge: the demo must not meet a real database, N8N or Odoo."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIGEN_")}
    given = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}
    return clean | given | {"AIGEN_SECRETS_DIR": str(home / "none")}


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
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
