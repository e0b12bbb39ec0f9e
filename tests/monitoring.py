"""Runs the machine's Prometheus and Alertmanager as processes on loopback, with the files of deploy/."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ports import free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
START_SECONDS, STOP_SECONDS = 60, 20


def tool(*names: str) -> str:
    """Returns the first of these programs that is installed. Skips the test when none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)")


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    async def ask(self, path: str, **query: str) -> Any:
        """Returns `data` of an API response. Fails the test with the response's text unless the status is 200."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30, verify=False) as client:
            answer = await client.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def value(self, expression: str) -> float | None:
        """Returns the current value of an expression with one result; None when there is no result."""
        result = (await self.ask("query", query=expression))["result"]
        return float(result[0]["value"][1]) if result else None


@asynccontextmanager
async def prometheus(
    folder: Path, targets: Mapping[str, Sequence[str]], *, rules: str | None = None, alertmanager: str | None = None
) -> AsyncIterator[Prometheus]:
    """Runs Prometheus, which scrapes these targets (by job) every second. `rules` is the content of its rules file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(rules or (DEPLOY / "prometheus/rules.yml").read_text())
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in targets.items()
        ],
    }
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    arguments = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    async with _running(tool("prometheus"), *arguments, f"--web.listen-address={address}", folder=folder):
        await _ready(f"http://{address}/-/ready")
        yield Prometheus(f"http://{address}")


@asynccontextmanager
async def alertmanager(folder: Path, config: str) -> AsyncIterator[str]:
    """Runs Alertmanager with this configuration. Yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(config)
    shutil.copy(DEPLOY / "alertmanager/mail.tmpl", folder / "mail.tmpl")
    address = f"127.0.0.1:{free_port()}"
    arguments = (
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    async with _running(tool("prometheus-alertmanager", "alertmanager"), *arguments, folder=folder):
        await _ready(f"http://{address}/-/ready")
        yield address


@asynccontextmanager
async def _running(*command: str, folder: Path) -> AsyncIterator[None]:
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, cwd=folder)
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(verify=False) as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
