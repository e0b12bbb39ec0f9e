"""Kinds of values that settings take, and how people write them."""

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import limits
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aigen_bridge.domain.signature import secret_bytes

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\Z")


def _duration(value: Any) -> Any:
    """`600` (seconds), `10m`, `1.5h`; anything else, such as ISO 8601, is left to pydantic."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])}) if match else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _origin(value: str) -> str:
    url = _http_url(value)
    if urlsplit(url).path:
        raise ValueError("must be an address without a path, such as https://odoo.example.com")
    return url


def _database_url(value: SecretStr) -> SecretStr:
    scheme, _, rest = value.get_secret_value().partition("://")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"} or not rest:
        raise ValueError("must look like postgresql://user:password@host/database")
    return SecretStr(f"postgresql+psycopg://{rest}")


def _signing_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


def _rate_limit(value: str) -> str:
    limits.parse(value)
    return value


RateLimit = Annotated[str, AfterValidator(_rate_limit)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
OriginUrl = Annotated[str, AfterValidator(_origin)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
