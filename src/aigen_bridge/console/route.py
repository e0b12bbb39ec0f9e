"""Makes pages of errors, and adds the headers that protect every response of the console."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from aigen_bridge.api import correlation
from aigen_bridge.api.problems import Kind, kind_of
from aigen_bridge.console.addresses import own_path, split
from aigen_bridge.console.errors import (
    CrossSiteError,
    HiddenContentError,
    SignInNeededError,
    SignInRefusedError,
    UnexpectedError,
    UnknownActionError,
    UnknownPageError,
    ViewerError,
    WrongFormError,
    WrongIdError,
)
from aigen_bridge.console.notices import SEE_OTHER, Notice, back_to
from aigen_bridge.console.render import render
from aigen_bridge.contracts.refusal import InvalidMessageError, parameter_errors
from aigen_bridge.domain.errors import (
    BridgeError,
    StoreUnavailableError,
    UnknownDeadLetterError,
    UnknownReplayError,
    UnknownRequestError,
    UnreadableRequestError,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SIGN_IN = "/console/sign-in"
KINDS: Mapping[type[BridgeError], Kind] = {
    SignInRefusedError: Kind(403, "Not signed in", "Use a key of a client with the scope ops."),
    CrossSiteError: Kind(403, "Refused", "Go back, load the page again, and repeat what you did."),
    ViewerError: Kind(403, "Not allowed", "Ask an operator, or sign in as one."),
    UnexpectedError: Kind(
        500, "An error of the bridge", "Report it with the correlation id below; the log has the details under it."
    ),
    UnknownActionError: Kind(404, "No such action", "Load the page again."),
    UnknownPageError: Kind(404, "No such page", "Choose a page from the menu."),
    WrongIdError: Kind(404, "No such request", "Search for the beginning of its id, or for words of its prompt."),
    UnknownRequestError: Kind(
        404, "No such request", "Search for the beginning of its id. It may have been deleted past its retention."
    ),
    UnreadableRequestError: Kind(
        500, "Unreadable request", "Run 'aigen-bridge doctor', which names the row, and correct it with SQL."
    ),
    HiddenContentError: Kind(403, "Not shown", "Ask an operator, or sign in as one."),
    WrongFormError: Kind(422, "Not done", "Go back and correct it."),
    UnknownDeadLetterError: Kind(404, "No open dead letter", "Look at the list of dead letters, or at its request."),
    UnknownReplayError: Kind(404, "No such replay", "Look at the list of replays. The newest 200 are kept."),
    StoreUnavailableError: Kind(
        503,
        "The database is away",
        "Nothing is lost: what was accepted is stored, and goes on when the database is back. This page tries again by "
        "itself. On the server, 'aigen-bridge doctor' says why.",
    ),
}
AWAY_FOR_A_FORM = Kind(
    503,
    "The database is away",
    "It is not certain whether this was done. When the database is back, look at the page again and repeat what is "
    "missing. On the server, 'aigen-bridge doctor' says why the database is away.",
)
IN_PLACE = (SignInRefusedError, CrossSiteError, ViewerError, StoreUnavailableError, UnexpectedError)
"""Errors of forms that are shown as pages of their own. Others are shown on the page that has the form."""

log = structlog.get_logger(__name__)


class ConsoleRoute(APIRoute):
    """A route of the console. Its errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Returns the handler of the route."""
        handle = super().get_route_handler()

        async def handle_with_pages(request: Request) -> Response:
            try:
                response = await handle(request)
            except BridgeError as error:
                response = _answer(request, error)
            except RequestValidationError as error:
                response = _answer(request, InvalidMessageError("The address", parameter_errors(error.errors())))
            except HTTPException as error:
                response = _answer(request, UnknownPageError(request.url.path), error.status_code)
            except ClientDisconnect:
                raise
            except Exception as error:
                log.exception("api.bug", path=request.url.path, exc_info=error)
                response = _answer(request, UnexpectedError())
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle_with_pages


def _answer(request: Request, error: BridgeError, status: int | None = None) -> Response:
    if isinstance(error, SignInNeededError):
        return _to_sign_in(request)
    is_form = request.method == "POST"
    is_away = isinstance(error, StoreUnavailableError)
    kind = next((KINDS[base] for base in type(error).__mro__ if base in KINDS), None) or kind_of(error)
    kind = AWAY_FOR_A_FORM if is_away and is_form else kind
    reason = {"reason": error.reason} if isinstance(error, StoreUnavailableError) else {}
    log.warning("console.refused", status=status or kind.status, code=error.code, detail=error.detail[:500], **reason)
    if is_form and not isinstance(error, IN_PLACE):
        return back_to(_form_page(request), Notice("problem", _words(error)))
    return render(
        request,
        "problem.html",
        status=status or kind.status,
        kind=kind,
        detail=_words(error),
        correlation_id=correlation.current(),
        retries=is_away and not is_form,
    )


def _words(error: BridgeError) -> str:
    if isinstance(error, InvalidMessageError):
        return f"{error.detail} " + " ".join(f"{each.field}: {each.message}." for each in error.errors)
    return error.detail


def _to_sign_in(request: Request) -> Response:
    """Goes to the page of signing in, which comes back to this one."""
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": _sign_in_url(_form_page(request))})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(_sign_in_url(wanted if request.method == "GET" else _form_page(request)), SEE_OTHER)


def _sign_in_url(wanted: str) -> str:
    return f"{SIGN_IN}?next={quote(wanted, safe='')}"


def _form_page(request: Request) -> str:
    """Returns the page of this console from which the browser came."""
    came_from = split(request.headers.get("referer", ""))
    if came_from.netloc != request.headers.get("host"):
        return "/console"
    return own_path(came_from.path + (f"?{came_from.query}" if came_from.query else ""))
