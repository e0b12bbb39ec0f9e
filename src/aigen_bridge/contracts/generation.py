"""What an N8N execution asks and reports about the generation of an image, and the answers."""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from aigen_bridge.contracts.models import endpoint_of
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.v1 import ReportedText, Uuid
from aigen_bridge.contracts.wire import ANYTHING, FieldError, Problem, WireModel
from aigen_bridge.domain.address import WebAddress, checked_url
from aigen_bridge.domain.errors import PermanentError, storable
from aigen_bridge.domain.generation import (
    ASK_AGAIN,
    GRANT_VALID,
    Ask,
    Decision,
    GenerationAnswer,
    NamedJob,
    Progress,
    ProgressReport,
    ProviderJob,
    Stage,
)
from aigen_bridge.domain.request import Status

ID_MAX, URL_MAX, MESSAGE_MAX = 200, 2000, 1000
"""Characters of an id, of a job's URL, and of the message of a progress report, which is cut."""
QUIET_MAX = timedelta(hours=1)
"""The longest `quietFor`. A longer one counts as this."""
POSITION_MAX = 2**31 - 1

_WEB_URL = "an absolute http or https URL without user and password, of the same origin as the job's other URLs"
_QUIET = "seconds for which the execution may say nothing without counting as silent; more than an hour is an hour"


def _quiet(seconds: float) -> float:
    return min(seconds, QUIET_MAX.total_seconds())


def _address(url: str) -> WebAddress:
    """Parses the URL of a job. Raises `PydanticCustomError` without quoting it: it may hold a token."""
    try:
        return checked_url(url, allow_http=True, allowed_hosts=())
    except PermanentError as error:
        rule = error.detail.partition(": ")[2].rstrip(".")
        raise PydanticCustomError("job_url", "is refused: {rule}", {"rule": rule}) from None


def _url(text: str) -> str:
    _address(text)
    return text


def _origin(url: str) -> tuple[str, str, int]:
    found = _address(url)
    return found.scheme, found.host, found.port


def _number(minimum: float, maximum: float) -> Callable[[Any], float | None]:
    """Returns a function that drops everything but a number within the limits."""

    def within(value: Any) -> float | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and minimum <= value <= maximum else None

    return within


def _position(value: Any) -> int | None:
    number = _number(0, POSITION_MAX)(value)
    return int(number) if number is not None and number == int(number) else None


def _seconds(value: Any) -> float | None:
    number = _number(0, math.inf)(value)
    return _quiet(number) if number else None


def _message(value: Any) -> str | None:
    return storable(value)[:MESSAGE_MAX] if isinstance(value, str) else None


Id = Annotated[ReportedText, Field(min_length=1, max_length=ID_MAX)]
JobUrl = Annotated[str, Field(max_length=URL_MAX), AfterValidator(_url)]


class _FromExecution(WireModel):
    # Additive changes are allowed (REQ: versioning strategy): unknown fields are ignored.
    model_config = ConfigDict(extra="ignore")

    correlation_id: Uuid = Field(description="the correlationId of the request")
    execution_id: Id = Field(description=f"N8N's `$execution.id`, a text of 1 to {ID_MAX} characters")


class GenerationAsk(_FromExecution):
    """Asks whether this execution may start the paid work."""

    ask_key: Id | None = Field(
        None,
        description="a text that is random for each ask. Repeating an ask whose answer was lost gets the same answer",
    )
    quiet_for: Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_quiet)] | None = Field(
        None, description=_QUIET
    )
    no_job: bool | None = Field(
        None, description="true: the provider surely refused the submission of this execution, and nothing is paid for"
    )
    ended_job: Id | None = Field(
        None, description="the jobId of a job that ended unbilled, with an error that may pass"
    )

    def to_domain(self) -> Ask:
        """Returns the ask in the form of the domain."""
        return Ask(
            correlation_id=self.correlation_id,
            execution_id=self.execution_id,
            key=self.ask_key,
            quiet_for=_duration(self.quiet_for),
            no_job=bool(self.no_job),
            ended_job=self.ended_job,
        )


