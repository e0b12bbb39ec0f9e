"""Metrics of real processes: several that share a port, and a worker with a port of its own."""

import asyncio
import re
from pathlib import Path

import httpx

from ports import free_port
from processes import started
from scrape import read
from silent_link import silent_link
from stage import REQUESTS


async def _get(url: str, **headers: str) -> httpx.Response:
    """On a connection of its own, so that any of several processes may answer."""
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        return await client.get(url, headers=headers)


async def test_whichever_process_answers_a_scrape_answers_for_all(configured: dict[str, str], tmp_path: Path) -> None:
    url, calls = f"http://127.0.0.1:{(port := free_port())}", 24
    arguments = ("serve", "--processes", "2", "--port", str(port))
    async with started(
        *arguments, environment=configured, cwd=tmp_path, ready=r"startup complete", port=port
    ) as running:
        for _ in range(calls):
            assert (await _get(f"{url}/health/live")).status_code == 200
        scrapes = [read((await _get(f"{url}/metrics")).text) for _ in range(6)]
        running.process.terminate()  # so that it ends its processes, too
        await running.process.wait()
    answered = {"route": "/health/live", "method": "GET", "status": "200"}
    assert {told.total("aigen_http_requests_total", **answered) for told in scrapes} == {float(calls)}


async def test_a_worker_tells_its_metrics_at_its_port(configured: dict[str, str], tmp_path: Path) -> None:
    environment = configured | {"AIGEN_WORKER__METRICS_PORT": "0", "AIGEN_METRICS__TOKEN": "for-prometheus"}
    async with started("worker", environment=environment, cwd=tmp_path, ready=r"metrics\.ready") as running:
        match = re.search(r"http://127.0.0.1:\d+/metrics", running.said)
        assert match
        refused = await _get(match[0])
        taken = await _get(match[0], Authorization="Bearer for-prometheus")
        elsewhere = await _get(match[0].replace("/metrics", REQUESTS))
    told = read(taken.text)
    assert [a.status_code for a in (refused, taken, elsewhere)] == [401, 200, 404]
    assert told.value("aigen_outbound_calls_total", destination="odoo", outcome="ok", error_class="none") == 0


async def test_a_worker_is_ready_while_the_database_answers_and_alive_also_when_it_falls_silent(
    configured: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    async with silent_link(database_url) as link:
        port = free_port()
        environment = configured | {
            "AIGEN_DATABASE_URL": link.url,
            "AIGEN_DATABASE__TIMEOUT": "2s",
            "AIGEN_WORKER__METRICS_PORT": str(port),
        }
        url, live = (f"http://127.0.0.1:{port}/health/{kind}" for kind in ("ready", "live"))
        async with started("worker", environment=environment, cwd=tmp_path, ready=r"worker\.started"):
            await _until_status(url, 200, seconds=20)
            link.fall_silent()
            await _until_status(url, 503, seconds=70)  # longer than a lane may stand still
            assert (await _get(live)).text == "ok\n"
            link.speak()
            await _until_status(url, 200, seconds=20)


async def _until_status(url: str, status: int, *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while (await _get(url)).status_code != status:
            await asyncio.sleep(0.2)


async def test_without_a_port_a_worker_listens_nowhere(configured: dict[str, str], tmp_path: Path) -> None:
    async with started("worker", environment=configured, cwd=tmp_path, ready=r"worker\.started") as running:
        assert "metrics.ready" not in running.said


async def test_a_worker_without_metrics_still_tells_its_health(configured: dict[str, str], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = configured | {"AIGEN_WORKER__METRICS_PORT": str(port), "AIGEN_METRICS__ENABLED": "false"}
    async with started("worker", environment=environment, cwd=tmp_path, ready=r"worker\.started"):
        await _until_status(f"{url}/health/live", 200, seconds=20)
        assert (await _get(f"{url}/metrics")).status_code == 404
