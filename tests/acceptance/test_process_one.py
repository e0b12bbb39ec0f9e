"""Stopping a container: the image's entry point as process 1 of a PID namespace.

The kernel drops signals for process 1 that it does not handle.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from ports import free_port
from processes import COMMAND
from stage import Stage

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
AWAY = {"AIGEN_DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d", "AIGEN_LOG__FORMAT": "json"}
KILLED_BY_SIGTERM = 128 + signal.SIGTERM


def _can_unshare() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="needs unshare, and the right to make a PID namespace")


@dataclass
class Container:
    """A PID namespace. `unshare` is its parent; its exit status is that of process 1."""

    unshare: asyncio.subprocess.Process

    def process_one(self) -> int:
        """Returns the id of process 1 as this side sees it."""
        (pid,) = _children(self.unshare.pid)
        return pid

    def terminate(self) -> None:
        """Sends SIGTERM to process 1, as container engines do."""
        os.kill(self.process_one(), signal.SIGTERM)

    async def status(self, seconds: float) -> int:
        """Returns the exit status once it has ended, within so many seconds."""
        return await asyncio.wait_for(self.unshare.wait(), seconds)

    async def until_it_says(self, words: str) -> None:
        """Reads its output up to these words."""
        assert self.unshare.stdout
        async with asyncio.timeout(60):
            async for line in self.unshare.stdout:
                if words in line.decode():
                    return
        raise AssertionError(f"it ended without saying {words!r}")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def contained(*arguments: str, environment: Mapping[str, str], cwd: Path) -> AsyncIterator[Container]:
    """Starts the image's entry point with these arguments. Kills what is left at the end."""
    (entry_point,) = re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    *init, service = json.loads(entry_point)
    assert service == "aigen-bridge"
    process = await asyncio.create_subprocess_exec(
        *NAMESPACE,
        *init,
        *COMMAND,
        *arguments,
        env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Container(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until_entry_point_runs(container: Container) -> None:
    async with asyncio.timeout(10):
        while not (children := _children(container.unshare.pid)) or not _children(children[0]):
            await asyncio.sleep(0.01)


async def test_sigterm_before_the_service_handles_signals_ends_it(configured: dict[str, str], tmp_path: Path) -> None:
    async with contained("worker", environment=configured | AWAY, cwd=tmp_path) as container:
        await _until_entry_point_runs(container)
        container.terminate()
        assert await container.status(5) == KILLED_BY_SIGTERM


@pytest.mark.parametrize(
    ("arguments", "ready"),
    [(["worker"], "worker.started"), (["serve", "--port", "PORT"], "Application startup complete")],
)
async def test_sigterm_ends_it_with_status_0_even_while_the_database_is_away(
    arguments: list[str], ready: str, configured: dict[str, str], tmp_path: Path
) -> None:
    arguments = [word.replace("PORT", str(free_port())) for word in arguments]
    async with contained(*arguments, environment=configured | AWAY, cwd=tmp_path) as container:
        await container.until_it_says(ready)
        container.terminate()
        assert await container.status(20) == 0


async def test_processes_whose_parents_ended_leave_no_zombies(configured: dict[str, str], tmp_path: Path) -> None:
    async with contained("worker", environment=configured | AWAY, cwd=tmp_path) as container:
        await container.until_it_says("worker.started")
        one = container.process_one()
        service = _children(one)
        inside = ("nsenter", f"--target={one}", "--pid", "--mount", "sh", "-c", "sleep 60 >/dev/null 2>&1 &")
        assert await (await asyncio.create_subprocess_exec(*inside)).wait() == 0
        async with asyncio.timeout(10):
            while not (orphans := {*_children(one)} - {*service}):
                await asyncio.sleep(0.02)
            os.kill(orphans.pop(), signal.SIGKILL)
            while _children(one) != service:  # a zombie would still be a child
                await asyncio.sleep(0.02)


async def test_a_second_sigterm_ends_a_worker_at_once_that_waits_for_a_call(
    configured: dict[str, str], idle_stage: Stage, tmp_path: Path
) -> None:
    n8n = idle_stage.chain.n8n
    n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=30))
    environment = configured | {"AIGEN_LOG__FORMAT": "json", "AIGEN_N8N": json.dumps(idle_stage.chain.bridge["n8n"])}
    async with contained("worker", environment=environment, cwd=tmp_path) as container:
        await container.until_it_says("worker.started")
        await idle_stage.ask()
        async with asyncio.timeout(20):
            while not n8n.calls.to("webhook"):
                await asyncio.sleep(0.02)
        container.terminate()
        with pytest.raises(TimeoutError):
            await container.status(2)
        container.terminate()
        assert await container.status(5) == 1
