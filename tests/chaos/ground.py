"""Where everything listens, and how the bridge is set up: short times, so that a run fits into minutes."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chaos.schedule import DATABASE_TIMEOUT, LEASE

REQUESTS = "/api/v1/influencegen/ai-image-requests"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
WEBHOOK = "/webhook/aigen/v1/generate"
KEYS = {"odoo": "key-of-odoo", "n8n": "key-of-n8n", "ops": "key-of-ops"}
WEBHOOK_KEY, ODOO_KEY = "key-of-the-webhook", "key-of-the-bot"
COMPILED_ONCE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(__file__).parents[2] / ".aigen" / "bytecode"),
}
"""Processes are started so often here that compiling everything each time would be most of the work."""
PORTS = range(20_000, 32_000)
"""Below those that outgoing connections take: a killed process must find its port free when it comes back."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Addresses, and the folder of the run."""

    home: Path
    apis: tuple[int, ...]
    n8n: int
    odoo: int
    door: int
    link: int

    @property
    def effects(self) -> Path:
        """The folder in which the simulated Odoo keeps its effects."""
        return self.home / "odoo"


def survey(home: Path, *, apis: int) -> Ground:
    """Find free ports."""
    ports = _free_ports(apis + 4)
    return Ground(home, tuple(ports[4:]), n8n=ports[0], odoo=ports[1], door=ports[2], link=ports[3])


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in Random().sample(PORTS, len(PORTS)):
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("there are no free ports")


def url(port: int) -> str:
    """Of something on this machine."""
    return f"http://127.0.0.1:{port}"


BREAKER = {"probe_every": "1s", "hold": "60s"}
"""What is held for longer becomes a dead letter, which a person puts back; the run waits for both. N8N is back
long before `hold` is over."""


DEADLINE = "60s"
"""Longer than N8N is ever away, and than the sweep waits for an execution to begin (30 s): neither N8N's reports at its
next start nor the sweep may come too late, as with the usual 10 minutes."""


def environment(ground: Ground) -> dict[str, str]:
    """The environment of every process: ours without settings of the bridge, and those of the run."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIGEN_")}
    clients = {
        "odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]},
        "n8n": {"keys": [KEYS["n8n"]], "scopes": ["callbacks"]},
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
        "n8n": {"webhook_url": url(ground.n8n) + WEBHOOK, "api_key": WEBHOOK_KEY, "timeout": "2s", "breaker": BREAKER},
        "odoo": {**odoo, "concurrency": 4, "breaker": BREAKER},
        "alerts": {"window": "2s"},
        "image_urls": images,
        "worker": {"lease": f"{LEASE}s", "poll": "1s", "grace": "4s"},
        "callback": {"deadline": DEADLINE, "rate_limit": "100000/second"},
        "requests": {"rate_limit": "100000/second"},
        "log": {"format": "json"},
    }
    return (
        clean
        | COMPILED_ONCE
        | {
            "AIGEN_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{ground.link}/postgres?sslmode=disable",
            "AIGEN_DATABASE__TIMEOUT": f"{DATABASE_TIMEOUT:g}s",
            "AIGEN_PUBLIC_URL": url(ground.door),
            "AIGEN_SECRETS_DIR": str(ground.home / "none"),
            **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
        }
    )
