"""Runs real `aigen-bridge` processes from the command line."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "aigen_bridge")


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@asynccontextmanager
async def going_on(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs work that never ends by itself during the block. Fails the test if one of it has ended or failed."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def mentioning(text: str) -> list[str]:
    """Returns the command lines of running processes that contain this text."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended by now
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if text in line]


@dataclass(frozen=True)
class Running:
    """A running process; `said` is its output until it was ready."""

    process: asyncio.subprocess.Process
    said: str

    @property
    def url(self) -> str:
        """The base URL that it printed."""
        match = re.search(r"Ready: (http://[0-9.:]+)", self.said)
        assert match, self.said
        return match[1]


@asynccontextmanager
async def started(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path,
    ready: str,
    port: int | None = None,
) -> AsyncIterator[Running]:
    """Starts a command, waits until it prints a line that matches `ready`, and stops it at the end.

    With `port`, also waits until it listens there: the processes of a server say that they are ready before they do.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env={**os.environ, "AIGEN_LOG__FORMAT": "json", **(environment or {})},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading = None
    try:
        output = await asyncio.wait_for(_until(process, ready), 60)
        reading = asyncio.create_task(_drain(process))
        if port:
            await _until_listening(port)
        yield Running(process, output)
    finally:
        await _end(process)
        if reading:
            await reading


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stops a process with SIGTERM first, because a killed process leaves its children running."""
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _until(process: asyncio.subprocess.Process, ready: str) -> str:
    output = ""
    assert process.stdout
    async for line in process.stdout:
        output += line.decode()
        if re.search(ready, line.decode()):
            return output
    raise AssertionError(f"it ended before it was ready:\n{output}")


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    while await process.stdout.read(65536):
        pass
