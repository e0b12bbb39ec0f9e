"""The workflow's calls to the AI service: the synchronous one, and those of the queue."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from aigen_bridge.sim.n8n_answers import json_object
from aigen_bridge.sim.n8n_model import Model, has_same_origin, model_of
from aigen_bridge.sim.n8n_order import Order
from aigen_bridge.sim.n8n_settings import N8nSettings

PROVIDER = "fal"
STAGES = {"IN_QUEUE": "queued", "IN_PROGRESS": "generating", "COMPLETED": "finishing"}
TRANSIENT_AI_STATUSES = frozenset({429, 503, 504})
"""The statuses that fal documents as retryable. It neither bills for the others nor recovers from them."""
NO_VERDICT = frozenset({401, 403, 408})
"""The statuses of a result that are about the call, not about the job."""
NEVER_BEGUN = frozenset({401, 402, 403, 404, 405, 413, 415, 429})
"""The statuses of a synchronous call that cost nothing."""
INPUT_ERROR = re.compile(
    r"missing|enum|one_of|literal_error|extra_forbidden|multiple_of|(greater|less)_than(_equal)?"
    r"|((string|sequence)_)?too_(short|long)|(string|int|float|bool|list|dict|model)_(type|parsing)"
)
"""The model's errors of an input that it finds wrong before it begins, which cost nothing."""
GONE = frozenset({403, 404, 410})
"""The statuses of an image whose URL has expired."""


