"""Fails requests without a callback before the deadline. A killed N8N never resumes. A late result is accepted."""

from datetime import timedelta
from uuid import UUID

from aigen_bridge.domain.request import FailedBy, FailureCode, Status, Transition


def timed_out(request_id: UUID, after: timedelta) -> Transition:
    """Returns the transition of a request whose callback did not arrive within `after` its dispatch."""
    return Transition(
        request_id=request_id,
        before=frozenset({Status.DISPATCHED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.TIMED_OUT,
        error_message=f"The image service took the request and did not report within {_format_duration(after)}.",
    )


def _format_duration(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    number, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")  # noqa: PLR2004 - seconds in a minute
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
