"""Types of settings' values, with their parsers."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit
from zoneinfo import available_timezones

import limits
from pydantic import AfterValidator, BeforeValidator, Field, FilePath, IPvAnyNetwork, SecretStr
from pydantic_settings import NoDecode

from aigen_bridge.domain.address import checked_url
from aigen_bridge.domain.errors import PermanentError
from aigen_bridge.domain.money import CURRENCIES, parse_amount
from aigen_bridge.domain.queues import ODOO_NAME
from aigen_bridge.domain.signature import secret_bytes
from aigen_bridge.logs import muted
from aigen_bridge.network import is_this_machine
from aigen_bridge.store.url import has_keywords
from aigen_bridge.store.url import parse as database_parameters

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
IMAGE_STORES = ("s3", "gs", "az", "file")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]\Z")
HASHED = "sha256:"
_HASHED = re.compile(r"sha256:[0-9a-f]{64}\Z", re.IGNORECASE)
_LIKE_A_HASH = re.compile(r"(?:sha-?\d+|md5)[:=]", re.IGNORECASE)
KEY_MIN, KEY_SAFE = 4, 8
"""Characters of a client's key: shorter ones are refused, and those that can be found by trying."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}", re.IGNORECASE | re.ASCII)
"""A host's name. A host that ends in a number is an address, or none."""
BOM = "\ufeff"
"""Some editors begin a file with it."""
_JSON = frozenset('[{"')
"""Characters that begin a value in JSON."""
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


def _stripped(value: Any) -> Any:
    """Removes white space around a value: a file, or a variable made from one, ends with a new line."""
    return value.removeprefix(BOM).strip() if isinstance(value, str) else value


def _http_url(value: str) -> str:
    """Returns the URL with its scheme and host in lower case, without a slash or a dot at their ends."""
    if "\\" in value or not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("has a blank, a control character or a backslash in it; percent-encode those of its path")
    parts = _split(value)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise ValueError("must be an http:// or https:// address")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("must be an address without user, query or fragment")
    return f"{parts.scheme}://{_authority(parts)}{parts.path}".rstrip("/")


def _split(url: str) -> SplitResult | None:
    """Returns the URL's parts, or None if it has no host or brackets that match nothing."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname or parts.netloc.startswith(":") else None
    except ValueError:
        return None


def _authority(parts: SplitResult) -> str:
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        raise ValueError("has an IPv6 address without brackets; write it as http://[::1]:8000")
    host = (parts.hostname or "").removesuffix(".")
    if not (_NAME.fullmatch(host) or _is_address(host)):
        raise ValueError("has a host that is neither a name in ASCII (xn--… for others) nor an address")
    shown = f"[{host}]" if ":" in host else host
    return shown + (f":{_port(parts)}" if _port(parts) else "")


def _port(parts: SplitResult) -> int | None:
    """Returns the port, or None if the URL leaves it out."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("has a port that is not a number from 1 to 65535")
    return port


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _trace_url(value: str) -> str:
    """Checks a URL with a place for the id of a trace. It may have a query and a fragment, as pages do."""
    if not (value.startswith(("https://", "http://")) and "{traceId}" in value):
        raise ValueError("must be a URL that begins with https:// or http:// and has {traceId} in it")
    return value


def _origin(value: str) -> str:
    url = _http_url(value)
    if urlsplit(url).path:
        raise ValueError("must be an address without a path, such as https://odoo.example.com")
    return url


def _issuer(value: str) -> str:
    """Returns the issuer as it was given: ID tokens must name it so, with or without a slash at its end."""
    parts = urlsplit(_http_url(value))
    if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
        raise ValueError("must be an https:// address; http:// is for a provider on this machine, for development")
    return value


def _image_store_url(value: str) -> str:
    """Requires a bucket or a folder, and refuses what could be a secret."""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in IMAGE_STORES:
        raise ValueError("must be s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/") or not parts.path.strip("/")):
        raise ValueError("must name a folder with its full path, such as file:///var/lib/aigen-bridge/images")
    if parts.scheme != "file" and not _BUCKET.match(parts.netloc):
        raise ValueError("must name a bucket, without a user, a password or a port")
    if parts.query or parts.fragment:
        raise ValueError("has no place for options: use AIGEN_IMAGE_STORE__ENDPOINT, …__REGION and the others")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    database_parameters(text)
    return SecretStr(text if has_keywords(text) else f"postgresql+psycopg://{text.partition('://')[2]}")


