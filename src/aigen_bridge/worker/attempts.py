"""Records how an attempt ended in the log, the metrics and the trace."""

from datetime import datetime, timedelta

import structlog
from prometheus_client import Histogram

from aigen_bridge import metrics
from aigen_bridge.domain.outbox import (
    Claim,
    Complete,
    Dead,
    Delivered,
    Done,
    Held,
    L,
    Lease,
    Outcome,
    Received,
    Retry,
    SetBack,
    Settlement,
)
from aigen_bridge.domain.request import FINAL, ImageRequest
from aigen_bridge.tracing import Span

log = structlog.get_logger(__name__)


def record_attempt(settlement: Settlement[L], outcome: Outcome | None) -> None:
    """Logs and counts an attempt with the outcome that was settled. None means that the lease was lost."""
    claim, took = settlement.claim, settlement.took
    _log_attempt(settlement, outcome)
    if outcome is None:
        return
    error = None if isinstance(outcome, Done) else outcome.error
    odoo = claim.request.odoo if isinstance(claim, Claim) else ""
    metrics.ATTEMPTS.labels(claim.step.value, odoo, _name(outcome), metrics.error_class(error)).inc()
    metrics.ATTEMPT_SECONDS.labels(claim.step.value).observe(took.total_seconds())
    if isinstance(claim, Claim) and isinstance(outcome, Done):
        if isinstance(outcome.effect, Complete | Received):
            metrics.IMAGE_BYTES.labels("fetch").observe(outcome.effect.image.described.size)
        if isinstance(outcome.effect, Delivered) and claim.request.status in FINAL:
            _measure(claim.request, claim.claimed_at + took)


def describe(span: Span, claim: Lease, outcome: Outcome) -> None:
    """Adds the attempt number, the entry and the outcome to the span."""
    about = {f"aigen__{name}": value for name, value in claim.about.items()}
    span.note(aigen__attempt=claim.attempt, aigen__entry_id=claim.entry_id, aigen__outcome=_name(outcome), **about)
    if not isinstance(outcome, Done):
        span.fail(outcome.error.code)


def _measure(request: ImageRequest, delivered_at: datetime) -> None:
    """Observes the total duration of a delivered request and that of its stages, by the database's clock."""
    odoo = request.odoo
    _stage(metrics.END_TO_END.labels(request.status.value, odoo), request.created_at, delivered_at)
    _stage(metrics.STAGES.labels("to_n8n", odoo), request.created_at, request.dispatched_at)
    _stage(metrics.STAGES.labels("at_n8n", odoo), request.dispatched_at, request.finished_at)
    _stage(metrics.STAGES.labels("to_odoo", odoo), request.finished_at, delivered_at)


def _stage(histogram: Histogram, since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None:
        histogram.observe(max(timedelta(0), until - since).total_seconds())


def _name(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()


def _log_attempt(settlement: Settlement[L], outcome: Outcome | None) -> None:
    claim = settlement.claim
    facts = {"duration_ms": round(settlement.took.total_seconds() * 1000, 1)}
    if outcome is None:
        log.warning("lease.lost", entry_id=claim.entry_id, **facts)
        return
    event = f"{claim.step}.{_name(outcome)}"
    match outcome:
        case Done(SetBack(detail=detail)):
            log.error("request.set_back", **facts, detail=detail)
        case Done():
            log.info(event, **facts)
        case Retry(at, error):
            log.warning(event, **facts, code=error.code, detail=error.detail, next_try_at=at.isoformat())
        case Held(error):
            log.warning(event, **facts, code=error.code, detail=error.detail)
        case Dead(error):
            log.error(event, **facts, code=error.code, detail=error.detail)
