"""The page that says who did what."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from aigen_bridge.contracts import examples
from console.operator import Operator, signed_in
from stage import CLIENTS, REQUESTS, Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
SCRIPT = "<script>alert(1)</script>"
MODEL = f"/api/v1/ops/models/{uuid4()}"


def acted(stage: Stage, run: Run) -> str:
    """Puts a model, renames it, and cancels a request. Returns the request's id."""
    asked = run(stage.ask())["requestId"]
    for model in (examples.MODEL, examples.MODEL | {"name": SCRIPT}):
        assert run(stage.api.put(MODEL, json=model, headers=stage.as_client("ops"))).status_code == 200
    assert run(stage.api.post(f"{REQUESTS}/{asked}/cancel", headers=stage.as_client("ops"))).status_code == 200
    return str(asked)


def test_actions_show_who_changed_what_and_can_be_filtered(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging()
    operator = visiting(stage)
    operator.open("/operations")
    operator.expect_text("sign-in")
    asked = acted(stage, run)
    operator.open("/operations")
    lines = operator.page.locator("tbody tr").all_inner_texts()
    assert "cancel" in lines[0]
    assert "status: queued → cancelled" in lines[0]
    assert f"name: {examples.MODEL['name']} → {SCRIPT}" in lines[1]
    operator.assert_accessible()
    operator.snap("operations")

    operator.page.get_by_role("link", name="cancel", exact=True).click()
    expect(operator.page).to_have_url(f"{operator.url}/console/operations?action=cancel")
    operator.page.fill("#client", "ops")
    operator.page.get_by_role("button", name="Search", exact=True).click()
    expect(operator.page).to_have_url(f"{operator.url}/console/operations?client=ops&action=cancel")
    expect(operator.page.locator("tbody tr")).to_have_count(1)
    operator.page.fill("#requestId", asked)
    operator.page.select_option("#action", "put")
    operator.page.get_by_role("button", name="Search", exact=True).click()
    expect(operator.page.locator(".empty")).to_contain_text("No action matches")


def test_the_page_fits_a_phone_and_the_dark(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging()
    acted(stage, run)
    operator = visiting(stage, phone=True, dark=True)
    operator.open("/operations?since=2h")
    operator.assert_nothing_sticks_out()
    operator.assert_accessible()
    operator.snap("operations-phone")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("requestId=1", "The request is &#39;1&#39;. Write a UUID"),
        ("since=soon", "The time from which is &#39;soon&#39;."),
        ("action=%3Cscript%3E", "The action is &#39;&lt;script&gt;&#39;. Write adopt"),
        ("cursor=7", "The list has no such page."),
    ],
)
def test_what_is_wrong_in_the_address_is_words_on_the_page(staging: Staging, query: str, words: str) -> None:
    with signed_in(staging()) as console:
        answer = console.get(f"/console/operations?{query}")
    assert (answer.status_code, words in answer.text) == (422, True)


def test_odd_texts_find_nothing_and_older_actions_follow(staging: Staging) -> None:
    with signed_in(staging()) as console:
        for name in ("client", "target", "q"):
            for text in ("%", "'", "\0", SCRIPT, "🦊"):
                answer = console.get("/console/operations", params={name: text})
                assert (answer.status_code, "No action matches" in answer.text) == (200, True)


def test_an_operator_of_one_odoo_sees_what_concerns_it(staging: Staging, run: Run) -> None:
    stage = staging(clients=CLIENTS | {"ops": CLIENTS["ops"] | {"odoo": "default"}})
    run(stage.api.put(MODEL, json=examples.MODEL, headers=stage.as_client("ops")))
    with signed_in(stage) as console:
        found = console.get("/console/operations").text
    assert ("sign-in" in found, MODEL.rpartition("/")[2] in found) == (True, False)
