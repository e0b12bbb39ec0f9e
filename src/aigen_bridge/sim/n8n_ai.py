"""The workflow's calls to the AI service: the synchronous one, and those of the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from aigen_bridge.sim.n8n_answers import json_object
from aigen_bridge.sim.n8n_order import Order
from aigen_bridge.sim.n8n_settings import N8nSettings

PROVIDER = "fal"
MODEL, QUEUE = "/fal-ai/flux-lora", "/queue/fal-ai/flux-lora"
STAGES = {"IN_QUEUE": "queued", "IN_PROGRESS": "generating", "COMPLETED": "finishing"}
TRANSIENT_AI_STATUSES = frozenset({429, 503, 504})
"""The statuses that fal documents as retryable. It neither bills for the others nor recovers from them."""
NO_VERDICT = frozenset({401, 403, 408})
"""The statuses of a result that are about the call, not about the job."""
GONE = frozenset({403, 404, 410})
"""The statuses of an image whose URL has expired."""


class GenerationError(Exception):
    """The AI service made no image. The failed callback carries `code` and the message.

    `transient`: a retry may help. `sure`: the service surely did not take the submission. `made`: what is known about
    the generation, if there was one.
    """

    def __init__(self, code: str, message: str, *, transient: bool = False, sure: bool = True) -> None:
        super().__init__(message)
        self.made: Made | None = None
        self.code = code
        self.transient = transient
        self.sure = sure


class DownloadError(GenerationError):
    """The image that was made could not be fetched. `may_pass`: fetching it again may help."""

    def __init__(self, *, may_pass: bool) -> None:
        super().__init__("image_download_failed", "The image could not be fetched")
        self.may_pass = may_pass


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job at the AI service, with the URLs that the service gave it."""

    provider: str
    job_id: str
    status_url: str
    response_url: str
    cancel_url: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Job":
        """Reads the bridge's `providerJob`."""
        urls = {f"{name}_url": body.get(f"{name}Url") or "" for name in ("status", "response", "cancel")}
        return cls(provider=body["provider"], job_id=body["jobId"], **urls)

    def as_json(self) -> dict[str, str]:
        """Returns the fields that name the job to the bridge."""
        urls = {"statusUrl": self.status_url, "responseUrl": self.response_url, "cancelUrl": self.cancel_url}
        return {"provider": self.provider, "jobId": self.job_id, **urls}


@dataclass(frozen=True)
class Made:
    """A generation: its job (None after a synchronous call), and the AI service's output, empty without one."""

    job: Job | None
    output: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields of `generation` that the AI service has told."""
        told = {
            "provider": PROVIDER,
            "jobId": self.job.job_id if self.job else None,
            "model": MODEL.strip("/"),
            "seed": self.output.get("seed"),
            "seconds": (self.output.get("timings") or {}).get("inference"),
            "hasNsfwConcepts": self.output.get("has_nsfw_concepts"),
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True)
class JobStatus:
    """How far a job is."""

    stage: str
    """One of the values of `STAGES`."""
    queue_position: int | None = None
    has_failed: bool = False
    """The infrastructure failed, or the job was cancelled. The model's own errors show only in the result."""

    @property
    def is_completed(self) -> bool:
        """Returns whether the job has ended, successfully or not."""
        return self.stage == STAGES["COMPLETED"]


