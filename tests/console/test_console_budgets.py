"""Budgets by mouse: what is left, the same rules as the API, and two operators at one budget."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from aigen_bridge.console import budget_form
from aigen_bridge.console.budget_list import share
from aigen_bridge.console.editing import Original
from aigen_bridge.console.form import Form
from aigen_bridge.console.render import money
from aigen_bridge.contracts import examples
from aigen_bridge.domain.money import MOST, amount_text, parse_amount
from console.access import NORTH_OPS, TWO_ODOOS, as_viewer, call, hidden
from console.operator import Operator, csrf_of, key_of, signed_in
from stage import REQUESTS, Stage, make_event

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
MODEL_ID = examples.REQUESTED["modelId"]
API = "/api/v1/ops/budgets"
TERMS: dict[str, Any] = {"limit": "100", "currency": "USD", "period": "month"}
FORM = {"limit": "100", "currency": "USD", "period": "month", "kind": "hard"}
NEW_ADDON, OLD_ADDON = "1.5.0", "1.4.0"
HOSTILE = "<script>alert(1)</script>"


def ask(stage: Stage, addon: str = NEW_ADDON, **fields: Any) -> None:
    """Requests an image of a model with the price 0.035 USD, as an Odoo with this addon."""
    headers = {"X-API-Key": key_of("odoo"), "X-Aigen-Addon": addon}
    event = make_event(**{"negativePrompt": None} | fields)
    answer = httpx.post(f"{stage.api.base_url}{REQUESTS}", json=event, headers=headers, timeout=30, verify=False)
    assert answer.status_code == 202, answer.text


def put_model(stage: Stage, name: str = "Watercolor") -> None:
    entry = {"name": name, "provider": examples.MODEL["provider"]}
    price = {"amount": "0.035", "currency": "USD", "per": "image"}
    call(stage, "PUT", f"/api/v1/ops/models/{MODEL_ID}", json=entry | {"price": price})


def test_an_operator_adds_a_budget_sees_what_is_left_changes_and_removes_it(
    staging: Staging, visiting: Visiting
) -> None:
    stage = staging()
    put_model(stage, f"Paper {HOSTILE}")
    ask(stage)
    call(stage, "PUT", f"{API}/everything", json=TERMS | {"limit": "0.04", "period": "day", "kind": "soft"})
    call(stage, "PUT", f"{API}/tiny", json=TERMS | {"limit": "0.01", "match": {"userId": str(uuid4())}})
    operator = visiting(stage)
    page = operator.page
    operator.open("/budgets")
    page.get_by_role("link", name="Add a budget").click()
    page.get_by_label("Name").fill("marketing")
    page.get_by_label("Limit").fill("1,5")
    page.get_by_label("User id").fill("me")
    page.get_by_role("button", name="Save").click()
    for wrong in ("Limit", "Currency", "User id"):
        expect(page.locator("#problem").get_by_role("link", name=wrong, exact=True)).to_be_visible()
    operator.snap("budget-refused")
    page.get_by_label("Limit").fill("0.1")
    page.get_by_label("Currency").select_option("USD")
    page.get_by_label("User id").fill("")
    page.get_by_label("Model").select_option(MODEL_ID)
    page.get_by_label("Contact").fill(f"ask {HOSTILE}")
    page.get_by_role("button", name="Save").click()

    expect(page.locator(".notice.done")).to_contain_text("The budget marketing is saved.")
    row = page.locator("tr", has_text="marketing")
    for shown in (
        f"model Paper {HOSTILE}",
        f"ask {HOSTILE}",
        "0.00 spent, 0.035 reserved",
        "of 0.10 USD a month",
        "0.065 USD",
    ):
        expect(row).to_contain_text(shown)
    expect(page.locator("tr", has_text="everything")).to_contain_text("87 % used")
    operator.assert_accessible()
    operator.snap("budgets")
    page.get_by_role("link", name="Most used first").click()
    names = page.locator("td a.entry-name")
    expect(names).to_have_text(["everything", "marketing", "tiny"])
    page.get_by_label("Find budgets").fill("paper model")
    page.get_by_role("button", name="Find").click()
    expect(names).to_have_text(["marketing"])
    page.get_by_role("link", name="marketing").click()
    page.get_by_label("Limit").fill("0.035")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("tr", has_text="marketing")).to_contain_text("nothing left")
    page.locator("tr", has_text="marketing").get_by_role("button", name="Remove").click()
    operator.press_in_dialog("Remove", reason="over")
    expect(page.locator(".notice.done")).to_contain_text("The budget marketing is removed.")


def test_the_list_reads_well_on_a_phone_in_the_dark(staging: Staging, visiting: Visiting) -> None:
    stage = staging()
    put_model(stage)
    ask(stage)
    call(stage, "PUT", f"{API}/marketing", json=TERMS | {"contact": "marketing@example.com"})
    call(
        stage, "PUT", f"{API}/a-{'very-' * 11}long", json=TERMS | {"limit": "123456789012.123456789", "period": "total"}
    )
    operator = visiting(stage, dark=True, phone=True)
    operator.open("/budgets")
    operator.assert_nothing_sticks_out()
    operator.snap("budgets-phone-dark")
    operator.page.get_by_role("link", name="marketing").click()
    call(stage, "PUT", f"{API}/marketing", json=TERMS | {"limit": "50", "contact": HOSTILE})
    operator.page.get_by_role("button", name="Save").click()
    expect(operator.page.locator("#problem")).to_contain_text("Somebody changed it while you worked on it")
    operator.assert_accessible()
    operator.assert_nothing_sticks_out()
    operator.snap("budget-stale-phone-dark")
    operator.page.get_by_role("link", name="Who did what", exact=True).last.click()
    expect(operator.page.locator(".changes", has_text="100.00").first).to_contain_text("50.00")


def test_while_an_odoo_has_an_older_addon_the_page_says_so_and_offers_to_save_all_the_same(
    staging: Staging, visiting: Visiting
) -> None:
    stage = staging()
    ask(stage, OLD_ADDON)
    operator = visiting(stage)
    page = operator.page
    operator.open("/budgets/_new")
    page.get_by_label("Name").fill("each-day")
    page.get_by_label("Limit").fill("20")
    page.get_by_label("Currency").select_option("EUR")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problem")).to_contain_text("default has 1.4.0")
    operator.assert_accessible()
    operator.snap("budget-old-addon")
    page.get_by_label("Save it all the same").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.done")).to_contain_text("The budget each-day is saved.")


def test_a_stale_form_says_what_changed_and_overwrites_only_when_it_is_sent_again(staging: Staging) -> None:
    stage = staging()
    call(stage, "PUT", f"{API}/marketing", json=TERMS)
    path = "/console/budgets/marketing"
    with signed_in(stage) as console:
        seen = hidden(console.get(path).text, "seen")
        form = FORM | {"csrf": csrf_of(console), "seen": seen, "contact": "Ada", "limit": "200"}
        call(stage, "PUT", f"{API}/marketing", json=TERMS | {"limit": "50"})
        for action in ("", "/remove"):
            stale = console.post(f"{path}{action}", data=form)
            assert stale.status_code == (303 if action else 409)
        stale = console.post(path, data=form)
        assert "<strong>50.00</strong>" in stale.text
        assert ">100.00</td>" in stale.text
        assert 'value="200"' in stale.text
        assert call(stage, "GET", f"{API}/marketing").json()["limit"] == "50.00"
        assert console.post(path, data=form | {"seen": hidden(stale.text, "seen")}).status_code == 303
        assert call(stage, "GET", f"{API}/marketing").json()["limit"] == "200.00"
        call(stage, "DELETE", f"{API}/marketing")
        gone = console.post(path, data=form)
        assert (gone.status_code, "Somebody removed it" in gone.text) == (409, True)
        new = form | {"seen": hidden(gone.text, "seen"), "name": "marketing"}
        assert console.post("/console/budgets/_new", data=new).status_code == 303
        twice = console.post("/console/budgets/_new", data=new)
        assert (twice.status_code, "Somebody added it" in twice.text) == (409, True)


def test_an_operator_of_one_odoo_sees_and_changes_only_its_budgets(staging: Staging, run: Callable[..., Any]) -> None:
    stage = staging(**TWO_ODOOS)
    call(stage, "PUT", f"{API}/all", json=TERMS)
    call(stage, "PUT", f"{API}/theirs", json=TERMS | {"match": {"odoo": "north"}})
    with signed_in(stage, NORTH_OPS) as console:
        assert re.findall(r'class="entry-name" href="[^"]*">([^<]+)<', console.get("/console/budgets").text) == [
            "theirs"
        ]
        assert console.get("/console/budgets/all").status_code == 404
        form = FORM | {"csrf": csrf_of(console), "seen": Original().text()}
        page = console.get("/console/budgets/_new").text
        assert re.findall(r'(?s)name="match.odoo".*?</select>', page)[0].count("<option") == 1
        for odoo, status in (("", 422), ("default", 422), ("north", 303)):
            assert (
                console.post("/console/budgets/_new", data=form | {"name": "ours", "match.odoo": odoo}).status_code
                == status
            )
        taken = console.post("/console/budgets/_new", data=form | {"name": "all", "match.odoo": "north"})
        assert (taken.status_code, "which you may not see" in taken.text) == (409, True)
        console.post("/console/budgets/all/remove", data=form)
    with as_viewer(stage, run) as viewer:
        page = viewer.get("/console/budgets").text
        assert ("theirs" in page, "Remove" in page, "Add a budget" in page) == (True, False, False)
        viewer.post("/console/budgets/all/remove", data={"csrf": csrf_of(viewer)})
    assert len(call(stage, "GET", API).json()["items"]) == 3


def test_names_and_orders_that_are_none_are_words_on_the_page(staging: Staging) -> None:
    with signed_in(staging()) as console:
        form = FORM | {"csrf": csrf_of(console), "seen": Original().text()}
        for name in ("Marketing", "", "_new", "a" * 64, "\0", "new\n"):
            answer = console.post("/console/budgets/_new", data=form | {"name": name})
            assert (answer.status_code, ">Name</a>" in answer.text) == (
                (422, True) if name != "new\n" else (303, False)
            )
        assert console.get("/console/budgets/no-such").status_code == 404
        assert console.get("/console/budgets/%00").status_code == 422
        assert "No budget has these words" in console.get("/console/budgets?q=%00zzz&sort=colour").text


AMOUNTS = st.decimals(min_value=0, max_value=MOST, places=9, allow_nan=False, allow_infinity=False)


@given(AMOUNTS)
def test_a_limit_stays_exact_from_the_form_to_the_page(amount: Decimal) -> None:
    fields = FORM | {"limit": f"{amount:f}", "seen": Original().text()}
    budget = budget_form.parse(budget_form.sent(Form(tuple(fields.items())))).budget("marketing", "UTC")
    assert budget.limit == amount
    shown = money(budget.limit)
    assert shown.replace("\N{NARROW NO-BREAK SPACE}", "") == amount_text(amount)
    assert parse_amount(amount_text(amount)) == amount


@given(AMOUNTS, AMOUNTS)
def test_a_bar_never_shows_more_than_there_is_and_all_only_when_all_is_used(part: Decimal, whole: Decimal) -> None:
    found = share(part, whole)
    assert isinstance(found, Decimal)
    assert 0 <= found <= 100
    assert (found == 100) == (part >= whole)
    assert part >= whole or found * whole <= part * 100
