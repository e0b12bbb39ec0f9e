"""Dead letters by mouse: what the runbook does with commands, for each kind of dead letter."""

import hashlib
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from playwright.sync_api import expect

from aigen_bridge.domain.session import Role
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.sessions import Sessions
from callbacks import completed, failed, report, report_v2
from console.operator import Operator, csrf_of, signed_in
from letters import dead_at, tables_of
from outages import rows
from stage import CLIENTS, REQUESTS, Stage, make_event

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
LETTERS = "/console/dead-letters"
SCRIPT = "<script>alert(1)</script>"


async def unknown_callback(stage: Stage, png: bytes, **fields: Any) -> dict[str, Any]:
    """A callback with an image for a request that the bridge does not know yet."""
    event = make_event()
    await report_v2(stage, completed(event, png, imageData=None, **fields), png)
    return event


async def letters(stage: Stage) -> list[dict[str, Any]]:
    answer = await stage.api.get("/api/v1/ops/dead-letters", headers=stage.as_client("ops"))
    return list(answer.json()["items"])


async def notes(stage: Stage) -> list[tuple[Any, ...]]:
    async with tables_of(stage) as database:
        return await rows(
            database, "SELECT client, action, note FROM operations WHERE action IN ('replay', 'discard') ORDER BY id"
        )


def test_a_refused_callback_is_shown_beside_its_promise_then_discarded_or_replayed(
    staging: Staging, visiting: Visiting, run: Run, png: bytes
) -> None:
    """AigenCallbacksQuarantined: look at what was wrong, mend the workflow, replay one and discard the other."""
    stage = staging()
    asked = run(stage.ask())
    run(report_v2(stage, completed(asked, png, imageData=None, hashValue="0" * 64), png, **{"X-Note": SCRIPT}))
    later = run(unknown_callback(stage, png))
    operator = visiting(stage)
    operator.open("/dead-letters?kind=callback")
    assert {"image_rejected", "request_unknown"} <= set(operator.text().split())
    operator.assert_accessible()
    operator.page.get_by_role("link", name="image_rejected", exact=True).click()
    expect(operator.page.get_by_role("link", name="callback-1")).to_be_visible()
    expect(operator.page.get_by_role("link", name="callback-2")).to_have_count(0)
    operator.page.get_by_role("link", name="callback-1").click()

    picture = operator.page.locator(".picture img")
    expect(picture).to_have_js_property("naturalWidth", 64)
    promises = operator.page.locator(".compared")
    expect(promises.locator(".differs")).to_have_text(re.compile(rf"SHA-256\s*{'0' * 64}.*differs"))
    assert hashlib.sha256(png).hexdigest() in promises.inner_text()
    assert "the SHA-256 of the image is" in operator.page.inner_text(".refusal")
    operator.page.get_by_text(re.compile(r"Headers \(\d+\)")).click()
    operator.expect_text(SCRIPT)
    assert "x-api-key" not in operator.text()
    operator.assert_accessible()
    operator.snap("letter-callback")
    phone = visiting(stage, phone=True, dark=True)
    phone.open("/dead-letters/callback-1")
    phone.assert_nothing_sticks_out()
    phone.snap("letter-callback-phone")
    operator.page.get_by_role("button", name="Discard").click()
    operator.press_in_dialog("Discard", reason="Its hash was invented by hand.")
    expect(operator.page.locator(".notice.done")).to_have_text("callback-1 is discarded.")

    run(stage.api.post(REQUESTS, json=later, headers=stage.as_client("odoo")))
    operator.page.get_by_role("button", name="Replay callback-2").click()
    operator.press_in_dialog("Replay")
    expect(operator.page.locator(".notice.done")).to_have_text("callback-2 is replayed. Its request is completed.")
    expect(operator.page.get_by_text("There are no dead letters")).to_be_visible()
    assert run(notes(stage)) == [("ops", "discard", "Its hash was invented by hand."), ("ops", "replay", None)]


