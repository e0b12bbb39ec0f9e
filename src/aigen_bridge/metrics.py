"""Counters of this process. Labels never hold what a stranger can choose."""

from prometheus_client import Counter

AUTHENTICATION_FAILURES = Counter(
    "aigen_authentication_failures_total", "Calls refused because of key, scope or signature", ["reason"]
)
RATE_LIMITED = Counter("aigen_rate_limited_total", "Calls refused because a client called too often", ["client"])
QUARANTINED = Counter("aigen_callbacks_quarantined_total", "Callbacks that could not be used, and were kept", ["code"])
TIMED_OUT = Counter("aigen_requests_timed_out_total", "Requests that got no callback before their deadline")
REPAIRED = Counter("aigen_reconciliation_repairs_total", "Obligations that were forgotten: bugs of ours", ["what"])
PURGED = Counter("aigen_purged_total", "Rows removed because they were kept long enough", ["what"])
CALLBACKS = Counter(
    "aigen_callbacks_total", "Callbacks by endpoint and payload version", ["endpoint", "payload_version"]
)
