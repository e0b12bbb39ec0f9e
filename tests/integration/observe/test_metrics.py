"""What Prometheus reads at the API: right numbers, few labels, also in bad times."""

import re

from aigen_bridge.api.metrics import read_gauges
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.gauges import GaugeReader
from callbacks import failed, report
from scrape import scrape
from stage import CALLBACK, REQUESTS, Stage, make_event, serve_api, staged, working

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}")


async def test_a_request_is_counted_and_measured_on_every_hop(stage: Stage) -> None:
    before = await scrape(stage.api)
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    after = await scrape(stage.api)

    def grown(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    assert grown("aigen_http_requests_total", route=REQUESTS, method="POST", status="202") == 1
    assert grown("aigen_http_requests_total", route=CALLBACK, status="202") == 1
    assert grown("aigen_http_request_seconds_count", route=CALLBACK) == 1
    for destination in ("n8n", "odoo"):
        assert grown("aigen_outbound_calls_total", destination=destination, outcome="ok") == 1
        assert grown("aigen_outbound_call_seconds_count", destination=destination) == 1
    assert grown("aigen_attempts_total", step="dispatch", outcome="done") == 1
    assert grown("aigen_callbacks_taken_total", status="completed", duplicate="no") == 1
    assert grown("aigen_end_to_end_seconds_count", status="completed") == 1
    assert [grown("aigen_stage_seconds_count", stage=s) for s in ("to_n8n", "at_n8n", "to_odoo")] == [1, 1, 1]
    assert [grown("aigen_requests_moved_total", status=s) for s in ("queued", "dispatched", "completed")] == [1, 1, 1]
    assert grown("aigen_image_bytes_count", source="callback") == 1


async def test_a_failed_call_is_counted_with_its_class(stage: Stage) -> None:
    before = await scrape(stage.api)
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name="psycopg2.OperationalError", detail="gone"))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"], seconds=40)
    after = await scrape(stage.api)

    for destination, step, kind in (("n8n", "dispatch", "http_5xx"), ("odoo", "deliver", "fault")):
        call = {"destination": destination, "outcome": "error", "error_class": kind}
        attempt = {"step": step, "outcome": "retry", "error_class": kind}
        assert (
            after.total("aigen_outbound_calls_total", **call) - before.total("aigen_outbound_calls_total", **call) == 1
        )
        assert after.total("aigen_attempts_total", **attempt) - before.total("aigen_attempts_total", **attempt) == 1


async def test_no_label_holds_what_a_stranger_chose(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await idle_stage.read(asked["requestId"])
    for path in ("/wp-login.php", "/api/v1/strange/7", f"{REQUESTS}/not-a-uuid"):
        await idle_stage.api.get(path, headers=idle_stage.as_client("ops"))
    await idle_stage.api.request("BREW", REQUESTS)
    await report(idle_stage, failed(asked) | {"payloadVersion": "strange-7"})
    text = (await idle_stage.api.get("/metrics")).text

    assert not UUID.search(text)
    assert not any(word in text for word in ("wp-login", "strange", "BREW", "not-a-uuid"))
    assert 'route="unmatched"' in text


async def test_the_gauges_tell_what_waits_and_what_needs_a_person(database_url: str) -> None:
    async with staged(database_url) as stage:
        asked = await stage.ask()
        await stage.ask()
        await report(stage, failed(make_event()))
        seen = await scrape(stage.api)
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403, times=None))
        async with working(stage.settings):
            await stage.until(asked["requestId"], lambda r: r["deliveredAt"] is not None)
    async with serve_api(stage.settings) as fresh:
        then = await scrape(fresh)

    assert seen.value("aigen_outbox_pending", step="dispatch", odoo="default") == 2
    assert seen.value("aigen_outbox_late_seconds", step="dispatch", odoo="default") > 0
    assert seen.value("aigen_requests_open", status="queued") == 2
    assert seen.value("aigen_requests_waiting_seconds", status="queued") > 0
    assert seen.value("aigen_dead_letters_open", kind="callback") == 1
    assert seen.value("aigen_incidents_open", cause="callback_quarantined", odoo="") == 1
    assert seen.value("aigen_breaker_open", destination="n8n") == 0
    assert then.value("aigen_dead_letters_open", kind="dispatch") >= 1
    assert then.value("aigen_database_up") == 1


async def test_a_scrape_is_answered_while_the_database_is_away(idle_stage: Stage) -> None:
    nowhere = Database(open_engine("postgresql+psycopg://127.0.0.1:9/none", pool_size=1, name="test"))
    assert await read_gauges(Fresh(GaugeReader(nowhere).read, fresh=5, patience=5)) is None
    await nowhere.close()


async def test_the_database_is_asked_at_its_own_pace_however_often_it_is_scraped(database: Database) -> None:
    gauges = Fresh(GaugeReader(database).read, fresh=5, patience=5)
    assert await gauges.get() is await gauges.get()


async def test_metrics_can_ask_for_a_token_and_be_switched_off(database_url: str) -> None:
    async with staged(database_url, metrics={"token": "for-prometheus"}) as stage:
        refused = await stage.api.get("/metrics")
        taken = await stage.api.get("/metrics", headers={"Authorization": "Bearer for-prometheus"})
        wrong = await stage.api.get("/metrics", headers={"Authorization": "Bearer for-promethean"})
    async with staged(database_url, metrics={"enabled": False}) as stage:
        off = await stage.api.get("/metrics")
    assert [a.status_code for a in (refused, taken, wrong, off)] == [401, 200, 401, 404]
