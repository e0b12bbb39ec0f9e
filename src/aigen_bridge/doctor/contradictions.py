"""Checks for settings that contradict each other. Settings that cannot be loaded are reported instead.

A new rule is a function in `RULES`: it yields findings, or nothing when the settings agree.
"""

import ipaddress
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from aigen_bridge.doctor.finding import Finding, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject, odoo_setting
from aigen_bridge.domain.image import ODOO_IMAGE_MAX
from aigen_bridge.settings import Scope, Settings
from aigen_bridge.settings.remarks import remarks, short_secrets
from aigen_bridge.settings.values import HASHED, KEY_SAFE, key_digest

N8N_MAY_TAKE = timedelta(minutes=5)
"""N8N's own attempts at the AI service (2 retries, 5 s) and at the callback (4 attempts of 60 s, 7 s between them)."""
ODOO_MAY_REPEAT = timedelta(seconds=30)
"""Odoo repeats a conflicting write for up to 20 s before it answers (measured)."""
PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".test", ".home.arpa")

Rule = Callable[[Settings], Iterator[Finding]]


async def look_at_settings(subject: Subject) -> list[Finding]:
    """The settings are complete and consistent."""
    if subject.settings is None:
        return [
            wrong("settings", line, "Correct it in the environment, in .env or in a secret file.")
            for line in subject.complaints
        ]
    found = [finding for rule in RULES for finding in rule(subject.settings)]
    found += [warning("settings", remark, "Correct or remove it.") for remark in remarks(Settings)]
    return found or [ok("settings", "They are complete and do not contradict each other.")]


def _every_scope_has_a_client(settings: Settings) -> Iterator[Finding]:
    scopes = {scope for client in settings.clients.values() for scope in client.scopes}
    consequences = {
        Scope.REQUESTS: "no client can request an image",
        Scope.CALLBACKS: "N8N cannot report a result",
        Scope.OPS: "no client can list or replay dead letters through the API",
    }
    for scope in (scope for scope in Scope if scope not in scopes):
        found = f"No client in AIGEN_CLIENTS has the scope {scope.value}: {consequences[scope]}."
        advice = f"Generate a key: 'aigen-bridge keys new --client … --scope {scope.value}'."
        yield (warning if scope is Scope.OPS else wrong)("settings", found, advice)


def _n8n_can_reach_the_bridge(settings: Settings) -> Iterator[Finding]:
    bridge, n8n = _host(settings.public_url), _host(settings.n8n.webhook_url)
    if _is_loopback(bridge) and not _is_loopback(n8n):
        found = f"AIGEN_PUBLIC_URL is {settings.public_url}, which for N8N at {n8n} is N8N's own machine."
        yield wrong("settings", found, "Set AIGEN_PUBLIC_URL to the address at which N8N reaches this service.")


def _public_addresses_use_https(settings: Settings) -> Iterator[Finding]:
    addresses = {
        "AIGEN_PUBLIC_URL": settings.public_url,
        "AIGEN_N8N__WEBHOOK_URL": settings.n8n.webhook_url,
        **{odoo_setting(name, "url"): odoo.url for name, odoo in settings.all_odoos.items()},
    }
    if settings.image_store.endpoint:
        addresses["AIGEN_IMAGE_STORE__ENDPOINT"] = settings.image_store.endpoint
    for name, url in addresses.items():
        if urlsplit(url).scheme == "http" and not _is_private(_host(url)):
            found = f"{name} is http:// to {_host(url)}: keys and images cross the network unencrypted."
            yield warning("settings", found, "Use https://, or a private name or address.")


def _public_url_fits_tls(settings: Settings) -> Iterator[Finding]:
    if settings.tls.certificate and urlsplit(settings.public_url).scheme == "http":
        found = "With AIGEN_TLS__CERTIFICATE, 'serve' speaks https only, but AIGEN_PUBLIC_URL is http://."
        yield wrong(
            "settings", found, "Change AIGEN_PUBLIC_URL to https://, unless a proxy there speaks https to 'serve'."
        )


def _webhook_is_published(settings: Settings) -> Iterator[Finding]:
    if "/webhook-test/" in settings.n8n.webhook_url:
        found = "AIGEN_N8N__WEBHOOK_URL is N8N's test address, which works only while the editor listens."
        yield wrong(
            "settings", found, "Publish the workflow and use the production URL: /webhook/ instead of /webhook-test/."
        )


