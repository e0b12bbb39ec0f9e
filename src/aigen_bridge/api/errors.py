"""What can be wrong with a call."""

from datetime import timedelta

from aigen_bridge.contracts.problem import FieldError
from aigen_bridge.domain.errors import BridgeError


class UnauthorizedError(BridgeError):
    """No key, or one that nobody has."""


class ForbiddenError(BridgeError):
    """A good key without the right scope."""


class NotJsonError(BridgeError):
    """The body is not JSON."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_json", f"The body is not JSON: {reason}.")


class MalformedMultipartError(BridgeError):
    """The body is not the multipart/form-data that is expected."""

    def __init__(self, reason: str) -> None:
        super().__init__("malformed_multipart", f"The body is not usable as multipart/form-data. {reason}")


class BodyTooLargeError(BridgeError):
    """The body is larger than allowed."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__("body_too_large", f"The body is larger than {max_bytes} bytes.")


class BodyTooSlowError(BridgeError):
    """The body did not arrive in time."""

    def __init__(self, timeout: timedelta) -> None:
        super().__init__("body_too_slow", f"The body did not arrive within {timeout.total_seconds():g} seconds.")


class UnsupportedMediaTypeError(BridgeError):
    """The body is of another type than this endpoint reads."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__("unsupported_media_type", f"The body is {found[:80]}, not {expected}.")
        self.expected = expected


class TooManyCallsError(BridgeError):
    """The client calls more often than allowed. `retry_after` in seconds."""

    def __init__(self, client: str, limit: object, retry_after: int) -> None:
        super().__init__("too_many_calls", f"Client {client!r} may call {limit}, and has.")
        self.retry_after = retry_after


class UnknownDeadLetterError(BridgeError):
    """There is no such dead letter, or it is not open any more."""

    def __init__(self, name: str) -> None:
        super().__init__("dead_letter_unknown", f"No dead letter {name!r} is open.")


class NothingToReplayError(BridgeError):
    """The dead letter reports a failed execution of no known request: there is nothing to take or to send again."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "nothing_to_replay",
            f"Dead letter {name} reports a failed execution of no known request, so there is nothing to replay. Look "
            "at the execution in N8N, then discard the letter.",
        )


class InvalidMessageError(BridgeError):
    """JSON, but not the message that is expected. `errors` says why, field by field."""

    def __init__(self, what: str, errors: list[FieldError]) -> None:
        summary = " ".join(f"{e.field}: {e.message}." if e.field else f"It {e.message}." for e in errors)
        super().__init__("invalid_message", f"{what} is not valid. {summary}")
        self.errors = errors
