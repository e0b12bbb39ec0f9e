"""Every metric of a process. What is read from the database instead is in `store/gauges.py`."""

from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from aigen_bridge.domain.destination import DESTINATIONS
from aigen_bridge.domain.request import FINAL, Status, Step
from aigen_bridge.metrics.classes import CLASSES

CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. 0.5 and 1 are the limits for webhook and callback: average and p95."""
WAY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds. 10, 20 and 30 are the limits from request to result."""
BYTE_BUCKETS = tuple(float(2**exponent) for exponent in range(14, 26))
"""16 KiB to 32 MiB, the largest callback."""

# Calls that come in.
HTTP_REQUESTS = Counter("aigen_http_requests_total", "Calls answered by the API", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "aigen_http_request_seconds",
    "From the first byte in to the last byte out",
    ["method", "route"],
    buckets=CALL_BUCKETS,
)
AUTHENTICATION_FAILURES = Counter(
    "aigen_authentication_failures_total", "Calls refused because of key, scope or signature", ["reason"]
)
RATE_LIMITED = Counter("aigen_rate_limited_total", "Calls refused because a client called too often", ["client"])
QUARANTINED = Counter("aigen_callbacks_quarantined_total", "Callbacks that could not be used, and were kept", ["code"])
CALLBACKS = Counter(
    "aigen_callbacks_total", "Callbacks by endpoint and payload version", ["endpoint", "payload_version"]
)
CALLBACKS_TAKEN = Counter(
    "aigen_callbacks_taken_total", "Callbacks taken, by the state they left the request in", ["status", "duplicate"]
)
IMAGE_BYTES = Histogram("aigen_image_bytes", "Size of accepted images", ["source"], buckets=BYTE_BUCKETS)

# Calls that go out.
OUTBOUND_CALLS = Counter(
    "aigen_outbound_calls_total", "Calls to destinations", ["destination", "outcome", "error_class"]
)
OUTBOUND_SECONDS = Histogram(
    "aigen_outbound_call_seconds", "How long those calls took", ["destination"], buckets=CALL_BUCKETS
)

# What the worker does.
ATTEMPTS = Counter("aigen_attempts_total", "Tries at outbox entries", ["step", "outcome", "error_class"])
ATTEMPT_SECONDS = Histogram("aigen_attempt_seconds", "How long those tries took", ["step"], buckets=CALL_BUCKETS)
LOOPS = Gauge(
    "aigen_worker_loop_timestamp_seconds",
    "When a loop of the worker last went round",
    ["loop"],
    multiprocess_mode="mostrecent",
)
TIMED_OUT = Counter("aigen_requests_timed_out_total", "Requests that got no callback before their deadline")
REPAIRED = Counter("aigen_reconciliation_repairs_total", "Obligations that were forgotten: bugs of ours", ["what"])
PURGED = Counter("aigen_purged_total", "Rows removed because they were kept long enough", ["what"])

# How requests fare.
TRANSITIONS = Counter("aigen_requests_moved_total", "Requests that entered a state", ["status"])
END_TO_END = Histogram(
    "aigen_end_to_end_seconds", "From accepted to known in Odoo, by how it ended", ["status"], buckets=WAY_BUCKETS
)
STAGES = Histogram(
    "aigen_stage_seconds",
    "Parts of the way: to_n8n (accepted to taken), at_n8n (to the result), to_odoo (to known in Odoo)",
    ["stage"],
    buckets=WAY_BUCKETS,
)

# What ends by itself one day.
CERTIFICATE_EXPIRY = Gauge(
    "aigen_certificate_expiry_timestamp_seconds",
    "When the certificate of an address that we or N8N call ends",
    ["endpoint"],
    multiprocess_mode="mostrecent",
)
ODOO_KEY_EXPIRY = Gauge(
    "aigen_odoo_api_key_expiry_timestamp_seconds",
    "When the API key for Odoo ends, as the settings say",
    ["login"],
    multiprocess_mode="mostrecent",
)

REFUSALS = ("key_missing", "key_unknown", "scope_missing", "signature_invalid")


disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that nobody asks for


def _begin_at_zero() -> None:
    for status in Status:
        TRANSITIONS.labels(status.value)
    for final in sorted(FINAL):
        END_TO_END.labels(final.value)
    for outcome, duplicate in product(("completed", "received", "failed"), ("no", "yes")):
        CALLBACKS_TAKEN.labels(outcome, duplicate)
    for reason in REFUSALS:
        AUTHENTICATION_FAILURES.labels(reason)
    for destination in DESTINATIONS:
        OUTBOUND_SECONDS.labels(destination)
        OUTBOUND_CALLS.labels(destination, "ok", "none")
        for kind in CLASSES[1:]:
            OUTBOUND_CALLS.labels(destination, "error", kind)
    for step in Step:
        ATTEMPT_SECONDS.labels(step.value)
        ATTEMPTS.labels(step.value, "done", "none")


_begin_at_zero()
