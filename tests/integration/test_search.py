"""The search of requests finds what a plain filter over all requests finds, in the same order, page by page."""

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from aigen_bridge.domain.request import Status
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.search import _SCAN, SCANNED, RequestSearch, Search
from stage import make_event, sqlalchemy_url

MANY = SCANNED + 700
CHANCE = random.Random(21)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
USERS, MODELS, CAMPAIGNS = ([UUID(int=CHANCE.getrandbits(128)) for _ in range(3)] for _ in range(3))
WORDS = ("a", "Lighthouse", "sea.Sunset", "it's", "Fuchs/Igel", "8k", "ärger", "16:9", "foo_bar", "cafe", "10%", "🦊")
HOSTILE = [
    *("%", "'", '"', "\\", "!&|", "a:*", "(", "<->", "🦊", "\0", "\ud800", "-", "--", "deadbeef--", "x" * 10_000),
    *("ab " * 4_000, "'; DROP TABLE requests; --", "a\nb", "\N{RIGHT-TO-LEFT OVERRIDE}"),
]
CODES = (None, "timed_out", "it's \\ odd | & !", "x" * 200)
IMAGE = json.dumps({"format": "png", "size": 1, "width": 1, "height": 1, "sha256": "00"})
INSERT = """
    INSERT INTO requests (request_id, correlation_id, event, odoo, status, error_code, failed_by, image, created_at,
        completed_at, delivered_at, awaited)
    VALUES (%(request_id)s, %(correlation_id)s, %(event)s, %(odoo)s, %(status)s, %(error_code)s, %(failed_by)s,
        %(image)s, %(created_at)s, %(completed_at)s, %(delivered_at)s, %(awaited)s)
"""
AWAITED = json.dumps(json.loads(IMAGE) | {"url": "https://a/", "expires_at": None})


def a_row(number: int) -> dict[str, Any]:
    """Returns a request; there are three at each noon. Old ones have the word `ancient`, and lie in several months."""
    status = CHANCE.choice([*Status, *[Status.COMPLETED] * 10])
    at = NOON - timedelta(days=number // 3)
    is_final = status in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    request_id, code = UUID(int=CHANCE.getrandbits(128)), CHANCE.choice(CODES) if status is Status.FAILED else None
    words = [*CHANCE.sample(WORDS, 3), *(["ancient"] if number > SCANNED + 100 else [])]
    event = make_event(
        requestId=str(request_id),
        correlationId=str(UUID(int=CHANCE.getrandbits(128))),
        prompt=", ".join(words),
        userId=str(CHANCE.choice(USERS)),
        modelId=str(CHANCE.choice(MODELS)),
        campaignId=str(CHANCE.choice(CAMPAIGNS)),
    )
    return {
        "request_id": request_id,
        "correlation_id": event["correlationId"],
        "event": json.dumps(event),
        "odoo": CHANCE.choices(["default", "north"], [9, 1])[0],
        "status": status.value,
        "error_code": code,
        "failed_by": "bridge" if status is Status.FAILED else None,
        "image": IMAGE if status is Status.COMPLETED else None,
        "awaited": AWAITED if status is Status.RECEIVED else None,
        "created_at": at,
        "completed_at": at if is_final else None,
        "delivered_at": at if is_final and CHANCE.random() < 0.9 else None,
    }


ROWS = [a_row(number) for number in range(MANY)]


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, ROWS)
        yield connection


@pytest.fixture
async def search(
    database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Search]:
    """The search of these rows, of which the second scan reads fewer than usual, so that a third of them is older."""
    assert connection
    monkeypatch.setattr("aigen_bridge.store.search._NEXT", text(_SCAN.format(scanned=200)))
    database = Database(open_engine(sqlalchemy_url(database_url), pool_size=2, name="test"))
    yield Search(database)
    await database.close()


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))


