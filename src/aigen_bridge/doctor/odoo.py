"""Checks that each Odoo is reachable, has the right version, accepts the login, and lets the addon be called."""

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta
from http import HTTPStatus

from aigen_bridge.clients.odoo import METHOD_MISSING, MODEL_METHOD, OdooProbe
from aigen_bridge.clients.odoo_auto import odoo_transport
from aigen_bridge.clients.odoo_errors import major
from aigen_bridge.clients.odoo_json2 import SINCE, OdooJson2
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject, odoo_setting
from aigen_bridge.domain.errors import StepError, StoreUnavailableError, TransientError
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.settings.sections import OdooSettings, Transport

TESTED = (18, 19)
"""The versions of Odoo that the bridge is tested with."""
JSON2 = OdooJson2.protocol
ADDON_MISSING = frozenset({"odoo_keyerror", "odoo_model_missing"})
REFUSED_BY_ADDON = frozenset(
    {"odoo_usererror", "odoo_validationerror", "odoo_missingerror", "odoo_valueerror", "odoo_typeerror"}
)
"""The method ran and refused a result that belongs to no request, as it should. It checks the user's group first.

Odoo's rights on records say nothing here: the bridge's group has none, and the method writes with elevated rights.
"""
TIMEOUT = timedelta(seconds=8)
"""For each call."""
KNOWN_SECONDS, ODOO_SECONDS = 1.5, 18.0
"""For reading the known uuids, and for all calls to one Odoo. Together less than a check may take: what hangs must not
hide the others."""
AWAY = "Results are held and retried for 24 hours."


async def look_at_odoos(subject: Subject) -> list[Finding]:
    """Each Odoo would accept a result. They are asked at the same time."""
    if not subject.odoos:
        raise NotLookedAtError
    known: dict[str, str] = {}
    with suppress(NotLookedAtError, StoreUnavailableError, TimeoutError):  # another check reports it
        async with asyncio.timeout(KNOWN_SECONDS):
            known = await subject.opened.database_uuids()
    image_max = subject.settings.callback.max_bytes if subject.settings else 0
    found = (look_at_odoo(name, odoo, known.get(name), image_max) for name, odoo in subject.odoos.items())
    return [finding for findings in await asyncio.gather(*found) for finding in findings]


async def look_at_odoo(
    name: str, odoo: OdooSettings, known_uuid: str | None = None, image_max: int = 0
) -> list[Finding]:
    """Checks one Odoo in order, up to the first check that fails, because each needs the one before it.

    `known_uuid` is the uuid that the bridge knows of its database, `image_max` the largest image that the bridge takes.
    """
    transport = odoo_transport(odoo.model_copy(update={"timeout": TIMEOUT, "concurrency": 1}))
    async with aclosing(OdooProbe(transport)) as probe:
        look = _Look(name, odoo, probe)
        try:
            async with asyncio.timeout(ODOO_SECONDS):
                await look.all(known_uuid, image_max)
        except TimeoutError:
            look.found.append(wrong(look.about, f"No answer within {ODOO_SECONDS:.0f} s.", f"Read Odoo's log. {AWAY}"))
        except _CheckFailed as refused:
            look.found.append(wrong(look.about, refused.found, refused.advice))
    return look.found


class _CheckFailed(Exception):  # noqa: N818 - carries a finding
    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


