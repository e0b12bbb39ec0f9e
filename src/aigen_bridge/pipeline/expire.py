"""No callback before the deadline: a killed N8N never resumes, so the person is told. A late result still wins."""

from datetime import timedelta
from uuid import UUID

from aigen_bridge.domain.request import FailedBy, FailureCode, Status, Transition


def timed_out(request_id: UUID, after: timedelta) -> Transition:
    """The end of a request whose callback did not come within `after` its dispatch."""
    return Transition(
        request_id=request_id,
        before=frozenset({Status.DISPATCHED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.TIMED_OUT,
        error_message=f"The image service took the request and did not report within {_spoken(after)}.",
    )


def _spoken(span: timedelta) -> str:
    seconds = span.total_seconds()
    number, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")  # noqa: PLR2004 - a minute
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
