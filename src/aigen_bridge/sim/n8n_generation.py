"""The workflow's words to the bridge about a generation: asks for it, names the job, reports progress."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx

from aigen_bridge.sim.n8n_ai import Job, JobStatus
from aigen_bridge.sim.n8n_answers import is_problem, json_object
from aigen_bridge.sim.n8n_order import Order, Start, StoppedError
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.n8n_signatures import Credentials, signed_headers
from aigen_bridge.sim.simulator import Clock

GENERATION = "/api/v1/influencegen/ai-image-requests/{request_id}/generation"
FINAL_REFUSALS = frozenset({400, 409, 413, 415, 422})
VALID_FOR = 60.0
"""Seconds for which a grant is valid, unless the bridge says otherwise."""


class Decision(StrEnum):
    """The bridge's answer to an execution that asks whether it may start the paid work."""

    START = "start"
    RESUME = "resume"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A decision. `job`: the known job (`resume`). `is_open`: the request has not ended."""

    decision: Decision
    valid_for: float = VALID_FOR
    retry_after: float | None = None
    job: Job | None = None
    is_open: bool = False


class Reply(StrEnum):
    """The bridge's reply to a job's name or to progress."""

    WANTED = "wanted"
    UNWANTED = "unwanted"
    OTHER_JOB = "other_job"
    """Another job is known: this one must be cancelled."""
    NONE = "none"
    """Neither of them."""


class OlderBridgeError(Exception):
    """The bridge does not know the generation protocol."""


class SilentEndError(Exception):
    """The execution ends without a callback and without a report: nobody wants the image, or the bridge decides."""


class GenerationClient:
    """Calls the bridge's endpoints of a generation, once each."""

    def __init__(self, settings: N8nSettings, http: httpx.AsyncClient, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock

    @property
    def _credentials(self) -> Credentials:
        return Credentials(self._settings.callback_key, self._settings.signing_secret)

    async def ask(self, order: Order, start: Start, key: str, about: Mapping[str, Any]) -> Answer | None:
        """Asks whether the paid work may start. Returns None without a clear answer.

        Raises `OlderBridgeError` when the bridge does not know the question, `StoppedError` when it does not know the
        request, and `SilentEndError` when it refuses the question for good.
        """
        answer = await self._send("POST", "", order, start, {"askKey": key, **about})
        if answer is None:
            return None
        body = json_object(answer)
        if answer.status_code == HTTPStatus.NOT_FOUND and body.get("code") == "request_unknown":
            known = {"requestId": order.request_id, "correlationId": order.correlation_id}
            raise StoppedError("The bridge does not know this request; no image was made.", known)
        is_page = answer.text.lstrip().startswith("<")  # of a proxy, while the bridge restarts
        if answer.status_code == HTTPStatus.NOT_FOUND and not is_page:
            raise OlderBridgeError
        if is_problem(answer) and answer.status_code in FINAL_REFUSALS:
            raise SilentEndError(f"the bridge refused the question: {body.get('detail')}")
        return _answer(body) if answer.is_success else None

    async def name(self, order: Order, start: Start, job: Job) -> Reply:
        """Names the job that was submitted."""
        return _reply(await self._send("PUT", "/job", order, start, job.as_json()))

    async def report(self, order: Order, start: Start, status: JobStatus) -> Reply:
        """Reports progress."""
        words: dict[str, Any] = {"stage": status.stage}
        if status.queue_position is not None:
            words["queuePosition"] = status.queue_position
        return _reply(await self._send("PUT", "/progress", order, start, words))

    async def _send(
        self, method: str, path: str, order: Order, start: Start, more: Mapping[str, Any]
    ) -> httpx.Response | None:
        base = (self._settings.bridge_url or order.bridge).rstrip("/")
        url = f"{base}{GENERATION.format(request_id=order.request_id)}{path}"
        words = {"correlationId": order.correlation_id, "executionId": start.execution_id, **more}
        content = json.dumps(words).encode()
        headers = {
            "X-API-Key": self._credentials.key,
            "X-Correlation-ID": order.correlation_id,
            "Content-Type": "application/json",
            **start.trace,
            **signed_headers(self._credentials, f"msg_{uuid4().hex}", self._clock(), content),
        }
        timeout = self._settings.ask_timeout
        try:
            return await self._http.request(method, url, content=content, headers=headers, timeout=timeout)
        except httpx.TransportError:
            return None


def _answer(body: Mapping[str, Any]) -> Answer | None:
    if body.get("decision") not in tuple(Decision):
        return None
    job = body.get("providerJob")
    return Answer(
        decision=Decision(body["decision"]),
        valid_for=body.get("validFor", VALID_FOR),
        retry_after=body.get("retryAfter"),
        job=Job.from_json(job) if job else None,
        is_open=body.get("status") in {"queued", "dispatched"},
    )


def _reply(answer: httpx.Response | None) -> Reply:
    if answer is None:
        return Reply.NONE
    body = json_object(answer)
    if answer.status_code == HTTPStatus.CONFLICT and "providerJob" in body:
        return Reply.OTHER_JOB
    if answer.is_success and isinstance(body.get("wanted"), bool):
        return Reply.WANTED if body["wanted"] else Reply.UNWANTED
    return Reply.NONE
