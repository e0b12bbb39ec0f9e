"""The page of destinations, and the banner that every page has while something is paused."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import N8N, BreakerConfig
from aigen_bridge.domain.session import Role
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.destination_changes import ChangeableDestinations
from aigen_bridge.store.sessions import Sessions
from console.operator import Operator, csrf_of, signed_in
from outages import rows, write
from stage import CLIENTS, KEYS, UNREACHABLE, Stage, make_settings

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
PATH = "/console/destinations"
NORTH: dict[str, Any] = {
    "odoos": {"north": {**UNREACHABLE["odoo"], "concurrency": 8}},
    "clients": CLIENTS | {"north": {"keys": ["key-of-north"], "scopes": ["ops"], "odoo": "north"}},
}
SCRIPT = "<script>alert(1)</script>"
AWAY = """
    INSERT INTO destinations (name, failures, opened_at, probe_at, error_code, error_detail)
    VALUES ('odoo:north', 20, now() - interval '5 minutes', now() + interval '4 seconds', 'odoo_http_502',
        'Odoo answered 502 <script>alert(1)</script>.')
"""


@pytest.fixture
def store(database_url: str, run: Run) -> Any:
    """Direct access to the tables, in the loop of the stage."""
    opened = Database(
        open_engine(make_settings(database_url).database_url.get_secret_value(), pool_size=2, name="test")
    )
    yield opened
    run(opened.close())


def card(operator: Operator, label: str) -> Any:
    """The part of the page that is about this destination."""
    return operator.page.locator("article").filter(has=operator.page.get_by_role("heading", name=label, exact=True))


def press(operator: Operator, label: str, button: str) -> None:
    card(operator, label).get_by_role("button", name=button).click()


def test_an_operator_pauses_limits_and_resumes_by_mouse_and_every_page_says_so(
    staging: Staging, visiting: Visiting, run: Run, store: Database
) -> None:
    stage = staging(**NORTH)
    run(stage.ask())
    run(write(store, AWAY))
    operator = visiting(stage)
    operator.open("/destinations")
    expect(card(operator, "N8N")).to_contain_text("ok")
    expect(card(operator, "Odoo north")).to_contain_text("Odoo answered 502 " + SCRIPT)
    operator.assert_accessible()
    operator.snap("destinations")

    press(operator, "N8N", "Pause…")
    operator.assert_accessible()
    operator.press_in_dialog("Pause", reason="")
    expect(operator.page.locator("dialog[open]")).to_be_visible()  # the browser asks for the reason
    operator.press_in_dialog("Pause", reason=f"An upgrade {SCRIPT}")
    expect(operator.page.locator(".notice.done")).to_contain_text("N8N is paused.")
    expect(card(operator, "N8N")).to_contain_text(f"by ops: “An upgrade {SCRIPT}”")
    expect(operator.page.locator("#banner")).to_contain_text("N8N is paused since")
    operator.open("/keys")
    expect(operator.page.locator("#banner")).to_contain_text(f"An upgrade {SCRIPT}")
    operator.page.locator("#banner a").first.click()

    press(operator, "Odoo", "Limit…")
    operator.press_in_dialog("Set limit", concurrency="65")
    expect(operator.page.locator("[role=alert]")).to_contain_text("1 to 64")
    press(operator, "Odoo", "Limit…")
    operator.press_in_dialog("Set limit", concurrency="1", reason="It is slow.")
    expect(card(operator, "Odoo")).to_contain_text("set by hand")
    operator.assert_accessible()
    operator.snap("destinations-paused")
    press(operator, "Odoo", "Limit…")
    operator.press_in_dialog("Set limit", concurrency="")
    expect(operator.page.locator(".notice.done")).to_contain_text("The limit of Odoo is 2.")

    press(operator, "N8N", "Resume…")
    expect(operator.page.locator("dialog[open]")).to_contain_text("sent at once: 1.")
    operator.press_in_dialog("Resume", reason="Done.")
    expect(operator.page.locator(".notice.done")).to_contain_text("N8N is resumed.")
    expect(operator.page.locator("#banner .notice")).to_have_count(0)
    actions = run(rows(store, "SELECT client, action, note FROM operations WHERE action <> 'sign-in' ORDER BY id"))
    assert [row[:2] for row in actions] == [("ops", action) for action in ("pause", "limit", "limit", "resume")]
    assert actions[-1][2] == "Done."


def test_two_operators_on_one_page_learn_what_the_other_did(
    staging: Staging, visiting: Visiting, run: Run, store: Database
) -> None:
    operator = visiting(staging())
    others = ChangeableDestinations(store, {N8N: BreakerConfig()})
    operator.open("/destinations")
    press(operator, "N8N", "Pause…")
    run(others.pause("n8n", OperatorAction("oidc:kim", "First.")))
    operator.press_in_dialog("Pause", reason="Second.")
    expect(operator.page.locator("[role=alert]")).to_contain_text("was paused already")
    expect(operator.page.locator("[role=alert]")).to_contain_text("oidc:kim: “First.”. Nothing was changed.")

    press(operator, "N8N", "Resume…")
    run(others.resume("n8n", OperatorAction("oidc:kim", None)))
    run(others.pause("n8n", OperatorAction("oidc:kim", "Another one.")))
    operator.press_in_dialog("Resume")
    expect(operator.page.locator("[role=alert]")).to_contain_text("resumed and paused again")
    expect(card(operator, "N8N")).to_contain_text("Another one.")
    press(operator, "N8N", "Resume…")
    run(others.resume("n8n", OperatorAction("oidc:kim", None)))
    operator.press_in_dialog("Resume")
    expect(operator.page.locator("[role=alert]")).to_contain_text("was resumed already")

    press(operator, "N8N", "Limit…")
    run(others.limit("n8n", 7, OperatorAction("oidc:kim", None)))
    operator.press_in_dialog("Set limit", concurrency="9")
    expect(operator.page.locator("[role=alert]")).to_contain_text("has changed the limit of N8N to 7")
    expect(card(operator, "N8N")).to_contain_text("7")
    run(others.pause("n8n", OperatorAction("oidc:kim", "It shows by itself.")))
    expect(card(operator, "N8N")).to_contain_text("It shows by itself.")  # without loading the page


def test_it_fits_a_phone_and_is_readable_in_the_dark(
    staging: Staging, visiting: Visiting, run: Run, store: Database
) -> None:
    stage = staging(**NORTH)
    run(write(store, AWAY))
    paused = "UPDATE destinations SET paused_at = now(), paused_by = :by, pause_reason = :why WHERE name = 'odoo:north'"
    run(write(store, paused, by="oidc:" + "k" * 80, why="unbreakable" * 40))
    operator = visiting(stage, dark=True, phone=True)
    operator.open("/destinations")
    expect(operator.page.locator("#banner .notice")).to_be_visible()
    operator.assert_nothing_sticks_out()
    operator.assert_accessible()
    operator.snap("destinations-phone")


def test_an_operator_of_one_odoo_and_a_viewer_change_nothing_that_is_not_theirs(
    staging: Staging, run: Run, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEYS, "north", "key-of-north")
    stage = staging(**NORTH)
    with signed_in(stage, "north") as console:
        page, csrf = console.get(PATH).text, csrf_of(console)
        assert "Odoo north" in page
        assert f"{PATH}/odoo/" not in page
        assert f"{PATH}/n8n/pause" not in page
        for name in ("n8n", "odoo", "odoo:default", "%00", "nowhere"):
            for action in ("pause", "resume", "limit"):
                fields = {"csrf": csrf, "reason": "Mine.", "concurrency": "1"}
                assert console.post(f"{PATH}/{name}/{action}", data=fields).status_code == 303
        console.post(f"{PATH}/odoo:north/limit", data={"csrf": csrf, "concurrency": "3", "seen": "8"})
        console.post(f"{PATH}/odoo:north/limit", data={"csrf": csrf, "concurrency": "many", "seen": "3"})
    assert run(rows(store, "SELECT target FROM operations WHERE action IN ('pause', 'resume', 'limit')")) == [
        ("destination odoo:north",)
    ]


def test_a_viewer_sees_what_is_paused_and_changes_nothing(staging: Staging, run: Run, store: Database) -> None:
    stage = staging()
    run(write(store, "UPDATE destinations SET paused_at = now(), paused_by = 'kim', pause_reason = 'Upgrade.'"))
    token = run(Sessions(store).open("someone", Role.VIEWER, odoo=None, key_digest=None, note="a test"))
    with httpx.Client(base_url=str(stage.api.base_url), cookies={"aigen_console": token}, verify=False) as console:
        page = console.get(PATH).text
        assert "by kim: “Upgrade.”" in page
        assert 'data-opens="resume"' not in page
        assert "Upgrade." in console.get("/console/banner").text
        refused = console.post(f"{PATH}/n8n/resume", data={"csrf": csrf_of(console)})
        assert refused.status_code == 403
    assert run(rows(store, "SELECT count(*) FROM destinations WHERE paused_at IS NOT NULL")) != [(0,)]


def test_nobody_acts_without_the_token_of_the_form_or_a_reason(staging: Staging, run: Run, store: Database) -> None:
    with signed_in(staging()) as console:
        csrf = csrf_of(console)
        assert console.post(f"{PATH}/n8n/pause", data={"reason": "x"}).status_code == 403
        assert console.post(f"{PATH}/n8n/pause", data={"csrf": csrf, "reason": "  "}).status_code == 303
        assert "The reason is missing." in console.get(PATH).text
        assert console.get(f"{PATH}/n8n/pause").status_code in {404, 405}
    assert run(rows(store, "SELECT count(*) FROM destinations WHERE paused_at IS NOT NULL")) == [(0,)]


def test_the_image_store_has_a_card_for_operators_of_all_odoos(staging: Staging, run: Run, store: Database) -> None:
    stage = staging(**NORTH)
    with signed_in(stage) as console, signed_in(stage, "north") as north:
        assert "Image store" not in console.get(PATH).text
        run(write(store, "UPDATE image_store SET location = 's3://bucket'"))
        assert "s3://bucket" in console.get(PATH).text
        run(
            write(
                store,
                "WITH i AS (INSERT INTO incidents (cause, times) VALUES ('image_store_down', 1) RETURNING id)"
                " INSERT INTO occurrences (incident_id, detail) SELECT id, 'no answer <script>' FROM i",
            )
        )
        shown = console.get(PATH).text
        assert "no answer &lt;script&gt;" in shown
        assert "deliveries of images in the store are held" in shown
        assert "Image store" not in north.get(PATH).text
        run(write(store, "UPDATE image_store SET location = NULL"))
        assert "no answer &lt;script&gt;" in console.get(PATH).text, "it was away from the beginning"
        overview = console.get("/console").text
    assert "aigenimagestoreaway" in overview, "the incident leads to its entry of the runbook"


def test_a_viewer_without_content_does_not_see_why_the_image_store_is_away(
    staging: Staging, run: Run, store: Database
) -> None:
    stage = staging(console={"viewers_see_content": False})
    opened = """WITH i AS (INSERT INTO incidents (cause, times) VALUES ('image_store_down', 1) RETURNING id)
        INSERT INTO occurrences (incident_id, detail) SELECT id, 'a secret folder' FROM i"""
    run(write(store, opened))
    token = run(Sessions(store).open("vera", Role.VIEWER, odoo=None, key_digest=None, note="a test"))
    with httpx.Client(base_url=str(stage.api.base_url), cookies={"aigen_console": token}, verify=False) as console:
        shown = console.get(PATH).text
    assert ("Away since" in shown, "a secret folder" in shown) == (True, False)
