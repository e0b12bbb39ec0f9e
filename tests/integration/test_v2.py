"""Version 2: the image beside the event. Behind the parsing it is version 1."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from callbacks import CALLBACK_V2, completed, failed, report, report_v2
from stage import Stage


async def test_a_result_with_the_image_beside_it_is_stored(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    answer = await report_v2(idle_stage, completed(asked, png, imageData=None), png)

    stored = await idle_stage.read(asked["requestId"])
    assert (answer.status_code, answer.json()["status"]) == (202, "completed")
    image = await idle_stage.api.get(stored["image"]["href"], headers=idle_stage.as_client("ops"))
    assert image.content == png


async def test_a_failure_needs_no_image_part(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    answer = await report_v2(idle_stage, failed(asked))

    assert (answer.status_code, answer.json()["status"]) == (202, "failed")


async def test_the_same_result_over_both_versions_at_once_has_one_effect(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    v1 = [report(idle_stage, completed(asked, png)) for _ in range(12)]
    v2 = [report_v2(idle_stage, completed(asked, png, imageData=None), png) for _ in range(13)]
    answers = await asyncio.gather(*v1, *v2)

    assert {a.status_code for a in answers} == {202}
    assert sorted(a.json()["duplicate"] for a in answers) == [False] + [True] * 24
    assert (await idle_stage.read(asked["requestId"]))["version"] == 2


async def test_the_hash_binds_the_image_part_to_the_event(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    answer = await report_v2(idle_stage, completed(asked, png, imageData=None), png[:-1] + b"x")

    assert answer.status_code == 422
    assert "hashValue" in {e["field"] for e in answer.json()["errors"]}


async def test_an_image_twice_none_or_with_a_failure_is_a_422(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    twice = await report_v2(idle_stage, completed(asked, png), png)
    none = await report_v2(idle_stage, completed(asked, png, imageData=None))
    with_failure = await report_v2(idle_stage, failed(asked), png)

    assert [a.status_code for a in (twice, none, with_failure)] == [422] * 3
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


BOUNDARY = "----b"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="event"\r\n\r\n{{}}\r\n'.encode()
END = f"--{BOUNDARY}--\r\n".encode()
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no boundary in it": b"hello",
    "cut": HEAD,
    "cut in a header": HEAD[:30],
    "no event": f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'.encode() + END,
    "part without a name": f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\n1\r\n".encode() + END,
    "two events": HEAD + HEAD + END,
    "too many parts": b"".join(HEAD.replace(b"event", b"p%d" % n) for n in range(20)) + END,
    "huge part header": f"--{BOUNDARY}\r\nX: {'x' * 20_000}\r\n\r\n1\r\n".encode() + END,
    "header without a colon": f"--{BOUNDARY}\r\nrubbish\r\n\r\n1\r\n".encode() + END,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_multipart_is_a_400(idle_stage: Stage, body: bytes) -> None:
    answer = await _post(idle_stage, body, f"multipart/form-data; boundary={BOUNDARY}")

    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "malformed_multipart"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "x" * 500, 400),
        ("application/json", 415),
        ("text/plain", 415),
    ],
)
async def test_a_wrong_content_type_is_refused(idle_stage: Stage, content_type: str, status: int) -> None:
    assert (await _post(idle_stage, HEAD + END, content_type)).status_code == status


async def test_unknown_parts_are_skipped(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()

    parts: dict[str, Any] = {"note": (None, b"x" * 1000), "event": (None, json.dumps(failed(asked)).encode())}
    answer = await idle_stage.api.post(CALLBACK_V2, files=parts, headers=idle_stage.as_client("n8n"))

    assert answer.status_code == 202


async def _post(stage: Stage, body: bytes, content_type: str) -> httpx.Response:
    headers = stage.as_client("n8n") | {"Content-Type": content_type}
    return await stage.api.post(CALLBACK_V2, content=body, headers=headers)
