"""Reads the database's URL, once and in one way for everything that connects: the pool, LISTEN, migrations, the doctor.

It has one of libpq's two forms: `postgresql://user:password@host1:port,host2/database?parameter=value`, or keywords
and values (`host=host1,host2 dbname=database`). A URL may also have what SQLAlchemy wrote: a driver after the scheme,
several `host` parameters, and special characters of the password as they are.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

FORM = "must look like postgresql://user:password@host/database"
PORT_MAX = 65535

_KEYWORDS = re.compile(r"\s*[a-z_]+\s*=", re.IGNORECASE)
_SCHEME = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_HOST = r"(?:\[[^\[\]@/?]*\]|[^\[\]:/?@,]*)(?::[0-9]*)?"
_PARAMETER = r"[^=&#@?]*=[^&#@]*"
# A password may contain @, : / ? and #. The credentials are what stands before the last @ behind which the rest is in
# order, and there are none if everything is.
_REST = re.compile(
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>.*?))?@)??"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<database>[^/?#@]*))?(?:\?(?P<query>(?:{_PARAMETER})?(?:&{_PARAMETER})*))?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"\[(?P<ipv6>[^\[\]]*)\](?::(?P<port6>[0-9]*))?|(?P<name>[^:]*)(?::(?P<port>[0-9]*))?")


def parse(url: str) -> dict[str, str]:
    """Returns the URL as parameters of libpq, only those that it has. White space around it is ignored.

    Raises `ValueError`, which says what is wrong without quoting the URL, because it may hold a password.
    """
    text = url.strip()
    if has_keywords(text):
        return _keywords(text)
    scheme = _SCHEME.match(text)
    parts = _REST.fullmatch(text[scheme.end() :]) if scheme else None
    if parts is None:
        raise ValueError(f"{FORM}, with : / ? # @ % in user, password and database percent-encoded")
    if any(ord(character) <= ord(" ") or ord(character) == 0x7F for character in text):  # noqa: PLR2004 - DEL
        raise ValueError("has blanks or control characters in it; write them percent-encoded, such as %20")
    named = {name: _decoded(parts[name] or "") for name in ("user", "password")}
    found = named | {"dbname": _decoded(parts["database"] or "")} | _addresses(parts["hosts"].split(","))
    return checked({name: value for name, value in (found | _parameters(parts["query"] or "")).items() if value})


def password_in(url: str) -> str | None:
    """Returns the URL's password, if it has one."""
    return parse(url).get("password")


def has_keywords(text: str) -> bool:
    """Returns whether the text has libpq's form `keyword=value keyword=value` and is no URL."""
    return _KEYWORDS.match(text) is not None


def _keywords(text: str) -> dict[str, str]:
    try:
        found = conninfo_to_dict(text)
    except (ProgrammingError, UnicodeError):  # libpq's message may quote a part of the password
        raise ValueError(
            "has keywords and values that libpq cannot read; write them as host=… dbname=… user=… with the names of "
            "libpq's parameters, and quote a value that has blanks: password='…'"
        ) from None
    return checked({name: str(value) for name, value in found.items() if value})


def checked(parameters: dict[str, str]) -> dict[str, str]:
    """Returns the parameters. Raises `ValueError` if hosts and ports do not fit together."""
    hosts = (parameters.get("host") or parameters.get("hostaddr", "")).split(",")
    ports = parameters.get("port", "").split(",")
    if len(hosts) > 1 and "" in hosts:
        raise ValueError("has an empty host; is there a comma too many?")
    if len(ports) not in {1, len(hosts)}:
        raise ValueError(f"has {len(ports)} ports for {len(hosts)} hosts")
    for host in parameters.get("host", "").split(","):
        _refuse_unusable(host)
    for port in filter(None, ports):
        if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= PORT_MAX):
            raise ValueError(f"has a port that is not a number from 1 to {PORT_MAX}")
    return parameters


def _refuse_unusable(host: str) -> None:
    if host.startswith("/"):
        return
    if host.startswith("@"):
        raise ValueError("has an abstract Unix socket, which psycopg cannot use; name the folder of a socket")
    if any(character.isspace() for character in host):
        raise ValueError("has a host with blanks; separate hosts by commas alone")
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("has a host that cannot be a name, such as one with two dots in a row") from None


def _decoded(text: str) -> str:
    """Decodes `%20` and the like. A `%` that begins no such code stands for itself."""
    try:
        value = unquote_to_bytes(text.encode()).decode()
    except UnicodeError:
        raise ValueError("has characters that are not UTF-8, percent-encoded or as they are") from None
    if "\0" in value:
        raise ValueError("has a NUL character (%00) in it")
    return value


def _addresses(hosts: list[str]) -> dict[str, str]:
    """Returns `host` and `port` for these hosts, each with or without a port."""
    pairs = [_address(host) for host in hosts]
    ports = [port for _, port in pairs]
    return {"host": ",".join(host for host, _ in pairs)} | ({"port": ",".join(ports)} if any(ports) else {})


def _address(text: str) -> tuple[str, str]:
    if text.startswith(("/", "@")) or (text.count(":") > 1 and not text.startswith("[")):
        return text, ""  # the folder of a socket, or an IPv6 address in the parameter `host`
    parts = _ADDRESS.fullmatch(text)
    if parts is None:
        raise ValueError("has a host that cannot be read; write it as name:port or [IPv6 address]:port")
    host, port = parts["name"] if parts["ipv6"] is None else parts["ipv6"], parts["port"] or parts["port6"] or ""
    return _decoded(host), port


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    hosts: list[str] = []
    for name, value in _pairs(query):
        if name == "host":
            hosts += value.split(",")
        elif name in found:
            raise ValueError(f"has the parameter {name} twice")
        else:
            found[name] = value
    addresses = _addresses(hosts) if hosts else {}
    if "port" in found and "port" in addresses:
        raise ValueError("has ports both beside the hosts and in the parameter port")
    return found | addresses


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if not name:
            raise ValueError("has a parameter without a name after its '?'")
        if (name, value) == ("ssl", "true"):  # as libpq understands it
            name, value = "sslmode", "require"
        yield name, _decoded(value.replace("+", " ") if name == "options" else value)
