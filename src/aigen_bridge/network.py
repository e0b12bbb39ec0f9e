"""How calls leave this machine: through which proxy, and whom they trust. The usual variables say so.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`: the proxy for calls to N8N, to Odoo and to the bridge's own public URL, as
`http://user:password@host:port`. `NO_PROXY`: the hosts that are called directly, as names (with their subdomains),
addresses and networks, each with or without a port, or `*`. This machine itself is always called directly, and so are
the hosts of images, because their addresses are checked where the connection is opened.

`SSL_CERT_FILE`, `SSL_CERT_DIR`: the authorities that are trusted besides this machine's own, instead of certifi's.
`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`: the same for alerts and traces, whose libraries read them.

A proxy's variable in lower case wins, and an empty value is none.
"""

import hashlib
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
PORT_MAX = 65535
_NAME = re.compile(r"(?=.*[^\d.])[\w.-]+")
"""A host's name. Digits and dots alone are the beginning of an address, which would match nothing."""
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file with certificates. All but the first may name a folder, too."""
Environment = Mapping[str, str]


class _WrongVariableError(Exception):
    """A variable is wrong. Its message begins with the variable and shows no password."""


def complaints(environment: Environment = os.environ) -> list[str]:
    """Returns a sentence for each variable that cannot be used: its name, its value, and what to do."""
    checks = (_check_proxies, _check_exceptions, _check_certificates, _check_traces)
    return [complaint for check in checks for complaint in check(environment)]


def proxy_for(url: str, environment: Environment = os.environ) -> str | None:
    """Returns the URL of the proxy for calls to this URL, with its credentials; None if they are direct."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    name = next((name for name in (f"{parts.scheme}_proxy", "all_proxy") if _proxy_value(name, environment)), None)
    if name is None or is_this_machine(host) or _is_excepted(host, port, environment):
        return None
    return _proxy(name, environment)


def shown(proxy: str) -> str:
    """Returns the proxy's URL without its password."""
    scheme, separator, rest = proxy.rpartition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{credentials.partition(':')[0]}{':***' if ':' in credentials else ''}{at}{place}"


def tls_context(environment: Environment = os.environ) -> ssl.SSLContext:
    """Returns the context of the bridge's own TLS connections. The authorities of the machine are always trusted."""
    file, folders = _value("SSL_CERT_FILE", environment), _value("SSL_CERT_DIR", environment)
    return _tls_context(file, folders, tuple(authorities(environment).values()))


def authorities(environment: Environment = os.environ) -> dict[str, str]:
    """Returns the SHA-256 of the certificates that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Raises OSError."""
    file, folders = _value("SSL_CERT_FILE", environment), _value("SSL_CERT_DIR", environment)
    found = {"SSL_CERT_FILE": [Path(file)]} if file else {}
    if folders:
        found["SSL_CERT_DIR"] = [path for folder in folders.split(os.pathsep) for path in _certificates(Path(folder))]
    return {
        name: hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest() for name, paths in found.items()
    }


def _certificates(folder: Path) -> list[Path]:
    """Returns the files in the folder that OpenSSL reads: those that are named by a hash."""
    return sorted(folder.glob("*.[0-9]*"))


@lru_cache(maxsize=2)
def _tls_context(file: str | None, folder: str | None, _authorities: tuple[str, ...]) -> ssl.SSLContext:
    """Returns one context for all clients until the authorities change, because reading them takes 0.1 s."""
    import httpx  # noqa: PLC0415 - takes long, and not every command calls others

    if file or folder:
        context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        context = httpx.create_ssl_context(trust_env=False)  # certifi's
    context.load_default_certs()
    return context


def _value(name: str, environment: Environment) -> str | None:
    """Returns a variable's value without white space around it, or None if it is empty."""
    return environment.get(name, "").strip() or None


def _proxy_value(name: str, environment: Environment) -> str | None:
    """Returns the value of a proxy's variable, whose name may be in lower or upper case."""
    return _value(name if name in environment else name.upper(), environment)


def _check_proxies(environment: Environment) -> Iterator[str]:
    if "*" in _exceptions(environment):
        return
    schemes = [name for name in ("http_proxy", "https_proxy") if _proxy_value(name, environment)]
    for name in schemes if len(schemes) == len(PORTS) else [*schemes, "all_proxy"]:
        try:
            _proxy(name, environment)
        except _WrongVariableError as error:
            yield str(error)


def _proxy(name: str, environment: Environment) -> str | None:
    value = _proxy_value(name, environment)
    if value is None:
        return None
    url = value if "://" in value else f"http://{value}"
    if wrong := _what_is_wrong(url):
        advice = "write it as http://user:password@host:port, or set it to nothing for the bridge"
        raise _WrongVariableError(f"{name.upper()} is wrong: {shown(value)!r} {wrong}; {advice}.")
    return url.rstrip("/")