def _key(value: SecretStr) -> SecretStr:
    """Checks a key, or the hash of one, whose form it returns in lower case."""
    text = value.get_secret_value()
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("must be printable ASCII without blanks, because it is sent in a header")
    if not _LIKE_A_HASH.match(text):
        return value
    if not _HASHED.match(text):
        raise ValueError("must have sha256: and 64 hex digits, if it is the hash of a key")
    return SecretStr(text.lower())


def _no_hash(value: SecretStr) -> SecretStr:
    if value.get_secret_value().startswith(HASHED):
        raise ValueError("must be the key itself; only AIGEN_CLIENTS takes hashes")
    return value


def _client_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < KEY_MIN:
        raise ValueError(f"must have at least {KEY_MIN} characters; 'aigen-bridge keys new' makes a good one")
    return value


def key_digest(key: SecretStr) -> bytes:
    """Returns the SHA-256 of a key that is given as it is, or as its hash."""
    text = key.get_secret_value()
    if text.startswith(HASHED):
        return bytes.fromhex(text.removeprefix(HASHED))
    return hashlib.sha256(text.encode()).digest()


def _signing_secret(value: SecretStr) -> SecretStr:
    try:
        secret_bytes(value.get_secret_value())
    except ValueError as error:
        hint = "'aigen-bridge keys new --client n8n --scope callbacks --signing' makes one"
        raise ValueError(f"must be another: {error} ({hint})") from None
    return value


def _password(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isprintable():
        raise ValueError("has a control character in it, such as a line end")
    return value


def _listed(value: Any) -> Any:
    """Parses a JSON list, or values separated by commas or blanks."""
    if not isinstance(value, str):
        return value
    return strict_json(value) if value.lstrip()[:1] in _JSON else value.replace(",", " ").split()


def _groups(value: Any) -> Any:
    """Parses a JSON list, or names separated by commas. A name may contain blanks."""
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] in _JSON:
        return strict_json(value)
    return [name for part in value.removeprefix(BOM).split(",") if (name := part.strip())]


