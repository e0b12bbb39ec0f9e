"""Settings that are each right and do not go together. What cannot be loaded at all is listed first.

A new rule is a function in `RULES`: it yields findings, or nothing when the settings agree.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from aigen_bridge.doctor.finding import Finding, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.settings import Scope, Settings

N8N_MAY_TAKE = timedelta(minutes=5)
"""N8N's own tries at the AI service (2 retries, 5 s) and at the callback (4 tries of 60 s, 7 s between them)."""
ODOO_MAY_REPEAT = timedelta(seconds=30)
"""Odoo repeats a conflicting write for up to 20 s before it answers (measured)."""
ODOO_BODY_MAX = 128 * 2**20
"""Bytes; Odoo's own limit. Images travel there as base64, a third larger."""
PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".test", ".home.arpa")

Rule = Callable[[Settings], Iterator[Finding]]


async def look_at_settings(subject: Subject) -> list[Finding]:
    """Complete, and of one mind."""
    if subject.settings is None:
        return [
            wrong("settings", line, "Set it in the environment, in .env or in a secret file.")
            for line in subject.complaints
        ]
    found = [finding for rule in RULES for finding in rule(subject.settings)]
    return found or [ok("settings", "They are complete and do not contradict each other.")]


def _somebody_may_call(settings: Settings) -> Iterator[Finding]:
    scopes = {scope for client in settings.clients.values() for scope in client.scopes}
    consequences = {
        Scope.REQUESTS: "nobody can ask for an image",
        Scope.CALLBACKS: "N8N cannot report a result",
        Scope.OPS: "nobody can see or replay dead letters over the API",
    }
    for scope in (scope for scope in Scope if scope not in scopes):
        found = f"No client in AIGEN_CLIENTS has the scope {scope.value}: {consequences[scope]}."
        advice = f"Make a key: 'aigen-bridge keys new --client … --scope {scope.value}'."
        yield (warning if scope is Scope.OPS else wrong)("settings", found, advice)


def _n8n_can_reach_us(settings: Settings) -> Iterator[Finding]:
    ours, theirs = _host(settings.public_url), _host(settings.n8n.webhook_url)
    if _is_loopback(ours) and not _is_loopback(theirs):
        found = f"AIGEN_PUBLIC_URL is {settings.public_url}, which for N8N at {theirs} is N8N's own machine."
        yield wrong("settings", found, "Set AIGEN_PUBLIC_URL to the address at which N8N reaches this service.")


def _nothing_private_in_clear(settings: Settings) -> Iterator[Finding]:
    addresses = {
        "AIGEN_PUBLIC_URL": settings.public_url,
        "AIGEN_N8N__WEBHOOK_URL": settings.n8n.webhook_url,
        "AIGEN_ODOO__URL": settings.odoo.url,
    }
    for name, url in addresses.items():
        if urlsplit(url).scheme == "http" and not _is_private(_host(url)):
            found = f"{name} is http:// to {_host(url)}: keys and images cross the network readable."
            yield warning("settings", found, "Use https://, or a private name or address.")


def _tls_and_the_public_url(settings: Settings) -> Iterator[Finding]:
    if settings.tls.certificate and urlsplit(settings.public_url).scheme == "http":
        found = "AIGEN_TLS__CERTIFICATE makes 'serve' speak https only, but AIGEN_PUBLIC_URL is http://."
        yield wrong("settings", found, "Make AIGEN_PUBLIC_URL https://, unless a proxy there speaks https to 'serve'.")


def _a_published_webhook(settings: Settings) -> Iterator[Finding]:
    if "/webhook-test/" in settings.n8n.webhook_url:
        found = "AIGEN_N8N__WEBHOOK_URL is N8N's test address, which works only while somebody listens in the editor."
        yield wrong("settings", found, "Publish the workflow and use the production URL: /webhook/ for /webhook-test/.")


def _keys_that_are_keys(settings: Settings) -> Iterator[Finding]:
    sent = settings.n8n.api_key.get_secret_value()
    if sent.startswith("sha256:"):
        found = "AIGEN_N8N__API_KEY is the hash of a key, but it is sent to N8N as it is."
        yield wrong("settings", found, "Give the key itself there; only AIGEN_CLIENTS takes hashes.")
    hashed = "sha256:" + hashlib.sha256(sent.encode()).hexdigest()
    for name, client in settings.clients.items():
        if {key.get_secret_value().casefold() for key in client.keys} & {sent.casefold(), hashed}:
            found = f"AIGEN_N8N__API_KEY is also client {name!r}'s key: who learns one can use it in both directions."
            yield warning("settings", found, "Make another: 'aigen-bridge keys new'.")


def _time_enough(settings: Settings) -> Iterator[Finding]:
    deadline, odoo = settings.callback.deadline, settings.odoo.timeout
    if deadline <= settings.n8n.timeout:
        found = f"AIGEN_CALLBACK__DEADLINE ({spoken(deadline)}) is no longer than one webhook call may take."
        yield wrong("settings", found, f"Raise it to {spoken(N8N_MAY_TAKE)} or more: images take their time.")
    elif deadline < N8N_MAY_TAKE:
        found = f"AIGEN_CALLBACK__DEADLINE ({spoken(deadline)}) is shorter than N8N's own retries may take."
        yield warning(
            "settings", found, f"Raise it to {spoken(N8N_MAY_TAKE)} or more; late results still win meanwhile."
        )
    if odoo <= ODOO_MAY_REPEAT:
        found = f"AIGEN_ODOO__TIMEOUT ({spoken(odoo)}) ends calls that Odoo may still be repeating by itself."
        yield warning("settings", found, "Raise it above 30 s.")


def _images_that_odoo_takes(settings: Settings) -> Iterator[Finding]:
    if settings.callback.max_bytes > ODOO_BODY_MAX * 3 // 4:
        found = (
            "AIGEN_CALLBACK__MAX_BYTES lets images in that Odoo does not take: 96 MiB are 128 MiB in base64, its limit."
        )
        yield warning("settings", found, "Lower it to 100000000 or less.")


def _development_is_over(settings: Settings) -> Iterator[Finding]:
    urls = settings.image_urls
    if urlsplit(settings.public_url).scheme != "https" or not (urls.allow_http or urls.trusted_networks):
        return
    found = (
        "AIGEN_IMAGE_URLS__ALLOW_HTTP or __TRUSTED_NETWORKS is set, as for development, but the public URL is https://."
    )
    yield warning("settings", found, "Take them out, unless N8N's images really come from a private network.")


def _somebody_is_told(settings: Settings) -> Iterator[Finding]:
    if not settings.alerts.urls:
        found = "AIGEN_ALERTS__URLS is not set: nobody hears of dead letters and outages, only the log does."
        yield warning("settings", found, "Set it, such as mailto://user:password@mail.example.com?to=ops@example.com.")


RULES: tuple[Rule, ...] = (
    _somebody_may_call,
    _n8n_can_reach_us,
    _nothing_private_in_clear,
    _tls_and_the_public_url,
    _a_published_webhook,
    _keys_that_are_keys,
    _time_enough,
    _images_that_odoo_takes,
    _development_is_over,
    _somebody_is_told,
)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_private(host: str) -> bool:
    """By its looks: a private address, a name without a dot (a container's), or a name that is never public."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_NAMES)