def _webhook_key_is_usable(settings: Settings) -> Iterator[Finding]:
    sent = settings.n8n.api_key.get_secret_value()
    if sent.startswith(HASHED):
        found = "AIGEN_N8N__API_KEY is the hash of a key, but it is sent to N8N unchanged."
        yield wrong("settings", found, "Set it to the key itself. Only AIGEN_CLIENTS takes hashes.")
    for name, client in settings.clients.items():
        if key_digest(settings.n8n.api_key) in {key_digest(key) for key in client.keys}:
            found = f"AIGEN_N8N__API_KEY is also client {name!r}'s key: whoever has it can use it in both directions."
            yield warning("settings", found, "Generate another key: 'aigen-bridge keys new'.")


def _keys_are_long_enough(settings: Settings) -> Iterator[Finding]:
    for name, client in settings.clients.items():
        if any(len(key.get_secret_value()) < KEY_SAFE for key in client.keys):
            found = f"A key of client {name!r} has fewer than {KEY_SAFE} characters, so it can be found by trying."
            yield warning("settings", found, "Generate another key: 'aigen-bridge keys new'.")


def _signing_secrets_are_long_enough(settings: Settings) -> Iterator[Finding]:
    for remark in short_secrets(settings.n8n, settings.clients):
        yield warning(
            "settings",
            remark,
            "Replace it. The bridge takes the old and the new one until both sides have changed (docs/n8n.md).",
        )


def _timeouts_are_long_enough(settings: Settings) -> Iterator[Finding]:
    deadline = settings.callback.deadline
    if deadline <= settings.n8n.timeout:
        found = f"AIGEN_CALLBACK__DEADLINE ({spoken(deadline)}) is not longer than the timeout of one webhook call."
        yield wrong("settings", found, f"Raise it to {spoken(N8N_MAY_TAKE)} or more: generating an image takes time.")
    elif deadline < N8N_MAY_TAKE:
        found = f"AIGEN_CALLBACK__DEADLINE ({spoken(deadline)}) is shorter than N8N's own retries may take."
        yield warning(
            "settings", found, f"Raise it to {spoken(N8N_MAY_TAKE)} or more. Until then, late results still win."
        )
    for name, odoo in settings.all_odoos.items():
        if odoo.timeout <= ODOO_MAY_REPEAT:
            setting = odoo_setting(name, "timeout")
            found = f"{setting} ({spoken(odoo.timeout)}) ends calls that Odoo may still be repeating internally."
            yield warning("settings", found, "Raise it above 30 s.")


def _odoos_are_different(settings: Settings) -> Iterator[Finding]:
    named: dict[tuple[str, str], str] = {}
    for name, odoo in settings.all_odoos.items():
        other = named.setdefault((odoo.url.lower().rstrip("/"), odoo.database), name)
        if other != name:
            found = f"Odoo {other!r} and Odoo {name!r} are the same database, {odoo.database!r} at {odoo.url}."
            yield warning("settings", found, "Keep one of them in AIGEN_ODOOS, and let all its clients name that one.")


def _odoo_accepts_images_of_any_allowed_size(settings: Settings) -> Iterator[Finding]:
    if settings.callback.max_bytes > ODOO_IMAGE_MAX:
        found = (
            "AIGEN_CALLBACK__MAX_BYTES lets in images larger than Odoo accepts: its limit is 128 MiB, which is 96 MiB "
            "before base64."
        )
        yield warning("settings", found, f"Lower it to {ODOO_IMAGE_MAX} or less.")


def _no_development_settings(settings: Settings) -> Iterator[Finding]:
    urls = settings.image_urls
    if urlsplit(settings.public_url).scheme != "https" or not (urls.allow_http or urls.trusted_networks):
        return
    found = (
        "AIGEN_IMAGE_URLS__ALLOW_HTTP or __TRUSTED_NETWORKS is set, as for development, but the public URL is https://."
    )
    yield warning("settings", found, "Remove them, unless N8N's images really come from a private network.")


def _alerts_have_a_channel(settings: Settings) -> Iterator[Finding]:
    if not settings.alerts.urls:
        found = "AIGEN_ALERTS__URLS is not set: dead letters and outages appear only in the log."
        yield warning("settings", found, "Set it, such as mailto://user:password@mail.example.com?to=ops@example.com.")


RULES: tuple[Rule, ...] = (
    _every_scope_has_a_client,
    _n8n_can_reach_the_bridge,
    _public_addresses_use_https,
    _public_url_fits_tls,
    _webhook_is_published,
    _webhook_key_is_usable,
    _keys_are_long_enough,
    _signing_secrets_are_long_enough,
    _timeouts_are_long_enough,
    _odoos_are_different,
    _odoo_accepts_images_of_any_allowed_size,
    _no_development_settings,
    _alerts_have_a_channel,
)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_private(host: str) -> bool:
    """Returns whether a host looks private: a private address, a name without a dot, or a name that is never public."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_NAMES)
