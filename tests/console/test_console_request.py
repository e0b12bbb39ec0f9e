"""One request: the page shows its picture and its whole story, and its buttons do what the API's endpoints do."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from playwright.sync_api import expect

from aigen_bridge.domain.session import Role
from aigen_bridge.domain.timeline import PendingWork
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.sessions import Sessions
from aigen_bridge.store.timeline import Timelines
from callbacks import completed, report
from console.operator import Operator, csrf_of, signed_in
from outages import write
from stage import CLIENTS, KEYS, Stage

NOBODYS = "5f0c9a3e-0d6a-4f51-9f0e-2f4f6b1f7a10"
"""The id of no request."""
Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
LIGHTHOUSE = Path(__file__).parents[1] / "lighthouse.png"
SCRIPT = "<script>alert(1)</script>"
REFUSED = Fault(kind=FaultKind.STATUS, route="webhook", status=403)
ODOO_REFUSES = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.ValidationError", detail=SCRIPT, times=None)
LONG = """
    UPDATE requests SET status = 'completed', version = 4, created_at = now() - interval '25 h',
        dispatched_at = now() - interval '24 h 59 min', completed_at = now() - interval '24 h 58 min 40 s',
        image = '{"format": "png", "size": 1, "width": 64, "height": 64, "sha256": "00"}', image_purged_at = now();
    UPDATE outbox SET state = 'done', finished_at = now();
    INSERT INTO request_changes (request_id, version, status, at)
    SELECT request_id, changes.version, changes.status, now() - age
    FROM requests, (VALUES (2, 'dispatched', interval '24 h 59 min'),
        (3, 'completed', interval '24 h 58 min 40 s')) AS changes (version, status, age);
    INSERT INTO attempts (entry_id, fence, request_id, step, number, outcome, error_code, started_at, finished_at)
    SELECT id, 1, request_id, 'dispatch', 1, 'done', NULL, now() - interval '24 h 59 min 2 s',
        now() - interval '24 h 59 min' FROM outbox;
    INSERT INTO attempts
        (entry_id, fence, request_id, step, number, outcome, error_code, detail, started_at, finished_at)
    SELECT id, n + 2, request_id, 'deliver', 1, 'held', 'odoo_http_502', 'Odoo answered 502.', at, at + interval '0.1 s'
    FROM outbox, generate_series(0, 1000) AS n,
        CAST(now() - interval '24 h 58 min' + n * interval '86 s' AS timestamptz) AS at;
    INSERT INTO attempts (entry_id, fence, request_id, step, number, outcome, started_at, finished_at)
    SELECT id, 5000, request_id, 'deliver', 1, 'done', now() - interval '1 min', now() - interval '59.6 s' FROM outbox;
    UPDATE requests SET delivered_at = now() - interval '59.6 s'
"""

RUNNING = """
    UPDATE requests SET status = 'dispatched', version = 2, dispatched_at = now(),
        callback_deadline_at = now() + interval '10 min';
    UPDATE outbox SET state = 'done', finished_at = now();
    INSERT INTO request_changes (request_id, version, status) SELECT request_id, 2, 'dispatched' FROM requests;
    INSERT INTO generations (request_id, state, execution_id, job, quiet_until, progress, progress_at)
    SELECT request_id, 'running', '7', '{"provider": "fal", "job_id": "job-1"}', now() + interval '30 s',
        '{"stage": "generating", "percent": 40, "message": "step 11 of 28", "queue_position": 2}', now() FROM requests
"""
DEAD = """
    UPDATE outbox SET state = 'dead', finished_at = now(), error_code = 'x', error_detail = 'y' WHERE step = 'deliver'
