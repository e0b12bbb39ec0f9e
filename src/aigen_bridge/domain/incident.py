"""Incidents: causes that operators must be notified of, once however often they occur."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.request import DEFAULT_ODOO, FailedBy, Transition


class Cause(StrEnum):
    """The cause of an incident. For a failure of the bridge, it equals the error code of the request."""

    DISPATCH_FAILED = "dispatch_failed"
    """N8N did not accept a request in all attempts."""

    IMAGE_FETCH_FAILED = "image_fetch_failed"
    """The image could not be fetched from N8N's temporary URL."""

    IMAGE_REJECTED = "image_rejected"
    """A fetched image did not match what N8N declared."""

    TIMED_OUT = "timed_out"
    """N8N accepted a request and did not report before the deadline."""

    DELIVERY_FAILED = "delivery_failed"
    """A delivery was given up: Odoo does not know how the request ended."""

    CALLBACK_QUARANTINED = "callback_quarantined"
    """N8N sent a callback that could not be used."""

    EXECUTION_LOST = "execution_lost"
    """N8N died, was stopped or fell silent while it worked on requests. They were sent again, or failed after that."""

    WORKFLOW_FAILED = "workflow_failed"
    """N8N itself reported that an execution failed, or that it could not deliver a result."""

    MAYBE_PAID = "maybe_paid"
    """N8N fell silent after it was permitted to pay for an image, and named no job. The request was not sent again."""

    N8N_DOWN = "n8n_down"
    """The breaker for N8N is open: requests are held."""

    WEBHOOK_NOT_FOUND = "webhook_not_found"
    """N8N is up, but has answered 404 at the webhook's path for a minute. No restart takes that long."""

    ODOO_DOWN = "odoo_down"
    """The breaker for Odoo is open: results are held."""

    SET_BACK = "database_set_back"
    """Odoo knows later news of requests than the bridge, whose database was restored from a backup."""

    BUDGET_NOTICE = "budget_notice"
    """So much of a budget is used that people must know, or more than all of it."""

    COST_ABSURD = "cost_absurd"
    """N8N reported a cost of more than a hundred times the estimate. It is booked as reported."""

    REQUEST_ORPHANED = "request_forgotten"
    """The reconciliation found a request that would never have moved again: a bug of the bridge."""


PER_ODOO = (Cause.ODOO_DOWN, Cause.DELIVERY_FAILED, Cause.SET_BACK)
"""The causes for which each Odoo has an incident of its own."""


def incident_key(cause: Cause, odoo: str) -> str:
    """Returns the name under which an incident is stored: the cause; `odoo_down:north` for another Odoo."""
    return cause.value if odoo == DEFAULT_ODOO else f"{cause}:{odoo}"


def read_key(key: str) -> tuple[Cause, str]:
    """Returns the cause and the Odoo of a stored incident. Raises `ValueError` for an unknown cause."""
    cause, _, odoo = key.partition(":")
    return Cause(cause), odoo or DEFAULT_ODOO


def every_key(odoos: Iterable[str]) -> set[str]:
    """Returns the names of all incidents that an installation with these Odoos can have."""
    others = {incident_key(cause, odoo) for odoo in odoos for cause in PER_ODOO}
    return {cause.value for cause in Cause} | others


@dataclass(frozen=True, slots=True)
class Advice:
    """The meaning of a cause in one line, and the command that fixes it or shows more.

    `over`: what the end of an outage means. Without it, the consequences still have to be fixed after the end.
    """

    title: str
    mend: str
    over: str | None = None


def _replay(kind: str) -> str:
    return f"aigen-bridge dead-letters list --kind {kind}, then aigen-bridge dead-letters replay --all --kind {kind}"


