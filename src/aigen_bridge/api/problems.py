"""Problem documents (RFC 9457): what happened, to which request, and what to do next.

`KINDS` is the one table from an error to its HTTP status.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from aigen_bridge.api import correlation
from aigen_bridge.api.errors import (
    BodyTooLargeError,
    BodyTooSlowError,
    ForbiddenError,
    OtherJobError,
    PreconditionFailedError,
    TooManyCallsError,
    UnauthorizedError,
    UnsupportedEncodingError,
    UnsupportedMediaTypeError,
    WrongDatabaseError,
)
from aigen_bridge.contracts.budgets import BudgetFacts
from aigen_bridge.contracts.generation import provider_job
from aigen_bridge.contracts.refusal import InvalidMessageError, MalformedMultipartError, NotJsonError, parameter_errors
from aigen_bridge.contracts.wire import FieldError, Problem
from aigen_bridge.domain.budget import (
    BudgetExceededError,
    BudgetNameTakenError,
    OldAddonError,
    RateMissingError,
    UnknownBudgetError,
    UnknownTimeZoneError,
)
from aigen_bridge.domain.errors import (
    BridgeError,
    ContradictionError,
    ImageDamagedError,
    ImageMissingError,
    ImagePurgedError,
    ImageRejectedError,
    NothingToReplayError,
    NotReplayableError,
    RequestIdTakenError,
    SharedDestinationError,
    StoreUnavailableError,
    UnknownDeadLetterError,
    UnknownDestinationError,
    UnknownModelError,
    UnknownReplayError,
    UnknownRequestError,
    UnreadableRequestError,
)
from aigen_bridge.domain.signature import SignatureError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
NOT_ALLOWED = 405

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """The HTTP form of an error class: status, title, and what to do next."""

    status: int
    title: str
    action: str


KINDS: Mapping[type[BridgeError], Kind] = {
    NotJsonError: Kind(400, "Not JSON", "Send one JSON object, encoded as UTF-8."),
    MalformedMultipartError: Kind(
        400, "Malformed multipart", "Send multipart/form-data with a part 'event' (JSON) and a part 'image'."
    ),
    UnauthorizedError: Kind(
        401, "Not authenticated", "Send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
    ),
    ForbiddenError: Kind(403, "Not allowed", "Use a key of a client that has this scope in AIGEN_CLIENTS."),
    WrongDatabaseError: Kind(
        403,
        "Wrong database",
        "Neutralize a copy of a database, or give it a client of its own. If this database replaces the other one, ask "
        "operations to correct the database's name in AIGEN_ODOO__DATABASE or AIGEN_ODOOS, and to run "
        "'aigen-bridge odoos confirm' with the name of the Odoo.",
    ),
    UnknownRequestError: Kind(404, "Unknown request", "Check the requestId; it is the one that Odoo sent."),
    UnreadableRequestError: Kind(
        500,
        "Unreadable request",
        "Ask operations to run 'aigen-bridge doctor', which names the row, and to correct it.",
    ),
    ImageMissingError: Kind(404, "No image", "Read the request: its status shows whether an image is still expected."),
    ImagePurgedError: Kind(410, "Image deleted", "Do not try again. Odoo has the image if it was delivered."),
    RequestIdTakenError: Kind(409, "requestId in use", "Send the request again with another requestId."),
    ContradictionError: Kind(409, "Contradiction", "Read the request. Do not send this again."),
    OtherJobError: Kind(409, "Another job is known", "Cancel the job that you named at the provider, and end."),
    NotReplayableError: Kind(409, "Cannot be sent again", "Do what is said above instead."),
    BodyTooSlowError: Kind(408, "Too slow", "Send it again. Nothing was stored."),
    UnknownModelError: Kind(
        404, "Unknown model", "List them: GET /api/v1/influencegen/models, or 'aigen-bridge models list'."
    ),
    BudgetExceededError: Kind(
        402,
        "Budget exceeded",
        "Ask for a higher limit, or wait for the next day or month if the budget is for one. Do not try again.",
    ),
    RateMissingError: Kind(422, "Exchange rate missing", "Ask operations to add the rate to AIGEN_MONEY__RATES."),
    OldAddonError: Kind(
        409, "Addon too old", "Upgrade the addon, or put the budget with '?force=true' ('--force' of the command)."
    ),
    BudgetNameTakenError: Kind(409, "Name in use", "Put the budget under another name."),
    UnknownTimeZoneError: Kind(
        409,
        "Unknown time zone",
        "Ask operations to set AIGEN_MONEY__TIME_ZONE to a name that is in pg_timezone_names, and to restart the API.",
    ),
    UnknownBudgetError: Kind(
        404, "Unknown budget", "List them: GET /api/v1/ops/budgets, or 'aigen-bridge budgets list'."
    ),
    UnknownDestinationError: Kind(
        404, "Unknown destination", "List them: GET /api/v1/ops/destinations, or 'aigen-bridge destinations list'."
    ),
    SharedDestinationError: Kind(
        403, "Not yours to change", "Ask an operator of all Odoos, whose client has no 'odoo'."
    ),
    UnknownDeadLetterError: Kind(404, "Unknown dead letter", "List them: GET /api/v1/ops/dead-letters."),
    UnknownReplayError: Kind(404, "Unknown replay", "List them: GET /api/v1/ops/replays."),
    NothingToReplayError: Kind(
        409,
        "Nothing to replay",
        "Look at the execution in N8N, replay or complete its request, then discard this dead letter.",
    ),
    SignatureError: Kind(
        401,
        "Signature refused",
        "Sign the exact bytes that are sent, with a secret of this client and the current time.",
    ),
    TooManyCallsError: Kind(429, "Too many calls", "Wait for 'Retry-After' seconds."),
    BodyTooLargeError: Kind(413, "Too large", "Send a smaller body."),
    PreconditionFailedError: Kind(412, "Precondition failed", "Fetch it again without 'If-Match'."),
    UnsupportedEncodingError: Kind(
        415, "Wrong content encoding", "Send the body uncompressed and without the header Content-Encoding."
    ),
    UnsupportedMediaTypeError: Kind(
        415, "Wrong media type", "Send what is named above, and name it in the Content-Type header."
    ),
    InvalidMessageError: Kind(422, "Invalid message", "Correct the fields listed under 'errors'."),
    ImageRejectedError: Kind(422, "Image rejected", "Correct what is named above, then send the image again."),
    ImageDamagedError: Kind(500, "Image damaged", "Ask operations to restore the image."),
    StoreUnavailableError: Kind(
        503, "Temporarily unavailable", "Send the same again after 'Retry-After' seconds. Repeating it is safe."
    ),
}


UNEXPECTED = Kind(500, "Internal error", "Try again. If the error persists, report the correlationId to operations.")


def kind_of(error: BridgeError) -> Kind:
    """Returns the row of `KINDS` for the nearest class of an error."""
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), UNEXPECTED)


def install(app: FastAPI) -> None:
    """Turns every error of the application into a problem document."""
    app.add_exception_handler(BridgeError, _on_bridge_error)
    app.add_exception_handler(RequestValidationError, _on_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_bridge_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BridgeError)  # noqa: S101 - registered for it
    kind = kind_of(error)
    headers = _headers(error)
    reason = {"reason": error.reason} if isinstance(error, StoreUnavailableError) else {}
    detail = error.detail[:500]
    log.warning("api.refused", status=kind.status, code=error.code, detail=detail, path=request.url.path, **reason)
    errors, more = _field_errors(error), _more(error)
    return answer(request, kind, code=error.code, detail=error.detail, errors=errors, headers=headers, more=more)


def _more(error: BridgeError) -> dict[str, Any]:
    """Returns the members that a problem document has only for this error."""
    match error:
        case OtherJobError():
            return {"providerJob": provider_job(error.job)}
        case BudgetExceededError():
            return BudgetFacts.of(error.exceeded).model_dump(mode="json", by_alias=True)
    return {}


def _headers(error: BridgeError) -> dict[str, str]:
    match error:
        case StoreUnavailableError():
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case TooManyCallsError():
            return {"Retry-After": str(error.retry_after)}
        case UnauthorizedError() | SignatureError():
            return {"WWW-Authenticate": "Bearer"}
        case UnsupportedEncodingError():
            return {"Accept-Encoding": "identity"}  # RFC 9110, section 15.5.16
        case BodyTooSlowError():
            return {"Connection": "close"}  # the rest of the body is not read
    return {}


def _field_errors(error: BridgeError) -> list[FieldError] | None:
    if isinstance(error, InvalidMessageError):
        return error.errors
    if isinstance(error, ImageRejectedError):
        return [FieldError(field=reason.split()[0], message=reason) for reason in error.reasons]
    return None


async def _on_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    details = error.errors()
    if details[0]["type"] == "json_invalid":
        return await _on_bridge_error(request, NotJsonError(str(details[0].get("ctx", {}).get("error"))))
    return await _on_bridge_error(request, InvalidMessageError("The call", parameter_errors(details)))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    allowed = _allowed_methods(request)
    headers = dict(error.headers or {})
    if allowed and error.status_code == NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed)
    kind = Kind(error.status_code, str(error.detail), _where_to_go(request, allowed))
    detail = f"{request.method} {request.url.path}: {error.detail}."
    return answer(request, kind, code=f"http_{error.status_code}", detail=detail, headers=headers)


def _allowed_methods(request: Request, path: str | None = None) -> list[str]:
    """Returns the methods of all routes at a path. The framework names only those of one route."""
    scope = dict(request.scope) | ({"path": path} if path else {})
    routes = (route for route in request.app.state.routes if route.matches(scope)[0] is not Match.NONE)
    methods = {method for route in routes for method in route.methods}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _where_to_go(request: Request, allowed: list[str]) -> str:
    path = request.url.path
    if allowed:
        return f"Use {' or '.join(allowed)}. See /docs for what this service offers."
    if path != (stripped := path.rstrip("/")) and _allowed_methods(request, stripped):
        return f"Leave out the slash at the end: {stripped}"
    return "See /docs for what this service offers."


def on_bug(request: Request, error: Exception) -> Response:
    """Returns the response for an unexpected error; logs its traceback."""
    log.error("api.bug", path=request.url.path, exc_info=error)
    return answer(request, UNEXPECTED, code="internal", detail="An unexpected error occurred in the bridge.")


def answer(
    request: Request,
    kind: Kind,
    *,
    code: str,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """Returns the problem document as an HTTP response. `more` are further members of it."""
    problem = Problem(
        type=f"urn:aigen-bridge:problem:{code.replace('_', '-')}",
        title=kind.title,
        status=kind.status,
        code=code,
        detail=detail,
        action=kind.action,
        instance=request.url.path,
        correlation_id=correlation.current(),
        request_id=_request_id(request),
        errors=errors,
    )
    members = problem.model_dump(mode="json", by_alias=True, exclude_none=True) | dict(more or {})
    body = json.dumps(members, ensure_ascii=False)
    return Response(body, kind.status, headers, MEDIA_TYPE)


def _request_id(request: Request) -> UUID | None:
    known: Any = getattr(request.state, "request_id", None) or request.path_params.get("requestId")
    try:
        return known if known is None or isinstance(known, UUID) else UUID(known)
    except ValueError:
        return None
