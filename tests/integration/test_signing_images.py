"""Images are signed and validated in processes of their own, with limits. They call nobody but a timestamp service."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import c2pa
import pytest

from aigen_bridge.clients import credentials
from aigen_bridge.clients.credentials import Credentials, SigningError, is_valid, sign, validate
from aigen_bridge.clients.marking import Marker
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.provenance import MarkingMode, Origin
from image_files import FLAVOURS, carrying
from signing import (
    AUTHORITY,
    GOOD,
    GOOD_WITH_CHAIN,
    ISSUER_KEY,
    NOW,
    Pair,
    Reply,
    issued,
    openssl_replies,
    silent_service,
    timestamp_service,
)

ORIGIN = Origin(generated_at=datetime(2026, 8, 1, tzinfo=UTC), model="FLUX 1.1 [pro]")
SMALL = dict(reversed(FLAVOURS.values()))
CREDENTIALS = Credentials(certificate=GOOD.certificate.decode(), key=GOOD.key.decode(), algorithm="es256")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


class Signer:
    """A marker whose certificate and key are files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.use(GOOD_WITH_CHAIN)

    def use(self, pair: Pair) -> None:
        self.certificate.write_bytes(pair.certificate)
        self.key.write_bytes(pair.key)

    async def sign(self, content: bytes, image_format: str = "png", timestamp_url: str | None = None) -> bytes:
        marker = Marker(
            mode=MarkingMode.C2PA,
            certificate=self.certificate,
            key=self.key,
            timestamp_url=timestamp_url,
            timeout=timedelta(seconds=0.5),
        )
        try:
            signed, mode = await marker.mark(content, image_format, ORIGIN) or (b"", None)
        finally:
            marker.close()
        assert mode is MarkingMode.C2PA
        return signed


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
async def test_an_image_is_signed_and_valid(signer: Signer, image_format: str) -> None:
    signed = await signer.sign(SMALL[image_format], image_format)
    assert is_valid(signed, image_format)
    assert is_valid(SMALL[image_format], image_format) is None


async def test_a_renewed_certificate_is_used_without_a_restart(signer: Signer) -> None:
    marker = Marker(
        mode=MarkingMode.C2PA,
        certificate=signer.certificate,
        key=signer.key,
        timestamp_url=None,
        timeout=timedelta(seconds=5),
    )
    signers = []
    for name in ("Before", "After"):
        signer.use(issued(subject=name))
        content, _ = await marker.mark(SMALL["png"], "png", ORIGIN) or (b"", None)
        validation = validate(content, "png")
        assert validation is not None
        signers.append(validation.chain[0].signer)
    marker.close()
    assert signers == ["Before, Example", "After, Example"]


WRONG = {
    "expired": (issued(days=(-9, -1)), "expired"),
    "the key of another": (Pair(GOOD.certificate, issued().key), "another certificate"),
    "not for signing": (issued(usages=[]), "extended key usage"),
    "self-signed": (issued(ISSUER_KEY, issuer="Marketing"), "self-signed"),
    "no certificate": (Pair(b"", GOOD.key), "cannot be read"),
    "no key": (Pair(GOOD.certificate, b""), "BEGIN PRIVATE KEY"),
}


@pytest.mark.parametrize(("pair", "said"), WRONG.values(), ids=WRONG)
async def test_a_wrong_certificate_stops_all_images_and_says_why(signer: Signer, pair: Pair, said: str) -> None:
    signer.use(pair)
    with pytest.raises(TransientError, match=said) as raised:
        await signer.sign(SMALL["png"])
    assert raised.value.code == "marking_certificate"
    assert raised.value.away
    assert GOOD.key.decode().splitlines()[1] not in str(raised.value)


async def test_a_missing_file_stops_all_images_and_is_named(signer: Signer) -> None:
    signer.key.unlink()
    with pytest.raises(TransientError, match=f"{signer.key} cannot be read: No such file") as raised:
        await signer.sign(SMALL["png"])
    assert raised.value.away


async def test_an_image_that_cannot_be_signed_stops_no_other(signer: Signer) -> None:
    with pytest.raises(PermanentError, match="cannot sign the image") as raised:
        await signer.sign(carrying("png", SMALL["png"], {"manifest": b"nonsense"}))
    assert raised.value.code == "cannot_mark"


