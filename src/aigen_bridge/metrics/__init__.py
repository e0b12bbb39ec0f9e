"""The metrics of this process, and their exposition to Prometheus.

Labels never contain values that a caller can choose: routes are templates, causes and clients come from the bridge.
Series that alerts count exist from the start, at zero, so the first error is counted, too.
"""

from aigen_bridge.metrics.classes import CLASSES, error_class
from aigen_bridge.metrics.expose import MEDIA_TYPE, as_text, shared_between_processes
from aigen_bridge.metrics.families import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    AUTHENTICATION_FAILURES,
    CALLBACKS,
    CALLBACKS_TAKEN,
    CERTIFICATE_EXPIRY,
    END_TO_END,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    IMAGE_BYTES,
    LOOPS,
    ODOO_KEY_EXPIRY,
    OUTBOUND_CALLS,
    OUTBOUND_SECONDS,
    PURGED,
    QUARANTINED,
    RATE_LIMITED,
    REPAIRED,
    STAGES,
    TIMED_OUT,
    TRANSITIONS,
)

__all__ = [
    "ATTEMPTS",
    "ATTEMPT_SECONDS",
    "AUTHENTICATION_FAILURES",
    "CALLBACKS",
    "CALLBACKS_TAKEN",
    "CERTIFICATE_EXPIRY",
    "CLASSES",
    "END_TO_END",
    "HTTP_REQUESTS",
    "HTTP_SECONDS",
    "IMAGE_BYTES",
    "LOOPS",
    "MEDIA_TYPE",
    "ODOO_KEY_EXPIRY",
    "OUTBOUND_CALLS",
    "OUTBOUND_SECONDS",
    "PURGED",
    "QUARANTINED",
    "RATE_LIMITED",
    "REPAIRED",
    "STAGES",
    "TIMED_OUT",
    "TRANSITIONS",
    "as_text",
    "error_class",
    "shared_between_processes",
]
