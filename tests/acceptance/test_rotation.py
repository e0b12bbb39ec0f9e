"""Every secret is replaced while real processes work under load. No request fails, and nothing is restarted.

Run by `make e2e-rotation`, with that of the certificates in tests/security/test_tls.py.
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import stage
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.settings.report import SHOWN, reports
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.n8n import N8nSettings
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from aigen_bridge.store.database import LISTENER
from callbacks import signed
from ports import free_port
from processes import going_on, run, started
from roles import Role, role_with_password
from secret_folder import Folder
from stage import CALLBACK, REQUESTS, make_event

KEYS = stage.KEYS | {"north": "key-of-north"}
SCOPES = stage.SCOPES | {"north": ["requests"]}

pytestmark = [pytest.mark.rotation, pytest.mark.timeout(180)]


@dataclass
class Scene:
    """Two API processes and a worker, whose secrets are in `folder`."""

    chain: Chain
    north: OdooSimulator
    folder: Folder
    api: httpx.AsyncClient
    environment: Mapping[str, str]
    metrics_port: int
    role: Role
    listener: Role
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))
    accepted: dict[str, str] = field(default_factory=dict)
    """The ids of the requests, and which client asked."""

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Asks on and on from four sides; each call has the client's key of the time, and a connection of its own."""
        async with going_on(*(self._ask(client) for client in ("odoo", "odoo", "north", "north"))):
            yield

    async def _ask(self, client: str) -> None:
        while True:
            headers = {"X-API-Key": self.keys[client], "Connection": "close"}
            event = make_event()
            answer = await self.api.post(REQUESTS, json=event, headers=headers)
            assert answer.status_code == 202, answer.text
            self.accepted[event["requestId"]] = client
            await asyncio.sleep(0.1)

    async def until_more(self, count: int = 10) -> None:
        """Until so many more are accepted."""
        wanted = len(self.accepted) + count
        async with asyncio.timeout(30):
            while len(self.accepted) < wanted:
                await asyncio.sleep(0.02)

    async def until_used(self, secrets: Mapping[str, str]) -> None:
        """Until all processes that have these secrets use these values. The names may be beginnings."""
        async with asyncio.timeout(30):
            while {name: _values(name) for name in secrets} != {
                name: {hashlib.sha256(value.encode()).hexdigest()[:SHOWN]} for name, value in secrets.items()
            }:
                await asyncio.sleep(0.1)

    async def all_delivered(self) -> None:
        """Every accepted request is completed, and delivered once to the Odoo that asked."""
        query = (
            "SELECT request_id, status, error_code FROM requests WHERE delivered_at IS NULL OR status <> 'completed'"
        )
        deadline = time.monotonic() + 60
        while (left := self.role.as_owner(query)) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert not left, [self.role.as_owner("SELECT * FROM attempts WHERE outcome <> 'done'"), left]
        odoos = {"odoo": self.chain.odoo, "north": self.north}
        assert {odoos[client].records[request_id].applied for request_id, client in self.accepted.items()} == {1}


def _values(name: str) -> set[str]:
    return {secret.fingerprint for report in reports() for secret in report.secrets if secret.name.startswith(name)}


async def reconnect(role: Role) -> None:
    """Ends the connection on which the worker listens, and waits until it has opened another."""
    listening = f"FROM pg_stat_activity WHERE usename = '{role.name}' AND application_name = '{LISTENER}'"
    async with asyncio.timeout(20):
        while not (before := role.as_owner(f"SELECT pid, pg_terminate_backend(pid) {listening}")):
            await asyncio.sleep(0.1)
        while not {pid for (pid,) in role.as_owner(f"SELECT pid {listening}")} - {pid for pid, _ in before}:
            await asyncio.sleep(0.1)


@pytest.fixture
def role(database_url: str) -> Iterator[Role]:
    with role_with_password(database_url, "old-password") as role:
        yield role


@pytest.fixture
def listener(database_url: str) -> Iterator[Role]:
    with role_with_password(database_url, "old-listener", "listener") as role:
        yield role


