"""The AI service of the cases: the bridge's simulator, in a container of the bridge's own image beside N8N."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from compose.project import Project, until

NAME, PORT, KEY = "aigen-e2e-ai-service", 8190, "key-of-the-ai-service"
URL = f"http://{NAME}:{PORT}/queue/fal-ai/flux-lora"
"""As N8N reaches it: `aiUrl` of its settings."""
HERE = f"http://127.0.0.1:{PORT}/_sim"


@dataclass(frozen=True)
class AiService:
    """The service in the network in which N8N is, and its books."""

    project: Project

    def start(self) -> None:
        """Starts it, with empty books, and waits until it answers."""
        self.stop()  # that of a run that was killed
        images = self.project.run("docker compose config --images").splitlines()
        image = next(image for image in images if image.startswith("aigen-bridge"))
        self.project.run(
            f"docker run --detach --no-healthcheck --name {NAME} --network {self.project.name}_n8n"
            f" --publish 127.0.0.1:{PORT}:{PORT} {image} sim flux --host 0.0.0.0 --port {PORT} --key {KEY} --seconds 1"
        )
        until(self._answers, "the AI service answers")

    def stop(self) -> None:
        """Stops it, if it runs."""
        self.project.run(f"docker rm --force {NAME}")

    def jobs_of(self, correlation_id: str) -> list[dict[str, Any]]:
        """Returns every job that was submitted for a request, billed or not."""
        found = httpx.get(f"{HERE}/jobs", params={"correlation_id": correlation_id}, trust_env=False)
        return list(found.raise_for_status().json())

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Lets no running job end, until the block ends."""
        httpx.put(f"{HERE}/hold/IN_PROGRESS", trust_env=False).raise_for_status()
        try:
            yield
        finally:
            httpx.delete(f"{HERE}/hold/IN_PROGRESS", trust_env=False).raise_for_status()

    def _answers(self) -> bool:
        try:
            return bool(httpx.get(f"{HERE}/jobs", trust_env=False).is_success)
        except httpx.HTTPError:
            return False
