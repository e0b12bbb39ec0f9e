"""Every way out of the endpoints that take a result: its status, whether the body is kept, and what a replay does."""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.cli.dead_letters import save
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.store.database import Database
from callbacks import CALLBACK_V2, completed, failed, signed
from stage import CALLBACK, CLIENTS, KEYS, REQUESTS, Stage, make_event, staged

FAILURES = "/api/v1/ops/n8n-failures"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
JSON, FORM, TEXT = "application/json", "multipart/form-data; boundary=bound", "text/plain"
MAX_BYTES = 200_000
SECRET = new_secret()
SIGNING = {
    "keys": ["key-of-signer"],
    "scopes": ["callbacks"],
    "signing_secrets": [SECRET],
    "signature_required": True,
}

Asked = dict[str, Any]
Way = tuple[str, str | None, Callable[[Asked, bytes], bytes]]
"""The endpoint, the content type, and the body for a request and an image."""


def form(event: bytes, *files: tuple[str, bytes], name: str = "event", end: str = "--bound--\r\n") -> bytes:
    parts = [(f'name="{name}"', event), *((f'name="{file}"; filename="a.png"', content) for file, content in files)]
    head = "--bound\r\nContent-Disposition: form-data; "
    return b"".join(f"{head}{said}\r\n\r\n".encode() + content + b"\r\n" for said, content in parts) + end.encode()


def write(message: Any) -> bytes:
    return json.dumps(message).encode()


def v1(asked: Asked, png: bytes) -> bytes:
    return write(completed(asked, png))


def v2(*names: str, **how: str) -> Callable[[Asked, bytes], bytes]:
    def body(asked: Asked, png: bytes) -> bytes:
        files = [(name, png + b"x" * index) for index, name in enumerate(names)]
        return form(write(completed(asked, png, imageData=None)), *files, **how)

    return body


def told(*names: str, **fields: Any) -> Callable[[Asked, bytes], bytes]:
    """N8N's report on a result whose image comes beside it."""

    def body(asked: Asked, png: bytes) -> bytes:
        files = [(name, png + b"x" * index) for index, name in enumerate(names)]
        report = {"errorMessage": "Nobody took it.", "result": completed(asked, png, imageData=None)} | fields
        return form(write(report), *files)

    return body


def changed(**fields: Any) -> Callable[[Asked, bytes], bytes]:
    return lambda asked, png: write(completed(asked, png) | fields)


