"""The metrics of this process, and their exposition to Prometheus.

Labels never contain values that a caller can choose: routes are templates, causes, clients and Odoos come from the
bridge. The label `odoo` is empty for alerts, which belong to no Odoo.
Series that alerts count exist from the start, at zero, so the first error is counted, too.
"""

from collections.abc import Collection
from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from aigen_bridge.domain.destination import every_destination
from aigen_bridge.domain.generation import Decision
from aigen_bridge.domain.ledger import EntryKind
from aigen_bridge.domain.request import DEFAULT_ODOO, FINAL, Status, Step
from aigen_bridge.metrics.classes import CLASSES, error_class
from aigen_bridge.metrics.expose import MEDIA_TYPE, as_text, shared_between_processes

__all__ = ["CLASSES", "MEDIA_TYPE", "as_text", "create_series", "error_class", "shared_between_processes"]

CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. 0.5 and 1 are the limits for webhook and callback: average and p95."""
STAGE_BUCKETS = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds. 10, 20 and 30 are the limits from request to result."""
BYTE_BUCKETS = tuple(float(2**exponent) for exponent in range(14, 26))
"""16 KiB to 32 MiB, the largest callback."""

# Inbound calls.
HTTP_REQUESTS = Counter("aigen_http_requests_total", "Calls to the API, by status", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "aigen_http_request_seconds",
    "Duration of a call, from the first byte received to the last byte sent",
    ["method", "route"],
    buckets=CALL_BUCKETS,
)
AUTHENTICATION_FAILURES = Counter(
    "aigen_authentication_failures_total",
    "Calls refused because of their key, scope, database or signature",
    ["reason"],
)
RATE_LIMITED = Counter(
    "aigen_rate_limited_total", "Calls refused because the client exceeded its rate limit", ["client"]
)
QUARANTINED = Counter(
    "aigen_callbacks_quarantined_total", "Callbacks and failure reports that became dead letters", ["code"]
)
CALLBACKS = Counter(
    "aigen_callbacks_total", "Callbacks by endpoint and payload version", ["endpoint", "payload_version"]
)
CALLBACKS_TAKEN = Counter(
    "aigen_callbacks_taken_total", "Callbacks applied, by the resulting state of the request", ["status", "duplicate"]
)
IMAGE_BYTES = Histogram("aigen_image_bytes", "Size of accepted images", ["source"], buckets=BYTE_BUCKETS)

IMAGES_SPILLED = Counter(
    "aigen_images_spilled_total", "Images that were stored in PostgreSQL because their object store did not answer"
)

# Outbound calls.
OUTBOUND_CALLS = Counter(
    "aigen_outbound_calls_total",
    "Calls to destinations",
    ["destination", "outcome", "error_class"],
)
OUTBOUND_SECONDS = Histogram(
    "aigen_outbound_call_seconds", "Duration of outbound calls", ["destination"], buckets=CALL_BUCKETS
)

# The worker.
ATTEMPTS = Counter("aigen_attempts_total", "Attempts at outbox entries", ["step", "odoo", "outcome", "error_class"])
ATTEMPT_SECONDS = Histogram("aigen_attempt_seconds", "Duration of attempts", ["step"], buckets=CALL_BUCKETS)
LOOPS = Gauge(
    "aigen_worker_loop_timestamp_seconds",
    "Time of the last iteration of a loop of the worker",
    ["loop"],
    multiprocess_mode="mostrecent",
)
TIMED_OUT = Counter("aigen_requests_timed_out_total", "Requests without a callback before their deadline")
REPAIRED = Counter(
    "aigen_reconciliation_repairs_total",
    "Missing outbox entries and deadlines that were restored: bugs in the bridge",
    ["what"],
)
PURGED = Counter("aigen_purged_total", "Rows deleted past their retention period", ["what"])

# The paid work at the AI provider.
GENERATIONS_ASKED = Counter(
    "aigen_generations_asked_total", "N8N asked whether it may start the paid work, by the answer", ["decision"]
)
RESUMED = Counter("aigen_generations_resumed_total", "Requests sent to N8N again because it fell silent")
MAYBE_PAID = Counter(
    "aigen_generations_maybe_paid_total", "Permissions to pay after which N8N named no job: paid for, or not"
)
OTHER_JOBS = Counter(
    "aigen_generations_other_jobs_total", "Jobs that were submitted while another was known, and are to be cancelled"
)

# Money.
LEDGER_ENTRIES = Counter(
    "aigen_ledger_entries_total", "Entries added to the ledger when requests were settled", ["kind"]
)

# The life of requests.
TRANSITIONS = Counter("aigen_requests_moved_total", "Requests that entered a state", ["status", "odoo"])
END_TO_END = Histogram(
    "aigen_end_to_end_seconds",
    "Time from acceptance to delivery to Odoo, by final state",
    ["status", "odoo"],
    buckets=STAGE_BUCKETS,
)
STAGES = Histogram(
    "aigen_stage_seconds",
    "Stages of a request: to_n8n (until N8N accepts it), at_n8n (until the result), to_odoo (until delivery to Odoo)",
    ["stage", "odoo"],
    buckets=STAGE_BUCKETS,
)

# Expiry dates.
CERTIFICATE_EXPIRY = Gauge(
    "aigen_certificate_expiry_timestamp_seconds",
    "Expiry of the TLS certificate of an address that the bridge or N8N calls",
    ["endpoint"],
    multiprocess_mode="mostrecent",
)
ODOO_KEY_EXPIRY = Gauge(
    "aigen_odoo_api_key_expiry_timestamp_seconds",
    "Expiry of the API key for Odoo, from the settings",
    ["login", "odoo"],
    multiprocess_mode="mostrecent",
)

REFUSALS = ("key_missing", "key_unknown", "scope_missing", "wrong_database", "signature_invalid", "oidc")


disable_created_metrics()  # type: ignore[no-untyped-call]  # they would add an unused second series to each metric


def create_series(odoos: Collection[str]) -> None:
    """Creates the series of the Odoos in the settings, at zero."""
    for odoo in odoos:
        for status in Status:
            TRANSITIONS.labels(status.value, odoo)
        for final in sorted(FINAL):
            END_TO_END.labels(final.value, odoo)
        for step in (Step.DISPATCH, Step.FETCH, Step.MARK, Step.DELIVER):
            ATTEMPTS.labels(step.value, odoo, "done", "none")
    for destination in every_destination(odoos):
        OUTBOUND_SECONDS.labels(destination)
        OUTBOUND_CALLS.labels(destination, "ok", "none")
        for kind in CLASSES[1:]:
            OUTBOUND_CALLS.labels(destination, "error", kind)


def _create_series() -> None:
    for outcome, duplicate in product(("completed", "received", "failed"), ("no", "yes")):
        CALLBACKS_TAKEN.labels(outcome, duplicate)
    for decision in Decision:
        GENERATIONS_ASKED.labels(decision.value)
    for reason in REFUSALS:
        AUTHENTICATION_FAILURES.labels(reason)
    for kind in EntryKind:
        LEDGER_ENTRIES.labels(kind.value)
    for step in Step:
        ATTEMPT_SECONDS.labels(step.value)
    ATTEMPTS.labels(Step.ALERT.value, "", "done", "none")


_create_series()
create_series((DEFAULT_ODOO,))
