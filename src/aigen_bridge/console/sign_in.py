"""Signing in with a key, and out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from aigen_bridge import metrics
from aigen_bridge.api.auth import Caller, digest_of, find_caller
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.errors import SignInRefusedError
from aigen_bridge.console.form import read_form
from aigen_bridge.console.notices import SEE_OTHER
from aigen_bridge.console.render import render
from aigen_bridge.console.route import SIGN_IN, ConsoleRoute, own_path
from aigen_bridge.console.visitor import Acting, check_origin, forget, keep
from aigen_bridge.domain.session import Role
from aigen_bridge.settings import Scope

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(SIGN_IN)
async def sign_in_page(
    request: Request, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/console"
) -> Response:
    """Shows the form for a key."""
    return render(request, "sign_in.html", wanted=own_path(wanted), refusal=None)


@router.post(SIGN_IN)
async def sign_in(request: Request, parts: Parts) -> Response:
    """Exchanges a key of scope `ops` for a session."""
    check_origin(request)
    form = await read_form(request)
    host = request.client.host if request.client else "-"
    await request.app.state.rate_limits.count("sign-in", host)
    wanted, key = own_path(form.text("next")), form.text("key")
    try:
        caller = await _operator(request, key)
    except SignInRefusedError as error:
        return render(request, "sign_in.html", status=403, wanted=wanted, refusal=error.detail)
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
    response = RedirectResponse(SIGN_IN, SEE_OTHER)
    forget(request, response)
    return response


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
