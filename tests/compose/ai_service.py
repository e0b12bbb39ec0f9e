"""The AI service of the cases: the bridge's simulator, in a container of the bridge's own image."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from compose.engine import Engine

NAME, PORT, KEY = "ai-service", 8190, "key-of-the-ai-service"
URL = f"http://{NAME}:{PORT}/queue/fal-ai/flux-lora"
"""As N8N reaches it: `aiUrl` of its settings."""
HERE = f"http://127.0.0.1:{PORT}"


@dataclass(frozen=True)
class AiService:
    """The running service and its books."""

    def jobs_of(self, correlation_id: str) -> list[dict[str, Any]]:
        """Returns every job that was submitted for a request, billed or not."""
        found = httpx.get(f"{HERE}/_sim/jobs", params={"correlation_id": correlation_id}, trust_env=False)
        return list(found.raise_for_status().json())

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Lets no running job end, until the block ends."""
        httpx.put(f"{HERE}/_sim/hold/IN_PROGRESS", trust_env=False).raise_for_status()
        try:
            yield
        finally:
            httpx.delete(f"{HERE}/_sim/hold/IN_PROGRESS", trust_env=False).raise_for_status()


@contextmanager
def ai_service(engine: Engine, image: str, network: str) -> Iterator[AiService]:
    """Runs the service in the network in which N8N is."""
    engine.shell(
        f"docker run --detach --name {NAME} --network {network} --publish 127.0.0.1:{PORT}:{PORT}"
        f" {image} sim flux --host 0.0.0.0 --port {PORT} --key {KEY} --seconds 1"
    )
    try:
        yield AiService()
    finally:
        engine.shell(f"docker rm --force {NAME}")
