"""Classifies errors for metric labels. Codes and statuses would be too many labels; logs and attempts have them."""

import http

from aigen_bridge.domain.errors import InternalError, StepError

CLASSES = ("none", "timeout", "connection", "http_429", "http_4xx", "http_5xx", "fault", "internal", "other")
"""`fault`: an exception in Odoo, whatever its HTTP status (200 over JSON-RPC), or a 2xx that is no acknowledgement.
`internal`: an error in the bridge. `other`: refused before or after the call, such as an image that failed its checks.
"""

_CODES = {
    "timeout": "timeout",
    "odoo_timeout": "timeout",
    "connection": "connection",
    "odoo_unreachable": "connection",
    "odoo_login_refused": "fault",
    "wrong_database": "fault",
}


def error_class(error: StepError | None) -> str:
    """Returns the class of an error, one of `CLASSES`; `none` without an error."""
    if error is None:
        return "none"
    if isinstance(error, InternalError):
        return "internal"
    if error.http_status is not None:
        is_fault = error.code.startswith("odoo_") and not error.code.startswith("odoo_http_")
        return "fault" if is_fault else _by_status(error.http_status)
    return _CODES.get(error.code, "other")


def _by_status(status: int) -> str:
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return "http_429"
    if status < http.HTTPStatus.MULTIPLE_CHOICES:
        return "fault"
    return "http_5xx" if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR else "http_4xx"
