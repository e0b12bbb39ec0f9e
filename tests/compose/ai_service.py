"""The AI service of the cases: the bridge's simulator, in a container of the bridge's own image beside N8N."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from compose.project import Project, until

NAME, PORT, KEY = "ai-service", 8190, "key-of-the-ai-service"
URL = f"http://{NAME}:{PORT}/queue/fal-ai/flux-lora"
"""As N8N reaches it: `aiUrl` of its settings."""
HERE = f"http://127.0.0.1:{PORT}/_sim"


class AiService:
    """The running service and its books."""

    def serves(self) -> bool:
        """Whether it answers."""
        try:
            return bool(httpx.get(f"{HERE}/jobs", trust_env=False).is_success)
        except httpx.HTTPError:
            return False

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


@contextmanager
def ai_service(project: Project) -> Iterator[AiService]:
    """Runs the service in the network in which N8N is."""
    images = project.run("docker compose config --images").splitlines()
    image = next(image for image in images if image.startswith("aigen-bridge"))
    project.run(
        f"docker run --detach --name {NAME} --network {project.name}_n8n --publish 127.0.0.1:{PORT}:{PORT}"
        f" {image} sim flux --host 0.0.0.0 --port {PORT} --key {KEY} --seconds 1"
    )
    service = AiService()
    try:
        until(service.serves, "the AI service answers")
        yield service
    finally:
        project.run(f"docker rm --force {NAME}")