def test_selected_letters_are_replayed_and_discarded_on_one_page_by_two_operators(
    staging: Staging, visiting: Visiting, run: Run
) -> None:
    """AigenWebhookFailing, with a few letters. The second operator learns who was first."""
    stage = staging()
    run(dead_at(stage, 2))
    run(dead_at(stage, 1, code="http_401", ago=10))
    operator, other = visiting(stage, dark=True), visiting(stage, phone=True)
    for each in (operator, other):
        each.open("/dead-letters")
        each.assert_accessible()
        each.assert_nothing_sticks_out()
    operator.snap("letters-dark")
    other.snap("letters-phone")
    expect(operator.page.get_by_role("button", name="Replay 0")).to_be_disabled()
    other.page.get_by_role("checkbox", name="Select entry-1").check()
    other.page.get_by_role("checkbox", name="Select entry-3").check()
    operator.page.get_by_role("checkbox", name="Select all on this page").check()
    operator.page.get_by_role("checkbox", name="Select entry-3").uncheck()
    operator.page.get_by_role("button", name="Replay 2").click()
    operator.snap("letters-dialog")
    operator.press_in_dialog("Replay", reason="The key is new.")
    expect(operator.page.locator(".notice.done")).to_have_text("Replayed 2 of 2.")

    other.page.get_by_role("button", name="Discard 2").click()
    other.press_in_dialog("Discard", reason="A test.")
    notice = other.page.locator(".notice.problem[role=alert]")
    expect(notice).to_contain_text(
        "Discarded 1 of 2. entry-1: No dead letter 'entry-1' is open: it was replayed by ops"
    )
    expect(other.page.get_by_text("There are no dead letters")).to_be_visible()
    other.assert_nothing_sticks_out()


def test_a_failed_execution_links_to_n8n_and_its_request_is_sent_again(
    staging: Staging, visiting: Visiting, run: Run
) -> None:
    """AigenWorkflowFailing: look at the execution, mend the workflow, replay."""
    stage = staging()
    asked = run(stage.ask())
    failure = {
        "workflow": "Images",
        "executionId": "7",
        "executionUrl": "https://n8n.example/execution/7",
        "requestId": asked["requestId"],
        "errorMessage": f"Out of memory {SCRIPT}",
    }
    run(stage.api.post("/api/v1/ops/n8n-failures", json=failure, headers=stage.as_client("n8n")))
    operator = visiting(stage)
    operator.open("/dead-letters?kind=n8n")
    operator.page.get_by_role("link", name="callback-1").click()
    link = operator.page.get_by_role("link", name="Open it in N8N")
    expect(link).to_have_attribute("href", "https://n8n.example/execution/7")
    operator.expect_text(SCRIPT)
    operator.assert_nothing_sticks_out()
    operator.page.get_by_role("button", name="Replay").click()
    operator.press_in_dialog("Replay")
    expect(operator.page.locator(".notice.done")).to_have_text("callback-1 is replayed. Its request is queued.")


def test_a_result_that_odoo_does_not_know_any_more_is_discarded(staging: Staging, visiting: Visiting, run: Run) -> None:
    """The list renews itself: the letter appears without a reload."""
    stage = staging(worker=True)
    operator = visiting(stage)
    operator.open("/dead-letters")
    expect(operator.page.get_by_text("There are no dead letters")).to_be_visible()
    operator.assert_accessible()
    fault = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.ValidationError", detail="gone", times=None)
    stage.chain.odoo.faults.add(fault)
    run(stage.ask())
    operator.page.get_by_role("link", name=re.compile(r"entry-\d+")).click()
    operator.expect_text("Odoo did not take the result.")
    operator.page.get_by_role("button", name="Discard").click()
    operator.press_in_dialog("Discard", reason="The record was deleted.")
    expect(operator.page.locator(".notice.done")).to_contain_text("is discarded.")


WRONG = {
    "kind=everything": "There is no kind &#39;everything&#39;.",
    "since=yesterday": "&#39;yesterday&#39; is not a time.",
    "since=1h&until=2h": "must be earlier",
    "cursor=nonsense": "a place in the list that does not exist",
    "errorCode=%00%27%3Cscript%3E": "No dead letters match",
    "odoo=mars&unknown=1&kind=dispatch": "No dead letters match",
}


def test_a_wrong_filter_is_words_on_the_page(staging: Staging, run: Run) -> None:
    stage = staging()
    run(dead_at(stage, 1))
    with signed_in(stage) as console:
        for query, words in WRONG.items():
            answer = console.get(f"{LETTERS}?{query}")
            assert (answer.status_code, words in answer.text) == (200, True), query
            assert "<script>" not in answer.text, query


