"""Background replays by mouse: a look before, progress, failures, and stopping."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import completed, report_v2
from console.operator import Operator, csrf_of, signed_in
from letters import dead_at
from stage import CLIENTS, REQUESTS, Stage, make_event

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
REPLAYS = "/console/replays"


def test_all_letters_of_a_cause_are_replayed_in_the_background(staging: Staging, visiting: Visiting, run: Run) -> None:
    """AigenWebhookFailing: mend the key, then replay everything that N8N refused."""
    stage = staging(worker=True)
    run(dead_at(stage, 45))
    run(dead_at(stage, 3, code="http_401"))
    operator = visiting(stage)
    operator.open("/replays")
    expect(operator.page.get_by_text("No replays yet")).to_be_visible()
    operator.assert_accessible()
    operator.open("/dead-letters")
    operator.snap("letters")
    operator.page.get_by_role("link", name="Replay all of dispatch http_403").click()
    expect(operator.page.get_by_role("heading", name="45 match")).to_be_visible()
    expect(operator.page.locator("tbody tr")).to_have_count(20)
    operator.assert_accessible()
    operator.snap("replay-new")
    operator.page.get_by_label("At most per second").fill("500")
    operator.page.get_by_label("Reason").fill("The key is new.")
    operator.page.get_by_role("button", name="Replay 45").click()
    expect(operator.page.locator(".notice.done")).to_have_text("The replay of 45 dead letters has begun.")
    expect(operator.page.locator("h1 + .badge")).to_contain_text("finished")
    assert re.search(r"Replayed\s+45\s", operator.text())
    operator.assert_accessible()
    operator.snap("replay-finished")
    operator.open("/replays")
    expect(operator.page.get_by_role("link", name="Replay 1")).to_be_visible()
    operator.expect_text("45 of 45")
    operator.assert_accessible()
    operator.snap("replays")


def test_a_replay_is_watched_and_stopped(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(worker=True)
    run(dead_at(stage, 100))
    operator, phone = visiting(stage, dark=True), visiting(stage, phone=True)
    operator.open("/replays/new")
    operator.page.get_by_label("At most per second").fill("5")
    operator.page.get_by_role("button", name="Replay 100").click()
    phone.open("/replays/1")
    expect(operator.page.locator(".figure", has_text="Replayed").locator("dd")).not_to_have_text("0")
    operator.assert_accessible()
    operator.snap("replay-running-dark")
    phone.assert_accessible()
    phone.assert_nothing_sticks_out()
    phone.snap("replay-running-phone")
    operator.page.get_by_role("button", name="Stop").click()
    operator.press_in_dialog("Stop", reason="Too early.")
    expect(operator.page.locator("h1 + .badge")).to_contain_text("stopped")
    expect(phone.page.locator("h1 + .badge")).to_contain_text("stopped")
    expect(phone.page.get_by_role("button", name="Stop")).to_have_count(0)
    phone.open("/replays")
    phone.assert_nothing_sticks_out()
    phone.open("/replays/new?kind=dispatch&since=3d")
    phone.assert_nothing_sticks_out()
    phone.assert_accessible()


def test_callbacks_of_requests_that_a_backup_forgot_are_taken_in_and_failures_are_listed(
    staging: Staging, visiting: Visiting, run: Run, png: bytes
) -> None:
    """Restoring: take in the results of forgotten requests, once Odoo has asked again."""
    stage = staging(worker=True)
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    known, unknown = make_event(), make_event(prompt="<script>alert(1)</script>")
    for event in (known, unknown):
        run(report_v2(stage, completed(event, png, imageData=None), png))
    run(stage.api.post(REQUESTS, json=known, headers=stage.as_client("odoo")))
    operator = visiting(stage)
    operator.open("/replays/new")
    operator.page.get_by_label("Kind").select_option("callback")
    operator.page.get_by_label("Error code").fill("request_unknown")
    operator.page.get_by_role("button", name="Show what matches").click()
    operator.page.get_by_role("button", name="Replay 2").click()
    expect(operator.page.locator("h1 + .badge")).to_contain_text("finished")
    expect(operator.page.locator("tbody tr")).to_have_count(1)
    operator.expect_text(f"No request has the id {unknown['requestId']}.")
    operator.snap("replay-failures")
    operator.page.get_by_role("link", name="callback-2").click()
    expect(operator.page.get_by_role("heading", name="callback-2")).to_be_visible()


WRONG = {
    "rate": {"fast": "is no number", "nan": "is no number", "0": "is no number"},
    "since": {"yesterday": "is not a time"},
    "kind": {"all": "There is no kind"},
    "reason": {"x" * 600: "at most 500"},
}


def test_what_is_wrong_begins_nothing_and_is_said_in_words(staging: Staging) -> None:
    with signed_in(staging()) as console:
        for number in ("0", "99", "x", "9" * 40, "٣"):
            answer = console.get(f"{REPLAYS}/{number}")
            assert (answer.status_code, "No background replay has the number" in answer.text) == (404, True), number
        page, token = str(console.base_url.join(f"{REPLAYS}/new")), csrf_of(console)
        for field, texts in WRONG.items():
            for text, words in texts.items():
                form = {"csrf": token, "rate": "10", field: text}
                answer = console.post(REPLAYS, data=form, headers={"Referer": page}, follow_redirects=True)
                assert (str(answer.url), words in answer.text) == (page, True), (field, text)
                assert console.get(f"{REPLAYS}/new", params={field: text}).status_code == 200
        assert "No replays yet" in console.get(REPLAYS).text


def test_an_operator_of_one_odoo_sees_the_replays_of_its_odoo_only(staging: Staging, run: Run) -> None:
    north = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "b", "api_key": "k"}}
    client = {"keys": ["key-of-odoo"], "scopes": ["ops"], "odoo": "north"}
    stage = staging(odoos=north, clients=CLIENTS | {"odoo": client})
    run(dead_at(stage, 3))
    run(dead_at(stage, 2, odoo="north"))
    with signed_in(stage) as everybody, signed_in(stage, "odoo") as one:
        everybody.post(REPLAYS, data={"csrf": csrf_of(everybody), "rate": "1"})
        assert "2 match" in one.get(f"{REPLAYS}/new").text
        one.post(REPLAYS, data={"csrf": csrf_of(one), "rate": "1"})
        assert one.get(f"{REPLAYS}/1").status_code == 404
        assert one.post(f"{REPLAYS}/1/stop", data={"csrf": csrf_of(one)}).status_code == 303
        assert "Replay 1<" not in one.get(REPLAYS).text
        assert "of Odoo north" in one.get(f"{REPLAYS}/2").text
        assert "running" in everybody.get(f"{REPLAYS}/1").text
