"""The log: one line for each call in and out, with both ids, and never a body, a query or a key."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from aigen_bridge import logs
from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import completed, report
from stage import CALLBACK, KEYS, REQUESTS, Stage, make_event, staged, working


class Log(io.StringIO):
    """What was written, as JSON lines."""

    def lines(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Those of an event that have these fields."""
        all_lines = [json.loads(line) for line in self.getvalue().splitlines()]
        return [
            line
            for line in all_lines
            if event in (None, line["event"]) and all(line.get(name) == value for name, value in fields.items())
        ]


@pytest.fixture
def log() -> Iterator[Log]:
    """The log of this process, as production writes it."""
    written = Log()
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    before = structlog.get_config()
    logs.configure("DEBUG", "json")
    structlog.configure(cache_logger_on_first_use=False)  # or loggers would keep this style after the test
    root.handlers[0].setStream(written)  # type: ignore[attr-defined]
    yield written
    root.handlers[:], level = kept
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture
async def logged_stage(log: Log, database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage, working(stage.settings):
        yield stage


async def test_every_hop_of_a_request_is_one_line_with_both_ids(logged_stage: Stage, log: Log) -> None:
    asked = await logged_stage.ask()
    await logged_stage.until_delivered(asked["requestId"])
    ids = {"requestId": asked["requestId"], "correlationId": asked["correlationId"]}

    [accepted] = log.lines("api.answered", route=REQUESTS, **ids)
    [called] = log.lines("n8n.answered", **ids)
    [reported] = log.lines("api.answered", route=CALLBACK, **ids)
    [told] = log.lines("odoo.answered", **ids)
    assert (accepted["method"], accepted["status"], accepted["host"], accepted["client"]) == (
        "POST",
        202,
        "127.0.0.1",
        "odoo",
    )
    assert (called["method"], called["status"], called["path"]) == ("POST", 202, "/webhook/aigen/v1/generate")
    assert (called["step"], called["attempt"]) == ("dispatch", 1)
    assert (reported["status"], reported["client"]) == (202, "n8n")
    assert (told["method"], told["status"], told["path"], told["step"]) == ("POST", 200, "/jsonrpc", "deliver")
    for line in (accepted, called, reported, told):
        assert line["duration_ms"] > 0
        assert line["bytes_out"] > 0
        assert line["bytes_in"] > 0
    for event in ("dispatch.done", "deliver.done"):
        [line] = log.lines(event, **ids)
        assert (line["attempt"], line["duration_ms"] > 0) == (1, True)


async def test_a_call_that_fails_is_told_with_its_code(logged_stage: Stage, log: Log) -> None:
    logged_stage.chain.n8n.faults.add(
        Fault(kind=FaultKind.STATUS, route="webhook", status=503), Fault(kind=FaultKind.DROP, route="webhook")
    )
    asked = await logged_stage.ask()
    await logged_stage.until_delivered(asked["requestId"], seconds=40)

    [refused] = log.lines("n8n.answered", level="warning", requestId=asked["requestId"])
    [silent] = log.lines("n8n.no_answer", requestId=asked["requestId"])
    assert (refused["status"], refused["code"], refused["attempt"]) == (503, "http_503", 1)
    assert (silent["status"], silent["code"], silent["attempt"]) == (None, "connection", 2)


async def test_no_body_no_query_and_no_key_is_ever_written(logged_stage: Stage, log: Log, png: bytes) -> None:
    asked = await logged_stage.ask(prompt="a prompt that nobody may read")
    await logged_stage.api.get(f"{REQUESTS}/{asked['requestId']}?token=in-a-query", headers={"X-API-Key": "stolen-key"})
    event = completed(asked, png)
    await report(logged_stage, event)
    await report(logged_stage, make_event(imageData="c2VjcmV0IGltYWdl"))
    await logged_stage.until_delivered(asked["requestId"])
    bridge = logged_stage.chain.bridge
    secrets = [*KEYS.values(), bridge["n8n"]["api_key"], bridge["odoo"]["api_key"], "stolen-key"]
    bodies = ["nobody may read", "in-a-query", event["imageData"][:40], "c2VjcmV0IGltYWdl"]

    assert len(log.lines()) > 10
    assert [text for text in [*secrets, *bodies] if text in log.getvalue()] == []


async def test_health_checks_and_scrapes_are_told_only_to_who_looks_closely(logged_stage: Stage, log: Log) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/nothing"):
        await logged_stage.api.get(path)

    levels = {line["path"]: line["level"] for line in log.lines("api.answered")}
    assert levels == {"/health/live": "debug", "/health/ready": "debug", "/metrics": "debug", "/nothing": "info"}


async def test_libraries_speak_through_the_same_pipe(log: Log) -> None:
    logging.getLogger("some.library").warning("%s is odd", "it")
    [line] = log.lines("it is odd")
    assert (line["logger"], line["level"]) == ("some.library", "warning")
