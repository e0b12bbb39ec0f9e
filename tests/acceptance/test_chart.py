"""The pods of the Helm chart as real processes: with their arguments, their environment, their folder of secrets."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from kubernetes.cases import MINIMAL, with_values
from kubernetes.chart import Manifest, environment, helm, manifests, pods
from ports import free_port
from processes import run, started
from secret_folder import Folder
from stage import CLIENTS, KEYS, REQUESTS, make_event


@pytest.fixture(scope="module")
def rendered() -> dict[str, Manifest]:
    """The pods of API, worker and migration."""
    [found] = helm({"minimal": with_values(MINIMAL, {"listenAddress": "127.0.0.1"})}).rendered
    return dict(pods(manifests(found)))


@pytest.fixture
def secrets(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment that shows a process the folder of a pod."""
    values = {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_CLIENTS": json.dumps(CLIENTS),
        "AIGEN_N8N__API_KEY": "for-n8n",
        "AIGEN_ODOO__API_KEY": "for-odoo",
    }
    return {"AIGEN_SECRETS_DIR": str(Folder(tmp_path / "secrets", **values).path)}


async def _until_probes_pass(pod: Manifest, port: int) -> None:
    [container] = pod["spec"]["containers"]
    paths = [container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")]
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as client:
        while any([(await client.get(path)).status_code != 200 for path in paths]):
            await asyncio.sleep(0.1)


def _arguments(pod: Manifest) -> list[Any]:
    return list(pod["spec"]["containers"][0]["args"])


def test_the_migration_needs_no_more_than_it_gets(
    rendered: dict[str, Manifest], database_url: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "secrets", AIGEN_DATABASE_URL=database_url)
    given = environment(rendered["migrate"]) | {"AIGEN_SECRETS_DIR": str(folder.path)}
    done = run(*_arguments(rendered["migrate"]), environment=given, cwd=tmp_path)
    assert (done.returncode, "The database is at revision" in done.stdout) == (0, True), done.stderr


async def test_the_api_passes_its_probes_and_accepts_requests(
    rendered: dict[str, Manifest], secrets: dict[str, str], tmp_path: Path
) -> None:
    pod, port = rendered["api"], free_port()
    arguments = [str(port) if one == "8000" else one for one in _arguments(pod)]
    given = environment(pod) | secrets
    async with started(*arguments, environment=given, cwd=tmp_path, ready=r"startup complete", port=port):
        await _until_probes_pass(pod, port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as odoo:
            answer = await odoo.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})
    assert answer.status_code == 202


async def test_the_worker_passes_its_probes_while_n8n_and_odoo_cannot_be_reached(
    rendered: dict[str, Manifest], secrets: dict[str, str], tmp_path: Path
) -> None:
    pod, port = rendered["worker"], free_port()
    given = environment(pod) | secrets | {"AIGEN_WORKER__METRICS_PORT": str(port)}
    async with started(*_arguments(pod), environment=given, cwd=tmp_path, ready=r"worker\.started"):
        await _until_probes_pass(pod, port)