@pytest.fixture
async def scene(role: Role, listener: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    api_port, metrics_port = free_port(), free_port()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    signing = {"signing_secret": new_secret(), "webhook_signing_secret": new_secret()}
    north = OdooSimulator(OdooSettings(api_key="old-key-for-north", database="north", series="19.0"))
    async with (
        simulators(callback_key=KEYS["n8n"], flux_seconds=0, **signing) as chain,
        serving(north.app) as north_url,
    ):
        sections = {name: dict(section) for name, section in chain.bridge.items()}
        folder = Folder(
            tmp_path / "secrets",
            AIGEN_CLIENTS=clients(KEYS, signing_secrets=[signing["signing_secret"]]),
            AIGEN_DATABASE_URL=role.url("old-password"),
            AIGEN_DATABASE__LISTEN_URL=listener.url("old-listener"),
            AIGEN_N8N__API_KEY=sections["n8n"].pop("api_key"),
            AIGEN_N8N__SIGNING_SECRET=sections["n8n"].pop("signing_secret"),
            AIGEN_N8N__SIGNING_SECRETS="",
            AIGEN_ODOO__API_KEY=sections["odoo"].pop("api_key"),
            AIGEN_ODOOS=odoos(north, north_url),
            AIGEN_METRICS__TOKEN="old-token",
        )
        environment = {
            **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
            "AIGEN_REQUESTS__RATE_LIMIT": "1000/second",
            "AIGEN_PUBLIC_URL": f"http://127.0.0.1:{api_port}",
            "AIGEN_SECRETS_DIR": str(folder.path),
            "AIGEN_WORKER__METRICS_PORT": str(metrics_port),
        }
        serve = ("serve", "--port", str(api_port), "--processes", "2")
        async with (
            started(*serve, environment=environment, cwd=tmp_path, ready="Application startup", port=api_port),
            started("worker", environment=environment, cwd=tmp_path, ready=r"worker\.started"),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{api_port}", timeout=30) as api,
        ):
            scene = Scene(chain, north, folder, api, environment, metrics_port, role, listener)
            async with asyncio.timeout(30):
                while len(reports()) < 3:
                    await asyncio.sleep(0.1)
            yield scene


async def test_every_secret_is_replaced_under_load_and_no_request_fails(scene: Scene) -> None:
    pids = {report.pid for report in reports()}
    n8n = scene.chain.n8n.settings
    old_key, old_odoo, old_signing, old_callbacks = _secrets_of(scene.chain)
    new_key, new_odoo, new_signing, new_callbacks = "new-key-for-n8n", "new-key-for-odoo", new_secret(), new_secret()
    old_north, new_north, odoos = scene.north.settings.api_key, "new-key-for-north", scene.folder.secrets["AIGEN_ODOOS"]
    accepts = _keys_of(scene, n8n={old_key}, odoo={old_odoo, new_odoo}, north={old_north, new_north})
    new_keys = {name: f"new-{key}" for name, key in KEYS.items()}
    both = clients(KEYS, new_keys, signing_secrets=[old_callbacks, new_callbacks])

    async with scene.asking():
        await scene.until_more()
        scene.folder.write(AIGEN_CLIENTS=both[:-5], AIGEN_METRICS__TOKEN="")  # half written, and empty
        await _until_problems("AIGEN_CLIENTS is wrong")
        shown = await asyncio.to_thread(run, "keys", environment=scene.environment)
        await scene.until_more()

        scene.folder.write(
            AIGEN_CLIENTS=both,
            AIGEN_DATABASE_URL=scene.role.url("new-password"),
            AIGEN_DATABASE__LISTEN_URL=scene.listener.url("new-listener"),
            AIGEN_N8N__API_KEY=new_key,
            AIGEN_N8N__SIGNING_SECRET=new_signing,
            AIGEN_N8N__SIGNING_SECRETS=old_signing,
            AIGEN_ODOO__API_KEY=new_odoo,
            AIGEN_ODOOS=odoos.replace(old_north, new_north),
            AIGEN_METRICS__TOKEN="new-token",
        )
        scene.keys = new_keys  # at once: a process that does not know it yet looks at the files
        _replace(n8n, signing_secret=new_callbacks)
        await scene.until_used(
            {
                "database: password": "new-password",
                "listener: password": "new-listener",
                "N8N: key": new_key,
                "N8N: signing secret 1": new_signing,
                "N8N: signing secret 2": old_signing,
                "Odoo default: key": new_odoo,
                "Odoo north: key": new_north,
                "metrics: token": "new-token",
            }
        )
        await reconnect(scene.listener)
        await scene.until_more()  # N8N's webhook and PostgreSQL do not know the new ones yet

        scene.role.set_password("new-password")
        scene.listener.set_password("new-listener")
        await reconnect(scene.listener)
        accepts["n8n"], accepts["odoo"], accepts["north"] = {new_key}, {new_odoo}, {new_north}
        _replace(n8n, webhook_signing_secret=new_signing, callback_key=new_keys["n8n"])
        await scene.until_more()

        scene.folder.write(
            AIGEN_CLIENTS=clients(new_keys, signing_secrets=[new_callbacks]), AIGEN_N8N__SIGNING_SECRETS=""
        )
        await scene.until_used(
            {
                "client odoo (requests): key": new_keys["odoo"],
                "client north (requests, Odoo north): key": new_keys["north"],
                "client n8n (callbacks, signed): key": new_keys["n8n"],
                "client n8n (callbacks, signed): signing secret": new_callbacks,
                "N8N: signing secret": new_signing,
            }
        )
        await scene.until_more()

    await scene.all_delivered()
    assert {report.pid for report in reports()} == pids
    assert [report.problems for report in reports()] == [(), (), ()]
    assert (shown.returncode, shown.stdout.count("keeps the values before: AIGEN_CLIENTS is wrong")) == (1, 3)
    secrets = (
        *KEYS.values(),
        *_secrets_of(scene.chain),
        old_key,
        old_north,
        old_signing,
        old_callbacks,
        "old-password",
        "old-listener",
    )
    assert not [secret for secret in secrets if secret in shown.stdout]
    metrics = (await _scrape(str(scene.api.base_url), "new-token")).text
    assert not re.findall(r"^aigen_authentication_failures_total.* [^0].*$", metrics, re.MULTILINE)
    for key in KEYS.values():
        refused = await scene.api.get(f"{REQUESTS}/{next(iter(scene.accepted))}", headers={"X-API-Key": key})
        assert refused.status_code == 401
    headers = {"X-API-Key": new_keys["n8n"], "Content-Type": "application/json", **signed(b"{}", old_callbacks)}
    refused = await scene.api.post(CALLBACK, content=b"{}", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "signature_invalid")
    for url in (str(scene.api.base_url), f"http://127.0.0.1:{scene.metrics_port}"):
        assert (await _scrape(url, "new-token")).status_code == 200
        assert (await _scrape(url, "old-token")).status_code == 401


def clients(*keys: Mapping[str, str], signing_secrets: list[str]) -> str:
    """AIGEN_CLIENTS, in which each client has its key of each of these, and N8N has to sign."""
    more = {"n8n": {"signing_secrets": signing_secrets, "signature_required": True}, "north": {"odoo": "north"}}
    return json.dumps(
        {
            name: {"keys": [each[name] for each in keys], "scopes": scopes, **more.get(name, {})}
            for name, scopes in SCOPES.items()
        }
    )


def odoos(north: OdooSimulator, url: str) -> str:
    """AIGEN_ODOOS."""
    known = north.settings
    return json.dumps(
        {"north": {"url": url, "database": known.database, "login": known.login, "api_key": known.api_key}}
    )


def _secrets_of(chain: Chain) -> tuple[str, str, str, str]:
    """The secrets that N8N and Odoo know: both keys, what the bridge signs with, and what N8N signs with."""
    n8n = chain.n8n.settings
    assert n8n.webhook_signing_secret
    assert n8n.signing_secret
    return n8n.key, chain.odoo.settings.api_key, n8n.webhook_signing_secret, n8n.signing_secret


def _keys_of(scene: Scene, **accepted: set[str]) -> dict[str, set[str]]:
    """Lets the simulators accept these keys, which the test may change."""
    for name, simulator in (("n8n", scene.chain.n8n), ("odoo", scene.chain.odoo), ("north", scene.north)):
        is_key: Callable[[str], bool] = lambda key, name=name: key in accepted[name]  # noqa: E731
        simulator._is_key = is_key  # type: ignore[method-assign,assignment]
    return accepted


def _replace(settings: N8nSettings, **secrets: str) -> None:
    """N8N uses these secrets from now on, also in executions that run already."""
    for name, value in secrets.items():
        object.__setattr__(settings, name, value)


async def _until_problems(text: str) -> None:
    """Until every process shows a problem with this text."""
    async with asyncio.timeout(30):
        while not all(text in " ".join(report.problems) for report in reports()):
            await asyncio.sleep(0.1)


async def _scrape(url: str, token: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
