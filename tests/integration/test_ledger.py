"""The ledger in PostgreSQL: whoever changes a request, it is settled once, and all sums equal the rows."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.contracts import examples
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.ledger import Entry, EntryKind, contribution
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import BATCH, Ledger, recompute
from aigen_bridge.store.retention import Retention
from aigen_bridge.worker.purge import purge
from callbacks import completed, failed, report
from meeting import waits_or_is_through
from outages import rows, write
from stage import REQUESTS, Stage, make_settings, serve_api, staged, working

PRICE = {"amount": "0.035", "currency": "USD", "per": "image"}
COST = {"amount": "0.04", "currency": "USD", "basis": "billed"}
ENTRY = {"name": "Flux", "provider": {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux"}} | {
    "supports": {"negativePrompt": True},
    "price": PRICE,
}
MODEL = {"modelId": examples.REQUESTED["modelId"], **ENTRY}
CATALOGUE = "INSERT INTO models (model_id, entry, is_active) VALUES (:model_id, CAST(:entry AS jsonb), true)"
BUDGETS = """
    INSERT INTO budgets (name, most, currency, period, time_zone, is_hard, odoo, user_id, model_id) VALUES
        ('all', 100000, 'USD', 'total', 'UTC', true, NULL, NULL, NULL),
        ('month', 100000, 'EUR', 'month', 'Europe/Berlin', true, 'default', NULL, NULL),
        ('day', 100, 'USD', 'day', 'Pacific/Apia', false, NULL, CAST(:user_id AS uuid), NULL),
        ('yen', 100, 'JPY', 'total', 'UTC', false, NULL, NULL, CAST(:model_id AS uuid)),
        ('north', 100, 'USD', 'total', 'UTC', true, 'north', NULL, NULL)
