"""Errors of HTTP calls."""

from datetime import timedelta

from aigen_bridge.domain.errors import BridgeError, ContradictionError
from aigen_bridge.domain.generation import ProviderJob


class UnauthorizedError(BridgeError):
    """The key is missing or unknown."""


class ForbiddenError(BridgeError):
    """The key is valid, but its client does not have the scope."""


class WrongDatabaseError(BridgeError):
    """The call comes from another Odoo database than that of the client's Odoo, such as a copy of it."""


class BodyTooLargeError(BridgeError):
    """The body is larger than allowed. `setting` names the limit, if it is one that operators can raise."""

    def __init__(self, max_bytes: int, setting: str | None = None) -> None:
        limit = f", the limit that operators have set with {setting}" if setting else ""
        super().__init__("body_too_large", f"The body is larger than {max_bytes} bytes{limit}.")


class BodyTooSlowError(BridgeError):
    """The body did not arrive in time."""

    def __init__(self, timeout: timedelta) -> None:
        super().__init__("body_too_slow", f"The body did not arrive within {timeout.total_seconds():g} seconds.")


class UnsupportedMediaTypeError(BridgeError):
    """The endpoint does not accept the body's media type."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__("unsupported_media_type", f"The body is {found[:80]}, not {expected}.")
        self.expected = expected


class UnsupportedEncodingError(BridgeError):
    """The body is compressed. `found` is its `Content-Encoding`."""

    def __init__(self, found: str) -> None:
        super().__init__("unsupported_encoding", f"The body is encoded with {found[:80]!r} (Content-Encoding).")


class OtherJobError(ContradictionError):
    """An execution named a job, but another job of the request is known. `job` is the known one."""

    def __init__(self, request_id: object, named: str, job: ProviderJob) -> None:
        super().__init__(
            "job_contradicts", f"The job of request {request_id} is {job.job_id} at {job.provider}, not {named}."
        )
        self.job = job


class PreconditionFailedError(BridgeError):
    """The resource is not the one that the caller named with `If-Match`."""


class TooManyCallsError(BridgeError):
    """The client exceeded its rate limit. `retry_after` is in seconds."""

    def __init__(self, client: str, limit: object, retry_after: int) -> None:
        rate = str(limit).replace(" per 1 ", " per ")
        super().__init__("too_many_calls", f"Rate limit exceeded for client {client!r}: {rate}.")
        self.retry_after = retry_after
