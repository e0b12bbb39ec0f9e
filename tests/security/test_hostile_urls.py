"""URLs by which somebody would reach what only we can reach. None may cause as much as a connection."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_network
from uuid import uuid4

import httpcore
import pytest

from aigen_bridge.clients import images as images_module
from aigen_bridge.clients.images import ImageFetcher
from aigen_bridge.domain.errors import PermanentError, TransientError

PUBLIC, OTHER_PUBLIC = "93.184.216.34", "93.184.216.35"
IMAGE = b"\x89PNG of a kind"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s" % (len(IMAGE), IMAGE)


class Names:
    """A resolver by script: the answers of a name, one after the other; the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Network(httpcore.AsyncNetworkBackend):
    """Every connection is noted and answered by script; without a script there must be none."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self._answers = list(answers)
        self.connected: list[tuple[str, int]] = []
        self.streams: list[Stream] = []

    async def connect_tcp(self, host, port, *_):
        self.connected.append((host, port))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.streams.append(Stream(answer))
        return self.streams[-1]


class Stream(httpcore.AsyncMockStream):
    """What was asked and for whom."""

    def __init__(self, answer: bytes) -> None:
        super().__init__([answer])
        self.asked = b""
        self.tls_name: str | None = None

    async def write(self, buffer, **_):
        self.asked += buffer

    async def start_tls(self, *, server_hostname, **_):
        self.tls_name = server_hostname
        return self


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch):
    """Nobody is really spoken TLS with here, and reading the certificates of the machine each time takes long."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(images_module, "tls_context", lambda: trust)


def redirect(location: str) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 9\r\n\r\nunread..." % location.encode("latin-1")


def fetcher(network: Network, names: Names | None = None, **rules) -> ImageFetcher:
    return ImageFetcher(timeout=5, max_bytes=1000, resolver=names or Names(), network=network, **rules)


async def fetch(url: str, network: Network, names: Names | None = None, **rules) -> bytes:
    return await fetcher(network, names, **rules).fetch(url, correlation_id=uuid4())