def _what_is_wrong(url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in PORTS:
        return "is not the address of an HTTP proxy (SOCKS is not supported)"
    if not rest.isascii() or not rest.isprintable() or any(character in rest for character in ' \\?#"<>'):
        return "has blanks or other characters in it that must be percent-encoded"
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0 and parts.netloc.count("@") < 2 and parts.path in {"", "/"}  # noqa: PLR2004
    except ValueError:
        good = False
    return None if good and _is_host(parts.netloc.rpartition("@")[2]) else "has no host, or a port that is none"


def _is_host(place: str) -> bool:
    return place.startswith("[") or place.count(":") <= 1


def is_this_machine(host: str) -> bool:
    """Returns whether a URL's host is a loopback address, or a name of one."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _exceptions(environment: Environment) -> list[str]:
    return (_proxy_value("no_proxy", environment) or "").replace(",", " ").split()


def _check_exceptions(environment: Environment) -> Iterator[str]:
    """Checks NO_PROXY, which has no meaning without a proxy."""
    if not any(_proxy_value(name, environment) for name in ("http_proxy", "https_proxy", "all_proxy")):
        return
    for entry in _exceptions(environment):
        if _exception(entry) is None:
            advice = "write names (example.com), addresses (10.0.0.7, [::1]) or networks (10.0.0.0/8)"
            yield f"NO_PROXY is wrong: {shown(entry)!r} in it matches no host; {advice}, with commas between them."


def _is_excepted(host: str, port: int, environment: Environment) -> bool:
    entries = [found for entry in _exceptions(environment) if (found := _exception(entry))]
    return any(_matches(name, host) and only in {None, port} for name, only in entries)


def _exception(entry: str) -> tuple[str, int | None] | None:
    """Returns the name, address or network of an entry of NO_PROXY, and its port. None if it cannot match."""
    text = entry.rpartition("://")[2].rstrip("/").lower()
    if text == "*":
        return "*", None
    with suppress(ValueError):
        return str(ip_network(text, strict=False)), None
    try:
        parts = urlsplit(f"//{text.removeprefix('*').removeprefix('.')}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.path or "@" in parts.netloc or not (_address(name) or _NAME.fullmatch(name)):
        return None
    return (str(ip_network(name)) if _address(name) else name.removesuffix("."), port)


def _matches(name: str, host: str) -> bool:
    if name == "*":
        return True
    address = _address(host)
    if address is not None:
        return "/" in name and address in ip_network(name)
    return host == name or host.endswith(f".{name}")


def _check_certificates(environment: Environment) -> Iterator[str]:
    files = {name: value for name in BUNDLES if (value := _value(name, environment))}
    reasons = {value: _why_unusable(value) for value in set(files.values())}
    for name, value in files.items():
        if reasons[value] and not (name in BUNDLES[1:] and Path(value).is_dir()):
            advice = "name a file with the certificates of authorities (PEM), or unset it"
            yield f"{name} is wrong: {value!r} {reasons[value]}; {advice}."
    folder = _value("SSL_CERT_DIR", environment)
    if (
        folder
        and not _value("SSL_CERT_FILE", environment)
        and not any(map(_has_certificates, folder.split(os.pathsep)))
    ):
        advice = "name a folder that 'openssl rehash' has prepared, or unset it"
        yield f"SSL_CERT_DIR is wrong: {folder!r} is no folder with certificates; {advice}."
    if (key_log := _value("SSLKEYLOGFILE", environment)) and not _can_append(Path(key_log)):
        yield f"SSLKEYLOGFILE is wrong: {key_log!r} cannot be written; name another file, or unset it."


def _has_certificates(folder: str) -> bool:
    try:
        return any(_HASHED.fullmatch(entry.name) for entry in Path(folder).iterdir())
    except OSError:
        return False


def _why_unusable(file: str) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return "holds no certificate"
    except (OSError, ValueError) as error:
        return f"cannot be read ({_reason(error)})"
    return None


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _can_append(path: Path) -> bool:
    return os.access(path if path.exists() else path.parent, os.W_OK) and not path.is_dir()


def _check_traces(environment: Environment) -> Iterator[str]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        value = environment.get(name, "").strip()
        if value and not _is_web_address(value):
            advice = "write an http:// or https:// address, such as http://collector:4318"
            yield f"{name} is wrong: {shown(value)!r} cannot be called; {advice}."


def _is_web_address(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    return (
        scheme.lower() in PORTS
        and not any(character.isspace() or character == "\\" for character in url)
        and (_what_is_wrong(f"{scheme}://{rest.partition('/')[0]}") is None)
    )