class GenerationJob(_FromExecution):
    """Names the job that this execution submitted to the AI provider.

    Its URLs have one origin, and if the request has an entry of the catalogue, the one of the model's endpoint.
    """

    provider: Id = Field(description="the AI service, such as `fal`")
    job_id: Id = Field(description="the provider's id of the job")
    status_url: JobUrl | None = Field(None, description=f"polled for the job's status: {_WEB_URL}")
    response_url: JobUrl | None = Field(None, description=f"has the result: {_WEB_URL}")
    cancel_url: JobUrl | None = Field(None, description=f"cancels the job: {_WEB_URL}")

    @field_validator("response_url", "cancel_url")
    @classmethod
    def _one_origin(cls, value: str | None, info: ValidationInfo) -> str | None:
        others = (info.data.get(name) for name in ("status_url", "response_url"))
        for other in filter(None, others):
            if value is not None and _origin(value) != _origin(other):
                raise PydanticCustomError("other_origin", "has another origin than the job's other URLs")
        return value

    def check_origin(self, model: Mapping[str, Any]) -> None:
        """Raises `InvalidMessageError` if a URL has another origin than the endpoint of this entry of the catalogue."""
        endpoint = endpoint_of(model)
        if endpoint is None:  # the job is recorded all the same
            return
        urls = {"statusUrl": self.status_url, "responseUrl": self.response_url, "cancelUrl": self.cancel_url}
        wrong = [name for name, url in urls.items() if url is not None and _origin(url) != _origin(endpoint)]
        if wrong:
            message, allowed = "has another origin than the model's endpoint", f"URLs with the origin of {endpoint}"
            raise InvalidMessageError(
                "The job", [FieldError(field=name, allowed=allowed, message=message) for name in wrong]
            )

    def to_domain(self) -> NamedJob:
        """Returns the named job in the form of the domain."""
        job = ProviderJob(
            provider=self.provider,
            job_id=self.job_id,
            status_url=self.status_url,
            response_url=self.response_url,
            cancel_url=self.cancel_url,
        )
        return NamedJob(correlation_id=self.correlation_id, execution_id=self.execution_id, job=job)


class GenerationProgress(_FromExecution):
    """Reports how far a job is. A report is not refused because of an optional field with a wrong value."""

    stage: Stage = Field(description="queued, generating or finishing")
    queue_position: Annotated[int | None, BeforeValidator(_position), ANYTHING] = Field(
        None, description="the number of jobs before this one, a whole number from 0; ignored if it is something else"
    )
    percent: Annotated[float | None, BeforeValidator(_number(0, 100)), ANYTHING] = Field(
        None, description="a number from 0 to 100; ignored if it is something else"
    )
    message: Annotated[str | None, BeforeValidator(_message), ANYTHING] = Field(
        None, description=f"a text for people, cut after {MESSAGE_MAX} characters; ignored if it is something else"
    )
    quiet_for: Annotated[float | None, BeforeValidator(_seconds), ANYTHING] = Field(
        None, description=f"{_QUIET}; ignored if it is not a number above 0"
    )

    def to_domain(self) -> ProgressReport:
        """Returns the report in the form of the domain."""
        progress = Progress(
            stage=self.stage, queue_position=self.queue_position, percent=self.percent, message=self.message
        )
        return ProgressReport(
            correlation_id=self.correlation_id,
            execution_id=self.execution_id,
            progress=progress,
            quiet_for=_duration(self.quiet_for),
        )


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


class KnownJob(WireModel):
    """The known job of a request at the AI provider."""

    provider: str = Field(description="the AI service")
    job_id: str = Field(description="the provider's id of the job")
    status_url: str | None = Field(None, description="polled for the job's status; absent if it was not named")
    response_url: str | None = Field(None, description="has the result; absent if it was not named")
    cancel_url: str | None = Field(None, description="cancels the job; absent if it was not named")

    @classmethod
    def of(cls, job: ProviderJob) -> "KnownJob":
        """Returns a job in the form of the API."""
        return cls(
            provider=job.provider,
            job_id=job.job_id,
            status_url=job.status_url,
            response_url=job.response_url,
            cancel_url=job.cancel_url,
        )


class GenerationDecision(WireModel):
    """The answer to an execution that asks whether it may start the paid work."""

    request_id: UUID
    status: Status = Field(description="the state of the request now")
    decision: Decision = Field(
        description="`start`: submit one job within `validFor`; `resume`: poll `providerJob`; `wait`: another "
        "execution may submit a job, ask again after `retryAfter`; `stop`: end, no image is wanted from this execution"
    )
    valid_for: int | None = Field(None, description="with `start` only: seconds in which to submit the job")
    provider_job: KnownJob | None = Field(None, description="with `resume` only: the job to poll")
    retry_after: int | None = Field(None, description="with `wait` only: seconds after which to ask again")

    @classmethod
    def of(cls, answer: GenerationAnswer) -> "GenerationDecision":
        """Returns the answer to an ask in the form of the API."""
        decision = answer.decision or Decision.STOP
        return cls(
            request_id=answer.request_id,
            status=answer.status,
            decision=decision,
            valid_for=int(GRANT_VALID.total_seconds()) if decision is Decision.START else None,
            provider_job=KnownJob.of(answer.job) if decision is Decision.RESUME and answer.job else None,
            retry_after=int(ASK_AGAIN.total_seconds()) if decision is Decision.WAIT else None,
        )


class JobProblem(Problem):
    """The problem document for a named job when another job is known."""

    provider_job: KnownJob | None = Field(
        None, description="with `job_contradicts` only: the known job. Cancel your own at the provider, and end"
    )


def provider_job(job: ProviderJob) -> dict[str, str]:
    """Returns the job as it is sent to N8N."""
    return KnownJob.of(job).model_dump(by_alias=True, exclude_none=True)