SCHEME, CHARACTERS, HOST, NUMBER = "its scheme is", "characters", "host is missing", "number"
SHAPE, CREDENTIALS, ENCODED = "does not begin", "credentials", "percent-encoded"
REFUSED_AS_TEXT = [
    # schemes
    ("http://a.test/x", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("file://localhost/etc/passwd", SCHEME),
    ("gopher://127.0.0.1:6379/_FLUSHALL", SCHEME),
    ("ftp://a.test/x", SCHEME),
    ("dict://127.0.0.1:11211/stats", SCHEME),
    ("ldap://a.test/x", SCHEME),
    ("ws://a.test/x", SCHEME),
    ("unix:///var/run/docker.sock", SCHEME),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/info", SCHEME),
    ("jar:https://a.test!/x", SHAPE),
    ("data:image/png;base64,iVBORw0KGgo=", SHAPE),
    ("javascript:alert(1)", SHAPE),
    ("//a.test/x", SHAPE),
    ("/etc/passwd", SHAPE),
    ("a.test/x", SHAPE),
    ("https:a.test/x", SHAPE),
    ("https:/a.test/x", SHAPE),
    ("https", SHAPE),
    ("url:https://a.test/", SHAPE),
    # what parsers drop, fold or read differently
    ("", CHARACTERS),
    (" https://a.test/", CHARACTERS),
    ("https://a.test/ x", CHARACTERS),
    ("https://a.test/x\n", CHARACTERS),
    ("https://a.test/x\r\nHost: evil.test", CHARACTERS),
    ("https://a\t.test/", CHARACTERS),
    ("ht\ntps://a.test/", CHARACTERS),
    ("https://a.test\x00.evil.test/", CHARACTERS),
    ("\x01https://a.test/", CHARACTERS),
    ("https://a.test\x7f/", CHARACTERS),
    ("https:\\\\a.test\\x", CHARACTERS),
    ("https://evil.test\\@a.test/", CHARACTERS),
    ("https://a.test\u00ad/", CHARACTERS),
    ("https://\uff11\uff12\uff17.0.0.1/", CHARACTERS),
    ("https://127\u30020\u30020\u30021/", CHARACTERS),
    ("https://\u24dbocalhost/", CHARACTERS),
    ("https://\u2460\u2461\u2466.0.0.1/", CHARACTERS),
    ("https://b\u00fccher.example/", CHARACTERS),
    ("https://a.test/\u202egnp.x", CHARACTERS),
    (f"https://a.test/{'x' * 4096}", "longer"),
    # credentials and what looks like them
    ("https://user:password@a.test/", CREDENTIALS),
    ("https://a.test@127.0.0.1/", CREDENTIALS),
    ("https://good%2f@evil.test/", CREDENTIALS),
    ("https://@a.test/", CREDENTIALS),
    ("https://a.test:80@127.0.0.1:22/", CREDENTIALS),
    ("https://[::1]@a.test/", CREDENTIALS),
    # hosts
    ("https:///x", HOST),
    ("https://", HOST),
    ("https://?x", HOST),
    ("https://:443/", HOST),
    ("https://a.test./", "not a valid host name"),
    ("https://127.0.0.1./", "not a valid host name"),
    ("https://.a.test/", "not a valid host name"),
    ("https://a..test/", "not a valid host name"),
    ("https://-a.test/", "not a valid host name"),
    ("https://a$.test/", "not a valid host name"),
    ("https://a,b.test/", "not a valid host name"),
    ("https://*/", "not a valid host name"),
    (f"https://{'a' * 64}.test/", "not a valid host name"),
    (f"https://{'a.' * 130}test/", "not a valid host name"),
    ("https://%31%32%37.0.0.1/", ENCODED),
    ("https://evil.test%2f.a.test/", ENCODED),
    ("https://evil.test%00.a.test/", ENCODED),
    ("https://[fe80::1%25eth0]/", ENCODED),
    ("https://[fe80::1%eth0]/", ENCODED),
    ("https://[::1/", HOST),
    ("https://::1/", HOST),
    ("https://[::1]x/", HOST),
    ("https://[[::1]]/", HOST),
    ("https://[]/", "not an IPv6 address"),
    ("https://[127.0.0.1]/", "not an IPv6 address"),
    ("https://[a.test]/", "not an IPv6 address"),
    ("https://[v1.a]/", "not an IPv6 address"),
    ("https://[::ffff:127.1]/", "not an IPv6 address"),
    # 127.0.0.1 and 169.254.169.254 in other spellings
    ("https://2130706433/", NUMBER),
    ("https://2852039166/", NUMBER),
    ("https://0x7f000001/", NUMBER),
    ("https://0X7F.0.0.1/", NUMBER),
    ("https://0x7f.1/", NUMBER),
    ("https://017700000001/", NUMBER),
    ("https://0177.0.0.1/", NUMBER),
    ("https://127.1/", NUMBER),
    ("https://127.0.1/", NUMBER),
    ("https://127.0.0.01/", NUMBER),
    ("https://127.0.0.0x1/", NUMBER),
    ("https://0/", NUMBER),
    ("https://0x/", NUMBER),
    ("https://256.256.256.256/", NUMBER),
    ("https://1.2.3.4.5/", NUMBER),
    ("https://a.test.1/", NUMBER),
    ("https://169.254.43518/", NUMBER),
    # ports
    ("https://a.test:0/", HOST),
    ("https://a.test:/", HOST),
    ("https://a.test:65536/", HOST),
    ("https://a.test:-1/", HOST),
    ("https://a.test:443x/", HOST),
    ("https://a.test:0x1bb/", HOST),
    ("https://a.test:0443/", HOST),
    ("https://a.test:443:22/", HOST),
]


@pytest.mark.parametrize(("url", "rule"), REFUSED_AS_TEXT)
async def test_a_hostile_url_is_refused_before_a_name_is_resolved(url, rule):
    network, names = Network(), Names()
    with pytest.raises(PermanentError, match=rule) as caught:
        await fetch(url, network, names)
    assert caught.value.code == "image_url_refused"
    assert "password" not in str(caught.value).replace("/etc/passwd", "")
    assert (network.connected, names.asked) == ([], [])


PRIVATE = {
    "the machine itself": "127.0.0.1 127.8.8.8 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [::127.0.0.1]",
    "its network": "10.0.0.1 172.20.0.1 192.168.1.1 100.64.0.1 198.18.0.1 [fc00::1] [fe80::1]",
    "metadata": "169.254.169.254 100.100.100.200 168.63.129.16 [::ffff:a9fe:a9fe] [fd00:ec2::254]",
    "tunnels": "[64:ff9b::7f00:1] [64:ff9b:1::a00:1] [2002:7f00:1::] [2001:0:7f00:1::]",
    "many": "224.0.0.1 255.255.255.255 [ff02::1]",
}


@pytest.mark.parametrize("host", [host for group in PRIVATE.values() for host in group.split()])
async def test_an_address_that_is_not_public_is_refused_before_a_connection_is_made(host):
    network, names = Network(), Names()
    with pytest.raises(PermanentError, match="neither public nor in a trusted network") as caught:
        await fetch(f"https://{host}/latest/meta-data/?token=secret", network, names)
    assert caught.value.code == "image_address_refused"
    assert "secret" not in str(caught.value)
    assert (network.connected, names.asked) == ([], [])


ALONE = ("127.0.0.1", "::1", "169.254.169.254", "fe80::1%2", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1")
IN_COMPANY = (f"{PUBLIC} 10.0.0.1", f"10.0.0.1 {PUBLIC}", f"2606:4700::1 {PUBLIC} fd00::1")


@pytest.mark.parametrize("found", [*ALONE, *IN_COMPANY])
async def test_a_name_is_refused_if_any_of_its_addresses_is_not_public(found):
    network, names = Network(), Names(a_test=[found.split()])
    with pytest.raises(PermanentError) as caught:
        await fetch("https://a.test/x", network, names)
    assert caught.value.code == "image_address_refused"
    assert (network.connected, names.asked) == ([], ["a.test"])


async def test_the_address_that_was_checked_is_the_one_connected_to_and_the_name_stays_for_tls():
    network, names = Network(OK, OK), Names(a_test=[[PUBLIC], ["127.0.0.1"]])
    images = fetcher(network, names)
    assert await images.fetch("https://a.test/x?sig=1", correlation_id=uuid4()) == IMAGE
    assert (network.connected, names.asked) == ([(PUBLIC, 443)], ["a.test"])
    [stream] = network.streams
    assert stream.tls_name == "a.test"
    assert stream.asked.startswith(b"GET /x?sig=1 HTTP/1.1\r\nHost: a.test\r\n")
    with pytest.raises(PermanentError, match=r"127\.0\.0\.1"):  # the name has moved; no connection was kept either
        await images.fetch("https://a.test/x", correlation_id=uuid4())
    assert len(network.connected) == 1


async def test_the_next_address_is_tried_when_one_does_not_answer():
    network = Network(httpcore.ConnectError(), httpcore.ConnectTimeout(), OK)
    names = Names(a_test=[["2606:4700::1", PUBLIC, OTHER_PUBLIC]])
    assert await fetch("https://a.test/x", network, names) == IMAGE
    assert [host for host, _ in network.connected] == ["2606:4700::1", PUBLIC, OTHER_PUBLIC]
    assert names.asked == ["a.test"]


async def test_an_ipv6_literal_is_connected_to_as_it_is():
    network = Network(OK)
    assert await fetch("https://[2606:4700::1]:8443/x", network) == IMAGE
    assert network.connected == [("2606:4700::1", 8443)]
    assert b"Host: [2606:4700::1]:8443\r\n" in network.streams[0].asked


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://127.0.0.1/", "image_address_refused"),
        ("https://[::1]/", "image_address_refused"),
        ("//169.254.169.254/latest/", "image_address_refused"),
        ("https://inside.test/", "image_address_refused"),
        ("http://a.test/", "image_url_refused"),
        ("file:///etc/passwd", "image_url_refused"),
        ("gopher://a.test/", "image_url_refused"),
        ("https://2130706433/", "image_url_refused"),
        ("https://user@a.test/", "image_url_refused"),
        ("https://not-listed.example/", "image_url_refused"),
        ("\\\\127.0.0.1\\", "image_url_refused"),
        ("https://[::1", "image_url_refused"),
        ("/caf\u00e9", "image_url_refused"),
        ("", "image_url_refused"),
    ],
)
async def test_a_redirect_to_a_hostile_place_is_not_followed(location, code):
    network = Network(redirect(location))
    names = Names(a_test=[[PUBLIC]], inside_test=[["10.0.0.1"]])
    allowed = ("*.test", "127.0.0.1", "::1", "169.254.169.254", "2130706433")
    with pytest.raises(PermanentError) as caught:
        await fetch("https://a.test/x?sig=secret", network, names, allow_http=True, allowed_hosts=allowed)
    assert caught.value.code == code
    assert "secret" not in str(caught.value)
    assert network.connected == [(PUBLIC, 443)]