class AiService:
    """Calls the AI service, once each. Failures are `GenerationError`s."""

    def __init__(self, settings: N8nSettings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http

    async def generate(self, order: Order, trace: Mapping[str, str], sent: dict[str, Any]) -> dict[str, Any]:
        """Waits for the output. `sent` are the extensions of the HTTP call."""
        return json_object(await self._post(MODEL, order, trace, sent, self._settings.ai_timeout))

    async def submit(self, order: Order, trace: Mapping[str, str], sent: dict[str, Any]) -> Job:
        """Submits a job to the queue."""
        body = json_object(await self._post(QUEUE, order, trace, sent, self._settings.submit_timeout))
        if not isinstance(body.get("request_id"), str):
            raise GenerationError("ai_unreadable", "The AI service named no job", sure=False)
        urls = {name: str(body.get(name, "")) for name in ("status_url", "response_url", "cancel_url")}
        return Job(provider=PROVIDER, job_id=body["request_id"], **urls)

    async def status(self, job: Job) -> JobStatus | None:
        """Returns how far a job is, None without a usable answer."""
        answer = await self._get(job.status_url)
        body = {} if answer is None else json_object(answer)
        if answer is None or not answer.is_success or body.get("status") not in STAGES:
            return None
        return JobStatus(STAGES[body["status"]], body.get("queue_position"), "error" in body)

    async def output(self, job: Job, *, has_failed: bool) -> dict[str, Any] | None:
        """Returns the output of a completed job, None without a usable answer.

        A transient error, or one of the infrastructure, is the job's own only when its status says that it has failed.
        """
        answer = await self._get(job.response_url)
        if answer is None or answer.status_code in NO_VERDICT or not _is_its_own(answer) or _is_unfinished(answer):
            return None
        if not has_failed and (answer.status_code in TRANSIENT_AI_STATUSES or _is_infrastructure_error(answer)):
            return None
        if not answer.is_success:
            raise _generation_error(answer)
        return json_object(answer)

    async def cancel(self, job: Job) -> None:
        """Cancels a job, as far as possible."""
        if self.is_ours(job.cancel_url):
            await self._call("PUT", job.cancel_url)

    async def download(self, url: str) -> bytes:
        """Fetches an image."""
        try:
            answer = await self._http.get(url, timeout=self._settings.ai_timeout)
        except httpx.HTTPError as error:
            raise DownloadError(may_pass=True) from error
        if not answer.is_success:
            raise DownloadError(may_pass=answer.status_code not in GONE)
        return answer.content

    def is_ours(self, url: str) -> bool:
        """Returns whether a URL has the origin of the settings. The key is sent to no other."""
        return urlsplit(url)[:2] == urlsplit(str(self._settings.flux_url))[:2]

    async def _get(self, url: str) -> httpx.Response | None:
        """Returns the answer about a job, None without one."""
        answer = await self._call("GET", url)
        if answer is not None and answer.status_code == HTTPStatus.NOT_FOUND and _is_its_own(answer):
            raise GenerationError("job_expired", "The AI service does not know the job any more")
        return answer

    async def _call(self, method: str, url: str) -> httpx.Response | None:
        headers, timeout = {"Authorization": f"Key {self._settings.flux_key}"}, self._settings.ai_timeout
        try:
            return await self._http.request(method, url, headers=headers, timeout=timeout)
        except httpx.TransportError:
            return None

    async def _post(
        self, path: str, order: Order, trace: Mapping[str, str], sent: dict[str, Any], seconds: float
    ) -> httpx.Response:
        try:
            answer = await self._http.post(
                f"{self._settings.flux_url}{path}",
                json=_generation_input(order, self._settings),
                headers=self._headers(order, trace),
                timeout=seconds,
                extensions=sent,
            )
        except httpx.TimeoutException as error:
            raise GenerationError("ai_timeout", "The AI service did not answer", transient=True, sure=False) from error
        except httpx.TransportError as error:
            refused = isinstance(error, httpx.ConnectError)
            raise GenerationError("ai_unreachable", "The AI service is away", transient=True, sure=refused) from error
        if not answer.is_success:
            raise _generation_error(answer)
        return answer

    def _headers(self, order: Order, trace: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Key {self._settings.flux_key}", "X-Correlation-ID": order.correlation_id, **trace}


def lora_of(order: Order, settings: N8nSettings) -> dict[str, Any] | None:
    """Returns the LoRA of the order's model; None for the base model."""
    row = settings.loras.get(order.model_id, settings.loras.get("*"))
    return None if row is None else {"path": row["path"], "scale": row.get("scale", 1)}


def image_of(output: Mapping[str, Any]) -> str:
    """Returns the URL of the output's image. Raises `GenerationError` when there is no image."""
    images = output.get("images") or []
    if not images:
        raise GenerationError("ai_no_image", "The AI service answered without an image")
    if (output.get("has_nsfw_concepts") or [False])[0]:
        raise GenerationError("nsfw_content", "The AI service's safety checker withheld the image")
    return str(images[0]["url"])


def _prompt(order: Order, settings: N8nSettings) -> str:
    if settings.negative_prompt == "fold" and order.negative_prompt:
        return f"{order.prompt}\n\nWithout: {order.negative_prompt}"
    return order.prompt


def _generation_input(order: Order, settings: N8nSettings) -> dict[str, Any]:
    width, height = order.size
    lora = lora_of(order, settings)
    fields = {
        "prompt": _prompt(order, settings),
        "image_size": {"width": width, "height": height},
        "num_inference_steps": order.inference_steps,
        "guidance_scale": order.cfg_scale,
        "seed": order.seed,
        "num_images": 1,
        "output_format": settings.image_format,
        "loras": [lora] if lora else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _is_its_own(answer: httpx.Response) -> bool:
    """Returns whether the AI service itself answered, not a proxy before it."""
    return not json_object(answer).keys().isdisjoint({"detail", "images"})


def _is_infrastructure_error(answer: httpx.Response) -> bool:
    """Returns whether the AI service itself failed. The model's errors have a list as their detail."""
    return answer.is_server_error and isinstance(json_object(answer).get("detail"), str)


def _is_unfinished(answer: httpx.Response) -> bool:
    """Returns whether the queue has no result yet. The model's own errors are a list."""
    return answer.status_code == HTTPStatus.BAD_REQUEST and isinstance(json_object(answer).get("detail"), str)


def _generation_error(answer: httpx.Response) -> GenerationError:
    """Translates fal's two error formats."""
    status, is_its_own = answer.status_code, _is_its_own(answer)
    sure = is_its_own or (answer.is_client_error and status != HTTPStatus.REQUEST_TIMEOUT)
    is_refusal = is_its_own and (status == HTTPStatus.TOO_MANY_REQUESTS or "error_type" in json_object(answer))
    transient = status in TRANSIENT_AI_STATUSES and (is_refusal or not sure)
    try:
        body = answer.json()
        detail = body["detail"]
        if isinstance(detail, list):
            return GenerationError(detail[0]["type"], detail[0]["msg"], transient=transient, sure=sure)
        code = body.get("error_type", f"ai_http_{status}")
        return GenerationError(code, detail, transient=transient, sure=sure)
    except (ValueError, LookupError, TypeError):
        code = f"ai_http_{status}"
        return GenerationError(code, "The AI service failed", transient=transient, sure=sure)
