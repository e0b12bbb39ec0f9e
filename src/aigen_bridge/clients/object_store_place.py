"""The place of an object store: a bucket, a container or a folder, and the credentials with which it is opened."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
from pydantic import SecretStr

from aigen_bridge.domain.image import ODOO_IMAGE_MAX
from aigen_bridge.network import is_this_machine

CONNECT_TIMEOUT = "3s"
RETRIES, BACKOFF = 2, {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=0.5), "base": 2}
"""After an answer such as 503, or a broken connection. None begins once the timeout has passed."""


@dataclass(frozen=True, slots=True)
class Place:
    """The location of the objects: `s3://bucket/prefix`, `gs://…`, `az://container/prefix` or `file:///folder`.

    `endpoint` is that of an S3 service other than Amazon's, or of an Azure account. `timeout` is for one object, and
    `size_max` the most bytes that are read of one.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    timeout: timedelta = timedelta(seconds=5)
    size_max: int = 2 * ODOO_IMAGE_MAX

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Id and key. For Google, the key is the JSON of a service account. Without a key: those of the machine."""

    key_id: SecretStr | None = None
    key: SecretStr | None = None


def open_store(place: Place, credentials: Credentials) -> Any:
    """Returns the store of obstore. Raises OSError or obstore's `BaseError`."""
    if place.folder:
        return LocalStore(place.folder)
    parts = urlsplit(place.url)
    options: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "client_options": {
            "timeout": f"{place.timeout.total_seconds():g}s",
            "connect_timeout": CONNECT_TIMEOUT,
            "allow_http": (place.endpoint or "").startswith("http:"),
            **_proxy(place.endpoint),
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": place.timeout, "backoff": BACKOFF},
    }
    given = {"s3": _s3, "gs": _google, "az": _azure}[parts.scheme](place, credentials)
    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[parts.scheme]
    return kind(parts.netloc, **{name: value for name, value in (options | given).items() if value is not None})


def _proxy(endpoint: str | None) -> dict[str, str]:
    """Returns the options with which this machine itself is called: without the proxy of HTTP_PROXY (see `network`)."""
    host = urlsplit(endpoint or "").hostname or ""
    return {"proxy_url": str(endpoint), "proxy_excludes": host} if is_this_machine(host) else {}


def _s3(place: Place, credentials: Credentials) -> dict[str, Any]:
    return {
        "endpoint": place.endpoint,
        "region": place.region,
        "access_key_id": _plain(credentials.key_id),
        "secret_access_key": _plain(credentials.key),
        "virtual_hosted_style_request": place.endpoint is None,
    }


def _google(_: Place, credentials: Credentials) -> dict[str, Any]:
    return {"service_account_key": _plain(credentials.key)}


def _azure(place: Place, credentials: Credentials) -> dict[str, Any]:
    return {
        "endpoint": place.endpoint,
        "account_name": _plain(credentials.key_id),
        "account_key": _plain(credentials.key),
    }


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