async def test_a_redirect_is_resolved_and_checked_anew_even_to_the_same_name():
    network, names = Network(redirect("/y")), Names(a_test=[[PUBLIC], ["10.0.0.1"]])
    with pytest.raises(PermanentError, match=r"10\.0\.0\.1"):
        await fetch("https://a.test/x", network, names)
    assert names.asked == ["a.test", "a.test"]
    assert network.connected == [(PUBLIC, 443)]


async def test_cookies_and_the_first_hosts_query_do_not_travel_along_a_redirect():
    answer = redirect("https://b.test/y").replace(b"\r\n", b"\r\nSet-Cookie: session=1\r\n", 1)
    network, names = Network(answer, OK), Names(a_test=[[PUBLIC]], b_test=[[OTHER_PUBLIC]])
    assert await fetch("https://a.test/x?sig=secret", network, names) == IMAGE
    second = network.streams[1].asked.lower()
    assert b"\r\nhost: b.test\r\n" in second
    assert not any(word in second for word in (b"cookie", b"referer", b"authorization", b"secret"))


async def test_a_stranger_is_told_no_more_than_needed():
    network = Network(OK)
    correlation_id = uuid4()
    await fetcher(network, Names(a_test=[[PUBLIC]])).fetch("https://a.test/x", correlation_id=correlation_id)
    asked = network.streams[0].asked
    sent = {line.partition(b":")[0].lower() for line in asked.split(b"\r\n")[1:] if line}
    assert sent == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    assert b"User-Agent: aigen-bridge\r\n" in asked
    assert b"Accept-Encoding: identity\r\n" in asked
    assert str(correlation_id).encode() not in asked


