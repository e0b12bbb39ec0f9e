"""Who looks at a page: the session of the call, and what it may do."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import find_caller
from aigen_bridge.console.addresses import split
from aigen_bridge.console.errors import CrossSiteError, SignInNeededError, ViewerError
from aigen_bridge.console.form import Form, read_fields, read_form
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.session import LIFETIME, Role, Session
from aigen_bridge.settings import Scope

PATH = "/console"
COOKIE = "aigen_console"
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who is signed in. With `odoo`, they see and act on this Odoo only.

    `sees_content`: prompts and images. `csrf` is the token that each of their forms carries.
    """

    session: Session
    csrf: str
    sees_content: bool

    @property
    def name(self) -> str:
        """The client, or the person as `oidc:…`."""
        return self.session.name

    @property
    def odoo(self) -> str | None:
        """The only Odoo that they see; None if they see all."""
        return self.session.odoo

    @property
    def may_act(self) -> bool:
        """Whether they may change something."""
        return self.session.role is Role.OPERATOR

    def action(self, reason: str | None = None) -> OperatorAction:
        """Returns what is recorded of an action of theirs."""
        return OperatorAction(self.name, reason, self.odoo)


async def _signed_in(request: Request) -> Visitor:
    token = request.cookies.get(COOKIE, "")
    session = await request.app.state.parts.sessions.find(token) if token else None
    if session is None or not await _is_still_allowed(request, session):
        raise SignInNeededError
    structlog.contextvars.bind_contextvars(client=session.name)
    await request.app.state.rate_limits.count("reading", f"console {session.id}", "console")
    sees_content = session.role is Role.OPERATOR or request.app.state.parts.settings.console.viewers_see_content
    visitor = Visitor(session, csrf_token(token), sees_content)
    request.state.visitor = visitor
    return visitor


async def _is_still_allowed(request: Request, session: Session) -> bool:
    """Returns whether the key that opened the session still belongs to the same client with the same rights.

    Sessions by OpenID Connect are allowed as long as it is configured.
    """
    if session.key_digest is None:
        return request.app.state.parts.oidc is not None or not session.is_by_openid_connect
    caller = await find_caller(request, session.key_digest)
    return (
        caller is not None
        and Scope.OPS in caller.scopes
        and (caller.name, caller.sees_only) == (session.name, session.odoo)
    )


async def _acting(request: Request, visitor: Annotated[Visitor, Depends(_signed_in)]) -> Visitor:
    check_origin(request)
    form = await (read_form(request) if visitor.may_act else read_fields(request))  # viewers upload nothing
    request.state.form = form
    given = request.headers.get(CSRF_HEADER) or form.text(CSRF_FIELD)
    if not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise CrossSiteError
    return visitor


async def _operating(visitor: Annotated[Visitor, Depends(_acting)]) -> Visitor:
    if not visitor.may_act:
        raise ViewerError
    return visitor


async def _form(request: Request, _: Annotated[Visitor, Depends(_acting)]) -> Form:
    form: Form = request.state.form
    return form


SignedIn = Annotated[Visitor, Depends(_signed_in)]
"""For pages: the visitor. Without a session, the page of signing in follows."""
Acting = Annotated[Visitor, Depends(_acting)]
"""For forms that viewers may send, too: the visitor, whose form comes from this console."""
Operating = Annotated[Visitor, Depends(_operating)]
"""For actions: an operator, whose form comes from this console."""
Sent = Annotated[Form, Depends(_form)]
"""The fields of the form."""


def check_origin(request: Request) -> None:
    """Raises `CrossSiteError` if the browser says that another site sends this form."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    is_foreign = origin is not None and split(origin).netloc != request.headers.get("host")
    if site != "same-origin" or is_foreign:
        raise CrossSiteError


def csrf_token(token: str) -> str:
    """Returns the token of the forms of a session. It is derived, so it ends with the session."""
    return hmac.new(token.encode(errors="replace"), b"csrf", hashlib.sha256).hexdigest()


def is_behind_tls(request: Request) -> bool:
    """Returns whether the browser speaks TLS, with us or with a proxy. A wrong claim only hides the cookie."""
    first = request.headers.get("x-forwarded-proto", "").partition(",")[0]  # of several proxies, the browser's
    return "https" in {request.url.scheme, first.strip().lower()}


def keep(request: Request, response: Response, token: str) -> None:
    """Puts the token of a session into its cookie."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFETIME.total_seconds()),
        path=PATH,
        secure=is_behind_tls(request),
        httponly=True,
        samesite="strict",
    )


def forget(request: Request, response: Response) -> None:
    """Deletes the cookie of the session."""
    response.delete_cookie(COOKIE, path=PATH, secure=is_behind_tls(request), httponly=True, samesite="strict")
