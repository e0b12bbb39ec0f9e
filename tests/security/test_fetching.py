"""Fetching over real sockets on loopback: what comes back is late, endless, packed, cut, or somebody else's."""

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from ipaddress import ip_network
from uuid import uuid4

import httpx
import pytest
import trustme

from aigen_bridge.clients.images import ImageFetcher
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.serving import serving

LOOPBACK = (ip_network("127.0.0.0/8"),)
MAX_BYTES = 100_000
PNG = b"\x89PNG of a kind"
TRUE_PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def fetcher(**more) -> ImageFetcher:
    given = {"timeout": 5, "max_bytes": MAX_BYTES, "allow_http": True, "trusted_networks": LOOPBACK}
    return ImageFetcher(**given | more)


async def fetch(url: str, **more) -> bytes:
    return await fetcher(**more).fetch(url, correlation_id=uuid4())


async def refused(url: str, **more) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        await fetch(f"{url}?sig=secret", **more)
    assert "secret" not in str(caught.value)
    return caught.value


async def failed(url: str, **more) -> TransientError:
    with pytest.raises(TransientError) as caught:
        await fetch(f"{url}?sig=secret", **more)
    assert "secret" not in str(caught.value)
    return caught.value


@asynccontextmanager
async def host(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server of one's own: reads the request's head, then the script speaks; at the end all callers have gone."""
    gone = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone.append(asyncio.Event())
        number = len(gone) - 1
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await script(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        gone[number].set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/image"
        async with asyncio.timeout(5):  # the fetcher has hung up, whatever happened
            for caller in gone:
                await caller.wait()


def saying(answer: bytes) -> Script:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return script


def answer(body: bytes = PNG, status: str = "200 OK", **headers: str) -> bytes:
    given = {"Content-Type": "image/png", "Content-Length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


async def test_the_simulators_temporary_url_is_fetched_until_it_expires():
    now = 1_700_000_000.0
    flux = FluxSimulator(FluxSettings(key="k", seconds=0, url_lifetime=360), clock=lambda: now)
    order = {"prompt": "A lighthouse", "image_size": {"width": 48, "height": 32}, "output_format": "png"}
    async with serving(flux.app) as base, httpx.AsyncClient(verify=False, trust_env=False) as client:
        made = await client.post(f"{base}/fal-ai/flux-lora", json=order, headers={"Authorization": "Key k"})
        [image] = made.json()["images"]
        content = await fetch(image["url"])
        assert content.startswith(b"\x89PNG\r\n")
        assert len(content) == image["file_size"]
        now += 361
        error = await failed(image["url"])
        assert (error.code, error.http_status) == ("http_404", 404)
        assert "The URL has expired or is wrong." in error.detail


async def test_a_cut_connection_of_the_simulator_is_worth_another_try():
    flux = FluxSimulator(FluxSettings(key="k"))
    flux.faults.add(Fault(route="image", kind=FaultKind.DROP))
    async with serving(flux.app) as base:
        assert (await failed(f"{base}/files/x.png")).code == "connection"


DECLARED = [
    "image/png",
    "IMAGE/WEBP",
    "image/png; charset=x",
    "image/jpg",
    "image/x-png",
    "image/pjpeg",
    "image/gif",
    "image/svg+xml",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
    "application/pdf",
    "image/png, text/html",
    "none",
    ";",
    "x" * 5000,
    "",
]


@pytest.mark.parametrize("media_type", DECLARED)
async def test_the_bytes_decide_and_not_their_media_type(media_type):
    async with host(saying(answer(Content_Type=media_type))) as url:
        assert await fetch(url) == PNG


@pytest.mark.parametrize("image", [TRUE_PNG, b"\xff\xd8\xff\xe0" + bytes(20), b"RIFF\x20\0\0\0WEBPVP8 " + bytes(16)])
@pytest.mark.parametrize(
    "media_type", ["text/plain", "text/html; charset=utf-8", "application/json", "application/xml"]
)
async def test_an_image_that_is_called_a_text_is_taken(media_type, image):
    async with host(saying(answer(image, Content_Type=media_type))) as url:
        assert await fetch(url) == image


PAGES = [
    ("text/html", b"<!doctype html><title>secret</title>", "an HTML page"),
    ("image/png", b"\n<html><body>secret: sign in</body></html>", "an HTML page"),
    ("application/octet-stream", b'{"detail": "secret"}', "JSON"),
    ("application/json; charset=utf-8", b'["secret"]', "JSON"),
    ("", b"<?xml version='1.0'?><Error>secret</Error>", "an XML document"),
    ("binary/octet-stream", b"secret, not found", "text"),
    ("text/plain", bytes(40), "of an unknown kind"),
]


@pytest.mark.parametrize(("media_type", "body", "what"), PAGES)
async def test_a_text_in_the_images_place_is_named_and_may_pass_within_a_few_tries(media_type, body, what):
    async with host(saying(answer(body, Content_Type=media_type))) as url:
        error = await failed(url)
    assert (error.code, error.tries) == ("image_media_type", 6)
    assert f"is {what}" in error.detail
    assert repr(media_type.partition(";")[0]) in error.detail


async def test_an_empty_answer_may_pass_within_a_few_tries():
    async with host(saying(answer(b""))) as url:
        error = await failed(url)
    assert (error.code, error.tries) == ("image_empty", 6)


BOMB = gzip.compress(bytes(20_000_000))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "gzip, br"])
async def test_a_packed_answer_is_refused_so_that_no_bomb_unpacks(encoding):
    async with host(saying(answer(BOMB, Content_Encoding=encoding))) as url:
        started = time.perf_counter()
        assert (await refused(url)).code == "image_encoding"
        assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "encoding", ["aws-chunked", "utf-8", "UTF-8", "base64", "none", "identity", "binary", "aws-chunked,identity", " "]
)
async def test_an_encoding_that_is_no_compression_changes_nothing(encoding):
    async with host(saying(answer(Content_Encoding=encoding))) as url:
        assert await fetch(url) == PNG


@pytest.mark.parametrize("encoding", ["gzip", "br", "aws-chunked, gzip"])
async def test_an_image_that_is_only_called_compressed_is_taken(encoding):
    async with host(saying(answer(TRUE_PNG, Content_Encoding=encoding))) as url:
        assert await fetch(url) == TRUE_PNG


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("aws-chunked, GZIP", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_image_is_unpacked(encoding, pack):
    async with host(saying(answer(pack(TRUE_PNG), Content_Encoding=encoding))) as url:
        assert await fetch(url) == TRUE_PNG
    async with host(saying(answer(pack(TRUE_PNG)[:-3], Content_Encoding=encoding))) as url:
        assert (await failed(url)).code == "image_cut_off"


async def test_an_announced_size_above_the_limit_is_refused_without_reading():
    async def script(reader, writer):
        writer.write(answer(b"", Content_Length=str(MAX_BYTES + 1)))
        assert await reader.read() == b""  # hangs up, though not a byte has come

    async with host(script) as url:
        assert (await refused(url)).code == "image_too_large"


async def test_exactly_the_limit_is_not_too_large():
    async with host(saying(answer(bytes(MAX_BYTES)))) as url:
        assert len(await fetch(url)) == MAX_BYTES


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_endless_body_is_read_to_the_limit_and_no_further(chunked):
    sent = 0

    async def script(_reader, writer):
        nonlocal sent
        writer.write(answer(b"", Content_Length="", Transfer_Encoding="chunked" if chunked else ""))
        while not writer.is_closing():
            writer.write(b"3e8\r\n%s\r\n" % bytes(1000) if chunked else bytes(1000))
            await writer.drain()
            sent += 1000

    async with host(script) as url:
        assert (await refused(url)).code == "image_too_large"
    assert sent < 20_000_000  # what fits into the buffers of two sockets


async def test_more_than_was_announced_is_not_read():
    async with host(saying(answer(PNG + bytes(50_000), Content_Length=str(len(PNG))))) as url:
        assert await fetch(url) == PNG


@pytest.mark.parametrize(
    "said",
    [answer(PNG, Content_Length="1000"), answer(b"5\r\nabcde\r\n", Content_Length="", Transfer_Encoding="chunked")],
    ids=["length", "chunks"],
)
async def test_a_body_that_breaks_off_is_worth_another_try(said):
    async with host(saying(said)) as url:
        error = await failed(url)
    assert error.code == "connection"


NO_HTTP = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6 ?sig=secret\r\n",
    "a wrong status": b"HTTP/1.1 2OO secret\r\n\r\n",
    "zeros": bytes(5000),
    "a negative length": answer(Content_Length="-1"),
    "two lengths": answer(Content_Length="1, 2"),
    "an unknown framing": answer(Transfer_Encoding="gzip"),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-Long: secret\r\n" * 20_000,
    "an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
}


@pytest.mark.parametrize("said", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_is_a_failed_connection_and_not_quoted(said):
    async with host(saying(said)) as url:
        error = await failed(url)
    assert error.code == "connection"
    assert len(error.detail) < 300


@pytest.mark.parametrize("slow", ["head", "body", "silence", "hints"])
async def test_who_drips_is_cut_off_at_the_deadline(slow):
    async def script(reader, writer):
        start, drop = {
            "head": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
            "body": (answer(b"", Content_Length="1000"), b"x"),
            "silence": (b"", b""),
            "hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        }[slow]
        writer.write(start)
        while not (writer.is_closing() or reader.at_eof()):
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with host(script) as url:
        started = time.perf_counter()
        error = await failed(url, timeout=0.3)
        assert time.perf_counter() - started < 2
    assert error.code == "timeout"


async def test_a_slow_resolver_is_cut_off_at_the_deadline():
    async def resolver(_host, _port):
        await asyncio.Event().wait()

    assert (await failed("https://a.test/x", timeout=0.1, resolver=resolver)).code == "timeout"


async def test_a_handshake_that_never_ends_is_cut_off_and_leaves_no_socket_open():
    began, hung_up = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # of the ClientHello
        began.release()
        with suppress(OSError):
            await reader.read()
        writer.close()
        hung_up.release()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server, asyncio.timeout(5):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        assert (await failed(url, timeout=0.3)).code == "timeout"
        await hung_up.acquire()
        await began.acquire()
        fetching = asyncio.create_task(fetch(url, timeout=60))  # as when a worker stops
        await began.acquire()
        fetching.cancel()
        await asyncio.wait([fetching])
        await hung_up.acquire()


@pytest.mark.parametrize("status", [403, 404])
async def test_an_object_that_is_not_visible_yet_may_appear_within_a_few_tries(status):
    """Object stores answer with 403, too, to whoever may not list their objects."""
    async with host(saying(answer(b"", status=f"{status} secret"))) as url:
        error = await failed(url)
    assert (error.code, error.http_status, error.tries) == (f"http_{status}", status, 6)
    assert "The URL has expired or is wrong." in error.detail


async def test_a_partial_answer_is_taken_only_if_it_is_whole():
    whole = answer(status="206 Partial Content", Content_Range=f"bytes 0-{len(PNG) - 1}/{len(PNG)}")
    async with host(saying(whole)) as url:
        assert await fetch(url) == PNG
    for sent in (f"bytes 0-{len(PNG) - 1}/900", f"bytes 5-{len(PNG) - 1}/{len(PNG)}", f"bytes 0-{len(PNG) - 1}/*", ""):
        async with host(saying(answer(status="206 Partial Content", Content_Range=sent))) as url:
            error = await failed(url)
        assert (error.code, error.tries) == ("http_206", 6)


@pytest.mark.parametrize("status", ["401", "410", "400", "418", "451", "204", "304", "300"])
async def test_an_answer_that_will_not_change_is_permanent(status):
    async with host(saying(answer(b"", status=f"{status} secret"))) as url:
        error = await refused(url)
    assert (error.code, error.http_status) == (f"http_{status}", int(status))


@pytest.mark.parametrize("status", ["408", "425", "429", "500", "502", "503", "504", "599"])
async def test_an_answer_that_may_change_is_transient_and_its_retry_after_is_kept(status):
    async with host(saying(answer(b"secret", status=f"{status} secret", Retry_After="7"))) as url:
        error = await failed(url)
    assert (error.code, error.http_status) == (f"http_{status}", int(status))
    assert error.retry_after == timedelta(seconds=7)


async def test_nobody_listening_is_a_failed_connection():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/x"
    assert (await failed(url)).code == "connection"


def redirecting(times: int) -> Script:
    """Redirects to itself, a body always on its way, then gives the image."""
    calls = 0

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        moved = answer(b"", status="302 Found", Location=f"/{calls}?sig=secret", Content_Length="1000000")
        writer.write(moved if calls <= times else answer())
        await writer.drain()

    return script


async def test_three_redirects_are_followed_and_their_bodies_left_unread():
    async with host(redirecting(3)) as url:
        assert await fetch(url) == PNG


async def test_a_redirect_loop_ends():
    async with host(redirecting(1000)) as url:
        assert (await refused(url)).code == "image_redirects"


async def test_a_redirect_out_of_the_trusted_network_is_refused():
    moved = answer(b"", status="302 Found", Location="http://169.254.169.254/latest/meta-data/")
    async with host(saying(moved)) as url:
        assert (await refused(url)).code == "image_address_refused"


async def test_proxies_in_the_environment_are_not_asked(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)  # noqa: FBT003 - the socket's own interface
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.getsockname()[1]}")
        async with host(saying(answer())) as url:
            assert await fetch(url) == PNG
        with pytest.raises(BlockingIOError):
            proxy.accept()


async def test_no_name_is_resolved_once_the_address_is_known(monkeypatch):
    def resolve_again(*_args, **_kwargs):
        raise AssertionError("a second resolution")

    async def resolver(_host, _port):
        return ["127.0.0.1"]

    async with host(saying(answer())) as url:
        images = fetcher(resolver=resolver)
        monkeypatch.setattr(socket, "getaddrinfo", resolve_again)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve_again)
        assert await images.fetch(url.replace("127.0.0.1", "a.test"), correlation_id=uuid4()) == PNG


async def test_the_systems_resolver_is_the_default():
    async with host(saying(answer())) as url:
        local = url.replace("127.0.0.1", "localhost")
        assert await fetch(local, trusted_networks=(*LOOPBACK, ip_network("::1/128"))) == PNG


@pytest.fixture
def authority(monkeypatch, tmp_path) -> trustme.CA:
    """A certificate authority that SSL_CERT_FILE trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


async def fetch_over_tls(ca: trustme.CA, certified: str, *, name: str = "images.test") -> bytes:
    async def resolver(_host, _port):
        return ["127.0.0.1"]

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(certified).configure_cert(tls)
    async with host(saying(answer()), tls) as url:
        return await fetch(url.replace("127.0.0.1", name), allow_http=False, resolver=resolver)


async def test_a_certificate_for_the_name_is_accepted_though_the_address_is_connected_to(authority):
    assert await fetch_over_tls(authority, "images.test") == PNG


@pytest.mark.parametrize("certified", ["other.test", "127.0.0.1"])
async def test_a_certificate_for_anybody_else_is_refused(authority, certified):
    with pytest.raises(TransientError, match="certificate"):
        await fetch_over_tls(authority, certified)


async def test_a_certificate_of_an_unknown_authority_is_refused(authority):
    with pytest.raises(TransientError, match="certificate"):
        await fetch_over_tls(trustme.CA(), "images.test")
