"""The secrets of the settings by name, each as the SHA-256 of its value or of its file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from aigen_bridge.network import authorities
from aigen_bridge.settings import Settings
from aigen_bridge.settings.sections import Client
from aigen_bridge.settings.values import key_digest
from aigen_bridge.store.url import password_in


def of_clients(settings: Settings) -> dict[str, str]:
    """The keys and signing secrets of callers. A key's fingerprint is its hash, as AIGEN_CLIENTS may have it."""
    return {name: value for client in settings.clients.items() for name, value in _of_client(*client)}


def of_n8n(settings: Settings) -> dict[str, str]:
    """The key and the signing secrets for N8N, and the authorities that calls trust."""
    secrets = enumerate(settings.n8n.all_signing_secrets, 1)
    signing = {f"N8N: signing secret {number}": _of(secret) for number, secret in secrets}
    return {"N8N: key": _of(settings.n8n.api_key)} | signing | of_authorities(settings)


def of_odoo(name: str, settings: Settings) -> dict[str, str]:
    """The key for one Odoo, and the authorities that calls trust."""
    return {f"Odoo {name}: key": _of(settings.all_odoos[name].api_key)} | of_authorities(settings)


def of_database(settings: Settings) -> dict[str, str]:
    """The database's password. Empty if libpq takes it from elsewhere."""
    return _of_password("database: password", settings.database_url)


def of_listener(settings: Settings) -> dict[str, str]:
    """The password in the listener's own URL, if it has one."""
    return _of_password("listener: password", settings.database.listen_url)


def of_metrics(settings: Settings) -> dict[str, str]:
    """The token for Prometheus."""
    return {"metrics: token": _of(settings.metrics.token)} if settings.metrics.token else {}


def of_console(settings: Settings) -> dict[str, str]:
    """The bridge's secret at the OpenID Connect provider."""
    secret = settings.console.oidc_client_secret
    return {"OpenID Connect: client secret": _of(secret)} if secret else {}


def of_image_store(settings: Settings) -> dict[str, str]:
    """The key of the image store."""
    secret = settings.image_store.secret_access_key
    return {"image store: key": _of(secret)} if secret else {}


def of_tls(settings: Settings) -> dict[str, str]:
    """The files with which the API serves TLS."""
    tls = settings.tls
    named = {"TLS: certificate": tls.certificate, "TLS: key": tls.key, "TLS: authorities of callers": tls.client_ca}
    return {name: _of_file(path) for name, path in named.items() if path}


def of_authorities(_settings: Settings) -> dict[str, str]:
    """The authorities that outbound calls trust besides the machine's own."""
    return {f"authorities: {name}": value for name, value in authorities().items()}


def _of_client(name: str, client: Client) -> Iterator[tuple[str, str]]:
    """The name tells what the client may do, so a change of that is a change of its secrets."""
    rights = [*sorted(client.scopes), *([f"Odoo {client.odoo}"] if client.odoo else [])]
    about = f"client {name} ({', '.join(rights)}{', signed' if client.signature_required else ''})"
    yield from ((f"{about}: key {number}", key_digest(key).hex()) for number, key in enumerate(client.keys, 1))
    for number, secret in enumerate(client.signing_secrets, 1):
        yield f"{about}: signing secret {number}", _of(secret)


def _of_password(name: str, url: SecretStr | None) -> dict[str, str]:
    password = password_in(url.get_secret_value()) if url else None
    return {name: _of(SecretStr(password))} if password else {}


def _of(secret: SecretStr) -> str:
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()


def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
