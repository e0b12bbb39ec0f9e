"""Images in a real S3 server, and what becomes of them when it does not do what it should."""

import asyncio
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trustme
from pydantic import SecretStr

from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_place import Credentials
from aigen_bridge.domain.errors import ImageDamagedError, ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store import images
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import ObjectImages
from aigen_bridge.worker import lanes
from image_stores import Folder
from outages import rows
from raw_server import answering, http
from s3_server import BUCKET, KEY, KEY_ID, S3Server, objects, serving
from stage import Stage, staged, working

REF = ImageRef(UUID("00000000-0000-4000-8000-0000000000ab"), "cd" * 32)
MEGABYTE = 2**20
PAGE = b"<!DOCTYPE html><title>Please sign in</title>"
PAGE_HEADERS = 'Content-Type: text/html\r\nETag: "6a3f-62"\r\nLast-Modified: Sat, 28 Nov 2026 10:00:00 GMT\r\n'
IN_POSTGRESQL = "SELECT count(*) FROM images"
PROCESSES = 6
"""By hand, 60 workers were ended while they moved images. All ended cleanly."""


def refusal(code: str) -> bytes:
    """S3's answer to a call that it refuses."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
    return http("403 Forbidden", body.encode(), "Content-Type: application/xml\r\n")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(lanes, "IMAGE_STORE_PAUSE", timedelta(seconds=0.2))
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    """A server with an empty bucket."""
    with serving(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def store(s3: S3Server, database: Database) -> ObjectImages:
    """The image store with this server."""
    return s3.images(database)


@pytest.fixture
def ref(png: bytes) -> ImageRef:
    """The reference of an image."""
    return ImageRef(uuid4(), hashlib.sha256(png).hexdigest())


@pytest.fixture
async def stage_with_s3(s3: S3Server, database_url: str) -> AsyncIterator[Stage]:
    """API and simulators without a worker; images are kept in S3."""
    async with staged(database_url, **s3.settings) as stage:
        yield stage


async def reason(call: Coroutine[Any, Any, object]) -> str:
    """Why the store is away, as this call says."""
    with pytest.raises(ImageStoreAwayError) as caught:
        await call
    return caught.value.reason


CALLS: tuple[Callable[[ObjectStore], Coroutine[Any, Any, object]], ...] = (
    lambda store: store.put(REF.key, b"image"),
    lambda store: store.delete([REF.key]),
    lambda store: store.get(REF.key),
    lambda store: store.names("ab"),
)


# What it is for.


async def test_an_object_is_put_read_listed_and_deleted(s3: S3Server) -> None:
    store = s3.objects()
    await store.put(REF.key, b"image")
    found = await store.get(REF.key), await store.names("ab"), await store.names("ac")
    await store.delete([REF.key, "ab/missing"])

    assert found == (b"image", [REF.key], [])
    assert (await store.get(REF.key), await store.names("ab")) == (None, [])


async def test_a_listing_of_many_pages_is_complete(s3: S3Server) -> None:
    wanted = {f"ab/{number}" for number in range(2500)}
    (s3.path / "ab").mkdir(parents=True)
    for key in wanted:
        (s3.path / key).touch()
    s3.look_again()

    assert set(await s3.objects().names("ab")) == wanted


async def test_an_image_goes_from_the_callback_to_odoo(stage_with_s3: Stage, s3: S3Server, database: Database) -> None:
    asked = await stage_with_s3.ask()
    async with working(stage_with_s3.settings):
        ended = await stage_with_s3.until_delivered(asked["requestId"])
    delivered = stage_with_s3.chain.odoo.records.image(asked["requestId"])

    assert delivered is not None
    assert hashlib.sha256(delivered).hexdigest() == ended["image"]["sha256"]
    assert s3.keys() == {ImageRef(UUID(asked["requestId"]), ended["image"]["sha256"]).key}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


# The server is away.


@pytest.mark.parametrize("away", [S3Server.away, S3Server.paused])
async def test_while_the_server_is_killed_or_paused_images_go_to_postgresql(
    store: ObjectImages,
    s3: S3Server,
    ref: ImageRef,
    png: bytes,
    away: Callable[[S3Server], AbstractContextManager[None]],
) -> None:
    await store.place(ref, png)
    with away(s3):
        async with asyncio.timeout(5):
            left = await store.place(ref, png)
            why = await reason(store.get(ref))
    await asyncio.sleep(0.1)

    assert left == png
    assert why
    assert (await store.get(ref), await store.place(ref, png)) == (png, None)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_server_that_stops_in_the_middle_of_an_image_is_away(s3: S3Server, number: signal.Signals) -> None:
    store, large = s3.objects(), b"x" * (64 * MEGABYTE)
    await s3.objects(timeout=timedelta(seconds=30)).put("ab/large", large)
    strike = threading.Timer(0.02, s3.send, [number])
    strike.start()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(store.put("ab/other", large), store.get("ab/large"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [ImageStoreAwayError, ImageStoreAwayError]
    s3.send(signal.SIGCONT)


async def test_a_put_that_was_answered_survives_the_kill_of_the_server(s3: S3Server) -> None:
    store = s3.objects()
    await store.put(REF.key, b"image")
    with s3.away():
        pass

    assert await store.get(REF.key) == b"image"


async def test_a_callback_while_the_server_hangs_is_taken_and_delivered(
    stage_with_s3: Stage, s3: S3Server, database: Database
) -> None:
    async with working(stage_with_s3.settings):
        with s3.paused():
            asked = await stage_with_s3.ask()
            ended = await stage_with_s3.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert await rows(database, IN_POSTGRESQL) == [(1,)]


async def test_a_short_process_ends_cleanly_every_time(s3: S3Server) -> None:
    """Obstore's coroutines aborted the process at its end, in 2 of 60 runs after puts, in 29 after listings."""
    script = f"""
import asyncio
from datetime import timedelta
from pydantic import SecretStr
from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_place import Credentials, Place

async def main() -> None:
    key = Credentials(SecretStr("{KEY_ID}"), SecretStr("{KEY}"))
    store = ObjectStore(Place("s3://{BUCKET}", "{s3.endpoint}", None, timedelta(seconds=30)), key)
    await asyncio.gather(*(store.put(f"ab/{{number}}", b"image") for number in range(20)))
    assert len(await store.names("ab")) == 20, "a listing is wrong"
    asyncio.get_running_loop().create_task(store.get("ab/1"))
    await asyncio.sleep(0)
    store.close()

asyncio.run(main())
"""
    done = [await asyncio.to_thread(_run, sys.executable, "-c", script) for _ in range(PROCESSES)]

    assert [(each.returncode, each.stderr) for each in done] == [(0, b"")] * PROCESSES


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