class GenerationError(Exception):
    """The AI service made no image. The failed callback carries `code` and the message.

    `transient`: a retry may help. `sure`: the service surely did not take the submission. `unbilled`: this surely
    costs nothing. `made`: what is known about the generation, if there was one.
    """

    def __init__(
        self, code: str, message: str, *, transient: bool = False, sure: bool = True, unbilled: bool = False
    ) -> None:
        super().__init__(message)
        self.unbilled = unbilled
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
    """A generation by the model that the AI service calls `model`.

    `job` is None after a synchronous call. `output` is that of the AI service, empty without one.
    """

    model: str
    job: Job | None
    output: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields of `generation` that the AI service has told."""
        told = {
            "provider": PROVIDER,
            "jobId": self.job.job_id if self.job else None,
            "model": self.model,
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
        return json_object(await self._post(order, trace, sent, self._settings.ai_timeout))

    async def submit(self, order: Order, trace: Mapping[str, str], sent: dict[str, Any]) -> Job:
        """Submits a job to the queue."""
        body = json_object(await self._post(order, trace, sent, self._settings.submit_timeout))
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
            raise generation_error(answer)
        return json_object(answer)

    async def cancel(self, order: Order, job: Job) -> None:
        """Cancels a job, as far as possible."""
        if self.is_ours(order, job.cancel_url):
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

    def is_ours(self, order: Order, url: str) -> bool:
        """Returns whether a URL has the origin of the order's model. The key is sent to no other."""
        return has_same_origin(url, model_of(order, self._settings).url)

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
        self, order: Order, trace: Mapping[str, str], sent: dict[str, Any], seconds: float
    ) -> httpx.Response:
        model = model_of(order, self._settings)
        try:
            answer = await self._http.post(
                model.url,
                json=generation_input(order, self._settings),
                headers=self._headers(order, trace),
                timeout=seconds,
                extensions=sent,
            )
        except httpx.TimeoutException as error:
            raise GenerationError("ai_timeout", "The AI service did not answer", transient=True, sure=False) from error
        except httpx.TransportError as error:
            refused = isinstance(error, httpx.ConnectError)
            raise GenerationError(
                "ai_unreachable", "The AI service is away", transient=True, sure=refused, unbilled=refused
            ) from error
        if not answer.is_success:
            raise generation_error(answer, submitted_to=model)
        return answer

    def _headers(self, order: Order, trace: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Key {self._settings.flux_key}", "X-Correlation-ID": order.correlation_id, **trace}


def use_of_negative_prompt(order: Order, settings: N8nSettings) -> str | None:
    """Returns what becomes of the negative prompt: `used`, `folded` or `ignored`; None without one."""
    if not order.negative_prompt:
        return None
    if model_of(order, settings).has_negative_prompt:
        return "used"
    return "folded" if settings.negative_prompt == "fold" else "ignored"


def image_of(output: Mapping[str, Any]) -> str:
    """Returns the URL of the output's image. Raises `GenerationError` when there is no image."""
    images = output.get("images") or []
    if not images:
        raise GenerationError("ai_no_image", "The AI service answered without an image")
    if (output.get("has_nsfw_concepts") or [False])[0]:
        raise GenerationError("nsfw_content", "The AI service's safety checker withheld the image")
    return str(images[0]["url"])


def _prompt(order: Order, settings: N8nSettings) -> str:
    if use_of_negative_prompt(order, settings) == "folded":
        return f"{order.prompt}\n\nWithout: {order.negative_prompt}"
    return order.prompt


def generation_input(order: Order, settings: N8nSettings) -> dict[str, Any]:
    """Returns what the AI service is asked for."""
    width, height = order.size
    model = model_of(order, settings)
    fields = {
        "prompt": _prompt(order, settings),
        "image_size": {"width": width, "height": height},
        "negative_prompt": order.negative_prompt if model.has_negative_prompt else None,
        "num_inference_steps": model.steps if order.inference_steps is None else order.inference_steps,
        "guidance_scale": model.cfg_scale if order.cfg_scale is None else order.cfg_scale,
        "seed": order.seed if model.has_seed else None,
        "num_images": 1,
        "output_format": model.image_format,
        "loras": list(model.loras) or None,
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


def _is_unbilled(answer: httpx.Response, submitted_to: Model | None) -> bool:
    """Returns whether an error surely costs nothing. A proxy may have answered a 408, or a 5xx without a type."""
    status, body = answer.status_code, json_object(answer)
    errors = body["detail"] if isinstance(body.get("detail"), list) else []
    if answer.is_server_error:
        return submitted_to is None or "error_type" in body or bool(errors)
    if submitted_to and status != HTTPStatus.REQUEST_TIMEOUT and (submitted_to.is_queued or status in NEVER_BEGUN):
        return True
    is_wrong_input = bool(errors) and all(map(_is_input_error, errors))
    return status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.UNPROCESSABLE_ENTITY and is_wrong_input)


def _is_input_error(error: Any) -> bool:
    return isinstance(error, dict) and INPUT_ERROR.fullmatch(str(error.get("type"))) is not None


def generation_error(answer: httpx.Response, *, submitted_to: Model | None = None) -> GenerationError:
    """Translates fal's two error formats. `submitted_to`: the model whose submission was answered; None for a job."""
    unbilled = _is_unbilled(answer, submitted_to)
    status, is_its_own = answer.status_code, _is_its_own(answer)
    sure = is_its_own or (answer.is_client_error and status != HTTPStatus.REQUEST_TIMEOUT)
    is_refusal = is_its_own and (status == HTTPStatus.TOO_MANY_REQUESTS or "error_type" in json_object(answer))
    transient = status in TRANSIENT_AI_STATUSES and (is_refusal or not sure)
    try:
        body = answer.json()
        detail = body["detail"]
        if isinstance(detail, list):
            return GenerationError(
                detail[0]["type"], detail[0]["msg"], transient=transient, sure=sure, unbilled=unbilled
            )
        code = body.get("error_type", f"ai_http_{status}")
        return GenerationError(code, detail, transient=transient, sure=sure, unbilled=unbilled)
    except (ValueError, LookupError, TypeError):
        code = f"ai_http_{status}"
        return GenerationError(code, "The AI service failed", transient=transient, sure=sure, unbilled=unbilled)
