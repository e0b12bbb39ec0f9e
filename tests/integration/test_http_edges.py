"""The edges of HTTP: what callers, proxies and operators send that is slightly off gets its clear answer."""

import codecs
import gzip
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.api.app import describe
from aigen_bridge.contracts import examples
from callbacks import completed, report
from raw_http import raw
from stage import CALLBACK, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api

DEAD_LETTERS = "/api/v1/ops/dead-letters"
OPS = {"X-API-Key": KEYS["ops"]}
ODOO = {"X-API-Key": KEYS["odoo"], "Content-Type": "application/json"}


@pytest.fixture
async def api(database_url: str) -> Any:
    async with serve_api(make_settings(database_url)) as api:
        yield api


async def test_every_example_in_the_openapi_document_is_accepted(api: httpx.AsyncClient) -> None:
    """In the order of the document: the request is asked for first. Unknown dead letters are 404, a second end 409."""
    sent = 0
    for path, item in describe()["paths"].items():
        for method, operation in item.items():
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                given = [example["value"] for example in content.get("examples", {}).values()]
                for body in given + ([content["example"]] if "example" in content else []):
                    answer = await _send(api, method, path, media, body)
                    assert answer.status_code < 300 or answer.status_code in {404, 409}, (path, answer.text)
                    sent += 1
    assert sent >= 9


async def _send(api: httpx.AsyncClient, method: str, path: str, media: str, body: Any) -> httpx.Response:
    of_n8n = any(word in path for word in ("callback", "n8n", "/generation"))
    client = "n8n" if of_n8n else "ops" if "/ops/" in path else "odoo"
    url = path.format(requestId=examples.REQUEST_ID, id="entry-7", modelId=uuid4(), name="marketing")
    key = {"X-API-Key": KEYS[client]}
    if media == "multipart/form-data":
        image = codecs.decode(examples.IMAGE_BASE64.encode(), "base64")
        parts = {"event": (None, json.dumps(body["event"])), "image": ("image.png", image)}
        return await api.request(method, url, files=parts, headers=key)
    return await api.request(method, url, json=body, headers=key)


async def test_a_bulk_replay_takes_its_period_in_body_and_query(api: httpx.AsyncClient) -> None:
    for time in ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00.5+01:00", "2026-01-31t18:00:00z"):
        for name in ("since", "until"):
            bulk = await api.post(f"{DEAD_LETTERS}/replay", json={name: time, "dryRun": True}, headers=OPS)
            listed = await api.get(f"{DEAD_LETTERS}?{name}={time}", headers=OPS)  # "+" arrives as a blank
            assert (bulk.status_code, listed.status_code) == (200, 200), (bulk.text, listed.text)
    without_zone = await api.post(f"{DEAD_LETTERS}/replay", json={"since": "2026-01-31T18:00:00"}, headers=OPS)
    assert "a time with its zone" in without_zone.json()["detail"]


