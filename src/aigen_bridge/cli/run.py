"""The commands that run the service."""

import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from aigen_bridge import tracing
from aigen_bridge.cli.running import (
    HOME,
    Home,
    Host,
    Port,
    check_database,
    complete_settings,
    configure_logs,
    until_stopped,
)
from aigen_bridge.cli.terminal import say
from aigen_bridge.metrics import shared_between_processes
from aigen_bridge.metrics.port import PortRules, metrics_port
from aigen_bridge.settings import Settings, TlsSettings, fingerprints, load
from aigen_bridge.settings.rotation import Part, Rotation, read_from_settings
from aigen_bridge.settings.sections import DatabaseSection, WorkerSettings
from aigen_bridge.sockets import bind, unbracketed

LANE_TIMEOUTS = 6
"""Database timeouts that one round of a lane may take: it waits for a connection, claims, and asks what is due next."""

app = typer.Typer()
log = structlog.get_logger(__name__)


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    home: Home = HOME,
) -> None:
    """Run API and worker together, with local stand-ins for everything that is not configured."""
    from aigen_bridge.local import up as run_up

    configure_logs()
    tracing.start()
    until_stopped(lambda stop: run_up(home=home, host=host, port=port, stop=stop, say=say))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    processes: Annotated[int, typer.Option(help="Number of API processes.", min=1, max=64)] = 1,
) -> None:
    """Run the API. Everything must be configured. With several processes, SIGHUP replaces them one by one."""
    settings = complete_settings()  # fails here, not in each process
    check_database(settings)
    bind(host, port).close()  # says in words what uvicorn would not
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down
    with shared_between_processes() if processes > 1 else nullcontext():
        uvicorn.run(
            "aigen_bridge.asgi:from_environment",
            factory=True,
            host=unbracketed(host),
            port=port,
            workers=processes,
            http="aigen_bridge.api.connection:BoundedProtocol",
            loop="aigen_bridge.api.connection:Loop",
            ws="none",
            log_config=None,
            access_log=False,  # api/middleware.py logs more
            server_header=False,
            timeout_graceful_shutdown=20,
            timeout_worker_healthcheck=60,  # a replacement may take a while to start on a busy machine
            timeout_keep_alive=75,  # longer than callers keep connections open
            **_tls(settings.tls),
        )


def _tls(tls: TlsSettings) -> dict[str, Any]:
    """Returns uvicorn's TLS options. With `client_ca`, callers need a certificate of their own."""
    from aigen_bridge.api.tls import served_context

    if tls.certificate is None:
        return {}
    files: dict[str, Any] = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    files["ssl_context_factory"] = served_context
    if tls.client_ca:
        files |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return files


@app.command()
def worker() -> None:
    """Run a worker, which sends requests to N8N and results to Odoo. Start as many as you like."""
    from aigen_bridge import memory
    from aigen_bridge.worker.run import run_worker

    settings = complete_settings()
    check_database(settings)
    tracing.start()
    memory.prepare()
    rotation = Rotation(settings, partial(load, Settings))
    with _metrics_port(rotation):
        until_stopped(lambda stop: run_worker(settings, stop, rotation))
    tracing.stop()


@contextmanager
def _metrics_port(rotation: Rotation) -> Iterator[None]:
    """Serves the worker's port for metrics and health, if it is configured."""
    settings = rotation.settings
    if settings.worker.metrics_port is None:
        yield
        return

    def token() -> str | None:
        current = rotation.settings.metrics.token
        return current.get_secret_value() if current else None

    rotation.add(Part(fingerprints.of_metrics, read_from_settings))
    rules = PortRules(patience(settings.worker, settings.database), token, settings.metrics.enabled)
    with metrics_port(settings.worker.metrics_host, settings.worker.metrics_port, rules) as url:
        log.info("metrics.ready", url=url)
        yield


def patience(worker: WorkerSettings, database: DatabaseSection) -> timedelta:
    """Returns how long a lane may take from one look for work to the next."""
    return worker.poll + LANE_TIMEOUTS * database.timeout


@app.command()
def migrate() -> None:
    """Migrate the database to this version. Safe to run again."""
    from aigen_bridge.settings import DatabaseSettings
    from aigen_bridge.store import migrations
    from aigen_bridge.wiring import migrate_database

    configure_logs()
    migrate_database(load(DatabaseSettings))
    say(f"The database is at revision {migrations.head()}.")
