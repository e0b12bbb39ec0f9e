"""A real Redis on loopback, for N8N in queue mode. It keeps nothing on disk."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PASSWORD = "0123456789abcdef"
READY_SECONDS = 10


def redis_is_installed() -> bool:
    """Tells whether this machine has the program `redis-server`."""
    return shutil.which("redis-server") is not None


@dataclass
class RealRedis:
    """One Redis, started by the script that compose uses."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which N8N finds it."""
        return {
            "QUEUE_BULL_REDIS_HOST": "127.0.0.1",
            "QUEUE_BULL_REDIS_PORT": str(self.port),
            "QUEUE_BULL_REDIS_PASSWORD_FILE": str(self.home / "redis_password"),
        }

    def start(self) -> None:
        """Starts Redis and waits until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "redis_password").write_text(PASSWORD)
        options = {"--port": str(self.port), "--bind": "127.0.0.1", "--appendonly": "no"}
        with (self.home / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [ROOT / "deploy/redis/start.sh", *(word for option in options.items() for word in option)],
                env={**os.environ, "SECRETS_DIR": str(self.home)},
                stdout=log,
                stderr=log,
                cwd=self.home,
            )
        until = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.home / "redis.log").read_text()
            assert time.monotonic() < until, (self.home / "redis.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Kills Redis. What it held is lost."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        """Asks with the wrong password first: a Redis that lets everybody in is not ready for anything."""
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)) as connection:
            connection.sendall(f"PING\r\nAUTH {PASSWORD}\r\n".encode())
            answers = connection.makefile("rb")
            return answers.readline().startswith(b"-NOAUTH") and answers.readline() == b"+OK\r\n"
        return False
