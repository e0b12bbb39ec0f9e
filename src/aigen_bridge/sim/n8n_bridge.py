"""The workflow's questions whether an image is still wanted, as before the generation protocol, and failure reports."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from aigen_bridge.sim.n8n_answers import is_problem, is_receipt, json_object
from aigen_bridge.sim.n8n_callbacks import Undelivered
from aigen_bridge.sim.n8n_order import Order, StoppedError
from aigen_bridge.sim.n8n_results import WORKFLOW_VERSION
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.n8n_signatures import Credentials, signed_headers
from aigen_bridge.sim.simulator import Clock

WANTED = "/api/v1/influencegen/ai-image-requests/{request_id}/wanted"
FAILURES = "/api/v1/ops/n8n-failures"
FINAL_STATUSES = frozenset({400, 404, 413, 415, 422})
IMAGE_FIELDS = frozenset({"imageData", "imageUrl"})


class WorkflowCrashedError(Exception):
    """The error that N8N reports for an execution that it finds dead at startup."""

    def __init__(self) -> None:
        super().__init__("Workflow did not finish, possible out-of-memory issue")


class BridgeClient:
    """Calls the bridge that the workflow is configured for. Without one, it calls nothing."""

    def __init__(self, settings: N8nSettings, http: httpx.AsyncClient, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock

    @property
    def _credentials(self) -> Credentials:
        return Credentials(self._settings.callback_key, self._settings.signing_secret)

    async def wants(self, order: Order, trace: Mapping[str, str], execution_id: str) -> bool:
        """Asks, before the image is paid for, whether it is still wanted. True when the bridge gives no clear answer.

        Raises `StoppedError` for a request that the bridge does not know.
        """
        if self._settings.bridge_url is None:
            return True
        url = self._url(WANTED.format(request_id=order.request_id))
        headers = {"X-API-Key": self._credentials.key, "X-Correlation-ID": order.correlation_id, **trace}
        try:
            known = {"executionId": execution_id}
            answer = await self._http.get(url, params=known, headers=headers, timeout=self._settings.ask_timeout)
        except httpx.TransportError:
            return True
        body = json_object(answer)
        if answer.status_code == httpx.codes.NOT_FOUND and body.get("code") == "request_unknown":
            known = {"requestId": order.request_id, "correlationId": order.correlation_id}
            raise StoppedError("The bridge does not know this request; no image was made.", known)
        return not (answer.is_success and body.get("wanted") is False)

    async def report_undelivered(self, letter: Undelivered) -> None:
        """Reports a result that could not be delivered, with its image, to operations."""
        event, last = letter.callback.event, letter.last
        last_answer = f"{last.status} {last.error}" if last.status else f"no answer ({last.error})"
        message = f"The callback could not be delivered in {last.number} tries. Last: {last_answer}"
        result = {name: value for name, value in event.items() if name not in IMAGE_FIELDS}
        report = _report(event, message, uuid4().hex)
        await self._send(report | {"result": result}, letter.callback.image)

    async def report_failure(self, error: Exception, execution_id: str) -> None:
        """Reports a failed execution to operations. The request is known only when the workflow stopped itself."""
        known = error.known if isinstance(error, StoppedError) else {}
        report = _report(known, str(error), execution_id) | {"errorName": type(error).__name__}
        await self._send(report, None)

    async def _send(self, report: dict[str, Any], image: bytes | None) -> None:
        if self._settings.bridge_url is None:
            return
        content, message_id = json.dumps(report).encode(), f"msg_dead_{uuid4().hex}"
        for wait in (*self._settings.failure_waits, None):
            headers = self._headers(report, content, message_id)
            if await self._is_settled(content, image, headers) or wait is None:
                return
            await asyncio.sleep(wait)

    async def _is_settled(self, content: bytes, image: bytes | None, headers: dict[str, str]) -> bool:
        """Sends the report once. True when the bridge has accepted it or will never accept it."""
        parts: dict[str, Any] = {"event": (None, content)}
        if image is not None:
            parts["image"] = ("image", image, "application/octet-stream")
        timeout = self._settings.callback_timeout
        try:
            answer = await self._http.post(self._url(FAILURES), files=parts, headers=headers, timeout=timeout)
        except httpx.TransportError:
            return False
        return is_receipt(answer, "id") or (is_problem(answer) and answer.status_code in FINAL_STATUSES)

    def _headers(self, report: dict[str, Any], content: bytes, message_id: str) -> dict[str, str]:
        headers = {"X-API-Key": self._credentials.key}
        if report.get("correlationId"):
            headers["X-Correlation-ID"] = str(report["correlationId"])
        return headers | signed_headers(self._credentials, message_id, self._clock(), content)

    def _url(self, path: str) -> str:
        return str(self._settings.bridge_url).rstrip("/") + path


def _report(known: Mapping[str, Any], message: str, execution: str) -> dict[str, Any]:
    return {
        "workflow": "aigen-main",
        "workflowVersion": WORKFLOW_VERSION,
        "executionId": execution,
        "executionUrl": f"http://127.0.0.1/workflow/aigen-main/executions/{execution}",
        "requestId": known.get("requestId"),
        "correlationId": known.get("correlationId"),
        "errorMessage": message,
    }