WAYS: dict[str, tuple[Way, tuple[int, str | None, int | None]]] = {
    # name: ((endpoint, content type, body), (status, error code of the dead letter, status of its replay))
    "v1": ((CALLBACK, JSON, v1), (202, None, None)),
    "v1 without a type": ((CALLBACK, None, v1), (202, None, None)),
    "v1 as text": ((CALLBACK, TEXT, v1), (415, "unsupported_media_type", 200)),
    "v1 with an empty type": ((CALLBACK, "", v1), (202, None, None)),
    "v1 as form": ((CALLBACK, FORM, v2("image")), (415, "unsupported_media_type", 200)),
    "v1 not JSON": ((CALLBACK, JSON, lambda asked, png: v1(asked, png)[:-1]), (400, "not_json", 400)),
    "v1 empty": ((CALLBACK, JSON, lambda *_: b""), (400, "not_json", 400)),
    "v1 wrong field": ((CALLBACK, JSON, changed(hashValue=5)), (422, "invalid_message", 422)),
    "v1 too many values": ((CALLBACK, JSON, changed(x=[0] * 20_000)), (422, "invalid_message", 422)),
    "v1 wrong hash": ((CALLBACK, JSON, changed(hashValue="0" * 64)), (422, "image_rejected", 422)),
    "v1 NUL in the format": (
        (CALLBACK, JSON, changed(imageMetadata={"format": "gif\0", "size": 1, "width": 1, "height": 1})),
        (422, "image_rejected", 422),
    ),
    "v1 unknown request": ((CALLBACK, JSON, changed(requestId=str(uuid4()))), (404, "request_unknown", 404)),
    "v1 contradiction": ((CALLBACK, JSON, changed(correlationId=str(uuid4()))), (409, "correlation_mismatch", 409)),
    "v1 too large": ((CALLBACK, JSON, changed(x="x" * MAX_BYTES)), (413, None, None)),
    "v2": ((CALLBACK_V2, FORM, v2("image")), (202, None, None)),
    "v2 data": ((CALLBACK_V2, FORM, v2("data")), (202, None, None)),
    "v2 file": ((CALLBACK_V2, FORM, v2("file")), (202, None, None)),
    "v2 event of another name": ((CALLBACK_V2, FORM, v2("image", name="payload")), (202, None, None)),
    "v2 two files": ((CALLBACK_V2, FORM, v2("data", "file")), (400, "malformed_multipart", 200)),
    "v2 data cut off": (
        (CALLBACK_V2, FORM, lambda asked, png: v2("data")(asked, png).replace(png, png[:-20])),
        (422, "image_rejected", 422),
    ),
    "v2 no image": ((CALLBACK_V2, FORM, v2()), (422, "invalid_message", 422)),
    "v2 other boundary": (
        (CALLBACK_V2, FORM.replace("=bound", "=other"), v2("data")),
        (400, "malformed_multipart", 200),
    ),
    "v2 no boundary": ((CALLBACK_V2, FORM.partition(";")[0], v2("image")), (400, "malformed_multipart", 200)),
    "v2 no end": ((CALLBACK_V2, FORM, v2("image", end="")), (400, "malformed_multipart", 422)),
    "v2 no event": (
        (CALLBACK_V2, FORM, lambda _, png: form(b"x", ("image", png), name="note")),
        (400, "malformed_multipart", 400),
    ),
    "v2 many parts": (
        (CALLBACK_V2, FORM, v2("image", *(f"p{number}" for number in range(10)))),
        (400, "malformed_multipart", 200),
    ),
    "v2 without a type": ((CALLBACK_V2, None, v2("image")), (415, "unsupported_media_type", 200)),
    "v2 as text": ((CALLBACK_V2, TEXT, v2("data")), (415, "unsupported_media_type", 200)),
    "v2 as JSON": ((CALLBACK_V2, JSON, v1), (415, "unsupported_media_type", 200)),
    "v2 nothing": ((CALLBACK_V2, FORM, lambda *_: b""), (400, "malformed_multipart", 400)),
    "v2 too large": ((CALLBACK_V2, FORM, lambda _, png: png * MAX_BYTES), (413, None, None)),
    "report": ((FAILURES, FORM, told("image")), (202, "n8n_undelivered", 200)),
    "report data": ((FAILURES, FORM, told("data")), (202, "n8n_undelivered", 200)),
    "report two files": ((FAILURES, FORM, told("data", "file")), (400, "malformed_multipart", 200)),
    "report other boundary": (
        (FAILURES, FORM.replace("=bound", "=other"), told("data")),
        (400, "malformed_multipart", 200),
    ),
    "report as text": ((FAILURES, TEXT, told("image")), (415, "unsupported_media_type", 200)),
    "report without words": ((FAILURES, FORM, told("data", errorMessage=None)), (202, "n8n_undelivered", 200)),
    "report of nothing": ((FAILURES, JSON, lambda *_: b"{}"), (422, "invalid_message", 422)),
    "report not JSON": ((FAILURES, JSON, lambda *_: b"{"), (400, "not_json", 400)),
    "report too large": ((FAILURES, JSON, lambda *_: b" " * MAX_BYTES * 2), (413, None, None)),
}


async def test_every_way_out_has_its_status_and_keeps_what_it_should(database_url: str, png: bytes) -> None:
    async with staged(database_url, callback=LIMITS) as stage:
        found: dict[str, tuple[int, str | None, int | None]] = {}
        asked = await stage.ask()
        for name, (way, _) in WAYS.items():
            found[name] = await _try(stage, way, asked, png)
            if found[name][2] == 200 or found[name][0] == 202:  # it has its image now
                asked = await stage.ask()
    assert found == {name: wanted for name, (_, wanted) in WAYS.items()}


LIMITS = {"max_bytes": MAX_BYTES, "rate_limit": "100000/second"}


async def _try(stage: Stage, way: Way, asked: Asked, png: bytes) -> tuple[int, str | None, int | None]:
    endpoint, content_type, body = way
    headers = stage.as_client("n8n") | ({} if content_type is None else {"Content-Type": content_type})
    answer = await stage.api.post(endpoint, content=body(asked, png), headers=headers)
    letters = await _letters(stage)
    if not letters:
        return answer.status_code, None, None
    [letter] = letters
    replayed = await _act(stage, letter["id"], "replay")
    if replayed.status_code == 200:
        assert replayed.json()["status"] == "completed"
        assert (await stage.read(asked["requestId"]))["image"]["size"] == len(png)
    else:
        assert replayed.status_code < 500
        await _act(stage, letter["id"], "discard", reason="the next one")
    return answer.status_code, letter["errorCode"], replayed.status_code


