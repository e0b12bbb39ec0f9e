"""Containers of the image, set up as docker-compose.yml sets up its services, but on the machine's own network."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start Docker

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engine import Docker
from waiting import ProofFailedError, seconds, until

Service = Mapping[str, Any]
"""One of compose's services."""


class Containers:
    """Starts them, looks at them, removes them."""

    def __init__(self, docker: Docker, image: str, secrets: Path, environment: Mapping[str, str]) -> None:
        self._docker = docker
        self._image = image
        self._secrets = secrets
        self._environment = environment
        self._ids: dict[str, str] = {}

    def run(self, service: Service, *command: str) -> None:
        """To its end, which must be a good one."""
        self._docker("run", "--rm", *self._options(service), self._image, *command)

    def start(self, name: str, service: Service, command: Sequence[str], check: Sequence[str]) -> None:
        """In the background, with this health check."""
        health = f"--health-cmd={shlex.join(check)}", "--health-interval=1s"
        options = (*health, *self._options(service))
        self._ids[name] = self._docker("run", "--detach", *options, self._image, *command)

    def healthy(self, name: str) -> str:
        """Its state once it is healthy."""
        try:
            until(lambda: self._state(name) == "running, healthy", f"{name} is healthy")
        except ProofFailedError as error:
            raise ProofFailedError(f"{error}: {self._state(name)}\n{self._log(name)}") from None
        return self._state(name)

    def started_at(self, name: str) -> datetime:
        """When its process began, after the engine had made the container."""
        return datetime.fromisoformat(self._docker("inspect", "--format={{.State.StartedAt}}", self._ids[name]))

    def inside(self, name: str, *command: str) -> str:
        """What the command prints in the container."""
        return self._docker("exec", self._ids[name], *command)

    def root_file_system(self, name: str) -> str:
        """Even root in the container cannot write, so it is not only a matter of rights."""
        touch = "exec", "--user=0", self._ids[name], "touch", "/opt/aigen-bridge/written"
        refused = subprocess.run([*self._docker.command, *touch], check=False, capture_output=True, text=True)
        if "Read-only file system" not in refused.stderr:
            raise ProofFailedError(f"the root file system can be written {refused.stderr}")
        return "read-only"

    def memory(self, name: str) -> str:
        """What it uses now."""
        used = self._docker("stats", "--no-stream", "--format={{.MemUsage}}", self._ids[name])
        return used.partition(" / ")[0]

    def stop(self, name: str) -> str:
        """Ask it to stop, as an upgrade does; it must end by itself and well."""
        took = seconds(lambda: self._docker("stop", "--time=30", self._ids[name]))
        status = self._docker("inspect", "--format={{.State.ExitCode}}", self._ids[name])
        if status != "0":
            raise ProofFailedError(f"{name} ended with {status}\n{self._log(name)}")
        return f"exit status 0 after {took:.1f} s"

    def close(self) -> None:
        """Remove all of them, whatever state they are in."""
        for container in self._ids.values():
            self._docker("rm", "--force", container, check=False)

    def _state(self, name: str) -> str:
        return self._docker("inspect", "--format={{.State.Status}}, {{.State.Health.Status}}", self._ids[name])

    def _log(self, name: str) -> str:
        logs = *self._docker.command, "logs", "--tail=20", self._ids[name]
        return subprocess.run(logs, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    def _options(self, service: Service) -> list[str]:
        environment = service.get("environment", {}) | self._environment
        secrets = ((self._secrets / name, name) for name in service["secrets"])
        return [
            "--network=host",
            *(["--read-only"] if service["read_only"] else []),
            *(f"--cap-drop={capability}" for capability in service["cap_drop"]),
            *(f"--security-opt={option}" for option in service["security_opt"]),
            *(f"--tmpfs={mount}" for mount in service["tmpfs"]),
            *(f"--env={name}={value}" for name, value in environment.items()),
            *(f"--volume={path}:/run/secrets/{name}:ro" for path, name in secrets),
        ]
