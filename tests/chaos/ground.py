"""The addresses of all processes, and the settings of the bridge. Its times are short, to fit a run into minutes."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chaos.schedule import DATABASE_TIMEOUT, LEASE, Storage
from chaos.storage import ImagesAt, storage_of
from chaos.weather import SILENCE

REQUESTS = "/api/v1/influencegen/ai-image-requests"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
WEBHOOK = "/webhook/aigen/v1/generate"
KEYS = {"odoo": "key-of-odoo", "n8n": "key-of-n8n", "ops": "key-of-ops"}
WEBHOOK_KEY, ODOO_KEY, FLUX_KEY = "key-of-the-webhook", "key-of-the-bot", "key-of-the-ai-service"
N8N_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
BRIDGE_SECRET = "whsec_NTQzMjEwenl4d3Z1dHNycXBvbm1sa2ppaGdmZWRjYmE="
"""They sign what the program of their name sends to the other."""
COMPILED_ONCE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(__file__).parents[2] / ".aigen" / "bytecode"),
}
"""Bytecode cache. Processes are started so often that compiling each time would be most of the work."""
PORTS = range(20_000, 32_000)
"""Below the range of outgoing connections: a killed process must find its port free when it restarts."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The ports, and the folder of the run."""

    home: Path
    apis: tuple[int, ...]
    n8n: int
    odoo: int
    flux: int
    load_balancer: int
    link: int
    storage: ImagesAt | None = None

    @property
    def effects(self) -> Path:
        """The folder in which the simulated Odoo keeps its effects."""
        return self.home / "odoo"

    @property
    def executions(self) -> Path:
        """The file in which the simulated N8N keeps its executions."""
        return self.home / "executions"


def survey(home: Path, *, apis: int, storage: Storage = Storage.POSTGRESQL) -> Ground:
    """Finds free ports, and makes the image store."""
    n8n, odoo, flux, load_balancer, link, *others = free_ports(apis + 5)
    ports = {"n8n": n8n, "odoo": odoo, "flux": flux, "load_balancer": load_balancer, "link": link}
    return Ground(home, tuple(others), **ports, storage=storage_of(storage, home))


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in Random().sample(PORTS, len(PORTS)):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("there are no free ports")


def url(port: int) -> str:
    """Returns the base URL of a port on this machine."""
    return f"http://127.0.0.1:{port}"


BREAKER = {"probe_every": "1s", "hold": "120s"}
"""An entry that is held for longer than `hold` becomes a dead letter, which a person replays; the run waits for both.
N8N is back long before `hold` has passed."""


DEADLINE = "240s"
"""Longer than an execution with a grant may be silent (150 s), and the clocks that stand still meanwhile. As with the
usual 10 minutes, no resend may be too late."""

GENERATION = {"silence": f"{SILENCE}s", "resumes": 6}
"""More resumes than usual, because N8N dies every few seconds."""


def environment(ground: Ground) -> dict[str, str]:
    """Returns the environment of every process: this process's own, with the run's settings of the bridge."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIGEN_")}
    clients = {
        "odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]},
        "n8n": {
            "keys": [KEYS["n8n"]],
            "scopes": ["callbacks"],
            "signing_secrets": [N8N_SECRET],
            "signature_required": True,
        },
        "ops": {"keys": [KEYS["ops"]], "scopes": ["ops"]},
    }
    odoo = {
        "url": url(ground.odoo),
        "database": "odoo",
        "login": "aigen-bridge",
        "api_key": ODOO_KEY,
        "timeout": "2.5s",
    }
    images = {"allow_http": True, "trusted_networks": ["127.0.0.0/8"], "timeout": "2s", "lifetime": "30s"}
    sections = {
        "clients": clients,
        "n8n": {
            "webhook_url": url(ground.n8n) + WEBHOOK,
            "api_key": WEBHOOK_KEY,
            "signing_secret": BRIDGE_SECRET,
            "timeout": "2s",
            "breaker": BREAKER,
        },
        "odoo": {**odoo, "concurrency": 4, "breaker": BREAKER},
        "alerts": {"window": "2s"},
        "generation": GENERATION,
        "image_urls": images,
        "worker": {"lease": f"{LEASE}s", "poll": "1s", "grace": "4s"},
        "callback": {"deadline": DEADLINE, "rate_limit": "100000/second"},
        "requests": {"rate_limit": "100000/second"},
        "log": {"format": "json"},
        **(ground.storage.settings if ground.storage else {}),
    }
    return (
        clean
        | COMPILED_ONCE
        | {
            "AIGEN_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{ground.link}/postgres?sslmode=disable",
            "AIGEN_DATABASE__TIMEOUT": f"{DATABASE_TIMEOUT:g}s",
            "AIGEN_PUBLIC_URL": url(ground.load_balancer),
            "AIGEN_SECRETS_DIR": str(ground.home / "none"),
            **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
        }
    )