async def _letters(stage: Stage) -> list[dict[str, Any]]:
    return list((await stage.api.get(DEAD_LETTERS, headers=stage.as_client("ops"))).json()["items"])


async def _act(stage: Stage, name: str, action: str, **body: str) -> httpx.Response:
    path = f"{DEAD_LETTERS}/{name}/{action}"
    return await stage.api.post(path, json=body or None, headers=stage.as_client("ops"))


async def test_nothing_is_kept_that_is_not_authenticated(database_url: str, png: bytes) -> None:
    """Neither without a key nor where a signature is missing or wrong, whatever the body and its type are."""
    async with staged(database_url, clients={**CLIENTS, "signer": SIGNING}) as stage:
        asked = await stage.ask()
        bodies = {CALLBACK: v1(asked, png), CALLBACK_V2: v2("data")(asked, png), FAILURES: told("data")(asked, png)}
        for endpoint, body in bodies.items():
            for content_type in (JSON, FORM, FORM.replace("=bound", "=other"), TEXT):
                for key in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": KEYS["ops"]}, {"X-API-Key": "key-of-signer"}):
                    headers = key | {"Content-Type": content_type}
                    answer = await stage.api.post(endpoint, content=body, headers=headers)
                    assert answer.status_code in {401, 403}
        assert await _letters(stage) == []


async def test_a_signature_counts_under_a_wrong_type_too(database_url: str, database: Database, png: bytes) -> None:
    async with staged(database_url, clients={**CLIENTS, "signer": SIGNING}) as stage:
        asked = await stage.ask()
        event = write(completed(asked, png, imageData=None))
        key = {"X-API-Key": "key-of-signer"}
        for content_type in (TEXT, FORM.replace("=bound", "=other")):
            headers = key | signed(event, SECRET) | {"Content-Type": content_type}
            answer = await stage.api.post(CALLBACK_V2, content=form(event, ("data", png)), headers=headers)
            assert answer.status_code in {400, 415}
        found = await _letters(stage)
        assert {letter["requestId"] for letter in found} == {asked["requestId"]}
        async with database.reading() as connection:
            payloads = (await connection.execute(text("SELECT payload FROM quarantine"))).scalars().all()
        assert [bytes(payload) for payload in payloads] == [form(event, ("data", png))] * 2
        assert (await _act(stage, found[0]["id"], "replay")).json()["status"] == "completed"


async def test_a_replay_reads_the_event_whose_signature_was_verified(database_url: str, png: bytes) -> None:
    """A signed event was captured. What is put around it, to be found instead, is never applied."""
    async with staged(database_url, clients={**CLIENTS, "signer": SIGNING}) as stage:
        asked = await stage.ask()
        captured = write(failed(asked, correlationId=str(uuid4())))
        forged = form(write(failed(asked, errorMessage="forged"))).replace(b"--bound", b"--other")
        true = form(captured, ("note", b"x"))
        long = FORM.replace("; ", f"; x={'x' * 500}; ")
        other = FORM.replace("=bound", "=other")
        for number, (content_types, body, more) in enumerate(
            [
                (
                    [FORM],
                    gzip.compress(forged.replace(b"--other", b"--bound")) + b"\r\n" + true,
                    {"Content-Encoding": "gzip"},
                ),
                ([long], forged + true, {}),
                ([FORM, other], b"\r\n" + forged + true, {}),
            ]
        ):
            headers = [("X-API-Key", "key-of-signer"), *signed(captured, SECRET).items(), *more.items()]
            headers += [("Content-Type", content_type) for content_type in content_types]
            answer = await stage.api.post(CALLBACK_V2, content=body, headers=headers)
            assert answer.status_code in {400, 401, 409, 415}, number
        for letter in await _letters(stage):
            assert (await _act(stage, letter["id"], "replay")).status_code in {400, 409}
        assert (await stage.read(asked["requestId"]))["status"] in {"queued", "dispatched"}


