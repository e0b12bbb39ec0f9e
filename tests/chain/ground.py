"""The programs of the whole chain: what is real, what is simulated, and how each is stopped and started again."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.flux_jobs import Job, Stage
from aigen_bridge.sim.serving import serving
from chaos.ground import free_ports
from chaos.postgres import Postgres, postgres
from chaos.supervisor import Place, Supervisor
from loop_thread import LoopThread, loop_thread
from real_n8n import INSTALLED, ROOT, WEBHOOK, RealN8n, workflow_settings
from real_odoo import RealOdoo
from stage import KEYS, SCOPES

WEBHOOK_KEY, FLUX_KEY = "key-of-the-webhook", "key-of-the-service"
SIGNING_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
BRIDGE_SECRET = "whsec_NTQzMjEwenl4d3Z1dHNycXBvbm1sa2ppaGdmZWRjYmE="
SECRETS = {
    "AIGEN_N8N__API_KEY": WEBHOOK_KEY,
    "client_key_n8n": KEYS["n8n"],
    "ai_service_key": FLUX_KEY,
    "signing_secret_n8n": SIGNING_SECRET,
    "AIGEN_N8N__SIGNING_SECRET": BRIDGE_SECRET,
}
PAYS_ONCE = "speaks" in (ROOT / "n8n/aigen-main.json").read_text()
"""Whether the shipped workflow asks for a grant, names its job, and resumes it. Otherwise a killed N8N pays again."""
USUAL_SECONDS = 2.0
"""Duration of a generation."""


@dataclass
class AiService:
    """The simulated AI service. Stopped, it refuses connections."""

    loop: LoopThread
    port: int
    simulator: FluxSimulator = field(
        default_factory=lambda: FluxSimulator(FluxSettings(key=FLUX_KEY, seconds=USUAL_SECONDS))
    )
    _serving: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serves until it is stopped."""
        self._serving.enter_context(self.loop.open(serving(self.simulator.app, port=self.port)))

    def stop(self) -> None:
        """Stops serving."""
        self._serving.close()

    def jobs_of(self, correlation_id: str) -> list[Job]:
        """Returns the jobs for one request."""
        return self.simulator.jobs.of(correlation_id)

    def is_waited_for(self, job: Job) -> bool:
        """Whether the job runs and N8N knows it: it waits for the answer, or has asked how the job stands."""
        polled = any(job.id in call.path for call in self.simulator.calls.to("status"))
        return job.stage is Stage.IN_PROGRESS and (polled or not job.queued)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keeps every job running until the block ends."""
        self._change(self.simulator.jobs.hold)
        try:
            yield
        finally:
            self._change(self.simulator.jobs.release)

    def _change(self, change: Callable[[Stage], None]) -> None:
        async def within() -> None:
            change(Stage.IN_PROGRESS)

        self.loop.run(within())


@dataclass
class Bridge:
    """API and worker as processes of their own, over a PostgreSQL of their own."""

    loop: LoopThread
    url: str
    postgres: Postgres
    supervisor: Supervisor

    def start(self, *names: str) -> None:
        """Starts `api`, `worker` or both."""
        for name in names:
            self.loop.run(self.supervisor.start(self.supervisor.places[name]))
        assert not self.supervisor.fallen, self.supervisor.fallen

    def kill(self, name: str) -> None:
        """Kills `api` or `worker`."""
        self.loop.run(self.supervisor.kill(self.supervisor.places[name]))

    def crash_database(self, seconds: float) -> None:
        """Stops PostgreSQL as a power cut does and starts it again after so long."""

        async def strike(stop: Any) -> None:
            stop()

        self.loop.run(self.postgres.crash(seconds, strike))

    def logged(self) -> list[dict[str, Any]]:
        """Returns the log entries of both processes."""
        lines = [line for place in self.supervisor.places.values() for line in place.log.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass(frozen=True)
class Ground:
    """Everything between the two people and the picture."""

    odoo: RealOdoo
    bridge: Bridge
    n8n: RealN8n
    ai: AiService


@contextmanager
def prepared(odoo: RealOdoo, home: Path) -> Iterator[Ground]:
    """Runs the bridge, N8N and the AI service, and tells Odoo where the bridge is."""
    api_port, flux_port = free_ports(2)
    with loop_thread() as loop, postgres(home / "postgres") as database, ExitStack() as running:
        ai = AiService(loop, flux_port)
        n8n = RealN8n(home / "n8n")
        bridge_url = f"http://127.0.0.1:{api_port}"
        environment = _environment(home, database.url, bridge_url, n8n, odoo)
        supervisor = Supervisor(_places(api_port), environment, home)
        ground = Ground(odoo, Bridge(loop, bridge_url, database, supervisor), n8n, ai)
        for end in (ai.stop, n8n.stop, lambda: loop.run(supervisor.close())):
            running.callback(end)
        _start(ground)
        yield ground


def _start(ground: Ground) -> None:
    settings = workflow_settings(ground.bridge.url, ground.ai.url) | {"n8nUrl": ground.n8n.url}
    ground.n8n.home.mkdir()
    (ground.n8n.home / "n8n.log").symlink_to(_log("n8n"))
    ground.ai.start()
    ground.bridge.start("api", "worker")
    ground.n8n.bring_in(ROOT / "n8n", settings, SECRETS)
    ground.n8n.start(WEBHOOK)
    ground.odoo.configure(ground.bridge.url)


def _log(name: str) -> Path:
    """Returns an empty file for the log of a program, kept for the analysis of failed scenarios."""
    path = INSTALLED / f"chain-{name}.log"
    path.write_text("")
    return path


def _places(port: int) -> dict[str, Place]:
    healthy = f"http://127.0.0.1:{port}/health/ready"
    return {
        "api": Place("api", ("serve", "--port", str(port)), healthy, _log("api")),
        "worker": Place("worker", ("worker",), None, _log("worker")),
    }


def _environment(home: Path, database_url: str, url: str, n8n: RealN8n, odoo: RealOdoo) -> dict[str, str]:
    """Returns the environment of the bridge's processes. Its times are the usual ones."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIGEN_")}
    clients: dict[str, Any] = {name: {"keys": [key], "scopes": SCOPES[name]} for name, key in KEYS.items()}
    clients["n8n"] |= {"signing_secrets": [SIGNING_SECRET], "signature_required": True}
    sections = {
        "clients": clients,
        "n8n": {"webhook_url": n8n.url + WEBHOOK, "api_key": WEBHOOK_KEY, "signing_secret": BRIDGE_SECRET},
        "odoo": odoo.connection,
        "log": {"format": "json"},
    }
    return clean | {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_PUBLIC_URL": url,
        "AIGEN_SECRETS_DIR": str(home / "none"),
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }
