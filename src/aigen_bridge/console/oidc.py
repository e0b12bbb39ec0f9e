"""Signing in by OpenID Connect: to the provider, and back."""

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from aigen_bridge import metrics
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.clients.http_errors import printable
from aigen_bridge.console.addresses import own_path
from aigen_bridge.console.errors import SignInRefusedError, UnknownPageError
from aigen_bridge.console.notices import SEE_OTHER
from aigen_bridge.console.render import render
from aigen_bridge.console.route import SIGN_IN, ConsoleRoute
from aigen_bridge.console.sign_in import OIDC_START, ways_in
from aigen_bridge.console.visitor import is_behind_tls, keep
from aigen_bridge.domain.errors import BridgeError, StepError, TransientError
from aigen_bridge.domain.session import OIDC_PREFIX, Role
from aigen_bridge.domain.sign_in import NoRoleError, Person, SignInAttempt, role_of
from aigen_bridge.settings import OIDC_CALLBACK_PATH
from aigen_bridge.wiring import ApiParts

if TYPE_CHECKING:
    from aigen_bridge.clients.oidc import OidcProvider

COOKIE = "aigen_console_sign_in"
"""Holds the secret of the attempt, and the page that was wanted. SameSite=Lax: the way back begins at another site."""
LIFETIME = timedelta(minutes=10)
TEXT_MAX = 300
NO_ROLE = "Ask for a group that AIGEN_CONSOLE__OIDC_OPERATORS or AIGEN_CONSOLE__OIDC_VIEWERS names, then sign in again."

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
log = structlog.get_logger(__name__)


@router.get(OIDC_START)
async def start(
    request: Request, parts: Parts, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/console"
) -> Response:
    """Sends the browser to the provider."""
    provider, path = _provider(parts, request), own_path(wanted)
    await request.app.state.rate_limits.count("sign-in", f"{_host(request)} to the provider", "sign-in")
    attempt = SignInAttempt.new()
    try:
        url = await provider.sign_in_url(attempt)
    except StepError as error:
        return _refused(request, path, error)
    response = RedirectResponse(url, SEE_OTHER)
    response.set_cookie(
        COOKIE,
        f"{attempt.secret}.{quote(path, safe='')}",
        max_age=int(LIFETIME.total_seconds()),
        path=SIGN_IN,
        secure=is_behind_tls(request),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get(OIDC_CALLBACK_PATH)
async def callback(request: Request, parts: Parts) -> Response:
    """Opens a session for the person whom the provider sends back.

    The browser does not send the session's cookie, which is SameSite=Strict, along with a redirect from another site.
    So the answer is a page that goes on by itself.
    """
    provider, host = _provider(parts, request), _host(request)
    await request.app.state.rate_limits.count("sign-in", f"{host} from the provider", "sign-in")
    secret, _, wanted = request.cookies.get(COOKIE, "").partition(".")
    path = own_path(unquote(wanted))
    try:
        person = await _person(request, provider, SignInAttempt.parse(secret))
        role = await _role(parts, person)
    except (SignInRefusedError, NoRoleError, StepError) as error:
        return _refused(request, path, error)
    note = f"by OpenID Connect as {person.subject}, from {host}"
    token = await parts.sessions.open(_name(person), role, odoo=None, key_digest=None, note=note)
    response = render(request, "going_on.html", headers={"Referrer-Policy": "no-referrer"}, url=path)
    keep(request, response, token)
    response.delete_cookie(COOKIE, path=SIGN_IN, secure=is_behind_tls(request), httponly=True, samesite="lax")
    return response


def _provider(parts: ApiParts, request: Request) -> "OidcProvider":
    if parts.oidc is None:
        raise UnknownPageError(request.url.path)
    return parts.oidc


async def _person(request: Request, provider: "OidcProvider", attempt: SignInAttempt | None) -> Person:
    """Returns who the provider says has signed in. Nothing in the address counts unless this browser began it."""
    sent = request.query_params
    if attempt is None or not attempt.began(sent.get("state", "")):
        text = (
            "This sign-in was not begun in this browser, was begun again, or is older than 10 minutes. Sign in again."
        )
        raise SignInRefusedError("sign_in_unknown", text)
    if "error" in sent:
        said = ": ".join(filter(None, (sent["error"], sent.get("error_description"))))
        raise SignInRefusedError(
            "provider_refused", f"The provider did not sign you in. It says: {printable(said)[:TEXT_MAX]}"
        )
    if not sent.get("code"):
        raise SignInRefusedError("code_missing", "The provider sent you back without a code. Sign in again.")
    return await provider.person(attempt, sent["code"], sent.get("iss"))


async def _role(parts: ApiParts, person: Person) -> Role:
    console = parts.settings.console
    try:
        return role_of(
            person,
            operators=console.oidc_operators,
            viewers=console.oidc_viewers,
            groups_claim=console.oidc_groups_claim,
        )
    except NoRoleError as error:
        await parts.sessions.refuse(_name(person), error.detail)
        raise


def _name(person: Person) -> str:
    return f"{OIDC_PREFIX}{person.name}"


def _host(request: Request) -> str:
    return request.client.host if request.client else "-"


def _refused(request: Request, wanted: str, error: BridgeError) -> Response:
    """Returns the page of signing in, with what went wrong. A key works there without the provider."""
    log.warning("console.sign_in_failed", code=error.code, detail=error.detail[:500])
    metrics.AUTHENTICATION_FAILURES.labels("oidc").inc()
    match error:
        case TransientError():
            status, advice = HTTPStatus.SERVICE_UNAVAILABLE, " Try again, or sign in with a key."
        case StepError():
            status, advice = HTTPStatus.BAD_GATEWAY, ""
        case NoRoleError():
            status, advice = HTTPStatus.FORBIDDEN, f" {NO_ROLE}"
        case _:
            status, advice = HTTPStatus.FORBIDDEN, ""
    return ways_in(request, wanted, status=status, refusal=f"{error.detail}{advice}")