async def test_an_operator_gets_the_files_out_of_a_letter_and_completes_its_request(
    idle_stage: Stage, png: bytes, tmp_path: Path, configured: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await idle_stage.ask()
    headers = idle_stage.as_client("n8n") | {"Content-Type": FORM}
    body = form(b'{"status": "completed"}', ("data", png))
    await idle_stage.api.post(CALLBACK_V2, content=body, headers=headers)
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # it is for a process of its own
    for name, value in configured.items():
        monkeypatch.setenv(name, value)
    await asyncio.to_thread(save, "callback-1", tmp_path)
    image = (tmp_path / "callback-1.image-1.png").read_bytes()
    assert ((tmp_path / "callback-1.body").read_bytes(), image) == (body, png)

    path = f"/api/v1/ops/requests/{asked['requestId']}/complete"
    headers = idle_stage.as_client("ops") | {"Content-Type": "image/png"}
    assert (await idle_stage.api.post(path, content=image, headers=headers)).json()["status"] == "completed"


async def test_no_nul_and_no_half_of_an_emoji_is_a_bug_anywhere(idle_stage: Stage, png: bytes) -> None:
    odd = "x\0\ud83d"
    asked = await idle_stage.ask()
    url = completed(asked, png, imageData=None, imageUrl=odd)
    report = dict.fromkeys(
        (
            "workflow",
            "workflowVersion",
            "executionId",
            "executionUrl",
            "node",
            "requestId",
            "errorName",
            "errorMessage",
        ),
        odd,
    )
    calls = [
        (CALLBACK, "n8n", url),
        (CALLBACK, "n8n", url | dict.fromkeys(("hashValue", "payloadVersion", "resultExpiresAt"), odd)),
        (CALLBACK, "n8n", completed(asked, png) | {odd: odd, "imageMetadata": dict.fromkeys(("format", "size"), odd)}),
        (CALLBACK, "n8n", dict.fromkeys(("requestId", "correlationId", "status"), odd)),
        (FAILURES, "n8n", report),
        (FAILURES, "n8n", report | {"result": {odd: odd, "requestId": odd}}),
        (REQUESTS, "odoo", make_event(prompt=odd)),
        (REQUESTS, "odoo", dict.fromkeys(make_event(), odd) | {odd: odd}),
        (f"{DEAD_LETTERS}/callback-1/discard", "ops", {"reason": odd}),
        (f"{DEAD_LETTERS}/replay", "ops", {"errorCode": odd, "dryRun": True}),
        (CALLBACK, "n8n", failed(asked, errorCode=odd, errorMessage=odd)),
    ]
    statuses = []
    for path, client, message in calls:
        headers = idle_stage.as_client(client) | {"Content-Type": JSON}
        statuses.append((await idle_stage.api.post(path, content=write(message), headers=headers)).status_code)
    assert statuses == [422, 422, 422, 422, 202, 202, 422, 422, 200, 200, 202]
    assert (await idle_stage.read(asked["requestId"]))["errorCode"] == "x" + 2 * "\N{REPLACEMENT CHARACTER}"


async def test_a_compressed_callback_is_refused_and_can_be_replayed(idle_stage: Stage, png: bytes) -> None:
    for said, status in (({"Content-Encoding": "gzip"}, 415), ({}, 400)):
        asked = await idle_stage.ask()
        headers = idle_stage.as_client("n8n") | {"Content-Type": JSON} | said
        answer = await idle_stage.api.post(CALLBACK, content=gzip.compress(v1(asked, png)), headers=headers)
        assert answer.status_code == status
        [letter] = await _letters(idle_stage)
        assert (await _act(idle_stage, letter["id"], "replay")).json()["status"] == "completed"


async def test_what_was_ignored_stands_in_the_timeline_and_cut_texts_reach_the_request(
    idle_stage: Stage, png: bytes
) -> None:
    headers = idle_stage.as_client("n8n") | {"Content-Type": JSON}
    first, second = await idle_stage.ask(), await idle_stage.ask()
    good = changed(resultExpiresAt="tomorrow", payloadVersion=1.1, note="cut \ud83d")(first, png)
    bad = write(failed(second, errorMessage="It was a \ud83d", errorCode=429))
    for body in (good, bad):
        assert (await idle_stage.api.post(CALLBACK, content=body, headers=headers)).status_code == 202
    entry = (await idle_stage.timeline(first["requestId"]))[-1]
    assert entry["note"] == "ignored in the callback: resultExpiresAt"
    found = await idle_stage.read(second["requestId"])
    assert (found["errorCode"], found["errorMessage"]) == ("429", "It was a \N{REPLACEMENT CHARACTER}")