async def listed_with(api: httpx.AsyncClient, *headers: str) -> bytes:
    """The answer to a list, asked for with these header lines as they are."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return await raw(str(api.base_url), f"GET {REQUESTS} HTTP/1.1\r\nHost: b\r\n{lines}\r\n".encode())


async def test_a_key_is_found_despite_blanks_and_case(api: httpx.AsyncClient) -> None:
    key, other = KEYS["ops"], KEYS["n8n"]
    for headers in (
        [f"X-API-Key:  {key} \t"],
        [f"Authorization: Bearer  {key} "],
        [f"Authorization: bearer\t{key}"],
        [f"Authorization: BEARER {key}", f"X-API-Key: {key}"],
        [f"Authorization: Bearer {key}", f"X-API-Key: {other}"],
        ["Authorization: Basic b3BzOng=", f"X-API-Key: {key}"],
    ):
        assert (await listed_with(api, *headers)).startswith(b"HTTP/1.1 200"), headers


async def test_a_key_that_is_not_found_says_where_it_was_looked_for(api: httpx.AsyncClient) -> None:
    key = KEYS["ops"]
    for headers, said in (
        ([f"Authorization: {key}"], b"not of the form 'Bearer KEY'"),
        (["Authorization: Bearer "], b"not of the form 'Bearer KEY'"),
        (["X-API-Key: \t "], b"The call carries no key."),
        ([f"X-API-Key: {key[:5]} {key[5:]}"], b"No client has this key."),
        (["Authorization: Bearer old", f"X-API-Key: {key}"], b"'X-API-Key' has another, which was not read"),
    ):
        answer = await listed_with(api, *headers)
        assert answer.startswith(b"HTTP/1.1 401"), headers
        assert said in answer, headers
        assert key.encode() not in answer


async def test_a_compressed_body_is_refused_by_the_name_of_its_encoding(api: httpx.AsyncClient) -> None:
    body = json.dumps(make_event()).encode()
    for path, client in (
        (REQUESTS, "odoo"),
        (CALLBACK, "n8n"),
        (CALLBACK.replace("v1", "v2"), "n8n"),
        ("/api/v1/ops/n8n-failures", "n8n"),
        (f"{DEAD_LETTERS}/replay", "ops"),
        (f"{DEAD_LETTERS}/entry-1/discard", "ops"),
        (f"/api/v1/ops/requests/{uuid4()}/complete", "ops"),
    ):
        media = {"v2": "multipart/form-data; boundary=x", "te": "image/png"}
        kind = media["v2"] if "/v2/" in path else media["te"] if path.endswith("complete") else "application/json"
        headers = {"X-API-Key": KEYS[client], "Content-Type": kind, "Content-Encoding": "gzip"}
        answer = await api.post(path, content=gzip.compress(body, mtime=0), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding"), (path, answer.text)
        assert "'gzip'" in answer.json()["detail"]
        assert "uncompressed" in answer.json()["action"]
        assert answer.headers["accept-encoding"] == "identity"


async def test_an_encoding_that_changes_nothing_is_accepted(api: httpx.AsyncClient) -> None:
    for encoding in ("", "identity", "Identity, identity", "utf-8", "UTF8", "none", "aws-chunked", "base64"):
        answer = await api.post(REQUESTS, json=make_event(), headers=ODOO | {"Content-Encoding": encoding})
        assert answer.status_code == 202, answer.text


async def test_too_large_a_body_names_the_setting_of_its_limit_if_there_is_one(database_url: str) -> None:
    async with serve_api(make_settings(database_url, callback={"max_bytes": 1_000_000})) as api:
        said = {}
        for path, client in ((REQUESTS, "odoo"), (CALLBACK, "n8n"), (f"{DEAD_LETTERS}/replay", "ops")):
            headers = {"X-API-Key": KEYS[client], "Content-Type": "application/json"}
            answer = await api.post(path, content=b" " * 1_000_001, headers=headers)
            assert (answer.status_code, answer.json()["action"]) == (413, "Send a smaller body.")
            said[path] = answer.json()["detail"]

    assert list(said.values()) == [
        "The body is larger than 262144 bytes.",
        "The body is larger than 1000000 bytes, the limit that operators have set with AIGEN_CALLBACK__MAX_BYTES.",
        "The body is larger than 16384 bytes.",
    ]


async def test_a_list_refuses_a_filter_that_it_would_not_apply(api: httpx.AsyncClient) -> None:
    for path, query, message in (
        (REQUESTS, "state=failed", "state: is not known."),
        (REQUESTS, "status=failed&status=queued", "status: is repeated."),
        (REQUESTS, "created_after=2026-01-01T00:00:00Z", "created_after: is not known."),
        (REQUESTS, "limit=0", "limit: "),
        (REQUESTS, "cursor=WyJhIiwgImIiXQ", "cursor: is not a cursor."),
        (DEAD_LETTERS, "error_code=x", "error_code: is not known."),
        (DEAD_LETTERS, "cursor=bm90aGluZw%3D%3D", "cursor: is not a cursor."),
    ):
        answer = await api.get(f"{path}?{query}", headers=OPS)
        assert (answer.status_code, message in answer.json()["detail"]) == (422, True), answer.text


async def test_an_address_that_is_slightly_wrong_gets_the_right_one(api: httpx.AsyncClient) -> None:
    slash = await api.get(f"{REQUESTS}/", headers=OPS)
    unknown = await api.get("/nothing/here/", headers=OPS)
    method = await api.delete(REQUESTS, headers=OPS)
    nul = await api.get(f"{REQUESTS}/%00", headers=OPS)

    assert (slash.status_code, slash.json()["action"]) == (404, f"Leave out the slash at the end: {REQUESTS}")
    assert (unknown.status_code, unknown.json()["action"]) == (404, "See /docs for what this service offers.")
    assert (method.status_code, method.headers["allow"]) == (405, "GET, HEAD, POST")
    assert method.json()["action"].startswith("Use GET or HEAD or POST.")
    assert (nul.status_code, nul.json()["errors"][0]["field"]) == (422, "requestId")


async def test_unusual_requests_get_a_usual_answer(api: httpx.AsyncClient) -> None:
    post = f"POST {REQUESTS} HTTP/1.1\r\nHost: b\r\nX-API-Key: {KEYS['odoo']}\r\n"
    for lines, answer in (
        (f"GET {REQUESTS} HTTP/1.0\r\nX-API-Key: {KEYS['ops']}\r\n\r\n", b"HTTP/1.1 200"),
        (f"{post}\r\n", b"The body is not JSON: it is empty."),
        (f"{post}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{{}}", b"100 Continue\r\n\r\nHTTP/1.1 422"),
        (f"{post}Content-Length: {'9' * 40}\r\n\r\n", b"HTTP/1.1 400"),
        (f"{post}Content-Length: {10**18}\r\n\r\n", b"HTTP/1.1 413"),
        (f"{post}Content-Type: \r\nContent-Length: 2\r\n\r\n{{}}", b"HTTP/1.1 422"),
    ):
        assert answer in await raw(str(api.base_url), lines.encode()), lines


async def test_the_image_follows_the_rules_for_conditions(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    assert (await report(idle_stage, completed(asked, png))).status_code == 202
    path = f"{REQUESTS}/{asked['requestId']}/image"
    full = await idle_stage.api.get(path, headers=OPS)
    tag = full.headers["etag"]
    for header, value, status in (
        ("If-None-Match", "*", 304),
        ("If-None-Match", tag, 304),
        ("If-None-Match", f"W/{tag}", 304),
        ("If-None-Match", f'"other" ,  W/{tag}', 304),
        ("If-None-Match", '"other", W/"another"', 200),
        ("If-None-Match", f'"x{tag[1:]}', 200),
        ("If-None-Match", tag.strip('"'), 200),
        ("If-Match", "*", 200),
        ("If-Match", f'"other", {tag}', 200),
        ("If-Match", f"W/{tag}", 412),
        ("If-Match", '"other"', 412),
        ("Range", "bytes=0-9", 200),
    ):
        answer = await idle_stage.api.get(path, headers=OPS | {header: value})
        head = await idle_stage.api.head(path, headers=OPS | {header: value})
        assert (answer.status_code, head.status_code) == (status, status), (header, value)
        assert answer.content == (png if status == 200 else b"" if status == 304 else answer.content)
        assert head.content == b""
        assert status == 412 or answer.headers["etag"] == head.headers["etag"] == tag
    assert (full.headers["accept-ranges"], full.headers["content-length"]) == ("none", str(len(png)))
    assert (await idle_stage.api.head(path, headers=OPS)).headers["content-length"] == str(len(png))
    assert (await idle_stage.api.head(path)).status_code == 401
