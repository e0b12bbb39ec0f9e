"""How the demo finds the bridge of `aigen-bridge up`: by a file in the folder of both.

The file is there while `up` runs with simulators of N8N and Odoo, so the demo never reaches real ones.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from aigen_bridge.sim.demo_request import REQUESTS

NAME, CLIENTS = "up.json", "clients.json"


@dataclass(frozen=True, slots=True)
class RunningUp:
    """A running `up`: its base URL, and a key of each of its clients."""

    url: str
    keys: Mapping[str, str]

    def as_client(self, name: str) -> httpx.AsyncClient:
        """Returns an HTTP client that calls as this client of the bridge."""
        headers = {"Authorization": f"Bearer {self.keys[name]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10, trust_env=False)


@contextmanager
def announced(home: Path, url: str) -> Iterator[None]:
    """Keeps the file in the folder until the block ends."""
    path = home / NAME
    path.write_text(json.dumps({"url": url}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def running_up(home: Path) -> RunningUp | None:
    """Returns the bridge that the folder's file names. None if there is no file, or nothing answers to its keys."""
    try:
        url = str(json.loads((home / NAME).read_text())["url"])
        clients = json.loads((home / CLIENTS).read_text())
        running = RunningUp(url, {name: str(client["keys"][0]) for name, client in clients.items()})
        async with running.as_client("odoo") as api:
            answer = await api.get(REQUESTS, params={"limit": 1})
    except (OSError, ValueError, LookupError, TypeError, httpx.HTTPError):
        return None
    return running if answer.status_code == httpx.codes.OK and "ops" in running.keys else None