ADVICE: Mapping[Cause, Advice] = {
    Cause.DISPATCH_FAILED: Advice("N8N did not accept requests", _replay("dispatch")),
    Cause.IMAGE_FETCH_FAILED: Advice("Images could not be fetched from the URLs that N8N sent", _replay("fetch")),
    Cause.IMAGE_REJECTED: Advice("Fetched images failed their checks", _replay("fetch")),
    Cause.TIMED_OUT: Advice(
        "N8N accepted requests but did not report a result",
        "look at N8N's executions, then aigen-bridge requests replay REQUEST_ID; a late result is still accepted",
    ),
    Cause.DELIVERY_FAILED: Advice("Results could not be delivered to Odoo", _replay("deliver")),
    Cause.CALLBACK_QUARANTINED: Advice(
        "Callbacks could not be used and are in quarantine",
        "aigen-bridge dead-letters list --kind callback, then replay or discard each",
    ),
    Cause.EXECUTION_LOST: Advice(
        "N8N lost executions or fell silent; their requests were sent again",
        "find out why N8N died (memory, a restart); aigen-bridge dead-letters list --kind n8n shows the requests that "
        "failed, aigen-bridge dead-letters replay sends one again",
    ),
    Cause.WORKFLOW_FAILED: Advice(
        "N8N could not finish or deliver what it was asked for",
        "aigen-bridge dead-letters list --kind n8n, open the execution by its link; after an outage aigen-bridge "
        "dead-letters replay --all --kind n8n",
    ),
    Cause.MAYBE_PAID: Advice(
        "Images may have been paid for without a trace; their requests failed",
        "look for the jobs at the AI service, then aigen-bridge requests replay REQUEST_ID, which may pay again",
    ),
    Cause.N8N_DOWN: Advice(
        "N8N is away; requests are held and sent when it is back",
        "aigen-bridge doctor",
        over="N8N is back; held requests are being sent",
    ),
    Cause.WEBHOOK_NOT_FOUND: Advice(
        "N8N runs, but no workflow is published at the webhook's path; requests are held",
        "publish the workflow in N8N, or correct the path in AIGEN_N8N__WEBHOOK_URL; aigen-bridge doctor checks it",
        over="N8N's webhook is registered again; held requests are being sent",
    ),
    Cause.ODOO_DOWN: Advice(
        "Odoo is away; results are held and delivered when it is back",
        "aigen-bridge doctor",
        over="Odoo is back; held results are being delivered",
    ),
    Cause.SET_BACK: Advice(
        "Odoo knows later news than the bridge, whose database was restored from a backup",
        "aigen-bridge restored, once all workers are stopped; the requests named here are mended already",
    ),
    Cause.BUDGET_NOTICE: Advice(
        "Much of a budget is used, or all of it",
        "aigen-bridge budgets list, then aigen-bridge budgets put with another limit, or wait for the next period",
    ),
    Cause.COST_ABSURD: Advice(
        "Images cost more than a hundred times the estimate",
        "compare the AI service's invoice with aigen-bridge usage, and correct the model's price or the workflow",
    ),
    Cause.REQUEST_ORPHANED: Advice(
        "Orphaned requests were found and repaired: a bug of the bridge, please report it",
        "aigen-bridge requests show REQUEST_ID",
    ),
}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence of a cause; `request_id` if it belongs to a known request, `odoo` for a cause `PER_ODOO`."""

    cause: Cause
    detail: str
    request_id: UUID | None = None
    odoo: str = DEFAULT_ODOO


def failures_of(transitions: Sequence[Transition]) -> list[Occurrence]:
    """Returns an occurrence for each transition by which the bridge gave up on a request."""
    return [
        Occurrence(Cause(str(transition.error_code)), transition.error_message or "", transition.request_id)
        for transition in transitions
        if transition.failed_by is FailedBy.BRIDGE
    ]


@dataclass(frozen=True, slots=True)
class OccurrenceRecord:
    """A recorded occurrence."""

    at: datetime
    detail: str
    request_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One cause while it lasts.

    `times` counts its occurrences, `notified_times` those that people were notified of. `latest` holds the most recent
    ones, newest first. `odoo` as in `Occurrence`.
    """

    id: int
    cause: Cause
    odoo: str = DEFAULT_ODOO
    times: int
    notified_times: int
    opened_at: datetime
    seen_at: datetime
    recovered_at: datetime | None
    latest: tuple[OccurrenceRecord, ...]