"""


@dataclass(frozen=True)
class Ground:
    """The API without a worker, and a ledger whose sweeps the test makes."""

    stage: Stage
    database: Database
    ledger: Ledger

    async def ask(self, **model: Any) -> dict[str, Any]:
        """Requests an image of a model in the catalogue, and reserves its price."""
        asked = await self.stage.ask()
        await write(
            self.database,
            "UPDATE requests SET model = CAST(:model AS jsonb) WHERE request_id = :request_id",
            model=json.dumps(MODEL | model),
            request_id=asked["requestId"],
        )
        await self.touch(asked)
        await self.settle()
        return asked

    async def touch(self, asked: dict[str, Any]) -> None:
        """Has the request settled again."""
        await write(self.database, "INSERT INTO unsettled (request_id) VALUES (:id)", id=asked["requestId"])

    async def settle(self) -> None:
        """Settles what changed, and checks that all sums equal the rows."""
        last, number = 0, BATCH
        while number == BATCH:
            settled = await self.ledger.settle(last)
            last, number = settled.last, settled.number
        assert await rows(self.database, "SELECT request_id FROM unsettled") == []
        await self.check()

    async def check(self) -> None:
        """Compares the usage of each budget with its rows, counted in Python, and counted anew by the store."""
        usage = "SELECT budget_id, period_start, spent, reserved FROM budget_usage ORDER BY budget_id, period_start"
        found = [each for each in await rows(self.database, usage) if each[2:] != (0, 0)]
        assert found == await self._counted()
        async with self.database.transaction() as connection:
            await recompute(connection, list(await connection.scalars(text("SELECT id FROM budgets"))))
        assert [each for each in await rows(self.database, usage) if each[2:] != (0, 0)] == found

    async def _counted(self) -> list[tuple[Any, ...]]:
        entries = await self._rows("SELECT * FROM ledger")
        counted = []
        for budget in await self._rows("SELECT * FROM budgets ORDER BY id"):
            mine = [each for each in entries if _matches(budget, each)]
            added = [contribution(_entry(each), budget.currency) for each in mine]
            reserved, spent = sum(each[0] for each in added), sum(each[1] for each in added)
            [[start]] = await rows(
                self.database,
                "SELECT CASE period WHEN 'total' THEN '1970-01-01 00:00Z' ELSE date_trunc(period, now(), time_zone) END"
                " FROM budgets WHERE id = :id",
                id=budget.id,
            )
            if reserved or spent:
                counted.append((budget.id, start, spent, reserved))
        return counted

    async def _rows(self, query: str) -> list[Any]:
        async with self.database.reading() as connection:
            return [SimpleNamespace(**row._asdict()) for row in await connection.execute(text(query))]

    async def spent(self, asked: dict[str, Any]) -> dict[str, str]:
        """Returns what is booked for each charge of a request."""
        found = await rows(
            self.database,
            "SELECT charge, sum(spent), currency, basis FROM ledger WHERE request_id = :id AND charge IS NOT NULL"
            " GROUP BY 1, 3, 4 HAVING sum(spent) <> 0",
            id=asked["requestId"],
        )
        return {charge: f"{amount.normalize():f} {currency} {basis}" for charge, amount, currency, basis in found}

    async def reserved(self, asked: dict[str, Any]) -> Decimal:
        [[amount]] = await rows(
            self.database, "SELECT sum(reserved) FROM ledger WHERE request_id = :id", id=asked["requestId"]
        )
        return Decimal(amount or 0)

    async def kinds(self, asked: dict[str, Any]) -> list[str]:
        found = await rows(
            self.database, "SELECT kind FROM ledger WHERE request_id = :id ORDER BY id", id=asked["requestId"]
        )
        return [kind for [kind] in found]

    async def call(self, asked: dict[str, Any], method: str, way: str, **body: Any) -> httpx.Response:
        """Calls the API about the generation as N8N does."""
        answer = await self.stage.api.request(
            method,
            f"{REQUESTS}/{asked['requestId']}/generation{way}",
            json={"correlationId": asked["correlationId"], **body},
            headers=self.stage.as_client("n8n"),
        )
        assert answer.status_code in {200, 409}, answer.text
        return answer

    async def permit(self, asked: dict[str, Any], execution: str = "1", **more: Any) -> None:
        await self.call(asked, "POST", "", executionId=execution, **more)

    async def name(self, asked: dict[str, Any], job: str, execution: str = "1") -> None:
        await self.call(asked, "PUT", "/job", executionId=execution, provider="fal", jobId=job)

    async def cancel(self, asked: dict[str, Any]) -> None:
        url = f"{REQUESTS}/{asked['requestId']}/cancel"
        assert (await self.stage.api.post(url, headers=self.stage.as_client("odoo"))).status_code == 200

    async def replay(self, asked: dict[str, Any]) -> None:
        url = f"/api/v1/ops/requests/{asked['requestId']}/replay"
        assert (await self.stage.api.post(url, headers=self.stage.as_client("ops"))).status_code == 200

    async def try_to(self, asked: dict[str, Any], what: str) -> None:
        """Cancels or replays a request, if it can be."""
        path, client = {"cancel": (REQUESTS, "odoo"), "replay": ("/api/v1/ops/requests", "ops")}[what]
        url = f"{path}/{asked['requestId']}/{what}"
        answer = await self.stage.api.post(url, headers=self.stage.as_client(client))
        assert answer.status_code in {200, 409}, answer.text

    async def time_out(self, asked: dict[str, Any]) -> None:
        """Fails a request as a version of the bridge does that knows no ledger."""
        await write(
            self.database,
            "UPDATE requests SET status = 'failed', version = version + 1, failed_by = 'bridge',"
            " error_code = 'timed_out', dispatched_at = now(), completed_at = now()"
            " WHERE request_id = :id AND completed_at IS NULL",
            id=asked["requestId"],
        )
        await write(
            self.database,
            "INSERT INTO request_changes (request_id, version, status)"
            " SELECT request_id, version, status FROM requests WHERE request_id = :id ON CONFLICT DO NOTHING",
            id=asked["requestId"],
        )


def _matches(budget: Any, entry: Any) -> bool:
    names = ("odoo", "user_id", "campaign_id", "model_id")
    return all(getattr(budget, name) in {None, getattr(entry, name)} for name in names)


def _entry(row: Any) -> Entry:
    return Entry(
        kind=EntryKind(row.kind),
        reserved=row.reserved,
        spent=row.spent,
        currency=row.currency,
        rates=tuple(row.rates.items()),
    )


@pytest.fixture
async def ground(database_url: str, database: Database) -> AsyncIterator[Ground]:
    async with _ground(database_url, database) as ground:
        yield ground


@pytest.fixture(params=["off", "metadata"])
async def ground_of_each_mode(
    request: pytest.FixtureRequest, database_url: str, database: Database
) -> AsyncIterator[Ground]:
    """Marks images before they are delivered, or does not."""
    async with _ground(database_url, database, marking={"mode": request.param}) as ground:
        yield ground


@asynccontextmanager
async def _ground(database_url: str, database: Database, **sections: Any) -> AsyncIterator[Ground]:
    event = examples.REQUESTED
    settings = make_settings(database_url, money={"rates": {"EUR/USD": "1.08"}}, **sections)
    await write(database, BUDGETS, user_id=event["userId"], model_id=event["modelId"])
    async with serve_api(settings) as api:
        stage = Stage(api, None, settings)  # type: ignore[arg-type] - the simulators have no part in it
        yield Ground(stage, database, Ledger(database, settings.money.rates, timedelta(minutes=15)))


async def test_an_image_reserves_its_price_and_then_costs_what_n8n_reports(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    assert await ground.reserved(asked) == Decimal("0.035")

    await report(ground.stage, completed(asked, png, cost=COST))
    await ground.settle()
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {"unnamed:1": "0.04 USD billed"})
    assert await rows(ground.database, "SELECT sum(images), sum(failures) FROM ledger") == [(1, 0)]

    await report(ground.stage, completed(asked, png, cost=COST | {"amount": "7"}))
    await ground.touch(asked)
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.04 USD billed"}


async def test_an_image_without_a_reported_cost_is_booked_as_estimated(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    await report(ground.stage, completed(asked, png))
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated"}


async def test_a_request_that_is_cancelled_before_n8n_may_pay_costs_nothing(ground: Ground) -> None:
    asked = await ground.ask()
    await ground.cancel(asked)
    await ground.settle()
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {})


async def test_a_refused_submission_costs_nothing_and_a_granted_one_its_estimate(ground: Ground) -> None:
    refused, granted = await ground.ask(), await ground.ask()
    for asked in (refused, granted):
        await ground.permit(asked)
    await ground.permit(refused, noJob=True, askKey="2")
    await write(ground.database, "UPDATE generations SET state = 'none', execution_id = NULL WHERE refusals > 0")
    for asked in (refused, granted):
        await ground.cancel(asked)
    await ground.settle()
    assert await ground.spent(refused) == {}
    assert await ground.spent(granted) == {"unnamed:1": "0.035 USD estimated"}


async def test_a_refused_submission_does_not_speak_of_an_execution_that_fell_silent_before(ground: Ground) -> None:
    asked = await ground.ask()
    await ground.permit(asked)
    await write(ground.database, "UPDATE generations SET state = 'none', doubts = 1, execution_id = NULL")
    await ground.permit(asked, execution="2")
    free = failed(asked, executionId="2", cost=COST | {"amount": "0.00"})
    assert (await report(ground.stage, free)).status_code == 202
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated"}


async def test_what_n8n_says_after_a_cancellation_corrects_the_estimate(ground: Ground) -> None:
    asked = await ground.ask()
    await ground.permit(asked)
    await ground.name(asked, "7f")
    await ground.cancel(asked)
    await ground.settle()
    assert await ground.spent(asked) == {"job:fal/7f": "0.035 USD estimated"}

    free = failed(asked, executionId="1", cost=COST | {"amount": "0"})
    assert (await report(ground.stage, free)).status_code == 202
    await ground.settle()
    assert await ground.spent(asked) == {}
    assert await ground.kinds(asked) == ["reserve", "release", "charge", "correction"]


@pytest.mark.parametrize("is_fetched", [False, True])
async def test_an_image_that_arrives_after_the_cancellation_is_counted_and_paid(
    ground: Ground, png: bytes, *, is_fetched: bool
) -> None:
    asked = await ground.ask()
    await ground.cancel(asked)
    await ground.settle()
    assert await ground.spent(asked) == {}

    later = {"imageData": None, "imageUrl": "https://fal.media/1.png"} if is_fetched else {}
    assert (await report(ground.stage, completed(asked, png, **later))).status_code == 202
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated"}
    images = "SELECT coalesce(sum(images), 0) FROM ledger"
    assert await rows(ground.database, images) == [(0 if is_fetched else 1,)]


async def test_a_second_job_is_a_second_charge_and_the_reported_cost_is_that_of_the_job_that_made_the_image(
    ground: Ground, png: bytes
) -> None:
    asked = await ground.ask()
    await ground.permit(asked)
    await ground.name(asked, "7f")
    await ground.name(asked, "8a", execution="2")
    await ground.settle()
    assert (await ground.reserved(asked), await ground.spent(asked)) == (
        Decimal("0.035"),
        {"job:fal/8a": "0.035 USD estimated"},
    )
    facts = {"generation": {"provider": "fal", "jobId": "7f"}, "cost": COST}
    await report(ground.stage, completed(asked, png, **facts))
    await ground.settle()
    assert await ground.spent(asked) == {"job:fal/7f": "0.04 USD billed", "job:fal/8a": "0.035 USD estimated"}


async def test_a_job_that_ended_unbilled_costs_nothing(ground: Ground) -> None:
    asked = await ground.ask()
    await ground.permit(asked)
    await ground.name(asked, "7f")
    await ground.time_out(asked)
    await ground.settle()
    assert await ground.spent(asked) == {"job:fal/7f": "0.035 USD estimated"}

    await write(ground.database, "UPDATE provider_jobs SET ended_at = now()")
    await ground.settle()
    assert await ground.spent(asked) == {}


async def test_a_job_that_is_named_after_the_end_takes_the_place_of_the_charge_that_nobody_named(
    ground: Ground,
) -> None:
    asked = await ground.ask()
    await ground.time_out(asked)
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated"}

    await ground.name(asked, "7f")
    await ground.settle()
    assert await ground.spent(asked) == {"job:fal/7f": "0.035 USD estimated"}


async def test_a_replay_books_the_first_sending_before_it_reserves_again(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    await ground.time_out(asked)  # and nobody settles it
    await ground.replay(asked)
    assert (await ground.reserved(asked), await ground.spent(asked)) == (
        Decimal("0.035"),
        {"unnamed:1": "0.035 USD estimated"},
    )
    await ground.settle()
    await report(ground.stage, completed(asked, png, cost=COST))
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated", "unnamed:2": "0.04 USD billed"}
    assert await ground.reserved(asked) == 0
    assert await rows(ground.database, "SELECT sum(images), sum(failures) FROM ledger") == [(1, 0)]


async def test_a_cost_that_was_reported_before_a_replay_is_not_that_of_the_second_image(
    ground: Ground, png: bytes
) -> None:
    asked = await ground.ask()
    first = completed(asked, png, imageData=None, imageUrl="https://fal.media/1.png", cost=COST)
    assert (await report(ground.stage, first)).status_code == 202
    await ground.time_out(asked)
    await ground.replay(asked)
    await report(ground.stage, completed(asked, png))
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.04 USD billed", "unnamed:2": "0.035 USD estimated"}


async def test_what_an_older_version_does_is_settled_all_the_same(ground: Ground) -> None:
    asked = await ground.ask()
    await ground.time_out(asked)
    await ground.settle()
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {"unnamed:1": "0.035 USD estimated"})

    again = "UPDATE requests SET status = 'queued', version = version + 1, failed_by = NULL, completed_at = NULL"
    await write(ground.database, again)
    await write(
        ground.database,
        "INSERT INTO request_changes (request_id, version, status) SELECT request_id, version, status FROM requests",
    )
    await ground.settle()
    assert await ground.reserved(asked) == Decimal("0.035")

    await ground.time_out(asked)
    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated", "unnamed:2": "0.035 USD estimated"}


async def test_an_older_version_whose_role_has_no_rights_on_the_new_tables_yet_goes_on_working(ground: Ground) -> None:
    """Rights are granted after each migration, and the version before runs meanwhile."""
    asked = await ground.ask()
    await ground.permit(asked)
    [[name]] = await rows(ground.database, "SELECT current_database() || '_older'")
    await write(ground.database, f"CREATE ROLE {name}")
    await write(ground.database, f"GRANT SELECT, INSERT, UPDATE ON requests, provider_jobs TO {name}")
    try:
        async with ground.database.transaction() as connection:
            await connection.execute(text(f"SET LOCAL ROLE {name}"))
            await connection.execute(
                text("INSERT INTO provider_jobs (request_id, provider, job_id, execution_id, is_other)"
                     " SELECT request_id, 'fal', '7f', '1', true FROM requests")
            )  # fmt: skip
            await connection.execute(text("UPDATE requests SET status = 'cancelled', completed_at = now()"))
        await ground.settle()
    finally:
        await write(ground.database, f"DROP OWNED BY {name}")
        await write(ground.database, f"DROP ROLE {name}")
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {"job:fal/7f": "0.035 USD estimated"})


async def test_costs_in_another_currency_and_absurd_ones_are_booked_and_operators_are_told_once(
    ground: Ground, png: bytes
) -> None:
    euros, absurd, more = await ground.ask(), await ground.ask(), await ground.ask()
    most = COST | {"amount": "999999999999.999999999"}
    for asked, cost in ((euros, COST | {"currency": "EUR"}), (absurd, most), (more, most)):
        await report(ground.stage, completed(asked, png, cost=cost))
    await ground.settle()
    await ground.touch(absurd)
    await ground.settle()
    assert await ground.spent(euros) == {"unnamed:1": "0.04 EUR billed"}
    assert await ground.spent(absurd) == {"unnamed:1": "999999999999.999999999 USD billed"}
    incident = "SELECT times FROM incidents WHERE cause = 'cost_absurd'"
    assert await rows(ground.database, incident) == [(2,)]
    [[total]] = await rows(
        ground.database, "SELECT spent FROM budget_usage JOIN budgets AS b ON b.id = budget_id WHERE name = 'all'"
    )
    assert total == 2 * Decimal("999999999999.999999999") + Decimal("0.04") * Decimal("1.08")


async def test_without_a_model_and_a_cost_there_is_no_entry_and_a_cost_alone_is_booked(
    ground: Ground, png: bytes
) -> None:
    plain, paid = await ground.stage.ask(), await ground.stage.ask()
    await report(ground.stage, completed(plain, png))
    await report(ground.stage, completed(paid, png, cost=COST))
    await ground.settle()
    assert await ground.kinds(plain) == []
    assert await ground.spent(paid) == {"unnamed:1": "0.04 USD billed"}


async def test_a_model_without_a_price_reserves_nothing_and_its_images_count(ground: Ground, png: bytes) -> None:
    asked = await ground.ask(price=None)
    await report(ground.stage, completed(asked, png))
    await ground.settle()
    assert await rows(ground.database, "SELECT kind, currency, images, spent FROM ledger") == [("end", None, 1, 0)]


async def test_an_image_that_a_person_uploads_costs_nothing_unless_n8n_may_have_paid_for_another(
    ground_of_each_mode: Ground, png: bytes
) -> None:
    ground = ground_of_each_mode
    free, granted = await ground.ask(), await ground.ask()
    await ground.permit(granted)
    for asked in (free, granted):
        url = f"/api/v1/ops/requests/{asked['requestId']}/complete"
        headers = ground.stage.as_client("ops") | {"Content-Type": "image/png"}
        assert (await ground.stage.api.post(url, content=png, headers=headers)).status_code == 200
        await ground.touch(asked)
    await ground.settle()
    assert await ground.spent(free) == {}
    assert await ground.spent(granted) == {"unnamed:1": "0.035 USD estimated"}
    assert await rows(ground.database, "SELECT sum(images) FROM ledger") == [(2,)]


async def test_fetching_an_image_again_is_no_second_payment(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    url = "https://fal.media/1.png"
    await report(ground.stage, completed(asked, png, imageData=None, imageUrl=url, cost=COST))
    await ground.settle()
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {"unnamed:1": "0.04 USD billed"})

    await ground.time_out(asked)
    await write(ground.database, "UPDATE requests SET error_code = 'image_fetch_failed'")
    await ground.settle()
    await ground.replay(asked)
    await ground.settle()
    assert await rows(ground.database, "SELECT status FROM requests") == [("received",)]
    assert (await ground.reserved(asked), await ground.spent(asked)) == (0, {"unnamed:1": "0.04 USD billed"})


async def test_any_story_of_several_requests_leaves_sums_that_equal_the_rows(ground: Ground, png: bytes) -> None:
    """Requests are accepted within budgets, which change meanwhile, and are settled now and then."""
    chance = random.Random(20)
    await write(ground.database, CATALOGUE, model_id=MODEL["modelId"], entry=json.dumps(ENTRY))
    asked = [await ground.stage.ask() for _ in range(6)]

    async def put_budget(_: dict[str, Any]) -> None:
        match = chance.choice([{}, {"odoo": "default"}, {"modelId": MODEL["modelId"]}])
        terms = {"limit": "9000", "currency": "EUR", "period": chance.choice(["day", "total"]), "kind": "hard"}
        answer = await ground.stage.api.put(
            "/api/v1/ops/budgets/story?force=true", json=terms | {"match": match}, headers=ground.stage.as_client("ops")
        )
        assert answer.status_code in {200, 201}, answer.text

    async def ask(_: dict[str, Any]) -> None:
        asked.append(await ground.stage.ask())

    async def cost(one: dict[str, Any]) -> None:
        amount = chance.choice(["0", "0.04", "70"])
        await report(
            ground.stage, chance.choice([completed(one, png), failed(one)]) | {"cost": COST | {"amount": amount}}
        )

    happenings = (
        ground.permit,
        lambda one: ground.name(one, chance.choice("abc"), execution=chance.choice("12")),
        lambda one: ground.permit(one, execution="2", endedJob=chance.choice("abc"), askKey=chance.choice("xyz")),
        lambda one: ground.try_to(one, "cancel"),
        ground.time_out,
        lambda one: ground.try_to(one, "replay"),
        cost,
        cost,
        put_budget,
        ask,
    )
    for _ in range(60):
        await chance.choice(happenings)(chance.choice(asked))
        if chance.random() < 0.2:
            await ground.settle()
    await ground.settle()
    told = await rows(ground.database, "SELECT kind, count(*) FROM ledger GROUP BY 1 ORDER BY 1")
    assert [kind for kind, _ in told] == ["charge", "correction", "end", "release", "reserve"]
    outstanding = "SELECT request_id FROM ledger GROUP BY 1 HAVING sum(reserved) <> 0"
    is_open = "SELECT request_id FROM requests WHERE completed_at IS NULL"
    assert set(await rows(ground.database, outstanding)) == set(await rows(ground.database, is_open))


async def test_two_workers_settle_each_request_once(ground: Ground, png: bytes) -> None:
    asked = [await ground.ask() for _ in range(6)]
    for each in asked:
        await report(ground.stage, completed(each, png, cost=COST))
    again = "INSERT INTO unsettled (request_id) SELECT request_id FROM requests, generate_series(1, 40)"
    await write(ground.database, again)
    settled = [ground.ledger.settle() for _ in range(6)]
    assert sum(each.number for each in await asyncio.gather(*settled)) >= BATCH
    await ground.settle()
    for each in asked:
        assert await ground.kinds(each) == ["reserve", "release", "charge", "end"]


async def settling(ground: Ground, connection: Any) -> asyncio.Task[Any]:
    """Begins to settle, with the usage of the budgets locked by `connection`. Returns when it waits for that."""
    await connection.execute(text("SELECT FROM budget_usage FOR UPDATE"))
    task = asyncio.create_task(ground.ledger.settle())
    assert await waits_or_is_through(ground.database, task)
    return task


async def test_what_a_worker_was_settling_when_it_was_killed_is_settled_by_the_next(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    await report(ground.stage, completed(asked, png, cost=COST))
    async with ground.database.transaction() as connection:
        task = await settling(ground, connection)
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
        with pytest.raises(StoreUnavailableError):
            await task
    assert await ground.kinds(asked) == ["reserve"]

    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.04 USD billed"}


async def test_a_callback_that_arrives_while_its_request_is_being_settled_is_settled_next(
    ground: Ground, png: bytes
) -> None:
    asked = await ground.ask()
    await ground.time_out(asked)
    async with ground.database.transaction() as connection:
        task = await settling(ground, connection)
        callback = asyncio.create_task(report(ground.stage, completed(asked, png, cost=COST)))
        async with asyncio.timeout(10):
            while (await connection.scalar(text(WAITING))) < 2:
                await asyncio.sleep(0.001)
    await task
    assert (await callback).status_code == 202
    assert await ground.spent(asked) == {"unnamed:1": "0.035 USD estimated"}

    await ground.settle()
    assert await ground.spent(asked) == {"unnamed:1": "0.04 USD billed"}


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_a_request_that_another_writer_has_locked_is_settled_later(ground: Ground, png: bytes) -> None:
    locked, free = await ground.ask(), await ground.ask()
    for asked in (locked, free):
        await report(ground.stage, completed(asked, png))
    async with ground.database.transaction() as connection:
        row = text("SELECT FROM requests WHERE request_id = :id FOR UPDATE")
        await connection.execute(row, {"id": locked["requestId"]})
        await ground.ledger.settle()
        assert (await ground.spent(locked), await ground.spent(free)) == ({}, {"unnamed:1": "0.035 USD estimated"})
    await ground.settle()
    assert await ground.spent(locked) == {"unnamed:1": "0.035 USD estimated"}


async def test_a_period_that_had_passed_when_a_budget_was_put_is_not_counted_in_part(
    ground: Ground, png: bytes
) -> None:
    asked = await ground.ask()
    for table, column in (("requests", "created_at"), ("ledger", "accepted_at")):
        await write(ground.database, f"UPDATE {table} SET {column} = {column} - interval '2 months'")  # noqa: S608 - constants
    await report(ground.stage, completed(asked, png))
    await write(ground.database, "DELETE FROM budget_usage")
    await ground.ledger.settle()
    counted = "SELECT b.name FROM budget_usage JOIN budgets AS b ON b.id = budget_id ORDER BY 1"
    assert [name for [name] in await rows(ground.database, counted)] == ["all", "yen"]


async def test_the_ledger_outlives_requests_and_is_purged_after_a_period_of_its_own(ground: Ground, png: bytes) -> None:
    kept, gone = await ground.ask(), await ground.ask()
    for asked in (kept, gone):
        await report(ground.stage, completed(asked, png))
    await ground.settle()
    await write(ground.database, "UPDATE ledger SET accepted_at = accepted_at - interval '2 years'")
    await write(ground.database, "DELETE FROM requests WHERE request_id = :id", id=gone["requestId"])
    await ground.touch(gone)
    await ground.ledger.settle()
    assert await rows(ground.database, "SELECT id FROM unsettled") == []
    assert len(await ground.kinds(gone)) == 4

    retention = Retention(ground.database, has_objects=False)
    deleted = await purge(retention, RetentionSettings(ledger=timedelta(days=365)), asyncio.Event())
    assert deleted[RetentionClass.LEDGER] == 4
    assert (len(await ground.kinds(kept)), await ground.kinds(gone)) == (4, [])
    assert "Lighthouse" not in str(await rows(ground.database, "SELECT * FROM ledger"))


async def test_a_request_is_purged_only_after_it_was_settled(ground: Ground, png: bytes) -> None:
    asked = await ground.ask()
    await report(ground.stage, completed(asked, png, cost=COST))
    await write(ground.database, "UPDATE outbox SET state = 'done', finished_at = now()")
    long_ago = "created_at = now() - interval '2 years', delivered_at = now() - interval '2 years'"
    await write(ground.database, f"UPDATE requests SET {long_ago}")  # noqa: S608 - a constant
    purged = Retention(ground.database, has_objects=False)
    year = RetentionSettings(images="365d", attempts="365d", requests="365d")
    assert (await purge(purged, year, asyncio.Event()))[RetentionClass.REQUESTS] == 0

    await ground.ledger.settle()
    assert (await purge(purged, year, asyncio.Event()))[RetentionClass.REQUESTS] == 1
    assert await ground.spent(asked) == {"unnamed:1": "0.04 USD billed"}
    assert await ground.reserved(asked) == 0


async def test_a_worker_settles_within_seconds(database_url: str, database: Database, png: bytes) -> None:
    async with staged(database_url) as stage, working(stage.settings):
        await write(database, CATALOGUE, model_id=MODEL["modelId"], entry=json.dumps(ENTRY))
        asked = await stage.ask()
        assert await rows(database, "SELECT kind, reserved FROM ledger") == [("reserve", Decimal("0.035"))]
        await report(stage, completed(asked, png, cost=COST))
        async with asyncio.timeout(10):
            while not await rows(database, "SELECT FROM ledger WHERE kind = 'charge'"):
                await asyncio.sleep(0.02)
