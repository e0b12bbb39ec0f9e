"""Errors by class. Codes and statuses are for logs and attempts: as labels they would be too many."""

import http

from aigen_bridge.domain.errors import InternalError, StepError

CLASSES = ("none", "timeout", "connection", "http_429", "http_4xx", "http_5xx", "fault", "internal", "other")
"""`fault`: an exception inside HTTP 200, as Odoo reports them, or a 2xx that is no acknowledgement; `internal`: our
side; `other`: refused before or after the call, such as an image that failed its checks."""

_CODES = {
    "timeout": "timeout",
    "odoo_timeout": "timeout",
    "connection": "connection",
    "odoo_unreachable": "connection",
    "odoo_login_refused": "fault",
}


def error_class(error: StepError | None) -> str:
    """Which of `CLASSES` an error is; none for no error."""
    if error is None:
        return "none"
    if isinstance(error, InternalError):
        return "internal"
    if error.http_status is not None:
        return _by_status(error.http_status)
    return _CODES.get(error.code, "other")


def _by_status(status: int) -> str:
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return "http_429"
    if status < http.HTTPStatus.MULTIPLE_CHOICES:
        return "fault"
    return "http_5xx" if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR else "http_4xx"
