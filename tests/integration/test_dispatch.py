"""Bridge → N8N: retries as specified, and what happens when they are used up."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from stage import Stage, make_settings, staged, working


async def test_transient_failures_are_retried_after_1_2_and_4_seconds(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=500, times=3))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    calls = stage.chain.n8n.calls.to("webhook")
    waits = [later.at - earlier.at for earlier, later in pairwise(calls)]
    assert ended["status"] == "completed"
    assert len(calls) == 4
    for wait, specified in zip(waits, (1, 2, 4), strict=True):
        assert specified <= wait < 2 * specified + 1  # a busy machine may be late, never early


async def test_after_the_fourth_failure_the_person_is_told_and_the_entry_is_dead(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=500, times=None))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    record = stage.chain.odoo.records[asked["requestId"]]
    tries = [e for e in await stage.timeline(asked["requestId"]) if e["kind"] == "attempt"]
    assert len(stage.chain.n8n.calls.to("webhook")) == 4
    assert (ended["status"], ended["errorCode"]) == ("failed", "dispatch_failed")
    assert (record.status, record.error_code) == ("failed", "dispatch_failed")
    assert [t["outcome"] for t in tries] == ["retry", "retry", "retry", "dead", "done"]
    assert tries[0]["httpStatus"] == 500


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_a_refusal_for_good_is_not_retried(stage: Stage, status: int) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=status, times=None))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    assert len(stage.chain.n8n.calls.to("webhook")) == 1
    assert ended["errorCode"] == "dispatch_failed"
    assert f"answered {status}" in ended["errorMessage"]
    names_both_secrets = "AIGEN_N8N__API_KEY and AIGEN_N8N__SIGNING_SECRET" in ended["errorMessage"]
    assert names_both_secrets == (status == 401)


@pytest.mark.parametrize("status", [404, 408, 425, 429, 502, 503, 504])
async def test_a_passing_refusal_is_retried(stage: Stage, status: int) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=status))
    asked = await stage.ask()

    assert (await stage.until_delivered(asked["requestId"]))["status"] == "completed"
    assert len(stage.chain.n8n.calls.to("webhook")) == 2


async def test_retry_after_is_honoured(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=429, retry_after=3))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])

    first, second = stage.chain.n8n.calls.to("webhook")
    assert 3 <= second.at - first.at < 7


async def test_a_cut_connection_is_retried(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.DROP, route="webhook"))
    asked = await stage.ask()

    assert (await stage.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_a_webhook_that_does_not_answer_in_time_is_tried_again(database_url: str) -> None:
    async with staged(database_url) as stage:
        slow = stage.settings.n8n.model_copy(update={"timeout": timedelta(seconds=0.3)})
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=1))
        async with working(stage.settings.model_copy(update={"n8n": slow})):
            asked = await stage.ask()
            await stage.until_delivered(asked["requestId"])
            first, *_ = [e for e in await stage.timeline(asked["requestId"]) if e["kind"] == "attempt"]

    assert (first["outcome"], first["errorCode"]) == ("retry", "timeout")


async def test_a_retry_is_not_made_once_the_result_is_there(stage: Stage) -> None:
    """N8N took it and answered 504 afterwards: the callback comes, so the image is not paid for twice."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS_AFTER, route="webhook", status=504))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert len(stage.chain.n8n.calls.to("webhook")) == 1


async def test_no_secret_is_shown_by_the_settings(database_url: str) -> None:
    n8n: dict[str, Any] = {"webhook_url": "http://127.0.0.1:9/w", "api_key": "very-secret"}
    url = re.sub("//[^@]*@", "//postgres:hidden-password@", database_url)
    settings = make_settings(url, n8n=n8n)

    assert "very-secret" not in repr(settings)
    assert "hidden-password" not in repr(settings)
    assert "key-of-odoo" not in repr(settings)