class _Look:
    """The checks of one Odoo. `found` has what they found so far."""

    def __init__(self, name: str, odoo: OdooSettings, probe: OdooProbe) -> None:
        self.about = "Odoo" if name == DEFAULT_ODOO else f"Odoo {name}"
        self.found: list[Finding] = []
        self._name, self._odoo, self._probe = name, odoo, probe

    async def all(self, known_uuid: str | None, image_max: int) -> None:
        """Runs all checks. Raises `_CheckFailed` at the first that fails."""
        await self._reached()
        await self._logged_in()
        await self._allowed()
        await self._suitable(known_uuid, image_max)

    def _ok(self, found: str) -> None:
        self.found.append(ok(self.about, found))

    def _warn(self, found: str, advice: str) -> None:
        self.found.append(warning(self.about, found, advice))

    def _setting(self, field: str) -> str:
        return odoo_setting(self._name, field)

    async def _reached(self) -> None:
        try:
            version, took = await self._probe.version()
        except StepError as error:
            if self._odoo.transport is not Transport.JSON2 or error.http_status is None:
                raise _CheckFailed(error.detail, self._way_to_odoo(error)) from error
            advice = (
                "Let the proxy before Odoo pass POST /web/webclient/version_info. Results are delivered without it."
            )
            return self._warn(f"It does not tell its version: {error.detail}", advice)
        protocol, number = self._probe.protocol, major(version)
        if protocol == JSON2 and number < SINCE:
            found = f"Odoo {version} has no {JSON2}, which came with Odoo {SINCE}."
            raise _CheckFailed(found, f"Remove {self._setting('transport')}: the bridge then uses JSON-RPC.")
        if protocol != JSON2 and number >= SINCE:
            found = f"Odoo {version} is called over {protocol}, which a later version of Odoo will not have."
            self._warn(found, self._way_to_json2())
        if number not in TESTED:
            advice = (
                "This version of the bridge is tested with Odoo 18 and 19. Test it with yours before you rely on it."
            )
            self._warn(f"It is Odoo {version}.", advice)
        elif not self.found:
            self._ok(f"Odoo {version} answers in {spoken(took)} and is called over {protocol}.")
        return None

    def _way_to_odoo(self, error: StepError) -> str:
        """Says what to do when Odoo itself did not answer."""
        url = self._setting("url")
        if not isinstance(error, TransientError):
            return f"Correct {url} or the proxy, then replay the dead letters of kind deliver."
        if error.http_status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return f"{url} must lead to Odoo itself, not to a proxy that blocks its /jsonrpc (Odoo 19: /json/2). {AWAY}"
        if error.http_status == HTTPStatus.OK:
            return f"Wait if Odoo is being updated, or correct {url}. {AWAY}"
        return f"Start Odoo, and check {url}. {AWAY}"

    def _way_to_json2(self) -> str:
        if self._odoo.transport is Transport.JSONRPC:
            return f"Remove {self._setting('transport')}, or set it to auto: the bridge then uses {JSON2}."
        return "Let the proxy before Odoo pass POST /web/webclient/version_info and /json/2."

    async def _logged_in(self) -> None:
        try:
            await self._probe.login()
        except StepError as error:
            raise _CheckFailed(*self._no_login(error)) from error
        self._ok(f"It accepts the {self._credential()} on database {self._odoo.database!r}.")

    def _credential(self) -> str:
        return "API key" if self._probe.protocol == JSON2 else f"login of {self._odoo.login!r}"

    def _no_login(self, error: StepError) -> tuple[str, str]:
        if error.code in {"odoo_login_refused", "odoo_accessdenied"}:
            found = f"It refuses the {self._credential()} on database {self._odoo.database!r}."
            return found, (
                f"Make a new API key for user {self._odoo.login!r} in Odoo (the old one may have expired or belong to "
                f"another) and put it into {self._setting('api_key')}; then replay its dead letters: 'aigen-bridge "
                "dead-letters replay --all --kind deliver'. If Odoo's log says 'Login attempt ignored', somebody "
                "failed to log in from the same address (perhaps a proxy's): wait a minute and try again."
            )
        if error.code == "odoo_operationalerror":
            found = f"It has no database {self._odoo.database!r}, or cannot reach it."
            return error.detail if self._probe.protocol != JSON2 else found, (
                f"Check {self._setting('database')}, Odoo's option --db-filter, and whether Odoo's own PostgreSQL "
                f"runs. {AWAY}"
            )
        return error.detail, self._way_on(error)

    def _way_on(self, error: StepError) -> str:
        """Says what to do about an error that no check has its own words for."""
        if error.code.startswith(("odoo_http_", "odoo_answer_unreadable")):
            return self._way_to_odoo(error)
        return f"Read Odoo's log. {AWAY}" if isinstance(error, TransientError) else "Read Odoo's log."

    async def _allowed(self) -> None:
        """Offers a result that cannot apply, and finds out who refuses it: Odoo, or the addon."""
        try:
            await self._probe.offer_nothing()
        except StepError as error:
            if error.code not in REFUSED_BY_ADDON:
                raise _CheckFailed(*self._no_method(error)) from error
        self._ok(f"The addon's {MODEL_METHOD} is there, and this user may call it.")

    def _no_method(self, error: StepError) -> tuple[str, str]:
        if error.code in ADDON_MISSING:
            found = f"The addon aigen_image is not installed in database {self._odoo.database!r}."
            return found, f"Install it there (odoo --init=aigen_image), or check {self._setting('database')}."
        if error.code == METHOD_MISSING:
            found = f"It has no method {MODEL_METHOD}: the addon is too old, or another module overrides its model."
            return found, "Bring the addon up to date (odoo --update=aigen_image) and restart Odoo."
        if error.code == "odoo_accesserror":
            whose = "whose API key this is" if self._probe.protocol == JSON2 else repr(self._odoo.login)
            found = f"The user {whose} has no right to call {MODEL_METHOD}."
            advice = (
                f"Give user {self._odoo.login!r} the group 'AI Images: the bridge reports results' (Settings, Users), "
                f"and check that {self._setting('api_key')} is a key of this user; then replay its dead letters."
            )
            return found, advice
        return error.detail, self._way_on(error)

    async def _suitable(self, known_uuid: str | None, image_max: int) -> None:
        """The database is the one that the bridge knows, and the addon takes every image that the bridge takes."""
        try:
            limits = await self._probe.limits()
        except StepError as error:
            return self._warn(f"It does not say how large an image may be: {error.detail}", "Read Odoo's log.")
        if known_uuid and limits.database_uuid not in {None, known_uuid.lower()}:
            raise _CheckFailed(
                f"Its database has the uuid {limits.database_uuid}, but the bridge knows this Odoo with {known_uuid}: "
                "results are not delivered to it.",
                f"If the database was moved or replaced on purpose, run 'aigen-bridge odoos confirm {self._name}'. If "
                f"it is a copy, correct {self._setting('url')} or {self._setting('database')}.",
            )
        if image_max > limits.image_bytes:
            self._warn(
                f"The bridge takes images of up to {image_max} bytes, the addon only up to {limits.image_bytes}. "
                "Larger ones are not delivered.",
                f"Lower AIGEN_CALLBACK__MAX_BYTES to {limits.image_bytes}, or set Odoo's system parameter "
                f"aigen_image.max_image_bytes to {image_max} (Settings, Technical, System Parameters).",
            )
        return None
