"""Traces of real processes, at a receiver that speaks OTLP; and nothing of it for who wants none."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aigen_bridge.sim.serving import serving
from ports import free_port
from processes import started
from stage import KEYS, REQUESTS, make_event

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Receiver:
    """Takes OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])
        self.spans: list[tuple[str, str, str]] = []
        """Service, trace, name."""

    async def _take(self, request: Request) -> Response:
        export = ExportTraceServiceRequest.FromString(await request.body())
        for group in export.resource_spans:
            service = next(a.value.string_value for a in group.resource.attributes if a.key == "service.name")
            for scope in group.scope_spans:
                self.spans += [(service, span.trace_id.hex(), span.name) for span in scope.spans]
        return Response(b"", media_type="application/x-protobuf")


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    async with serving(made.app) as url:
        yield made, url


async def test_a_worker_that_is_started_later_joins_the_trace(
    receiver: tuple[Receiver, str], configured: dict[str, str], tmp_path: Path
) -> None:
    received, url = receiver
    environment = configured | {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    port = free_port()
    api = environment | {"OTEL_SERVICE_NAME": "bridge-api"}
    async with started("serve", "--port", str(port), environment=api, cwd=tmp_path, ready="running on") as running:
        headers = {"X-API-Key": KEYS["odoo"], "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as client:
            answer = await client.post(REQUESTS, json=make_event(), headers=headers)
        assert answer.status_code == 202
        running.process.terminate()
        await running.process.wait()
    async with started("worker", environment=environment, cwd=tmp_path, ready=r"worker\.started"), asyncio.timeout(60):
        while len(received.spans) < 3:
            await asyncio.sleep(0.05)

    assert ("bridge-api", TRACE, "accept") in received.spans
    assert {("aigen-bridge", TRACE, "POST n8n"), ("aigen-bridge", TRACE, "dispatch")} <= set(received.spans)


def test_nothing_of_opentelemetry_is_imported_when_nobody_wants_traces() -> None:
    """FastAPI itself imports opentelemetry-api, in which nothing happens."""
    program = """
import sys, aigen_bridge.asgi, aigen_bridge.worker.run, aigen_bridge.cli
from aigen_bridge import tracing
tracing.start()
costly = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "aigen_bridge.tracing.otel")
sys.exit(", ".join(name for name in sys.modules if name.startswith(costly)) or None)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_exporter_without_the_extra_is_said_and_nothing_breaks() -> None:
    program = "import sys; sys.modules['opentelemetry.sdk'] = None; from aigen_bridge import tracing; tracing.start();"
    program += "sys.exit(tracing.traceparent() is not None)"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, "extra 'otel' is not installed" in done.stdout + done.stderr) == (0, True)