# The server refuses.


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"key": "another-key-than-its-own"}, "SignatureDoesNotMatch"),
        ({"key_id": "AKIAANOTHERKEY123456"}, "InvalidAccessKeyId"),
        ({"bucket": "another"}, "NoSuchBucket"),
    ],
)
async def test_a_wrong_key_or_bucket_is_told_by_its_code(s3: S3Server, wrong: dict[str, str], code: str) -> None:
    store = s3.objects(**wrong)
    for call in CALLS:
        assert code in await reason(call(store))


async def test_a_renewed_key_is_used_from_the_next_call_on(s3: S3Server) -> None:
    store = s3.objects(key="old")
    await reason(store.put(REF.key, b"image"))
    store.renew(Credentials(SecretStr(KEY_ID), SecretStr(KEY)))

    await store.put(REF.key, b"image")


async def test_renewing_under_load_disturbs_no_call(s3: S3Server) -> None:
    store = s3.objects(timeout=timedelta(seconds=10))

    async def renew() -> None:
        for _ in range(50):
            store.renew(Credentials(SecretStr(KEY_ID), SecretStr(KEY)))
            await asyncio.sleep(0.002)

    await asyncio.gather(renew(), *(store.put(f"ab/{number}", b"image") for number in range(100)))


async def test_skewed_clocks_are_told() -> None:
    async with answering(refusal("RequestTimeTooSkewed")) as (url, _):
        for call in CALLS:
            assert "RequestTimeTooSkewed" in await reason(call(objects(url)))


async def test_when_the_server_says_that_an_object_was_stored_does_not_matter(s3: S3Server) -> None:
    store = s3.objects()
    await store.put(REF.key, b"image")
    for seconds in (0, 4_000_000_000):
        os.utime(s3.path / REF.key, (seconds, seconds))
        s3.look_again()

        assert (await store.get(REF.key), await store.names("ab")) == (b"image", [REF.key])


@pytest.mark.parametrize("hiccup", [http("503 Slow Down"), http("500 Internal Server Error"), b""])
async def test_a_hiccup_is_not_yet_an_absence(hiccup: bytes) -> None:
    """As at Amazon's, which answers 503 to a burst, or closes an idle connection at the moment of the next call."""
    there = 'ETag: "1"\r\nLast-Modified: Sat, 28 Nov 2026 10:00:00 GMT\r\n'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{there}\r\n".encode()
    async with answering(hiccup, http("200 OK", headers=there), hiccup, head) as (url, heard):
        await objects(url).put(REF.key, b"image")

    assert [call.split()[0] for call in heard] == [b"PUT", b"PUT", b"HEAD", b"HEAD"]


# The server answers wrongly.


