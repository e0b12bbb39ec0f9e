"""The catalogue of models by mouse: what is saved, what is refused, and two operators at one entry."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from aigen_bridge.console import model_form
from aigen_bridge.console.editing import Original, differences
from aigen_bridge.console.form import Form
from aigen_bridge.contracts import examples
from aigen_bridge.domain.money import amount_text
from console.access import NORTH_OPS, TWO_ODOOS, as_viewer, call, hidden, opened
from console.operator import Operator, csrf_of, signed_in
from outages import rows, write
from stage import Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
MODEL_ID = examples.REQUESTED["modelId"]
PATH, API = f"/console/models/{MODEL_ID}", f"/api/v1/ops/models/{MODEL_ID}"
READ = f"/api/v1/influencegen/models/{MODEL_ID}"
HOSTILE = "<script>alert(1)</script>"
FORM: dict[str, str] = {
    "name": "Ink",
    "provider.kind": "fal",
    "provider.endpoint": "https://queue.fal.run/fal-ai/flux",
    "price.amount": "0.035",
    "price.currency": "USD",
    "price.per": "image",
    "supports.seed": "on",
    "active": "on",
}


def test_an_operator_adds_corrects_deactivates_and_removes_a_model(
    staging: Staging, visiting: Visiting, run: Callable[..., Any], database_url: str
) -> None:
    stage = staging()
    operator = visiting(stage)
    page = operator.page
    operator.open("/models")
    operator.expect_text("No models yet")
    page.get_by_role("link", name="Add a model").click()
    page.get_by_label("Name", exact=True).fill(f"Ink {HOSTILE}")
    page.get_by_label("Endpoint").fill("https://queue.fal.run/fal-ai/flux")
    page.get_by_label("Price (optional)").fill("0,035")
    page.get_by_label("Least steps").fill("ten")
    page.get_by_label("Resolutions").fill("1024x1024, 1152x896")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("#problem")).to_contain_text("Nothing was saved.")
    for wrong in ("Price", "Currency", "Least steps", "Most steps"):
        expect(page.locator("#problem").get_by_role("link", name=wrong, exact=True)).to_be_visible()
    assert page.get_by_label("Price (optional)").get_attribute("aria-invalid") == "true"
    assert page.get_by_label("Name", exact=True).input_value() == f"Ink {HOSTILE}"
    operator.assert_accessible()
    operator.snap("models-refused")
    page.get_by_label("Price (optional)").fill("0.035")
    page.get_by_label("Currency").select_option("USD")
    page.get_by_label("Least steps").fill("")
    page.get_by_role("button", name="Save").click()

    expect(page.locator(".notice.done")).to_contain_text("is saved")
    operator.expect_text("0.035 USD")
    operator.snap("models")
    page.get_by_role("button", name="Deactivate").click()
    operator.press_in_dialog("Deactivate", reason="too slow")
    expect(page.locator(".badge", has_text="not offered")).to_be_visible()
    page.get_by_role("button", name="Activate").click()
    operator.press_in_dialog("Activate")
    expect(page.locator(".badge", has_text="active")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    assert HOSTILE in page.inner_text("dialog[open]")
    operator.press_in_dialog("Remove", reason="a test")
    expect(page.locator(".notice.done")).to_contain_text("is removed")
    recorded = run(_recorded(database_url))
    assert recorded == [
        ("ops", "put", None),
        ("ops", "put", "too slow"),
        ("ops", "put", None),
        ("ops", "remove", "a test"),
    ]


async def _recorded(database_url: str) -> list[tuple[Any, ...]]:
    async with opened(database_url) as database:
        return await rows(
            database, "SELECT client, action, note FROM operations WHERE target LIKE 'model%' ORDER BY id"
        )


def test_the_fields_and_the_json_of_an_entry_are_two_views_of_one(staging: Staging, visiting: Visiting) -> None:
    stage = staging()
    call(stage, "PUT", API, json=examples.MODEL)
    before = call(stage, "GET", READ).json()
    operator = visiting(stage, dark=True, phone=True)
    page = operator.page
    operator.open("/models")
    operator.snap("models-phone-dark")
    page.get_by_role("link", name="Watercolor").click()
    expect(page.get_by_text("1 LoRA: kept as they are.")).to_be_visible()
    operator.snap("model-phone-dark")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.done")).to_contain_text("nothing was different")
    assert call(stage, "GET", READ).json() == before

    operator.open(f"/models/{MODEL_ID}?as=json")
    entry = json.loads(page.get_by_label("Entry").input_value())
    assert entry == {key: value for key, value in before.items() if key not in {"modelId", "updatedAt"}}
    page.get_by_label("Entry").fill(json.dumps(entry | {"price": {"amount": 0.1, "currency": "USD", "per": "image"}}))
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problem")).to_contain_text("price.amount")
    expect(page.locator("#problem")).to_contain_text("quotation marks")
    assert '"amount": 0.1' in page.get_by_label("Entry").input_value()
    page.get_by_label("Entry").fill("{")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problem")).to_contain_text("is not JSON")
    page.get_by_label("Entry").fill(json.dumps(entry | {"loras": []}))
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.done")).to_contain_text("is saved")
    assert call(stage, "GET", READ).json()["loras"] == []


def test_a_stale_form_says_what_changed_and_overwrites_only_when_it_is_sent_again(staging: Staging) -> None:
    stage = staging()
    call(stage, "PUT", API, json=examples.MODEL)
    with signed_in(stage) as console:
        opened = console.get(PATH).text
        form = FORM | {"csrf": csrf_of(console), "seen": hidden(opened, "seen"), "modelId": MODEL_ID}
        price = {"amount": "0.05", "currency": "USD", "per": "megapixel"}
        call(stage, "PUT", API, json=examples.MODEL | {"price": price, "description": HOSTILE})
        stale = console.post(PATH, data=form)

        assert stale.status_code == 409
        assert "Somebody changed it while you worked on it" in stale.text
        assert "<code>price</code>" in stale.text
        assert "&#34;0.05&#34;" in stale.text
        assert "<code>name</code>" not in stale.text, "nobody else changed the name"
        assert HOSTILE not in stale.text
        assert 'value="Ink"' in stale.text
        assert call(stage, "GET", READ).json()["price"] == price
        again = console.post(PATH, data=form | {"seen": hidden(stale.text, "seen")})
        assert again.status_code == 303
        entry = call(stage, "GET", READ).json()
        assert (entry["name"], entry["price"]["amount"], entry["loras"]) == ("Ink", "0.035", examples.MODEL["loras"])

        call(stage, "DELETE", API)
        gone = console.post(PATH, data=form)
        assert (gone.status_code, "Somebody removed it" in gone.text) == (409, True)
        added = console.post("/console/models/new", data=form | {"seen": hidden(gone.text, "seen")})
        assert added.status_code == 303
        twice = console.post("/console/models/new", data=form | {"seen": hidden(gone.text, "seen")})
        assert (twice.status_code, "Somebody added it" in twice.text) == (409, True)
        stale_remove = console.post(f"{PATH}/remove", data=form)
        assert stale_remove.status_code == 303
        assert "after you had looked at it" in console.get("/console/models").text
        call(stage, "GET", READ)


WRONG: list[tuple[dict[str, str], str]] = [
    ({"name": ""}, "Name"),
    ({"name": "\0"}, "Name"),
    ({"provider.endpoint": "ftp://x"}, "Endpoint"),
    *(({"price.amount": amount}, "Price") for amount in ("NaN", "-1", "1e400", "0,035", "1.0000000001", "9999999")),
    ({"price.currency": ""}, "Currency"),
    ({"price.per": "hour"}, "For each"),
    ({"steps.min": "9" * 5000, "steps.max": "1", "steps.default": "1"}, "Least steps"),
    ({"steps.min": "5", "steps.max": "1", "steps.default": "1"}, "Least steps"),
    ({"cfgScale.min": "1e99", "cfgScale.max": "1", "cfgScale.default": "1"}, "Least guidance"),
    ({"resolutions": "1024"}, "Resolutions"),
    ({"modelId": "mine"}, "Model id"),
    ({"as": "json", "json": "[" * 50_000}, "Entry"),
    ({"as": "json", "json": ""}, "Entry"),
]
UNSEEN = ("", "[]", "null", '{"updatedAt": 1, "entry": {}}', '{"updatedAt": null, "entry": 1}', "[" * 9999)


def test_a_wrong_field_is_named_and_nothing_is_saved(staging: Staging) -> None:
    with signed_in(staging()) as console:
        form = FORM | {"csrf": csrf_of(console), "seen": Original().text(), "modelId": str(uuid4())}
        for fields, field in WRONG:
            refused = console.post("/console/models/new", data=form | fields)
            assert refused.status_code in {400, 422}, fields
            problem = re.search(r'id="problem".*?</div>', refused.text, re.DOTALL)
            assert problem
            assert f">{field}</a>" in problem[0], fields
        for seen in UNSEEN:
            assert console.post("/console/models/new", data=form | {"seen": seen}).status_code == 303
            assert "The form is incomplete." in console.get("/console/models").text
        assert "No models yet" in console.get("/console/models").text


def test_only_operators_of_every_odoo_change_the_catalogue(staging: Staging, run: Callable[..., Any]) -> None:
    stage = staging(**TWO_ODOOS)
    call(stage, "PUT", API, json=examples.MODEL)
    with signed_in(stage, NORTH_OPS) as limited, as_viewer(stage, run) as viewer:
        for console in (limited, viewer):
            form = FORM | {"csrf": csrf_of(console), "seen": Original().text()}
            for page in ("/console/models", PATH):
                assert "Watercolor" in console.get(page).text
                assert "<form action" not in re.sub(r"(?s)<header.*?</header>", "", console.get(page).text)
            assert console.get("/console/models/new").status_code == 403
            for action in ("", "/activate", "/deactivate", "/remove"):
                console.post(f"{PATH}{action}", data=form)
    entry = call(stage, "GET", READ).json()
    assert (entry["name"], entry["active"]) == ("Watercolor", True)


def test_an_entry_that_cannot_be_read_is_named_and_replaced(
    staging: Staging, run: Callable[..., Any], database_url: str
) -> None:
    stage = staging()
    call(stage, "PUT", API, json=examples.MODEL)
    run(_break(database_url))
    with signed_in(stage) as console:
        assert "cannot be read" in console.get("/console/models").text
        page = console.get(PATH).text
        form = FORM | {"csrf": csrf_of(console), "seen": hidden(page, "seen"), "unreadable": hidden(page, "unreadable")}
        assert console.post(PATH, data=form).status_code == 303
    assert call(stage, "GET", READ).json()["name"] == "Ink"


async def _break(database_url: str) -> None:
    async with opened(database_url) as database:
        await write(database, "UPDATE models SET entry = '{\"name\": 1}'")


AMOUNTS = st.decimals(min_value=0, max_value=1_000_000, places=9, allow_nan=False, allow_infinity=False)


@given(AMOUNTS)
def test_a_price_stays_exact_from_the_form_to_the_entry_and_back(amount: Decimal) -> None:
    fields = FORM | {"price.amount": f"{amount:f}", "seen": Original().text()}
    entry = model_form.parse(model_form.sent(Form(tuple(fields.items()))), as_json=False)
    assert entry.price is not None
    assert entry.price.price().amount == amount
    found = Original(entry=entry.stored())
    assert model_form.opened(found, uuid4()).texts["price.amount"] == amount_text(amount)


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), st.dictionaries(st.sampled_from("abc"), st.integers()))
def test_differences_are_what_was_added_changed_or_removed(was: dict[str, int], now: dict[str, int]) -> None:
    changed = {key for key in was.keys() | now.keys() if was.get(key) != now.get(key)}
    assert {change.key for change in differences(was, now, {})} == changed