def test_names_that_are_none_and_letters_that_are_over_are_pages_in_words(staging: Staging, run: Run) -> None:
    stage = staging()
    run(dead_at(stage, 1))
    with signed_in(stage) as console:
        for name in ("entry-99", "nonsense", "callback-0", "entry-" + "9" * 18, "x" * 60):
            assert console.get(f"{LETTERS}/{name}").status_code in {404, 422}, name
        token = {"csrf": csrf_of(console)}
        none = console.post(f"{LETTERS}/replay", data=token, headers={"Referer": str(console.base_url.join(LETTERS))})
        missing = console.post(f"{LETTERS}/entry-1/discard", data=token)
        console.post(f"{LETTERS}/entry-1/discard", data=token | {"reason": "a test"})
        over = console.get(f"{LETTERS}/entry-1")
        assert none.status_code == missing.status_code == 303
        assert (over.status_code, "it was discarded by ops at 20" in over.text) == (404, True)


def test_only_what_begins_like_an_image_is_ever_served_as_one(staging: Staging, run: Run, png: bytes) -> None:
    stage = staging()
    page = b"<html><body onload=alert(1)>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    for content in (png, page, svg, png[:200], b""):
        run(report_v2(stage, completed(make_event(), content, imageData=None), content))
    run(report(stage, failed({"requestId": str(uuid4()), "correlationId": str(uuid4())})))
    names = [letter["id"] for letter in run(letters(stage))][::-1]
    with signed_in(stage) as console:
        answers = [console.get(f"{LETTERS}/{name}/images/1") for name in names]
        pages = [console.get(f"{LETTERS}/{name}") for name in names]
        body = console.get(f"{LETTERS}/{names[1]}/body")
        for number in ("0", "2", "-1", "9" * 40, "x", "٣"):
            assert console.get(f"{LETTERS}/{names[0]}/images/{number}").status_code == 404

    assert [answer.status_code for answer in answers][:4] == [200, 404, 404, 200]
    assert (answers[0].content, answers[0].headers["content-type"]) == (png, "image/png")
    for answer in (answers[0], answers[3], body):
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert body.headers["content-disposition"].startswith("attachment")
    assert all(shown.status_code == 200 for shown in pages)
    assert "bytes are an HTML page, so they are not shown" in pages[1].text


def test_a_viewer_without_content_sees_neither_image_nor_message_and_acts_on_nothing(
    staging: Staging, run: Run, png: bytes
) -> None:
    stage = staging(console={"viewers_see_content": False})
    run(unknown_callback(stage, png))

    async def viewer() -> str:
        async with tables_of(stage) as database:
            return await Sessions(database).open("vera", Role.VIEWER, odoo=None, key_digest=None, note="a test")

    with httpx.Client(
        base_url=str(stage.api.base_url), cookies={"aigen_console": run(viewer())}, verify=False
    ) as console:
        shown = console.get(f"{LETTERS}/callback-1")
        hidden = [console.get(f"{LETTERS}/callback-1/{what}") for what in ("images/1", "body")]
        listed = console.get(LETTERS)
        tried = console.post(f"{LETTERS}/callback-1/replay", data={"csrf": csrf_of(console)})
    assert (shown.status_code, "hashValue" in shown.text, "hidden from viewers" in shown.text) == (200, False, True)
    assert [answer.status_code for answer in hidden] == [404, 404]
    assert "<button" not in listed.text.partition("<main")[2].partition("<dialog")[0]
    assert tried.status_code == 403


def test_an_operator_of_one_odoo_sees_and_handles_its_own_only(staging: Staging, run: Run) -> None:
    north = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "b", "api_key": "k"}}
    client = {"keys": ["key-of-ops"], "scopes": ["ops"], "odoo": "north"}
    stage = staging(odoos=north, clients=CLIENTS | {"ops": client})
    run(dead_at(stage, 1))
    run(dead_at(stage, 1, odoo="north"))
    with signed_in(stage) as console:
        listed = console.get(LETTERS).text
        other = console.get(f"{LETTERS}?odoo=default").text
        assert ("entry-2" in listed, "entry-1" in listed) == (True, False)
        assert "You see the dead letters of Odoo north only." in other
        assert console.get(f"{LETTERS}/entry-1").status_code == 404
        console.post(f"{LETTERS}/replay", data={"csrf": csrf_of(console), "selected": ["entry-1", "entry-2"]})
    assert run(notes(stage)) == [("ops", "replay", None)]
