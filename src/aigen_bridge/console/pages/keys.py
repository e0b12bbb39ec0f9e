"""The clients and their keys, when the keys for Odoo expire, and the sessions of the console."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import Keyring
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console import notices
from aigen_bridge.console.client_keys import State, client_keys, recorded_since
from aigen_bridge.console.errors import WrongFormError
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn
from aigen_bridge.domain.session import Session
from aigen_bridge.settings import Settings

PATH = "/console/keys"
SOON = timedelta(days=14)
"""Before a key for Odoo expires. An alert is sent at the same time."""
NUMBER_MAX = 2**63 - 1

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class OdooKey:
    """The key with which the bridge enters an Odoo. `expires_at` is None if the settings do not say it."""

    odoo: str
    setting: str
    login: str
    expires_at: datetime | None
    left: timedelta | None

    @property
    def words(self) -> tuple[str, str]:
        """The state of the key, with its tone."""
        if self.left is None:
            return "not stated", "calm"
        if self.left <= timedelta(0):
            return "expired", "bad"
        return ("expires soon", "warn") if self.left < SOON else ("valid", "good")


@router.get(PATH)
async def keys_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists clients with their keys, the keys for Odoo, and the open sessions."""
    await parts.key_uses.write()  # so that a key which was just tried here is shown as used
    settings, uses = parts.rotation.settings, await parts.key_uses.known()
    sessions = await parts.sessions.current(visitor.odoo)
    return render(
        request,
        "keys.html",
        clients=client_keys(settings.clients, uses, visitor.odoo),
        states=State,
        since=recorded_since(uses),
        odoos=odoo_keys(settings, visitor.odoo, datetime.now(UTC)),
        sessions=sessions,
        useless=_useless(request.app.state.keyring, sessions),
    )


@router.post(f"{PATH}/sessions/{{number}}/revoke")
async def revoke(
    visitor: Operating, form: Sent, parts: Parts, number: Annotated[int, Path(ge=1, le=NUMBER_MAX)]
) -> Response:
    """Ends somebody's session."""
    if number == visitor.session.id:
        raise WrongFormError("This is your own session. Sign out to end it.")
    name = form.text("name")[:200] or f"number {number}"
    if await parts.sessions.revoke(number, visitor.action(form.required_reason())):
        return notices.done(PATH, f"The session of {name} has ended. Their next click leads to signing in.")
    raise WrongFormError(f"The session of {name} has ended already.")


def odoo_keys(settings: Settings, only: str | None, now: datetime) -> list[OdooKey]:
    """Returns the keys for Odoo, those that expire first at the top."""
    found = []
    for name, odoo in settings.all_odoos.items():
        if only in {None, name}:
            at, setting = odoo.api_key_expires, _setting(name)
            found.append(OdooKey(name, setting, odoo.login, at, None if at is None else at - now))
    return sorted(found, key=lambda key: (key.left is None, key.left or timedelta(0)))


def _setting(odoo: str) -> str:
    return "AIGEN_ODOO__API_KEY_EXPIRES" if odoo == "default" else f"api_key_expires of {odoo} in AIGEN_ODOOS"


def _useless(keyring: Keyring, sessions: Sequence[Session]) -> set[int]:
    """Returns the sessions whose key the client no longer has. They open nothing, and end at their time."""
    return {
        session.id
        for session in sessions
        if session.key_digest is not None and keyring.owner(session.key_digest) is None
    }
