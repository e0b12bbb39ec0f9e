"""Checks that Odoo is reachable, has the right version, accepts the login, has the addon, and lets the user call it."""

from contextlib import closing
from http import HTTPStatus

from aigen_bridge.clients.odoo import MODEL_METHOD, OdooProbe
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StepError, TransientError
from aigen_bridge.settings import Settings
from aigen_bridge.settings.sections import OdooSettings

SERIES = "18."
ADDON_MISSING = frozenset({"odoo_keyerror", "odoo_model_missing"})
TOO_OLD = frozenset({"odoo_attributeerror", "odoo_method_missing"})
REFUSED_BY_ADDON = frozenset(
    {"odoo_usererror", "odoo_validationerror", "odoo_missingerror", "odoo_valueerror", "odoo_typeerror"}
)
"""The method ran and refused a result that belongs to no request, as it should. It checks the user's group first.

Odoo's rights on records say nothing here: the bridge's group has none, and the method writes with elevated rights.
"""
TIMEOUT_SECONDS = 8.0
AWAY = "Results are held and retried for 24 hours."


async def look_at_odoo(subject: Subject) -> list[Finding]:
    """Checks in order, up to the first that fails, because each needs the one before it."""
    if subject.odoo is None:
        raise NotLookedAtError
    with closing(_probe(subject.odoo)) as probe:
        try:
            reached = await _reached(probe)
        except _CheckFailed as refused:
            return [refused.finding]
        try:
            return [
                reached,
                await _logged_in(probe, subject.odoo),
                await _allowed(probe, subject.odoo),
                *await _size_limits(probe, subject.settings),
            ]
        except _CheckFailed as refused:
            return [reached, refused.finding]


class _CheckFailed(Exception):  # noqa: N818 - carries a finding
    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.finding = wrong("Odoo", found, advice)


def _probe(odoo: OdooSettings) -> OdooProbe:
    return OdooProbe(
        OdooJsonRpc(
            odoo.url,
            database=odoo.database,
            login=odoo.login,
            api_key=odoo.api_key.get_secret_value(),
            timeout=TIMEOUT_SECONDS,
            concurrency=1,
        )
    )


async def _reached(probe: OdooProbe) -> Finding:
    try:
        version, took = await probe.version()
    except StepError as error:
        raise _CheckFailed(error.detail, _way_to_odoo(error)) from error
    if not version.startswith(SERIES):
        advice = "This version of the bridge is tested with Odoo 18. Test it with yours before you rely on it."
        return warning("Odoo", f"It is Odoo {version}.", advice)
    return ok("Odoo", f"Odoo {version} answers in {spoken(took)}.")


def _way_to_odoo(error: StepError) -> str:
    """Says what to do when Odoo itself did not answer."""
    if not isinstance(error, TransientError):
        return "Correct AIGEN_ODOO__URL or the proxy, then replay the dead letters of kind deliver."
    if error.http_status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return "AIGEN_ODOO__URL must lead to Odoo itself, not to a proxy that blocks its /jsonrpc."
    if error.http_status == HTTPStatus.OK:
        return f"Wait if Odoo is being updated, or correct AIGEN_ODOO__URL. {AWAY}"
    return f"Start Odoo, and check AIGEN_ODOO__URL. {AWAY}"


async def _logged_in(probe: OdooProbe, odoo: OdooSettings) -> Finding:
    try:
        await probe.login()
    except StepError as error:
        raise _CheckFailed(*_no_login(error, odoo)) from error
    return ok("Odoo", f"It accepts the login of {odoo.login!r} on database {odoo.database!r}.")


def _no_login(error: StepError, odoo: OdooSettings) -> tuple[str, str]:
    if error.code in {"odoo_login_refused", "odoo_accessdenied"}:
        found = f"It refuses the login of {odoo.login!r} on database {odoo.database!r}."
        return found, (
            "Make a new API key for this user in Odoo (the old one may have expired or belong to another) and put it "
            "into AIGEN_ODOO__API_KEY; then replay its dead letters: "
            "'aigen-bridge dead-letters replay --all --kind deliver'. If Odoo's log says 'Login attempt ignored', "
            "somebody failed to log in from the same address (perhaps a proxy's): wait a minute and try again."
        )
    if error.code == "odoo_operationalerror":
        return error.detail, f"Check AIGEN_ODOO__DATABASE, and whether Odoo's own PostgreSQL runs. {AWAY}"
    return error.detail, f"Read Odoo's log. {AWAY}"


async def _allowed(probe: OdooProbe, odoo: OdooSettings) -> Finding:
    """Offers a result that cannot apply, and finds out who refuses it: Odoo, or the addon."""
    try:
        await probe.offer_nothing()
    except StepError as error:
        if error.code not in REFUSED_BY_ADDON:
            raise _CheckFailed(*_no_method(error, odoo)) from error
    return ok("Odoo", f"The addon's {MODEL_METHOD} is there, and this user may call it.")


def _no_method(error: StepError, odoo: OdooSettings) -> tuple[str, str]:
    if error.code in ADDON_MISSING:
        found = f"The addon aigen_image is not installed in database {odoo.database!r}."
        return found, "Install it there (odoo --init=aigen_image), or check AIGEN_ODOO__DATABASE."
    if error.code in TOO_OLD:
        found = f"It has no method {MODEL_METHOD}: the addon is too old, or another module overrides its model."
        return found, "Bring the addon up to date (odoo --update=aigen_image) and restart Odoo."
    if error.code == "odoo_accesserror":
        found = f"User {odoo.login!r} has no right to call {MODEL_METHOD}."
        return found, "Give this user the addon's group for the bridge (Settings, Users), then replay its dead letters."
    return error.detail, f"Read Odoo's log. {AWAY}"


async def _size_limits(probe: OdooProbe, settings: Settings | None) -> list[Finding]:
    """Compares the largest image that the bridge takes with the largest that the addon takes."""
    if settings is None:
        return []
    ours = settings.callback.max_bytes
    try:
        limit = await probe.image_limit()
    except StepError as error:
        return [warning("Odoo", f"It does not say how large an image may be: {error.detail}", "Read Odoo's log.")]
    if ours <= limit:
        return []
    found = (
        f"The bridge takes images of up to {ours} bytes, the addon only up to {limit}. Larger ones are not delivered."
    )
    advice = (
        f"Lower AIGEN_CALLBACK__MAX_BYTES to {limit}, or set Odoo's system parameter aigen_image.max_image_bytes to "
        f"{ours} (Settings, Technical, System Parameters)."
    )
    return [warning("Odoo", found, advice)]