async def test_without_the_library_the_extra_is_named(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigen_bridge.clients.marking.is_available", lambda: False)
    with pytest.raises(TransientError, match="Install the extra 'marking'") as raised:
        await signer.sign(SMALL["png"])
    assert raised.value.away


@needs_openssl
async def test_a_timestamp_is_added(signer: Signer, tmp_path: Path) -> None:
    with timestamp_service(openssl_replies(tmp_path)) as url:
        signed = await signer.sign(SMALL["png"], timestamp_url=url)
    assert is_valid(signed, "png")
    manifest = c2pa.Reader("image/png", BytesIO(signed)).get_active_manifest()
    assert manifest is not None
    since = datetime.now(UTC) - datetime.fromisoformat(manifest["signature_info"]["time"])
    assert timedelta(0) <= since < timedelta(minutes=1)


@needs_openssl
async def test_with_a_timestamp_an_image_stays_valid_when_its_certificate_expires(
    signer: Signer, tmp_path: Path
) -> None:
    expires_at = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    signer.use(issued(days=(-1, (expires_at - NOW) / timedelta(days=1))))
    with timestamp_service(openssl_replies(tmp_path)) as url:
        stamped = await signer.sign(SMALL["png"], timestamp_url=url)
    plain = await signer.sign(SMALL["png"])
    await asyncio.sleep(
        (expires_at - datetime.now(UTC)).total_seconds() + 1.5
    )  # it is valid to the end of its last second
    assert is_valid(stamped, "png")
    validation = validate(plain, "png")
    assert validation is not None
    assert validation.failures == ("signingCredential.expired",)


def _late(reply: Reply) -> Reply:
    """Answers the first query with nonsense."""
    queries: list[bytes] = []

    def answer(query: bytes) -> bytes:
        queries.append(query)
        return reply(query) if len(queries) > 1 else b"nonsense"

    return answer


def _old(reply: Reply) -> Reply:
    """Answers every query as it answered the first."""
    replies: list[bytes] = []

    def answer(query: bytes) -> bytes:
        replies.append(reply(query))
        return replies[0]

    return answer


LIES: dict[str, Callable[[Reply], Reply]] = {
    "nothing": lambda _: lambda _query: b"",
    "nonsense": lambda _: lambda _query: b"nonsense",
    "a refusal": lambda _: lambda _query: bytes.fromhex("30053003020102"),
    "nonsense, once": _late,
    "a changed signature": lambda reply: lambda query: reply(query)[:-1] + b"\0",
}


@needs_openssl
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_timestamp_service_that_answers_wrongly_stops_all_images(
    signer: Signer, tmp_path: Path, lie: Callable[[Reply], Reply]
) -> None:
    with timestamp_service(lie(openssl_replies(tmp_path))) as url, pytest.raises(TransientError) as raised:
        await signer.sign(SMALL["png"], timestamp_url=url)
    assert raised.value.code == "marking_timestamp"
    assert raised.value.away


@needs_openssl
async def test_the_timestamp_of_another_signature_is_refused(signer: Signer, tmp_path: Path) -> None:
    with timestamp_service(_old(openssl_replies(tmp_path))) as url:
        await signer.sign(SMALL["png"], timestamp_url=url)
        with pytest.raises(TransientError, match="marking_timestamp"):
            await signer.sign(SMALL["png"], timestamp_url=url)


async def test_a_timestamp_service_that_is_away_stops_all_images(signer: Signer) -> None:
    with pytest.raises(TransientError, match="marking_timestamp") as raised:
        await signer.sign(SMALL["png"], timestamp_url="http://127.0.0.1:1/")
    assert raised.value.away


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENCES = {
    "nothing": (b"", b""),
    "a header that never ends": (HEAD[:-2], b"X-A: b\r\n"),
    "a body": (HEAD, b"1\r\nx\r\n"),
}


@pytest.mark.parametrize(("first", "trickle"), SILENCES.values(), ids=SILENCES)
async def test_a_timestamp_service_that_does_not_end_its_answer_is_left(
    signer: Signer, monkeypatch: pytest.MonkeyPatch, first: bytes, trickle: bytes
) -> None:
    monkeypatch.setattr(credentials, "DEADLINE", timedelta(seconds=1))
    with silent_service(first, trickle=trickle) as (url, heard):
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"marking_timestamp.*no answer within 1\.5 s") as raised:
            await signer.sign(SMALL["png"], timestamp_url=url)
        assert time.monotonic() - began < 5
    assert raised.value.away
    assert b"timestamp-query" in heard[0]