def _scopes(value: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in value:
        raise ValueError("must contain openid")
    return value


def _alert_urls(value: Any) -> Any:
    """Parses a JSON list, or URLs separated by blanks. A URL may contain commas."""
    if not isinstance(value, str):
        return value
    found = strict_json(value) if value.lstrip()[:1] in _JSON else [url.strip(",") for url in value.split()]
    return list(dict.fromkeys(found)) if isinstance(found, list) else found


def strict_json(text: str) -> Any:
    """Parses JSON. Raises `ValueError`, which says where it is wrong without quoting it.

    A name that is given twice in one object is an error, too.
    """
    try:
        return json.loads(text.removeprefix(BOM), object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        comma = " (a comma too many?)" if error.doc[: error.pos].rstrip().endswith(",") else ""
        where = f"at line {error.lineno}, column {error.colno}"
        raise ValueError(f"is not valid JSON {where}: {error.msg.lower()}{comma}") from None
    except RecursionError:
        raise ValueError("is not valid JSON: it is nested too deeply") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the name {twice!r} twice in one object")
    return found


def _alert_url(value: SecretStr) -> SecretStr:
    from apprise import Apprise  # noqa: PLC0415 - takes half a second, and most commands send no alerts

    if not value.get_secret_value().isprintable():
        raise ValueError("has a control character in it, such as a line end")
    with muted("apprise"):
        channel = Apprise.instantiate(value.get_secret_value())
    if channel is None:
        raise ValueError("is not an address that Apprise knows, such as mailto://user:password@example.com")
    return value


def _allowed_hosts(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the patterns as `checked_url` takes them: none for `*`, and two for `.example.com`."""
    both = [(pattern[1:], f"*{pattern}") if pattern.startswith(".") else (pattern,) for pattern in patterns]
    return () if "*" in patterns else tuple(dict.fromkeys(pattern for pair in both for pattern in pair))


def _host_pattern(value: str) -> str:
    """Returns `*`, a host as `checked_url` finds it in a URL, or one behind `*.` or `.`."""
    text = value.strip()
    if text == "*":
        return text
    start = next(start for start in ("*.", ".", "") if text.startswith(start))
    name = text.removeprefix(start).removesuffix(".").removeprefix("[").removesuffix("]")
    host = f"[{name}]" if ":" in name and _is_address(name) else name
    try:
        if _NAME.fullmatch(name) or _is_address(name):
            return start + checked_url(f"https://{host}/", allow_http=False, allowed_hosts=()).host
    except PermanentError:
        pass
    raise ValueError(f"must be {_instead(text)}")


def _instead(text: str) -> str:
    """Returns what to write instead of a pattern that would match nothing. Does not repeat a password in a URL."""
    if "*" in text:
        return "a host with * only at its beginning, as in *.example.com"
    if "://" not in text and text.rpartition("/")[2].isdecimal():
        return "a host or a single address; networks stand in AIGEN_IMAGE_URLS__TRUSTED_NETWORKS"
    if not text.isascii():
        return "a host in ASCII, as it is in URLs: xn--…"
    parts = _split(text if "://" in text else f"//{text}")
    named = parts.hostname if parts else None
    if named and named != text and (_NAME.fullmatch(named) or _is_address(named)):
        return f"the host alone: {named}"
    return "a host, such as fal.media or *.fal.media"


def odoo_name(value: str) -> str:
    """Returns the name of an Odoo. Raises `ValueError` if none may have it."""
    if not re.fullmatch(ODOO_NAME, value):
        raise ValueError("must be at most 63 lower-case letters, digits and hyphens, the first of them a letter")
    return value


def _rate_limit(value: str) -> str:
    try:
        found = limits.parse_many(value)
    except ValueError:
        found = []
    if len(found) != 1 or found[0].amount < 1:
        raise ValueError("must be one limit of at least 1, such as 100/second or 5000/hour")
    return value.strip()


def _exchange_rates(value: Any) -> Any:
    """Returns the rates of `{"EUR/USD": "1.08"}` by both currencies."""
    if not isinstance(value, dict):
        raise ValueError('must be an object such as {"EUR/USD": "1.08"}')  # noqa: TRY004 - pydantic's errors
    return dict(_exchange_rate(pair, amount) for pair, amount in value.items())


def _exchange_rate(pair: Any, amount: Any) -> tuple[tuple[str, str], Decimal]:
    source, _, target = str(pair).partition("/")
    found = parse_amount(amount) if isinstance(amount, str) else None
    if not {source, target} <= CURRENCIES or source == target:
        raise ValueError(f"must have two currencies of ISO 4217 and a slash between them (EUR/USD), not {pair!r}")
    if not found:
        raise ValueError(f'must give the rate {pair} as a decimal above 0 in a text, such as "1.08"')
    return (source, target), found


def _time_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin")
    return value


_Stripped = BeforeValidator(_stripped)
AlertUrls = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_alert_url)], ...], NoDecode, BeforeValidator(_alert_urls)
]
AllowedHosts = Annotated[
    tuple[Annotated[str, AfterValidator(_host_pattern)], ...],
    NoDecode,
    BeforeValidator(_listed),
    AfterValidator(_allowed_hosts),
]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)]
Groups = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_groups)]
Scopes = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")], ...],
    NoDecode,
    BeforeValidator(_listed),
    AfterValidator(_scopes),
]
RateLimit = Annotated[str, AfterValidator(_rate_limit)]
Key = Annotated[SecretStr, _Stripped, AfterValidator(_key)]
ClientKey = Annotated[SecretStr, AfterValidator(_key), AfterValidator(_client_key)]
Token = Annotated[Key, AfterValidator(_no_hash)]
Storage = Annotated[SecretStr, _Stripped]
File = Annotated[FilePath, _Stripped]
Password = Annotated[SecretStr, _Stripped, AfterValidator(_password)]
SigningSecret = Annotated[SecretStr, _Stripped, AfterValidator(_signing_secret)]
OdooName = Annotated[str, AfterValidator(odoo_name)]
SigningSecrets = Annotated[tuple[SigningSecret, ...], NoDecode, BeforeValidator(_listed)]
Text = Annotated[str, _Stripped, Field(min_length=1)]
TimeZoneName = Annotated[str, _Stripped, AfterValidator(_time_zone)]
ExchangeRates = Annotated[Mapping[tuple[str, str], Decimal], BeforeValidator(_exchange_rates)]
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
HttpUrl = Annotated[str, _Stripped, AfterValidator(_http_url)]
TraceUrl = Annotated[str, _Stripped, AfterValidator(_trace_url)]
ImageStoreUrl = Annotated[str, _Stripped, AfterValidator(_image_store_url)]
IssuerUrl = Annotated[str, _Stripped, AfterValidator(_issuer)]
OriginUrl = Annotated[str, _Stripped, AfterValidator(_origin)]
DatabaseUrl = Annotated[SecretStr, _Stripped, AfterValidator(_database_url)]