@pytest.mark.parametrize("headers", [PAGE_HEADERS, "Content-Type: text/html\r\n"])
async def test_a_sign_in_page_is_not_taken_for_a_store(
    database: Database, s3: S3Server, ref: ImageRef, png: bytes, headers: str
) -> None:
    """As from a proxy that answers everything with 200, also from the middle on."""
    store = s3.images(database)
    await store.place(ref, png)
    async with answering(http("200 OK", PAGE, headers)) as (url, _):
        fooled = ObjectImages(database, objects(url))
        fooled._look_at, fooled._token = store._look_at, store._token

        assert await fooled.place(ref, png) == png
        await asyncio.sleep(0.1)
        assert await reason(fooled.get(ref))


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_a_redirect_stores_nothing_and_tells_no_key(status: str) -> None:
    async with (
        answering(http("200 OK", PAGE, PAGE_HEADERS)) as (page, heard),
        answering(http(status, headers=f"Location: {page}/login\r\n")) as (url, _),
    ):
        for call in CALLS[:2]:
            assert await reason(call(objects(url)))
        await asyncio.gather(*(call(objects(url)) for call in CALLS[2:]), return_exceptions=True)

    assert b"Credential=" not in b"".join(heard)
    assert KEY.encode() not in b"".join(heard)


@pytest.mark.parametrize("change", [lambda content: content[:-1] + b"?", lambda content: content[:100], lambda _: b""])
async def test_a_changed_or_truncated_object_is_damaged_and_the_store_is_not_away(
    store: ObjectImages, s3: S3Server, ref: ImageRef, png: bytes, change: Callable[[bytes], bytes]
) -> None:
    other = ImageRef(uuid4(), ref.sha256)
    for each in (ref, other):
        await store.place(each, png)
    s3.file(ref).write_bytes(change(png))
    s3.look_again()

    with pytest.raises(ImageDamagedError):
        await store.get(ref)
    assert await store.get(other) == png


async def test_an_object_larger_than_any_image_is_not_read(s3: S3Server) -> None:
    store = s3.objects(size_max=1000)
    for size in (1000, 1001):
        await store.put(f"ab/{size}", b"x" * size)

    assert await store.get("ab/1000") == b"x" * 1000
    assert await store.get("ab/1001") == b""


# The disk is full.


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts a file system of one megabyte there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder.mkdir()
    if _run("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        assert _run("umount", str(folder)).returncode == 0


async def test_a_full_server_is_away_for_what_it_cannot_take(database: Database, tmp_path: Path, png: bytes) -> None:
    with small_disk(tmp_path / "s3"), serving(tmp_path / "s3") as server:
        await _fill(server.images(database), png)


async def test_a_full_folder_is_away_for_what_it_cannot_take(database: Database, tmp_path: Path, png: bytes) -> None:
    with small_disk(tmp_path / "disk"):
        await _fill(Folder(tmp_path / "disk" / "images").images(database), png)


async def _fill(store: ObjectImages, png: bytes) -> None:
    small, large = png, os.urandom(2 * MEGABYTE)
    refs = [ImageRef(uuid4(), hashlib.sha256(content).hexdigest()) for content in (small, large)]
    left = [await store.place(ref, content) for ref, content in zip(refs, (small, large), strict=True)]
    await asyncio.sleep(0.1)

    assert left == [None, large]
    assert await store.get(refs[0]) == small
    assert await store.place(ImageRef(uuid4(), refs[0].sha256), small) is None  # there is room for a small one


# How it is called.


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[S3Server, Path]]:
    """A server with a certificate of an authority of its own, and the file with the certificate of that authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    options = ["--cert", str(tmp_path / "certificate.pem"), "--key", str(tmp_path / "key.pem")]
    with serving(tmp_path / "s3", tls=options) as server:
        yield server, tmp_path / "authority.pem"


async def test_an_authority_of_ssl_cert_file_is_trusted_also_if_it_comes_later(
    tls: tuple[S3Server, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = tls
    store = server.objects()
    refused = await reason(store.put(REF.key, b"image"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    store.renew(Credentials(SecretStr(KEY_ID), SecretStr(KEY)))
    await store.put(REF.key, b"image")

    assert "UnknownIssuer" in refused


async def test_a_proxy_is_used_except_for_this_machine(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(http("502 Bad Gateway")) as (proxy, heard):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        await s3.objects().put(REF.key, b"image")
        directly = list(heard)
        await reason(objects("http://s3.example").put(REF.key, b"image"))
        monkeypatch.setenv("NO_PROXY", "s3.example")
        calls = len(heard)
        await reason(objects("http://s3.example").put(REF.key, b"image"))

    assert directly == []
    assert heard[0].startswith(f"PUT http://s3.example/{BUCKET}/".encode())
    assert len(heard) == calls


async def test_no_error_and_no_name_shows_the_key(s3: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stores = [s3.objects(bucket="another"), s3.objects(key_id="AKIAANOTHERKEY123456"), objects("http://127.0.0.1:9")]
    shown = [repr(vars(store)) for store in stores]
    for store in stores:
        for call in CALLS:
            try:
                await call(store)
            except ImageStoreAwayError as error:
                shown += [repr(error), str(error), error.reason, str(error.__cause__), repr(error.__cause__)]

    assert len(shown) > len(stores)
    assert KEY not in "".join(shown) + caplog.text
    assert "Credential=" not in "".join(shown) + caplog.text