@pytest.mark.parametrize("embedded", [True, False])
def test_a_manifest_elsewhere_is_never_fetched(embedded: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with silent_service() as (url, heard):
        builder = c2pa.Builder(credentials.signing_request("png", ORIGIN, CREDENTIALS)["created"])
        builder.set_remote_url(f"{url}manifest.c2pa")
        if not embedded:
            builder.set_no_embed()
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", GOOD.certificate, GOOD.key, None))
        content = BytesIO()
        builder.sign(signer, "image/png", BytesIO(SMALL["png"]), content)
        assert url.encode() in content.getvalue()
        assert is_valid(content.getvalue(), "png") is embedded
        signed = sign(content.getvalue(), "png", ORIGIN, CREDENTIALS)
        assert is_valid(signed, "png")
        assert heard == []


def test_nobody_is_asked_whether_a_certificate_was_revoked() -> None:
    with silent_service() as (url, heard):
        pair = issued(ocsp=url)
        certificate = (pair.certificate + AUTHORITY).decode()
        other = replace(CREDENTIALS, certificate=certificate, key=pair.key.decode())
        signed = sign(SMALL["png"], "png", ORIGIN, other)
        assert is_valid(signed, "png")
        assert is_valid(sign(signed, "png", ORIGIN, other), "png")
        assert heard == []


def test_a_manifest_that_takes_too_much_memory_ends_its_process_only() -> None:
    signed = sign(SMALL["png"], "png", ORIGIN, CREDENTIALS)
    content = carrying("png", SMALL["png"], {"manifest": _with_huge_assertion(_store(signed), 60_000_000)})
    assert validate(content, "png") is None


def test_when_memory_runs_out_the_process_is_killed_first_and_a_crash_writes_no_core_file() -> None:
    program = (
        "import resource; from aigen_bridge.clients import c2pa_process as p; p._limit(5, 0); "
        "print(p.OOM_SCORE.read_text().strip(), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "1000 (0, 0)"


def _store(content: bytes) -> bytes:
    begin = content.index(b"caBX") + 4
    return content[begin : begin + int.from_bytes(content[begin - 8 : begin - 4], "big")]


def _with_huge_assertion(store: bytes, numbers: int) -> bytes:
    """Replaces the actions by a list of numbers in CBOR, and corrects the size of every box around it."""
    begin = store.index(b"cbor", store.index(b"c2pa.actions.v2")) - 4
    old = int.from_bytes(store[begin : begin + 4], "big")
    body = b"\x9a" + numbers.to_bytes(4, "big") + bytes(numbers)
    changed = bytearray(store[:begin] + (len(body) + 8).to_bytes(4, "big") + b"cbor" + body + store[begin + old :])
    for at in _boxes_around(store, begin):
        size = int.from_bytes(store[at : at + 4], "big") + len(body) + 8 - old
        changed[at : at + 4] = size.to_bytes(4, "big")
    return bytes(changed)


def _boxes_around(store: bytes, inner: int) -> Iterator[int]:
    at = 0
    while at < inner:
        size = int.from_bytes(store[at : at + 4], "big")
        is_around = store[at + 4 : at + 8] == b"jumb" and inner < at + size
        if is_around:
            yield at
        at += 8 if is_around else size


def test_a_process_that_the_bridge_no_longer_waits_for_ends_itself() -> None:
    header = json.dumps({"action": "validate", "format": "png", "seconds": 0.3, "size": 10}).encode() + b"\n"
    command = [sys.executable, "-m", "aigen_bridge.clients.c2pa_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(header)
        process.stdin.flush()
        assert process.wait(timeout=20) == -signal.SIGALRM


def test_a_process_that_hangs_before_its_limits_are_set_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace_library(monkeypatch, tmp_path, "import time; time.sleep(30)")
    monkeypatch.setattr(credentials, "DEADLINE", timedelta(seconds=1))
    began = time.monotonic()
    with pytest.raises(SigningError, match="no answer within 1 s"):
        sign(SMALL["png"], "png", ORIGIN, CREDENTIALS)
    assert time.monotonic() - began < 15


def test_the_process_gets_no_secret_of_the_bridge_and_no_signal_from_its_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.json"
    facts = "{'environment': dict(os.environ), 'leads_its_group': os.getpgid(0) == os.getpid()}"
    program = f"import json, os, sys\nopen({str(seen)!r}, 'w').write(json.dumps({facts}))\nsys.exit('seen')"
    _replace_library(monkeypatch, tmp_path, program)
    for name in ("AIGEN_API_KEYS", "PGPASSWORD", "OTEL_EXPORTER_OTLP_HEADERS", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with pytest.raises(SigningError, match="seen"):
        sign(SMALL["png"], "png", ORIGIN, CREDENTIALS)
    found = json.loads(seen.read_text())
    assert "secret" not in found["environment"].values()
    assert found["environment"]["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert found["leads_its_group"]


def _replace_library(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    """Lets the process run this program when it imports C2PA's library."""
    (folder / "c2pa.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
