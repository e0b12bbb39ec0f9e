"""The page that searches requests, and its export."""

import csv
import io
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect

from aigen_bridge.console.visitor import COOKIE
from aigen_bridge.domain.session import Role
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.sessions import Sessions
from console.operator import Operator, signed_in
from stage import UNREACHABLE, Stage, sqlalchemy_url

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
NORTH = {"odoos": {"north": UNREACHABLE["odoo"] | {"database": "north"}}}
SCRIPT = "<script>alert(1)</script> lighthouse"


def expect_rows(operator: Operator, *requests: dict[str, Any]) -> None:
    """Expects the list to show just these requests, in this order."""
    shown = operator.page.locator("tbody tr td:nth-child(2)")
    expect(shown).to_have_text([request["requestId"][:8] for request in requests])


def test_a_search_is_found_shared_and_walked_by_keyboard(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(**NORTH)
    asked = [run(stage.ask(prompt=prompt)) for prompt in ("a red fox", SCRIPT, "The fox, again")]
    operator = visiting(stage)
    operator.open("/requests")
    expect_rows(operator, *reversed(asked))
    operator.expect_text("<script>alert(1)</script>")

    operator.page.keyboard.press("/")
    operator.page.keyboard.type("FOX red")
    operator.page.keyboard.press("Enter")
    expect(operator.page).to_have_url(f"{operator.url}/console/requests?q=FOX+red")
    expect_rows(operator, asked[0])

    operator.page.fill("#q", "fox")
    operator.page.select_option("#status", "queued")
    operator.page.get_by_role("button", name="Search", exact=True).click()
    expect(operator.page).to_have_url(f"{operator.url}/console/requests?q=fox&status=queued")
    shared = operator.page.url
    operator.page.goto(shared)
    expect_rows(operator, asked[2], asked[0])
    operator.assert_accessible()
    operator.snap("requests")

    operator.page.keyboard.press("j")
    operator.page.keyboard.press("j")
    operator.page.keyboard.press("k")
    operator.page.keyboard.press("j")
    operator.page.keyboard.press("Enter")
    expect(operator.page).to_have_url(f"{operator.url}/console/requests/{asked[0]['requestId']}")


def test_it_fits_a_phone_and_the_dark(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(**NORTH)
    run(stage.ask(prompt=f"{SCRIPT} {'long' * 60}"))
    operator = visiting(stage, phone=True, dark=True)
    operator.open("/requests?createdAfter=2h")
    operator.expect_text("lighthouse")
    operator.assert_nothing_sticks_out()
    operator.assert_accessible()
    operator.snap("requests-phone")
    operator.open("/requests?q=zebra&createdBefore=yesterday")
    operator.expect_text("The time until which is 'yesterday'.")
    operator.assert_nothing_sticks_out()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("userId=anna", "The person is &#39;anna&#39;. Write a UUID"),
        ("modelId=%3Cscript%3E", "The model is &#39;&lt;script&gt;&#39;."),
        ("createdAfter=0000-99-99", "The time from which is &#39;0000-99-99&#39;."),
        ("createdBefore=9999999999w", "The time until which is"),
        ("createdAfter=999999w", "The time from which is"),
        ("status=lost", "The status is &#39;lost&#39;."),
        ("cursor=x", "The list has no such page."),
        ("cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgIngiXQ", "The list has no such page."),
        (f"q={'x' * 4001}", "The search has 4001 characters"),
    ],
)
def test_what_is_wrong_in_the_address_is_words_on_the_page(staging: Staging, query: str, words: str) -> None:
    with signed_in(staging()) as console:
        for path in ("/console/requests", "/console/requests.csv"):
            answer = console.get(f"{path}?{query}")
            assert (answer.status_code, words in answer.text) == (422, True), answer.text[-3000:]


def test_odd_texts_find_nothing_and_say_so(staging: Staging, run: Run) -> None:
    stage = staging()
    run(stage.ask(prompt="a fox"))
    with signed_in(stage) as console:
        for q in ("%", "'", "!&|", "🦊", "\0", "zebra", "x" * 4000, "fox zebra", "\\"):
            answer = console.get("/console/requests", params={"q": q})
            assert (answer.status_code, "No request matches" in answer.text) == (200, True), q
        for name in ("errorCode", "odoo", "userId", "campaignId"):
            value = str(uuid4()) if name.endswith("Id") else "nobody"
            assert "No request matches" in console.get("/console/requests", params={name: value}).text
        blank = console.get("/console/requests?q=fox&status=&userId=+&odoo=")
        assert blank.headers["location"] == "/console/requests?q=fox"


