"""A clone of the repository beside an engine, and the containers that docker-compose.yml makes of it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from compose.debian import run
from compose.engine import Engine
from stage import REQUESTS, make_event

REPOSITORY = Path(__file__).parents[2]
API = "http://127.0.0.1:8000"
PATIENCE = 150.0


def until(met: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Returns what is met once it is true. Fails the test otherwise."""
    deadline = time.monotonic() + patience
    while not (found := met()):
        assert time.monotonic() < deadline, f"after {patience:.0f} s it is still not true that {what}"
        time.sleep(0.3)
    return found


@dataclass(frozen=True)
class Project:
    """A clone in a folder of the engine. Its name is the name of compose's project."""

    engine: Engine
    folder: Path

    def __repr__(self) -> str:
        """Short, for pytest's output."""
        return f"<{self.folder}>"

    @property
    def name(self) -> str:
        """Compose's name for the project."""
        return self.folder.name

    def run(self, command: str, timeout: float = 900) -> str:
        """Runs a command of the documentation in the clone. It must succeed."""
        done = self.engine.try_shell(command, self.folder, timeout)
        assert done.status == 0, f"{command} ended with {done.status}:\n{done.output[-3000:]}\n{self._logs()}"
        return done.output

    def path(self, name: str) -> Path:
        """Returns the path from here of a file in the clone."""
        return self.engine.outside(self.folder) / name

    def publish(self, change: str) -> None:
        """Changes something in the repository that was cloned, with a shell command, as a developer does."""
        developer = f"{self.folder}-developer"
        person = "git -c user.name=e2e -c user.email=e2e@localhost"
        self.run(
            f"rm -rf {developer}; git clone --quiet {self.folder}.git {developer} && cd {developer} && {change}"
            f" && {person} commit --quiet --all --message=changed && git push --quiet && rm -rf {developer}"
        )

    def remove(self) -> None:
        """Removes all of its containers, networks and volumes."""
        self.engine.try_shell("docker compose --profile '*' down --volumes --timeout 10", self.folder)

    def containers(self) -> list[dict[str, Any]]:
        """Returns what `docker compose ps` says of each container, those of all profiles included."""
        lines = self.run("docker compose --profile '*' ps --all --format json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def of(self, service: str) -> list[dict[str, Any]]:
        """Returns the running containers of a service."""
        return [found for found in self.containers() if found["Service"] == service and found["State"] == "running"]

    def started(self) -> set[str]:
        """Returns the bridge's containers, and when the process of each was started."""
        return set(
            self.run(
                "docker inspect --format '{{.Name}} {{.State.StartedAt}}' $(docker compose ps --quiet api worker)"
            ).splitlines()
        )

    def ailing(self) -> list[str]:
        """Returns the containers that are neither healthy nor ended well, with their states."""
        return [
            f"{found['Name']}: {found['Status']}"
            for found in self.containers()
            if not (found["State"] == "running" and found["Health"] in {"", "healthy"})
            and not (found["State"] == "exited" and found["ExitCode"] == 0)
        ]

    def until_well(self) -> None:
        """Waits until every container is healthy or has ended well."""
        deadline = time.monotonic() + PATIENCE
        while ailing := self.ailing() or ([] if self.containers() else ["nothing runs"]):
            assert time.monotonic() < deadline, f"not healthy: {', '.join(ailing)}\n{self._logs()}"
            time.sleep(1)

    def client(self) -> httpx.Client:
        """Returns a client of the API, with Odoo's key."""
        key = self.path("secrets/client_key_odoo").read_text().strip()
        return httpx.Client(base_url=API, headers={"X-API-Key": key}, timeout=15, trust_env=False)

    def ready(self) -> bool:
        """Returns whether the API accepts requests."""
        try:
            return httpx.get(f"{API}/health/ready", timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def accept(self) -> str:
        """Sends a request that must be accepted, and returns its id."""
        until(self.ready, "the API is ready")
        event = make_event()
        with self.client() as api:
            answer = api.post(REQUESTS, json=event)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(event["requestId"])

    def knows(self, request: str) -> bool:
        """Returns whether the bridge knows a request."""
        with self.client() as api:
            return api.get(f"{REQUESTS}/{request}").status_code == httpx.codes.OK

    def _logs(self) -> str:
        return self.engine.try_shell("docker compose --profile '*' logs --tail=25", self.folder).output[-6000:]


def clone(engine: Engine, name: str, umask: str = "022") -> Project:
    """Clones what is committed here into a new folder of the engine, and removes what a killed run has left there."""
    source, folder = engine.folder / f"{name}.git", engine.folder / name
    outside = engine.outside(source)
    for old in (outside, engine.outside(folder)):
        shutil.rmtree(old, ignore_errors=True)
    run("git", "clone", "--quiet", "--bare", REPOSITORY, outside)
    head = run("git", "-C", REPOSITORY, "rev-parse", "HEAD")
    run("git", "-C", outside, "update-ref", "refs/heads/e2e", head)
    run("git", "-C", outside, "symbolic-ref", "HEAD", "refs/heads/e2e")
    engine.shell(f"umask {umask}; git clone --quiet {source} {folder}")
    if engine.own:  # its stand-ins have the tag of the base image, but not its digest
        engine.shell("sed -i 's/^\\(ARG PYTHON_IMAGE=.*\\)@sha256:.*/\\1/' Dockerfile", folder)
    made = Project(engine, folder)
    made.remove()
    return made
