"""Times and numbers from outside, as far off as they can be written: stored and read back, or refused by name."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from aigen_bridge.clients.http_errors import RETRY_AFTER_MAX, retry_after
from aigen_bridge.contracts.wire import to_utc
from aigen_bridge.store.database import Database
from callbacks import completed, failed, report, report_v2
from stage import REQUESTS, Stage, make_event, working

FAR_OFF = (
    "0001-01-01T00:00:00+01:00",
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00-23:59",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59.999999-00:01",
    "9999-12-31T23:59:59+23:59",
    "2026-01-01T00:00:00+23:59",
    "2026-01-01T00:00:00-15:59",
    "2026-01-01T00:00:00+16:00",
)
BULK = "/api/v1/ops/dead-letters/replay"
OPS = {"X-API-Key": "key-of-ops"}


def url_result(asked: dict[str, Any], png: bytes, **fields: Any) -> dict[str, Any]:
    return completed(asked, png, imageData=None, imageUrl="http://127.0.0.1:9/image.png", **fields)


@pytest.mark.parametrize("at", [*FAR_OFF, "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", 1e18, -62135596801])
async def test_the_end_of_a_url_lies_between_now_and_in_an_hour(
    idle_stage: Stage, database: Database, png: bytes, at: str | float
) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, url_result(asked, png, resultExpiresAt=at))
    async with database.reading() as connection:
        ends = await connection.execute(text("SELECT created_at, give_up_at FROM outbox WHERE step = 'fetch'"))
        found = ends.all()

    assert answer.status_code in {202, 422}, answer.text
    assert len(found) == (answer.status_code == 202)
    assert at not in FAR_OFF or answer.status_code == 202
    for row in found:
        assert row.created_at <= row.give_up_at <= row.created_at + timedelta(hours=1)
    assert (await idle_stage.read(asked["requestId"]))["requestId"] == asked["requestId"]


async def test_a_far_off_end_of_one_url_keeps_nobody_from_being_fetched(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    for at in FAR_OFF:
        asked = await idle_stage.ask()
        assert (await report(idle_stage, url_result(asked, png, resultExpiresAt=at))).status_code == 202
    async with working(idle_stage.settings):
        for at in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59"):
            asked = await idle_stage.ask()
            await report(idle_stage, url_result(asked, png, resultExpiresAt=at))
            async with asyncio.timeout(20):
                while not any(entry["kind"] == "attempt" for entry in await idle_stage.timeline(asked["requestId"])):
                    await asyncio.sleep(0.02)


async def test_a_far_off_end_is_kept_for_a_cancelled_request(idle_stage: Stage, png: bytes) -> None:
    for at in FAR_OFF:
        asked = await idle_stage.ask()
        await idle_stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=OPS)
        event = url_result(asked, png, resultExpiresAt=at)
        assert [(await report(idle_stage, event)).status_code for _ in range(2)] == [202, 202]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 2**63},
        {"size": -(10**400)},
        {"width": 10**4000},
        {"width": 10**5000},
        {"format": "p\0ng"},
        {"format": "\ud800"},
        {"size": 1e308},
        {"height": 2**31},
    ],
)
@pytest.mark.parametrize("beside", [True, False])
async def test_metadata_that_no_image_has_is_refused_or_stored_and_never_a_bug(
    idle_stage: Stage, png: bytes, wrong: dict[str, Any], *, beside: bool
) -> None:
    asked = await idle_stage.ask()
    said = {"format": "png", "size": len(png), "width": 64, "height": 64}
    event = completed(asked, png, imageMetadata=said) if beside else url_result(asked, png, imageMetadata=said)
    body = json.dumps(event)
    for name, value in wrong.items():
        body = body.replace(f'"{name}": {json.dumps(said[name])}', f'"{name}": {_written(value)}')
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post("/api/v1/influencegen/ai-image-callback", content=body, headers=headers)

    assert answer.status_code in {202, 400, 422}, answer.text
    assert (await idle_stage.read(asked["requestId"]))["requestId"] == asked["requestId"]


def _written(value: object) -> str:
    if isinstance(value, int):  # json writes no more than 4300 digits
        sign, digits = ("-", -value) if value < 0 else ("", value)
        zeros = 0
        while digits % 10 == 0:
            digits, zeros = digits // 10, zeros + 1
        return f"{sign}{digits}{'0' * zeros}"
    return json.dumps(value)


@pytest.mark.parametrize("at", FAR_OFF)
async def test_filters_take_every_time_that_can_be_written(idle_stage: Stage, at: str) -> None:
    await idle_stage.ask()
    for path, names in (
        (REQUESTS, ("createdAfter", "createdBefore")),
        ("/api/v1/ops/dead-letters", ("since", "until")),
    ):
        for name in names:
            answer = await idle_stage.api.get(path, params={name: at}, headers=OPS)
            assert answer.status_code == 200, answer.text
    for name in ("since", "until"):
        answer = await idle_stage.api.post(BULK, json={name: at, "dryRun": True}, headers=OPS)
        assert answer.status_code == 200, answer.text


async def test_filters_compare_moments_and_not_clock_faces(idle_stage: Stage) -> None:
    await idle_stage.ask()

    async def found(**wanted: str) -> int:
        return len((await idle_stage.api.get(REQUESTS, params=wanted, headers=OPS)).json()["items"])

    assert await found(createdAfter="0001-01-01T00:00:00+23:59", createdBefore="9999-12-31T23:59:59-23:59") == 1
    soon = datetime.now(UTC) + timedelta(minutes=5)
    ahead = soon.replace(tzinfo=None) + timedelta(hours=23, minutes=59)
    assert await found(createdBefore=f"{ahead.isoformat()}+23:59") == 1
    assert await found(createdAfter=f"{ahead.isoformat()}+23:59") == 0


@pytest.mark.parametrize("at", [*FAR_OFF, "2026-01-01T00:00:00", "infinity", 5, None, "99999-01-01T00:00:00+00:00"])
async def test_a_cursor_with_any_time_is_a_place_or_refused(idle_stage: Stage, at: object) -> None:
    for path, key in ((REQUESTS, "5f8c2f30-3f5c-4c43-9d3a-1c1c1c1c1c1c"), ("/api/v1/ops/dead-letters", "entry-1")):
        cursor = base64.urlsafe_b64encode(json.dumps([at, key]).encode()).decode().rstrip("=")
        answer = await idle_stage.api.get(path, params={"cursor": cursor}, headers=OPS)
        assert answer.status_code == (200 if at in FAR_OFF else 422), answer.text


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity", "1e400"])
async def test_a_bulk_replay_at_no_rate_is_refused(idle_stage: Stage, database: Database, rate: str) -> None:
    await _dead(idle_stage, database, 3)
    headers = OPS | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post(BULK, content=f'{{"maxPerSecond": {rate}}}', headers=headers)

    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e-9, 0.001])
async def test_a_bulk_replay_at_the_slowest_rate_can_be_read(
    idle_stage: Stage, database: Database, rate: float
) -> None:
    asked = await _dead(idle_stage, database, 3)
    answer = await idle_stage.api.post(BULK, json={"maxPerSecond": rate}, headers=OPS)
    timelines = [await idle_stage.api.get(f"{REQUESTS}/{a['requestId']}/timeline", headers=OPS) for a in asked]

    assert len(answer.json()["replayed"]) == 3
    assert [timeline.status_code for timeline in timelines] == [200] * 3


async def _dead(stage: Stage, database: Database, count: int) -> list[dict[str, Any]]:
    asked = [await stage.ask() for _ in range(count)]
    async with database.transaction() as connection:
        await connection.execute(
            text("""UPDATE outbox SET step = 'deliver', state = 'dead', finished_at = now(),
                error_code = 'x', error_detail = 'x'""")
        )
    return asked


@pytest.mark.parametrize("number", ["9" * 400, "9" * 4000, "1" + "0" * 5000, "1e400", "-1e400", "NaN", "Infinity"])
async def test_a_report_of_trouble_takes_any_number(idle_stage: Stage, number: str) -> None:
    body = f'{{"errorMessage": "x", "executionId": {number}, "result": {{"n": {number}}}}}'
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post("/api/v1/ops/n8n-failures", content=body, headers=headers)

    assert answer.status_code in {202, 400, 422}, answer.text
    assert (await idle_stage.api.get("/api/v1/ops/dead-letters", headers=OPS)).status_code == 200


@pytest.mark.parametrize("field", ["seed", "inferenceSteps", "cfgScale"])
@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 30, "1e400", "NaN", "Infinity", "9" * 5000])
async def test_a_request_with_a_number_that_cannot_be_is_refused(idle_stage: Stage, field: str, number: str) -> None:
    body = json.dumps(make_event() | {field: 1}).replace(f'"{field}": 1', f'"{field}": {number}')
    headers = idle_stage.as_client("odoo") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post(REQUESTS, content=body, headers=headers)

    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize("stamp", ["9" * 15, "9" * 400, "-1", "1e9", "٣", "inf"])
async def test_a_signature_with_any_timestamp_is_never_a_bug(idle_stage: Stage, stamp: str) -> None:
    asked = await idle_stage.ask()
    headers = {"webhook-id": "1", "webhook-timestamp": stamp.encode(), "webhook-signature": "v1,x"}
    answer = await report(idle_stage, failed(asked), **headers)  # type: ignore[arg-type]

    assert answer.status_code in {202, 401}, answer.text


async def test_version_2_takes_the_same_times(idle_stage: Stage, png: bytes) -> None:
    for at in FAR_OFF:
        asked = await idle_stage.ask()
        assert (await report_v2(idle_stage, url_result(asked, png, resultExpiresAt=at))).status_code == 202


@pytest.mark.parametrize("value", ["9" * 20, "9" * 5000, "86400", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_that_is_asked_for_is_at_most_an_hour(value: str) -> None:
    assert retry_after(value) == RETRY_AFTER_MAX


@pytest.mark.parametrize("value", ["", "-5", "soon", "1.5", "Mon, 01 Jan 0001 00:00:00 +2359", "²"])
def test_a_pause_that_is_none_is_left_out_or_over(value: str) -> None:
    assert retry_after(value) in {None, timedelta(0)}


def test_a_moment_beyond_all_years_is_the_first_or_last_one() -> None:
    assert to_utc(datetime.fromisoformat("0001-01-01T00:00:00+01:00")) == datetime.min.replace(tzinfo=UTC)
    assert to_utc(datetime.fromisoformat("9999-12-31T23:59:59-01:00")) == datetime.max.replace(tzinfo=UTC)
    assert str(to_utc(datetime.fromisoformat("2026-01-01T00:00:00+23:59"))) == "2025-12-31 00:01:00+00:00"


@pytest.mark.parametrize("at", [1735689600, 1e9, "2026-01-31", "1735689600", "2026-01-31T18:00:00", True])
async def test_a_bulk_replay_does_not_guess_times(idle_stage: Stage, at: object) -> None:
    assert (await idle_stage.api.post(BULK, json={"since": at, "dryRun": True}, headers=OPS)).status_code == 422


async def test_a_bulk_replay_goes_by_its_times(idle_stage: Stage, database: Database) -> None:
    await _dead(idle_stage, database, 2)
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    matched = [
        (await idle_stage.api.post(BULK, json={name: hour_ago, "dryRun": True}, headers=OPS)).json()["matched"]
        for name in ("since", "until")
    ]

    assert matched == [2, 0]