"""


def url_of(stage: Stage) -> str:
    return stage.settings.database_url.get_secret_value().replace("+psycopg", "")


def recorded(stage: Stage) -> list[tuple[Any, ...]]:
    with psycopg.connect(url_of(stage)) as connection:
        wanted = "SELECT client, action, note FROM operations WHERE action NOT LIKE 'sign%' ORDER BY id"
        return connection.execute(wanted).fetchall()


def test_a_request_is_followed_until_its_image_is_delivered(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(worker=True, console={"trace_url": "https://traces.example/{traceId}"})
    asked = run(stage.ask(prompt=f"A lighthouse {SCRIPT}"))
    with psycopg.connect(url_of(stage)) as connection:
        connection.execute(
            "UPDATE requests SET traceparent = '00-' || repeat('ab', 16) || '-' || repeat('cd', 8) || '-01'"
        )
    operator = visiting(stage)
    operator.open(f"/requests/{asked['requestId']}")
    page = operator.page
    run(stage.until_delivered(asked["requestId"]))
    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.locator(".shot img")).to_be_visible()
    expect(page.get_by_text("Nothing: Odoo has the outcome.")).to_be_visible()
    assert page.locator(".shot img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    assert page.locator(".story .label").all_inner_texts()[:3] == ["Accepted", "Dispatch 1", "At N8N"]
    expect(page.locator("#live[hx-get]")).to_have_count(0)
    operator.expect_text(f"A lighthouse {SCRIPT}")
    operator.expect_text(
        f"{stage.settings.public_url}/api/v1/influencegen/ai-image-requests/{asked['requestId']}/timeline"
    )
    assert page.get_by_role("link", name="Trace").get_attribute("href") == f"https://traces.example/{'ab' * 16}"
    page.get_by_text("The event as it was taken").click()
    operator.expect_text('"requestId"')
    for secret in (*KEYS.values(), "X-AIGen-Signature"):
        assert secret not in page.content().replace("$OPS_KEY", "")
    operator.assert_accessible()
    operator.snap("request")


def test_an_operator_mends_what_failed(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(worker=True)
    stage.chain.n8n.faults.add(REFUSED)
    asked = run(stage.ask())
    run(stage.until(asked["requestId"], lambda r: r["status"] == "failed" and r["deliveredAt"]))
    operator = visiting(stage, dark=True)
    operator.open(f"/requests/{asked['requestId']}")
    operator.expect_text("dispatch failed for good")
    operator.assert_accessible()
    operator.snap("request-failed-dark")

    stage.chain.odoo.faults.add(ODOO_REFUSES)
    operator.page.get_by_role("button", name="Send again").first.click()
    operator.press_in_dialog("Send again", reason="N8N has its key again")
    expect(operator.page.locator(".notice.done")).to_contain_text("it is queued again")
    expect(operator.page.get_by_role("button", name="Deliver again")).to_be_visible()
    operator.expect_text(SCRIPT)
    stage.chain.odoo.faults.clear()
    operator.page.get_by_role("button", name="Deliver again").click()
    operator.press_in_dialog("Replay")
    expect(operator.page.locator(".notice.done")).to_contain_text("was replayed")
    expect(operator.page.get_by_text("Nothing: Odoo has the outcome.")).to_be_visible()
    assert recorded(stage) == [("ops", "replay", "N8N has its key again"), ("ops", "replay", None)]


@pytest.mark.parametrize("first", [True, False], ids=["before its pending work is read", "after that"])
def test_a_request_that_ends_while_its_page_is_read_is_shown_as_it_ended(
    staging: Staging, run: Run, png: bytes, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """Otherwise the page would say that it is not delivered, and not renew itself any more."""
    stage, read = staging(), Timelines.pending_work
    asked = run(stage.ask())
    run(report(stage, completed(asked, png)))

    async def deliver(database: Database) -> None:
        await write(database, "UPDATE outbox SET state = 'done', finished_at = now() WHERE state = 'pending'")
        await write(database, "UPDATE requests SET delivered_at = now() WHERE delivered_at IS NULL")

    async def read_and_deliver(timelines: Timelines, request_id: UUID) -> PendingWork:
        if first:
            await deliver(timelines._database)
        pending = await read(timelines, request_id)
        await deliver(timelines._database)
        return pending

    monkeypatch.setattr(Timelines, "pending_work", read_and_deliver)
    with signed_in(stage) as console:
        page = console.get(f"/console/requests/{asked['requestId']}").text

    assert "Nothing: Odoo has the outcome." in page
    assert "no step is pending" not in page


def test_an_operator_uploads_cancels_and_discards(
    staging: Staging, visiting: Visiting, run: Run, tmp_path: Path
) -> None:
    stage = staging()
    first, second = run(stage.ask()), run(stage.ask())
    operator = visiting(stage, phone=True)
    page = operator.page
    operator.open(f"/requests/{first['requestId']}")
    operator.assert_nothing_sticks_out()
    (tmp_path / "page.html").write_text(SCRIPT)
    for file, notice in ((tmp_path / "page.html", "[role=alert]"), (LIGHTHOUSE, ".done")):
        page.get_by_role("button", name="Upload an image").click()
        page.set_input_files("#file", file)
        operator.press_in_dialog("Upload", reason="from the studio")
        expect(page.locator(f".notice{notice}").first).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("button", name="Upload an image")).to_have_count(0)
    operator.assert_accessible()
    operator.snap("request-phone")

    operator.open(f"/requests/{second['requestId']}")
    page.get_by_role("button", name="Cancel the request").click()
    operator.press_in_dialog("Cancel it", reason="a wrong prompt")
    expect(page.locator(".head .badge")).to_have_text("cancelled")
    with psycopg.connect(url_of(stage)) as connection:
        connection.execute(DEAD)
    page.reload()
    page.get_by_role("button", name="Discard").click()
    operator.press_in_dialog("Discard", reason="a test")
    expect(page.locator(".notice.done")).to_contain_text("was discarded")
    assert recorded(stage) == [
        ("ops", "complete", "from the studio"),
        ("ops", "cancel", "a wrong prompt"),
        ("ops", "discard", "a test"),
    ]


def test_a_delivery_that_was_held_for_a_day_is_a_picture_that_can_be_read(
    staging: Staging, visiting: Visiting, run: Run
) -> None:
    stage = staging()
    asked = run(stage.ask())
    with psycopg.connect(url_of(stage)) as connection:
        connection.execute(LONG)
    operator = visiting(stage)
    operator.open(f"/requests/{asked['requestId']}")
    assert operator.page.locator(".story .label").all_inner_texts().count("More alike") == 1
    operator.expect_text("Only the first and the last 20 attempts")
    assert "≈" in operator.page.inner_text(".axis")
    operator.assert_accessible()
    operator.snap("request-held")


def test_a_request_that_is_being_generated_shows_how_far_and_what_comes_next(staging: Staging, run: Run) -> None:
    stage = staging()
    path = f"/console/requests/{run(stage.ask())['requestId']}"
    with psycopg.connect(url_of(stage)) as connection:
        connection.execute(RUNNING)
    with signed_in(stage) as console:
        page = console.get(path).text
    for words in (
        "generating, 40 %",
        "Position 2 in the queue. step 11 of 28",
        "N8N polls job job-1 at fal. Without a word until then, the request is sent to N8N again.",
        'class="bar now"',
        'class="bar planned"',
        'hx-trigger="every 2s"',
    ):
        assert words in page, words


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("no-id", "&#39;no-id&#39; is not the id of a request"),
        (NOBODYS, "No such request"),
        ("%00", "is not the id of a request"),
        (f"{NOBODYS}/image", "No such request"),
        (f"{NOBODYS}/nothing", "The console has no page"),
    ],
)
def test_what_is_no_request_is_a_page_in_words(staging: Staging, address: str, words: str) -> None:
    with signed_in(staging()) as console:
        answer = console.get(f"/console/requests/{address}")
    assert (answer.status_code, words in answer.text) == (404, True), answer.text


def test_a_request_of_another_odoo_does_not_exist(staging: Staging, run: Run) -> None:
    odoos = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "l", "api_key": "k"}}
    stage = staging(odoos=odoos, clients=CLIENTS | {"ops": CLIENTS["ops"] | {"odoo": "north"}})
    asked = run(stage.ask())
    path = f"/console/requests/{asked['requestId']}"
    with signed_in(stage) as console:
        form = {"csrf": csrf_of(console), "reason": "mine"}
        assert [console.get(path).status_code, console.get(f"{path}/image").status_code] == [404, 404]
        for action in ("cancel", "replay"):
            console.post(f"{path}/{action}", data=form)
    with psycopg.connect(url_of(stage)) as connection:
        assert connection.execute("SELECT status FROM requests").fetchall() == [("queued",)]
    assert recorded(stage) == []


def test_a_viewer_sees_neither_content_nor_buttons(staging: Staging, run: Run) -> None:
    stage = staging(console={"viewers_see_content": False})
    asked = run(stage.ask(prompt="a secret lighthouse", negativePrompt="secret fog"))
    path = f"/console/requests/{asked['requestId']}"
    with signed_in(stage) as console:
        upload = {"file": ("x.png", LIGHTHOUSE.read_bytes(), "image/png")}
        answer = console.post(f"{path}/complete", data={"csrf": csrf_of(console)}, files=upload)
        assert answer.status_code == 303
        image = console.get(f"{path}/image")
        assert (image.headers["content-type"], image.content) == ("image/png", LIGHTHOUSE.read_bytes())
        assert "sandbox" in image.headers["content-security-policy"]
        again = console.get(f"{path}/image", headers={"If-None-Match": image.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        console.cookies.set("aigen_console", run(_viewer(stage)), path="/console")
        page = console.get(path).text
        assert "secret" not in page
        assert 'data-opens="cancel"' not in page
        assert console.get(f"{path}/image").status_code == 403
        assert console.post(f"{path}/cancel", data={"csrf": csrf_of(console)}).status_code == 403


async def _viewer(stage: Stage) -> str:
    database = Database(open_engine(stage.settings.database_url.get_secret_value(), pool_size=1, name="test"))
    token = await Sessions(database).open("viewer", Role.VIEWER, odoo=None, key_digest=None, note="a test")
    await database.close()
    return token


def test_what_somebody_else_was_faster_with_is_said_in_words(staging: Staging, run: Run) -> None:
    stage = staging()
    asked = run(stage.ask())
    path = f"/console/requests/{asked['requestId']}"
    with signed_in(stage) as console:
        form = {"csrf": csrf_of(console), "reason": "mine"}
        for action, words in {
            "cancel": "The request is cancelled.",
            "cancel ": "has already ended: it is cancelled.",
            "replay": "was cancelled",
            "complete": "Choose an image file.",
            "letters/entry-999/replay": "entry-999",
            "letters/nothing/discard": "nothing",
        }.items():
            console.post(f"{path}/{action.strip()}", data=form, headers={"Referer": f"{console.base_url}{path}"})
            assert words in console.get(path).text.replace("&#39;", "'"), action


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_is_stored_as_an_image_but_is_none_is_not_served(staging: Staging, run: Run, *, is_damaged: bool) -> None:
    stage = staging()
    asked = run(stage.ask())
    with signed_in(stage) as console:
        path = f"/console/requests/{asked['requestId']}"
        upload = {"file": ("x.png", LIGHTHOUSE.read_bytes(), "image/png")}
        console.post(f"{path}/complete", data={"csrf": csrf_of(console)}, files=upload)
        with psycopg.connect(url_of(stage)) as connection:
            connection.execute("UPDATE images SET content = %s", [SCRIPT.encode()])
            if not is_damaged:
                digest = json.dumps({"sha256": hashlib.sha256(SCRIPT.encode()).hexdigest()})
                connection.execute("UPDATE requests SET image = image || %s", [digest])
        answer = console.get(f"{path}/image")
    expected = (500, "have been changed") if is_damaged else (404, "is no image")
    assert (answer.status_code, expected[1] in answer.text, SCRIPT in answer.text) == (expected[0], True, False)
