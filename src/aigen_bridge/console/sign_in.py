"""The page of signing in; signing in with a key, and out. `oidc` signs in at a provider."""

from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from aigen_bridge import metrics
from aigen_bridge.api.auth import Caller, digest_of, find_caller
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.addresses import own_path
from aigen_bridge.console.errors import SignInRefusedError
from aigen_bridge.console.form import read_fields
from aigen_bridge.console.notices import SEE_OTHER
from aigen_bridge.console.render import render
from aigen_bridge.console.route import SIGN_IN, ConsoleRoute
from aigen_bridge.console.visitor import Acting, Visitor, check_origin, forget, keep
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.session import Role
from aigen_bridge.settings import Scope
from aigen_bridge.wiring import ApiParts

OIDC_START = f"{SIGN_IN}/oidc"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(SIGN_IN)
async def sign_in_page(
    request: Request, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/console"
) -> Response:
    """Shows the ways of signing in."""
    return ways_in(request, wanted)


@router.post(SIGN_IN)
async def sign_in(request: Request, parts: Parts) -> Response:
    """Exchanges a key of scope `ops` for a session."""
    check_origin(request)
    host = request.client.host if request.client else "-"
    await request.app.state.rate_limits.count("sign-in", host, "sign-in")
    form = await read_fields(request)
    wanted, key = own_path(form.text("next")), form.text("key")
    try:
        caller = await _operator(request, key)
    except SignInRefusedError as error:
        return ways_in(request, wanted, status=403, refusal=error.detail)
    token = await parts.sessions.open(
        caller.name, Role.OPERATOR, odoo=caller.sees_only, key_digest=digest_of(key), note=f"with a key, from {host}"
    )
    response = RedirectResponse(wanted, SEE_OTHER)
    keep(request, response, token)
    return response


@router.post("/console/sign-out")
async def sign_out(request: Request, visitor: Acting, parts: Parts) -> Response:
    """Ends the session."""
    await parts.sessions.close(visitor.session.id, visitor.action())
    elsewhere = await _sign_out_elsewhere(parts, visitor)
    request.state.visitor = None
    response = render(request, "going_on.html", url=elsewhere) if elsewhere else RedirectResponse(SIGN_IN, SEE_OTHER)
    forget(request, response)
    return response


def ways_in(request: Request, wanted: str, *, status: int = 200, refusal: str | None = None) -> Response:
    """Returns the page of signing in, which leads to the page that was `wanted`."""
    settings, path = request.app.state.parts.settings, own_path(wanted)
    issuer = settings.console.oidc_issuer
    start = f"{settings.console_url}{OIDC_START}?next={quote(path, safe='')}"  # not the Host header: anybody sets that
    provider = {"host": urlsplit(issuer).netloc, "url": start} if issuer else None
    return render(request, "sign_in.html", status=status, wanted=path, refusal=refusal, provider=provider)


async def _sign_out_elsewhere(parts: ApiParts, visitor: Visitor) -> str | None:
    """Returns the address at which the provider signs a person out, if that is where they signed in."""
    if parts.oidc is None or not visitor.session.is_by_openid_connect:
        return None
    try:
        return await parts.oidc.sign_out_url(parts.settings.console_url + SIGN_IN)
    except StepError:  # the provider is away, and the session here has ended all the same
        return None


async def _operator(request: Request, key: str) -> Caller:
    """Returns the client with this key. Raises `SignInRefusedError` unless it has the scope `ops`."""
    if not key:
        raise SignInRefusedError("key_missing", "Enter a key.")
    caller = await find_caller(request, digest_of(key))
    if caller is None:
        metrics.AUTHENTICATION_FAILURES.labels("key_unknown").inc()
        raise SignInRefusedError("key_unknown", "No client has this key.")
    if Scope.OPS not in caller.scopes:
        metrics.AUTHENTICATION_FAILURES.labels("scope_missing").inc()
        await request.app.state.parts.sessions.refuse(caller.name, "the client does not have the scope ops")
        raise SignInRefusedError("scope_missing", f"Client {caller.name!r} does not have the scope ops.")
    return caller