def test_older_requests_are_on_the_next_page(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging()
    oldest, *newest = [run(stage.ask(prompt="a fox")) for _ in range(51)]
    operator = visiting(stage)
    operator.open("/requests?q=fox")
    expect_rows(operator, *reversed(newest))
    operator.page.get_by_role("link", name="Older").click()
    expect_rows(operator, oldest)
    operator.page.get_by_role("link", name="Newest").click()
    expect_rows(operator, *reversed(newest))


def test_the_export_has_what_is_shown_and_no_formula(staging: Staging, run: Run) -> None:
    stage = staging()
    prompts = ["=1+1", "+cmd", "-2", "@SUM(A1)", "  =HYPERLINK()", "\t=1", 'quoted " and, comma', "plain"]
    asked = [run(stage.ask(prompt=prompt)) for prompt in prompts]
    with signed_in(stage) as console:
        answer = console.get("/console/requests.csv?status=queued")
        assert console.get("/console/requests.csv?q=zebra").text.count("\n") == 1
    assert answer.headers["content-disposition"].startswith('attachment; filename="requests-')
    assert answer.text.startswith("\ufeff")
    lines = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [line["request_id"] for line in lines] == [each["requestId"] for each in asked[::-1]]
    assert [line["prompt"] for line in lines[::-1]] == [f"'{prompt}" for prompt in prompts[:6]] + prompts[6:]


def test_a_long_export_ends_at_its_limit(staging: Staging, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigen_bridge.console.pages.requests.EXPORTED_MAX", 5)
    monkeypatch.setattr("aigen_bridge.console.pages.requests.EXPORTED_AT_ONCE", 2)
    stage = staging()
    asked = [run(stage.ask())["requestId"] for _ in range(7)]
    with signed_in(stage) as console:
        text = console.get("/console/requests.csv").text.removeprefix("\ufeff")
    assert [line["request_id"] for line in csv.DictReader(io.StringIO(text))] == asked[:1:-1]


def test_a_viewer_without_content_sees_no_prompt_and_cannot_guess_it(staging: Staging, run: Run) -> None:
    stage = staging(console={"viewers_see_content": False})
    asked = run(stage.ask(prompt="cafe secret"))
    with viewer(stage, run) as console:
        found = console.get("/console/requests").text
        assert (asked["requestId"] in found, "secret" in found) == (True, False)
        assert "secret" not in console.get("/console/requests.csv").text
        assert "Prompts are hidden from you" in console.get("/console/requests?q=secret").text
        assert asked["requestId"] not in console.get("/console/requests?q=cafe").text
        assert asked["requestId"] in console.get("/console/requests", params={"q": asked["requestId"][:9]}).text


def test_an_operator_of_one_odoo_finds_no_request_of_another(staging: Staging, run: Run) -> None:
    stage = staging(**NORTH)
    asked = run(stage.ask(prompt="a fox"))
    with viewer(stage, run, odoo="north") as console:
        for path in ("/console/requests", "/console/requests.csv"):
            assert asked["requestId"] not in console.get(f"{path}?q=fox").text
            assert "You see the requests of Odoo north only." in console.get(f"{path}?odoo=default").text


def viewer(stage: Stage, run: Run, odoo: str | None = None) -> httpx.Client:
    """Returns an HTTP client with the session of a viewer."""
    return httpx.Client(base_url=str(stage.api.base_url), cookies={COOKIE: run(_session(stage, odoo))}, verify=False)


async def _session(stage: Stage, odoo: str | None) -> str:
    url = sqlalchemy_url(stage.settings.database_url.get_secret_value())
    database = Database(open_engine(url, pool_size=1, name="test"))
    try:
        return await Sessions(database).open("vera", Role.VIEWER, odoo=odoo, key_digest=None, note="a test")
    finally:
        await database.close()
