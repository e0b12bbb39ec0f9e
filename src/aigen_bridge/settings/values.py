"""Types of settings' values, with their parsers."""

import json
import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import limits
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from aigen_bridge.domain.signature import secret_bytes
from aigen_bridge.logs import muted
from aigen_bridge.store.url import parse as database_parameters

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_HASHED = re.compile(r"sha256:[0-9a-fA-F]{64}\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\Z")


def _duration(value: Any) -> Any:
    """Parses `600` (seconds), `10m`, `1.5h`; leaves other forms, such as ISO 8601, to pydantic."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    try:
        return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])}) if match else value
    except OverflowError:
        raise ValueError("is too long") from None


def _unless_forever(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "forever" else value


def _port_is_valid(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _port_is_valid(parts):
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be an address without user, query or fragment")
    return value.rstrip("/")


def _origin(value: str) -> str:
    url = _http_url(value)
    if urlsplit(url).path:
        raise ValueError("must be an address without a path, such as https://odoo.example.com")
    return url


def _database_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    database_parameters(text)
    return SecretStr(f"postgresql+psycopg://{text.partition('://')[2]}")


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("must be printable ASCII without blanks, because it is sent in a header")
    if text.startswith("sha256:") and not _HASHED.match(text):
        raise ValueError("must have 64 hex digits after sha256:")
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


def _alert_urls(value: Any) -> Any:
    """Parses a JSON list, or URLs separated by blanks."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else value.split()


def _alert_url(value: SecretStr) -> SecretStr:
    from apprise import Apprise  # noqa: PLC0415 - takes half a second, and most commands send no alerts

    with muted("apprise"):
        channel = Apprise.instantiate(value.get_secret_value())
    if channel is None:
        raise ValueError("is not an address that Apprise knows, such as mailto://user:password@example.com")
    return value


def _rate_limit(value: str) -> str:
    limits.parse(value)
    return value


AlertUrls = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_alert_url)], ...], NoDecode, BeforeValidator(_alert_urls)
]
RateLimit = Annotated[str, AfterValidator(_rate_limit)]
Key = Annotated[SecretStr, AfterValidator(_key)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
_Positive = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
Duration = Annotated[_Positive, Field(le=timedelta(days=365))]
"""At most a year: added to the current time, the result is within the range of PostgreSQL and Python."""
Timeout = Annotated[_Positive, Field(le=timedelta(days=1))]
"""The timeout of one call, at most a day: a socket accepts no more than 24 days."""
DatabaseTimeout = Annotated[_Positive, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))]
KeptFor = Annotated[
    Annotated[_Positive, Field(le=timedelta(days=36500))] | None,
    BeforeValidator(_unless_forever),
]
"""A duration of at most 100 years, or `forever` (None)."""
HttpUrl = Annotated[str, AfterValidator(_http_url)]
OriginUrl = Annotated[str, AfterValidator(_origin)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
