"""`aigen-bridge up`: API and worker in one process, with stand-ins for everything that is not configured.

Without a database it starts an embedded PostgreSQL. Without clients it generates keys, in a file that only its owner
can read. Without N8N and Odoo it starts the simulators, and a request can be followed to its image.
"""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from aigen_bridge.api.connection import BoundedProtocol
from aigen_bridge.asgi import create_app
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.embedded import postgres
from aigen_bridge.settings import Scope, Settings, WrongSettingsError, load
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sockets import bind, local_url
from aigen_bridge.wiring import migrate_database, verify_database
from aigen_bridge.worker.run import run_worker

SHUTDOWN_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than callers keep connections open; otherwise one could be closed during a call."""
CLIENT_SCOPES = {"odoo": [Scope.REQUESTS], "n8n": [Scope.CALLBACKS], "ops": [Scope.OPS, Scope.REQUESTS]}
ODOO_UUID = "5b1f1f5e-7c0a-4f0e-9d0c-0d6f5f3b7a11"
"""The simulated Odoo's database is the same in every run: results for another one are held."""

Say = Callable[[str], None]


class _Server(uvicorn.Server):
    """Does not handle signals: `up` handles them, because the worker has to drain, too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def up(*, home: Path, host: str, port: int, stop: asyncio.Event, say: Say) -> None:
    """Runs API and worker until `stop` is set.

    Raises `WrongSettingsError` when settings are wrong, `OSError` when the port is taken.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # `up` reports readiness itself
    with bind(host, port) as sock:
        sock.listen()  # callers can connect from now on, before `Ready` is printed
        url = local_url(host, sock.getsockname()[1])
        async with local_settings(home, url, say) as settings:
            await asyncio.to_thread(migrate_database, settings)
            await asyncio.to_thread(verify_database, settings)
            server = _Server(_config(settings))
            say(f"Ready: {url}, console at {url}/console, documentation at {url}/docs. Stop with Ctrl-C.")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run_worker(settings, stop))
                tasks.create_task(server.serve(sockets=[sock]))
                await stop.wait()
                server.should_exit = True


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


@asynccontextmanager
async def local_settings(home: Path, url: str, say: Say) -> AsyncIterator[Settings]:
    """Yields the settings, with stand-ins for parts that are missing entirely. An incomplete part is an error."""
    missing = _missing_parts()
    given: dict[str, Any] = {}
    async with AsyncExitStack() as running:
        if "database_url" in missing:
            folder = home / "postgres"
            given["database_url"] = running.enter_context(postgres(folder))
            say(f"AIGEN_DATABASE_URL is not set: an embedded PostgreSQL runs in {folder}.")
        if "clients" in missing:
            given["clients"], where = local_clients(home)
            say(f"AIGEN_CLIENTS is not set: the keys are in {where}.")
        if "public_url" in missing:
            given["public_url"] = url
        if {"n8n", "odoo"} <= missing:
            chain, n8n = await _simulated(running)
            given |= chain.bridge | {"clients": given.get("clients", {}) | {"simulated-n8n": n8n}}
            say(f"N8N and Odoo are not configured: simulators stand in, at {chain.n8n_url} and {chain.odoo_url}.")
        yield load(Settings, **given)


async def _simulated(running: AsyncExitStack) -> tuple[Chain, dict[str, Any]]:
    """Starts the simulators. Also returns the client of the bridge that the simulated N8N is; it signs."""
    key, secret = secrets.token_urlsafe(32), new_secret()
    signing: dict[str, Any] = {"signing_secret": secret, "webhook_signing_secret": new_secret()}
    simulated = simulators(callback_key=key, odoo_uuid=ODOO_UUID, stands_in=True, **signing)
    chain = await running.enter_async_context(simulated)
    return chain, {"keys": [key], "scopes": [Scope.CALLBACKS], "signing_secrets": [secret], "signature_required": True}


def _missing_parts() -> frozenset[str]:
    try:
        load(Settings)
    except WrongSettingsError as error:
        return error.missing_parts
    return frozenset()


def local_clients(home: Path) -> tuple[dict[str, Any], Path]:
    """Returns clients with generated keys, stored in a file in `home` that only its owner can read, and its path."""
    path = home / "clients.json"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        generated = {
            name: {"keys": [secrets.token_urlsafe(32)], "scopes": scopes} for name, scopes in CLIENT_SCOPES.items()
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(generated, file, indent=2)
    try:
        return json.loads(path.read_text()), path
    except ValueError:
        raise WrongSettingsError([f"{path} is not valid JSON. Correct it, or delete it to get new keys."]) from None
