"""Checks image URLs that another system chose. Pure: resolves no names and opens no connections."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import urljoin

from aigen_bridge.domain.errors import PermanentError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

URL_MAX = 4096
"""Maximum length in characters. Signed URLs of the large object stores stay below 2000."""
NAME_MAX = 253
SHOWN_MAX = 100
PORTS = {"http": 80, "https": 443}
PORT_MAX = 65535

# The characters of RFC 3986. Parsers disagree only about URLs with others: spaces, tabs and line ends (some drop them),
# backslashes (some read them as slashes), and letters that IDNA folds to ASCII.
_PLAIN = re.compile(r"[!-\[\]-~]+")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?")
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# inet_aton, and so browsers and resolvers, read a name that ends like this as a number: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A parsed URL. Connections are made from its parts, so no second parser can read it differently.

    `host` is lower-case, and an IPv6 address has no brackets. `target` is path and query. `str()` shortens the URL and
    omits the query, because temporary URLs carry their credentials there.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def authority(self) -> str:
        """Host and port, as in the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        path = self.target.partition("?")[0]
        text = f"{self.scheme}://{self.authority}{path}"
        return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def checked_url(url: str, *, allow_http: bool, allowed_hosts: tuple[str, ...]) -> WebAddress:
    """Parses a URL. Raises `PermanentError` (`image_url_refused`) with the rule that it breaks.

    `allowed_hosts` holds exact names, or `*.example.com` for all subdomains. If it is empty, any host is allowed. The
    addresses that a name resolves to are checked separately, by `is_public`. The error does not quote the URL, which
    may hold a password.
    """
    if len(url) > URL_MAX:
        raise _refused(f"it is longer than {URL_MAX} characters")
    if not _PLAIN.fullmatch(url):
        raise _refused("it has characters other than visible ASCII ones, or a backslash")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise _refused("it does not begin with a scheme, :// and a host")
    scheme = parts["scheme"].lower()
    if scheme not in PORTS or (scheme == "http" and not allow_http):
        raise _refused(f"its scheme is {scheme[:20]}, not https")
    host, port = _host_and_port(parts["authority"])
    if allowed_hosts and not any(_matches(host, pattern.lower()) for pattern in allowed_hosts):
        raise _refused(f"its host {host} is not on the list of allowed ones")
    target = parts["target"]
    return WebAddress(scheme, host, port or PORTS[scheme], target if target.startswith("/") else f"/{target}")


def checked_redirect(
    source: WebAddress, location: str, *, allow_http: bool, allowed_hosts: tuple[str, ...]
) -> WebAddress:
    """Parses the target of a redirect by the rules of `checked_url`. A redirect from https to http is refused."""
    try:
        if not _PLAIN.fullmatch(location):  # before joining, because urljoin drops some illegal characters
            raise _refused("there is none, or it has characters that no URL has")
        joined = urljoin(f"{source.scheme}://{source.authority}{source.target}", location)
        return checked_url(joined, allow_http=allow_http and source.scheme == "http", allowed_hosts=allowed_hosts)
    except PermanentError as error:
        raise PermanentError(error.code, f"{source} redirects to another URL. {error.detail}") from error
    except ValueError as error:
        raise PermanentError("image_url_refused", f"{source} redirects to an invalid URL.") from error


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise _refused("it carries credentials")
    if "%" in authority:
        raise _refused("its host has a zone or is percent-encoded")
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts["port"] or 0) if parts else 0
    if parts is None or port > PORT_MAX:
        raise _refused("its host is missing, or its port is not one from 1 to 65535")
    host = _name(parts["name"].lower()) if parts["ipv6"] is None else _ipv6(parts["ipv6"])
    return host, port or None


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise _refused("its bracketed host is not an IPv6 address") from None


def _name(name: str) -> str:
    if _NUMBER.fullmatch(name):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise _refused("its host is a number, but not written as a dotted quad") from None
    if len(name) > NAME_MAX or not _NAME.fullmatch(name):
        raise _refused("its host is not a valid host name")
    return name


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _refused(rule: str) -> PermanentError:
    return PermanentError("image_url_refused", f"The image's URL is refused: {rule}.")


_NAT64 = IPv6Network("64:ff9b::/96")
_IPV6_UNICAST = IPv6Network("2000::/3")
"""The global unicast range of IANA. It excludes loopback, unspecified, IPv4-compatible (`::a.b.c.d`), the local NAT64
prefix 64:ff9b:1::/48, discard, segment routing, ULA (also cloud metadata: fd00:ec2::254), link-local, site-local and
multicast."""
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this network"; connects to the local machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service is 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, but is the platform service of every Azure machine
        "169.254.0.0/16",  # link-local; cloud metadata services are at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF; Oracle's metadata service was 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # IETF: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: tunnels to any IPv4 address
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)


def is_public(address: IPAddress) -> bool:
    """Returns whether an address belongs to the public internet, as far as the address itself shows.

    `is_global` alone is not enough: it depends on the Python release (CVE-2024-4032), and treats multicast, 6to4 and
    Azure's platform service as public. It must agree nevertheless, which adds what later releases know.
    """
    if isinstance(address, IPv6Address):
        if embedded := _embedded_ipv4(address):
            return is_public(embedded)
        if address not in _IPV6_UNICAST:
            return False
    listed = any(address in network for network in _NOT_PUBLIC)
    return not listed and address.is_global and not address.is_multicast


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Returns the IPv4 address that packets are sent to, for the two embeddings in use today: NAT64 and IPv4-mapped.

    An IPv6-only network reaches IPv4 by NAT64, so its prefix cannot simply be refused. 6to4, Teredo and IPv4-compatible
    addresses are obsolete, and are refused whatever they contain.
    """
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
