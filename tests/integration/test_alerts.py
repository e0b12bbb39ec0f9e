"""People are told: at once, folded, again until somebody hears it, and never at the cost of the work itself."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from structlog.testing import capture_logs

from aigen_bridge.clients import notify
from aigen_bridge.settings import Settings
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from mailing import mail_server, mail_url, silent_server
from outages import impatient, rows, write
from ports import free_port
from stage import Stage, working

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the mail server is a test
DEAD_LETTERS = "/api/v1/ops/dead-letters"


def alerting(settings: Settings, *ports: int, window: float = 600) -> Settings:
    """These settings with mail servers at these ports, a window in seconds, and a sweep every half second."""
    urls = tuple(SecretStr(mail_url(port)) for port in ports)
    alerts = settings.alerts.model_copy(update={"urls": urls, "window": timedelta(seconds=window)})
    worker = settings.worker.model_copy(update={"poll": timedelta(seconds=0.5)})
    return settings.model_copy(update={"alerts": alerts, "worker": worker})


def refuse(stage: Stage, times: int | None = 1) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403, times=times))


async def until(database: Database, query: str) -> Sequence[Any]:
    async with asyncio.timeout(60):
        while not (found := await rows(database, query)):
            await asyncio.sleep(0.05)
    return found


async def test_a_failure_is_mailed_at_once_with_request_cause_and_command(idle_stage: Stage) -> None:
    refuse(idle_stage)
    async with mail_server() as (mailbox, port), working(alerting(idle_stage.settings, port)):
        asked = await idle_stage.ask()
        await mailbox.until(1)

    [mail] = mailbox.mails
    text = mailbox.text(0)
    assert mail["Subject"] == "[aigen-bridge] critical: N8N did not accept requests"
    assert mail["To"] == "ops@example.com"
    assert asked["requestId"] in text
    assert "dispatch_failed" in text
    assert "aigen-bridge dead-letters replay --all --kind dispatch" in text.replace("\n", " ")


@pytest.mark.timeout(240)
async def test_fifty_failures_are_one_mail_one_digest_and_one_word_that_it_is_over(idle_stage: Stage) -> None:
    refuse(idle_stage, times=50)
    async with mail_server() as (mailbox, port), working(alerting(idle_stage.settings, port, window=12)):
        await idle_stage.ask()
        await mailbox.until(1)
        await asyncio.gather(*(idle_stage.ask() for _ in range(49)))
        await mailbox.until(3, seconds=120)

    assert mailbox.subjects == [
        "[aigen-bridge] critical: N8N did not accept requests",
        "[aigen-bridge] critical: N8N did not accept requests (50 times)",
        "[aigen-bridge] recovered: N8N did not accept requests (50 times)",
    ]
    assert "49 of them new" in mailbox.text(1)
    assert "and 45 earlier" in mailbox.text(1)


async def test_an_outage_is_one_mail_and_its_end_another(idle_stage: Stage, database: Database) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", times=None))
    async with mail_server() as (mailbox, port), working(alerting(impatient(idle_stage.settings, "n8n"), port)):
        await asyncio.gather(*(idle_stage.ask() for _ in range(20)))
        await mailbox.until(1)
        idle_stage.chain.n8n.faults.clear()
        await mailbox.until(2)

    assert mailbox.subjects == [
        "[aigen-bridge] critical: N8N is away; requests are held and sent when it is back",
        "[aigen-bridge] recovered: N8N is back; held requests are being sent",
    ]


async def test_a_mail_server_that_is_down_gets_the_alert_when_it_is_up_again(
    idle_stage: Stage, database: Database
) -> None:
    refuse(idle_stage)
    port = free_port()
    async with working(alerting(idle_stage.settings, port)):
        await idle_stage.ask()
        await until(database, "SELECT FROM attempts WHERE step = 'alert' AND outcome = 'retry'")
        async with mail_server(port) as (mailbox, _):
            await mailbox.until(1)

    assert mailbox.subjects == ["[aigen-bridge] critical: N8N did not accept requests"]


async def test_one_channel_that_works_is_enough(idle_stage: Stage, database: Database) -> None:
    refuse(idle_stage)
    async with mail_server() as (mailbox, port), working(alerting(idle_stage.settings, free_port(), port)):
        await idle_stage.ask()
        await mailbox.until(1)
        told = await until(database, "SELECT outcome FROM attempts WHERE step = 'alert'")

    assert told == [("done",)]


async def test_an_alert_that_reaches_nobody_is_a_dead_letter_that_can_be_put_back(
    idle_stage: Stage, database: Database
) -> None:
    ops = idle_stage.as_client("ops")
    refuse(idle_stage)
    port = free_port()
    async with working(alerting(idle_stage.settings, port)):
        asked = await idle_stage.ask()
        await until(database, "SELECT FROM attempts WHERE step = 'alert' AND outcome = 'retry'")
        await write(database, "UPDATE outbox SET created_at = now() - interval '1 hour' WHERE step = 'alert'")
        await until(database, "SELECT FROM outbox WHERE step = 'alert' AND state = 'dead'")
        listed = await idle_stage.api.get(DEAD_LETTERS, params={"kind": "alert"}, headers=ops)
        [letter] = listed.json()["items"]
        async with mail_server(port) as (mailbox, _):
            answer = await idle_stage.api.post(f"{DEAD_LETTERS}/{letter['id']}/replay", headers=ops)
            await mailbox.until(1)

    assert (letter["errorCode"], letter["requestId"]) == ("alert_failed", None)
    assert answer.json() == {"id": letter["id"], "action": "replayed", "requestId": None, "status": None}
    assert asked["requestId"] in mailbox.text(0)
    assert await rows(database, "SELECT action, target, request_id FROM operations") == [("replay", letter["id"], None)]


async def test_a_dead_alert_can_be_discarded(idle_stage: Stage, database: Database) -> None:
    refuse(idle_stage)
    async with working(alerting(idle_stage.settings)):
        await idle_stage.ask()
        await until(database, "SELECT FROM outbox WHERE step = 'alert' AND state = 'done'")
    await write(database, "UPDATE outbox SET state = 'dead', error_code = 'x', error_detail = 'x' WHERE step = 'alert'")
    [(number,)] = await rows(database, "SELECT id FROM outbox WHERE step = 'alert'")
    path = f"{DEAD_LETTERS}/entry-{number}/discard"
    answer = await idle_stage.api.post(path, json={"reason": "known"}, headers=idle_stage.as_client("ops"))

    assert (answer.status_code, answer.json()["requestId"]) == (200, None)
    assert await rows(database, "SELECT state FROM outbox WHERE step = 'alert'") == [("cancelled",)]


async def test_without_an_address_the_log_tells(
    idle_stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(idle_stage)
    with capture_logs() as logged:
        monkeypatch.setattr(notify, "log", structlog.get_logger())  # one that no earlier test has bound
        async with working(alerting(idle_stage.settings)):
            asked = await idle_stage.ask()
            await until(database, "SELECT FROM outbox WHERE step = 'alert' AND state = 'done'")

    [alert] = [line for line in logged if line["event"] == "alert"]
    assert alert["log_level"] == "critical"
    assert asked["requestId"] in alert["body"]


async def test_a_mail_server_that_hangs_holds_up_no_work(idle_stage: Stage, database: Database) -> None:
    refuse(idle_stage)
    async with silent_server() as port, working(alerting(idle_stage.settings, port, port)):
        await idle_stage.ask()
        await until(database, "SELECT FROM outbox WHERE step = 'alert' AND lease_owner IS NOT NULL")
        for _ in range(3):
            ended = await idle_stage.until_delivered((await idle_stage.ask())["requestId"], seconds=60)
            assert ended["status"] == "completed"
        assert await rows(database, "SELECT state FROM outbox WHERE step = 'alert'") == [("pending",)]


@pytest.mark.parametrize("step", ["dispatch", "deliver"])
async def test_a_dead_letter_and_what_is_told_of_it_are_committed_together(
    idle_stage: Stage, database: Database, step: str
) -> None:
    if step == "dispatch":
        refuse(idle_stage)
    else:
        fault = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.ValidationError", detail="no", times=None)
        idle_stage.chain.odoo.faults.add(fault)
    async with working(idle_stage.settings):
        await idle_stage.ask()
        written = await until(database, f"SELECT xmin::text FROM outbox WHERE state = 'dead' AND step = '{step}'")  # noqa: S608 - ours

    assert await rows(database, "SELECT xmin::text FROM occurrences") == written