async def test_only_the_named_private_networks_are_let_through():
    names = Names(minio=[["10.1.2.3"]], other=[["10.2.0.1"]], both=[["10.1.2.3", "10.2.0.1"]])
    network, trusted = Network(OK), (ip_network("10.1.0.0/16"),)
    assert await fetch("http://minio:9000/x", network, names, allow_http=True, trusted_networks=trusted) == IMAGE
    for host in ("other", "both", "127.0.0.1"):
        with pytest.raises(PermanentError, match="neither public nor"):
            await fetch(f"https://{host}/x", network, names, trusted_networks=trusted)
    assert network.connected == [("10.1.2.3", 9000)]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"],  # noqa: S104
)
async def test_a_real_port_of_this_machine_stays_silent(host):
    callers = 0

    def count(_reader, writer):
        nonlocal callers
        callers += 1
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        images = ImageFetcher(
            timeout=5, max_bytes=1000, allow_http=True, resolver=Names(localhost=[["::1", "127.0.0.1"]])
        )
        with pytest.raises(PermanentError):
            await images.fetch(f"http://{host}:{port}/", correlation_id=uuid4())
        _, writer = await asyncio.open_connection("127.0.0.1", port)  # the server does notice callers
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while callers == 0:
                await asyncio.sleep(0.01)
    assert callers == 1


@pytest.mark.parametrize(
    ("found", "code", "tries"),
    [
        ([], "dns_name_unknown", 3),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns_name_unknown", 3),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "dns", None),
        (OSError("too many open files"), "dns", None),
    ],
)
async def test_a_name_that_cannot_be_resolved_is_tried_again_and_an_unknown_one_not_for_long(found, code, tries):
    async def resolver(_host, _port):
        if isinstance(found, Exception):
            raise found
        return found

    network = Network()
    images = ImageFetcher(timeout=5, max_bytes=1000, resolver=resolver, network=network)
    with pytest.raises(TransientError, match=r"a\.test") as caught:
        await images.fetch("https://a.test/x?sig=secret", correlation_id=uuid4())
    assert (caught.value.code, caught.value.tries) == (code, tries)
    assert "secret" not in str(caught.value)
    assert network.connected == []
