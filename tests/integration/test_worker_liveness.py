"""`/health/live` of a worker: it fails when the worker stands still, and only then."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from aigen_bridge.metrics import LOOPS
from aigen_bridge.metrics.port import PortRules, metrics_port
from aigen_bridge.sim.faults import Fault, FaultKind
from stage import Stage, working

PATIENCE = timedelta(seconds=1)


@pytest.fixture
def live() -> Iterator[str]:
    """The URL of the check, in a process in which no lane has begun."""
    LOOPS.clear()
    with metrics_port("127.0.0.1", 0, PortRules(PATIENCE)) as url:
        yield url.replace("/metrics", "/health/live")


def _get(url: str, after: float = 0) -> httpx.Response:
    time.sleep(after)
    return httpx.get(url, trust_env=False, verify=False)


async def _until_alive(url: str) -> None:
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(_get, url)).status_code != 200:
            await asyncio.sleep(0.05)


async def test_a_worker_whose_event_loop_is_blocked_is_not_alive_until_it_goes_on(live: str, idle_stage: Stage) -> None:
    quick = idle_stage.settings.worker.model_copy(update={"poll": PATIENCE / 4})
    async with working(idle_stage.settings.model_copy(update={"worker": quick})):
        await _until_alive(live)
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(_get, live, after=1.5)
            answer.exception(timeout=30)  # blocks the event loop meanwhile
        assert answer.result().status_code == 503
        await _until_alive(live)


async def test_a_worker_is_alive_while_n8n_does_not_answer(live: str, idle_stage: Stage) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=3 * PATIENCE.total_seconds()))
    quick = idle_stage.settings.worker.model_copy(update={"poll": PATIENCE / 4})
    async with working(idle_stage.settings.model_copy(update={"worker": quick})):
        await idle_stage.ask()
        await asyncio.sleep(1.5 * PATIENCE.total_seconds())
        await _until_alive(live)
        assert await idle_stage.chain.n8n.calls.seen(1, "webhook")  # it was under way meanwhile


def test_a_single_lane_that_stands_still_is_named(live: str) -> None:
    LOOPS.labels("dispatch").set(time.time() + 60)  # however long this takes
    LOOPS.labels("deliver:north").set(time.time() - 5)
    answer = _get(live)
    assert (answer.status_code, answer.text) == (503, "Lanes that have not looked for work for 1 s: deliver:north.\n")


def test_a_sweep_that_takes_long_is_no_reason_to_restart_a_worker(live: str) -> None:
    LOOPS.labels("dispatch").set(time.time() + 60)  # however long this takes
    LOOPS.labels("sweep").set(time.time() - 500)
    assert _get(live).status_code == 200


def test_a_worker_in_which_no_lane_has_begun_is_not_alive_yet(live: str) -> None:
    answer = _get(live)
    assert (answer.status_code, answer.text) == (503, "The worker has not begun to work.\n")