def matches(row: dict[str, Any], wanted: RequestSearch) -> bool:
    """The plain filter."""
    event, q = json.loads(row["event"]), (wanted.q or "").lower().strip()
    found = (
        str(row["request_id"]).startswith(q)
        or row["request_id"].hex.startswith(q)
        or row["correlation_id"] == q
        or (bool(words_of(q)) and words_of(q) <= words_of(event["prompt"]))
    )
    return (
        (not q or found)
        and (not wanted.statuses or row["status"] in wanted.statuses)
        and wanted.error_code in {None, row["error_code"]}
        and wanted.user_id in {None, UUID(event["userId"])}
        and wanted.model_id in {None, UUID(event["modelId"])}
        and wanted.campaign_id in {None, UUID(event["campaignId"])}
        and wanted.odoo in {None, row["odoo"]}
        and (wanted.created_after is None or row["created_at"] >= wanted.created_after)
        and (wanted.created_before is None or row["created_at"] < wanted.created_before)
    )


def expected(wanted: RequestSearch) -> list[UUID]:
    places = [(row["created_at"], row["request_id"]) for row in ROWS if matches(row, wanted)]
    return [request_id for _, request_id in sorted(places, reverse=True)]


async def pages(search: Search, wanted: RequestSearch, limit: int) -> list[UUID]:
    found = []
    while True:
        page = await search.page(wanted, limit)
        assert len(page.items) <= limit
        found += [request.request_id for request in page.items]
        if page.end is None:
            return found
        wanted = replace(wanted, before=page.end)


def a_search() -> RequestSearch:
    """Returns a search with some of the filters."""
    old = NOON - timedelta(days=CHANCE.randrange(SCANNED // 3 + 200))
    row = CHANCE.choice(ROWS)
    q = [*WORDS, "ancient", "lighthouse ANCIENT", "zebra", str(row["request_id"])[: CHANCE.randrange(1, 37)]]
    q += [row["correlation_id"], row["request_id"].hex[:9], "c", "cafe"]
    given: dict[str, list[Any]] = {
        "q": q,
        "statuses": [(Status.FAILED,), (Status.QUEUED, Status.CANCELLED), (Status.COMPLETED,)],
        "error_code": [code for code in CODES if code] + ["none"],
        "user_id": [*USERS, UUID(int=1)],
        "model_id": MODELS,
        "campaign_id": CAMPAIGNS,
        "odoo": ["north", "south"],
        "created_after": [old],
        "created_before": [old + timedelta(days=99)],
    }
    names = CHANCE.sample(list(given), CHANCE.randrange(4))
    return RequestSearch(**{name: CHANCE.choice(given[name]) for name in names})


async def test_a_search_finds_what_a_plain_filter_finds(search: Search) -> None:
    for _ in range(40):
        wanted = a_search()
        limit = CHANCE.choice([200, 500])
        assert await pages(search, wanted, limit) == expected(wanted), wanted


async def test_each_word_is_found_however_it_is_written(search: Search) -> None:
    for word in WORDS:
        for q in (word.upper(), f"  {word} ", f"!{word}&|"):
            wanted = RequestSearch(q=q)
            assert await pages(search, wanted, 900) == expected(wanted), q


async def test_hostile_words_match_what_they_say_or_nothing(search: Search) -> None:
    for q in HOSTILE:
        wanted = RequestSearch(q=q)
        assert await pages(search, wanted, 900) == (expected(wanted) if words_of(q) else []), q


async def test_the_cursor_is_stable_while_requests_arrive(search: Search, connection: psycopg.Connection) -> None:
    wanted = RequestSearch(q="lighthouse")
    page = await search.page(wanted, 5)
    newer = a_row(0) | {"created_at": NOON + timedelta(hours=1)}
    event = json.loads(newer["event"]) | {"prompt": "lighthouse"}
    connection.execute(INSERT, newer | {"event": json.dumps(event)})

    rest = await pages(search, replace(wanted, before=page.end), 900)
    assert [request.request_id for request in page.items] + rest == expected(wanted)
    assert (await search.page(wanted, 1)).items[0].request_id == newer["request_id"]


async def test_rows_that_cannot_be_read_are_left_out(search: Search, connection: psycopg.Connection) -> None:
    wanted = RequestSearch(q="ancient", statuses=(Status.COMPLETED,))
    broken = expected(wanted)[1]
    connection.execute("""UPDATE requests SET image = '{"format": "bmp"}' WHERE request_id = %s""", [broken])
    assert await pages(search, wanted, 50) == [found for found in expected(wanted) if found != broken]
