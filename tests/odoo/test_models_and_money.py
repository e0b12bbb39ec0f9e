"""Models, prices, costs and budgets, in front of a real Odoo and over the real bridge."""

import csv
import io
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from bridge_thread import Bridge, running_bridge
from execution import ACKNOWLEDGES, Execution, execution

from stage import KEYS, REQUESTS

pytest.importorskip("playwright", reason="Playwright is not installed here (make e2e-odoo does that)")

from browser import DESKTOP, PHONE, PICTURE, Person

WAIT = 60
MODEL = "aigen.image.model"
REQUEST = "aigen.image.request"
PREFIX = "/api/v1/influencegen"
OPS = "/api/v1/ops"
WATERCOLOR = "3f1a9d52-8c64-4e0b-b7a3-5d2c6e8f9a10"
SIZES = ["512x512", "672x384"]
PRICES = {"512x512": Decimal("0.00917504"), "672x384": Decimal("0.00903168")}
"""By resolution, at 0.035 USD for a megapixel."""


@pytest.fixture
def bridge(database_url, real_odoo, configure):
    with running_bridge(database_url, real_odoo, flux_seconds=0) as bridge:
        configure(bridge.url)
        yield bridge


@pytest.fixture
def catalogue(bridge, real_odoo):
    """A bridge with one model, which Odoo has taken over. Afterwards Odoo offers the models of before."""
    before = real_odoo.as_person("admin", MODEL, "search", [["uuid", "!=", WATERCOLOR]])
    archive(real_odoo, active=True)  # a test before may have left it archived, and Odoo keeps what a person decided
    put_model(bridge)
    synchronize(real_odoo)
    yield bridge
    real_odoo.as_person("admin", MODEL, "write", before, {"active": True})
    archive(real_odoo, active=False)


def archive(odoo: Any, *, active: bool) -> None:
    """Archive the model in Odoo, or take it out of the archive."""
    found = odoo.as_person("admin", MODEL, "search", [["uuid", "=", WATERCOLOR], ["active", "=", not active]])
    odoo.as_person("admin", MODEL, "write", found, {"active": active})


def call(bridge: Bridge, method: str, path: str, body: Any = None, key: str = "ops", **headers: str) -> httpx.Response:
    answer = httpx.request(
        method, bridge.url + path, json=body, headers={"X-API-Key": KEYS[key], **headers}, timeout=30
    )
    assert answer.status_code < 300, answer.text
    return answer


def put_model(bridge: Bridge, **changes: Any) -> None:
    entry = {
        "name": "Watercolor",
        "provider": {"kind": "fal", "endpoint": f"{bridge.chain.flux_url}/queue/fal-ai/flux-lora"},
        "supports": {"negativePrompt": False, "seed": True},
        "steps": {"min": 4, "max": 30, "default": 20},
        "cfgScale": {"min": 1, "max": 10, "default": 3.5},
        "resolutions": SIZES,
        "price": {"amount": "0.035", "currency": "USD", "per": "megapixel"},
    }
    call(bridge, "PUT", f"{OPS}/models/{WATERCOLOR}", entry | changes)


def synchronize(odoo: Any) -> None:
    odoo.as_person("mia", MODEL, "action_synchronize", [])


def put_budget(bridge: Bridge, name: str, limit: str, **changes: Any) -> None:
    terms = {"limit": limit, "currency": "USD", "period": "month", "match": {}, "contact": "mia@example.com"}
    call(bridge, "PUT", f"{OPS}/budgets/{name}", terms | changes)


def choose(person: Person, prompt: str, shape: str = "Square (1:1)") -> None:
    """Say what the picture should show. The model is that of the catalogue: the others are archived."""
    person.wish(prompt, shape)
    person.page.wait_for_selector("[name=estimated_cost]:has-text('USD')")


def shapes(person: Person) -> list[str]:
    """The shapes that the form offers."""
    if person.page.locator("[name=shape] select").count():
        return [text for text in person.page.locator("[name=shape] option").all_inner_texts() if text]
    person.page.wait_for_selector(".o_select_menu_item", state="hidden")  # of the choice before
    person.page.click("[name=shape] input")  # Odoo 19
    person.page.wait_for_selector(".o_select_menu_item")
    found = person.page.locator(".o_select_menu_item").all_inner_texts()
    person.page.keyboard.press("Escape")
    return found


def wait_until_settled(url: str) -> None:
    """Wait until the ledger has everything."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(WAIT * 10):
            if not connection.execute("SELECT count(*) FROM unsettled").fetchone()[0]:
                return
            connection.execute("SELECT pg_sleep(0.1)")
    raise AssertionError(f"The ledger is not settled after {WAIT} s")


@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_a_model_that_is_put_in_the_bridge_is_offered_with_its_sizes_and_its_price(
    catalogue, real_odoo, browser, name, device
):
    put_budget(catalogue, "watercolors", "5.00", match={"modelId": WATERCOLOR})
    ann = Person.log_in(browser, real_odoo.url, "ann", **device)
    choose(ann, "A harbour in the morning, wet paper")
    assert shapes(ann) == ["Square (1:1)", "Wide (16:9)"]
    assert ann.page.locator("[name=negative_prompt]").count() == 0
    assert "0.00917504 USD" in ann.page.locator("[name=estimated_cost]").inner_text()
    ann._choose_shape("Wide (16:9)")
    ann.page.wait_for_selector("[name=estimated_cost]:has-text('0.00903168 USD')")
    ann.page.wait_for_selector(".o_aigen_left:has-text('Left this month'):has-text('of 5.00 USD')")
    ann.snap(f"odoo-{name}-price")
    ann.generate()
    ann.page.wait_for_selector(PICTURE)
    ann.page.wait_for_selector("[name=cost]:has-text('0.00903168 USD')")
    assert ann.errors == []


def test_what_a_hard_budget_refuses_says_so_waits_for_nobody_and_goes_when_the_manager_raises_it(
    catalogue, real_odoo, browser
):
    put_budget(catalogue, "team", "0.01")
    ann, mia = (Person.log_in(browser, real_odoo.url, login) for login in ("ann", "mia"))
    choose(ann, "The first is paid for")
    ann.generate()
    ann.page.wait_for_selector(PICTURE)
    choose(ann, "The second is too much")
    ann.page.wait_for_selector(".o_aigen_left:has-text('Not enough for this picture')")
    ann.page.locator("button[name=action_generate]").click()
    refusal = ".alert:visible:has-text('team'):has-text('Contact: mia@example.com')"
    ann.page.wait_for_selector(refusal)
    ann.snap("odoo-desktop-refused")
    raise_limit(mia, "team", "5.00")
    ann.page.locator("button[name=action_generate]").click()
    ann.page.wait_for_selector(PICTURE)
    assert ann.errors == mia.errors == []


def raise_limit(manager: Person, name: str, limit: str) -> None:
    """Change a budget on the page for managers."""
    manager.open("ai-images", ".o_aigen_gallery")
    manager.page.get_by_role("button", name="Configuration").click()
    manager.page.get_by_role("menuitem", name="Budgets").click()
    row = f".o_data_row:has-text('{name}')"
    manager.page.wait_for_selector(row)
    manager.snap("odoo-desktop-budgets")
    manager.page.locator(f"{row} td[name=name]").click()
    manager.page.fill(".modal [name=limit] input", limit)
    manager.snap("odoo-desktop-budget")
    manager.page.locator(".modal").get_by_role("button", name="Save").click()
    manager.page.wait_for_selector(".modal", state="detached")
    manager.page.wait_for_selector(f"{row}:has-text('{limit} USD')")


def test_the_sums_of_odoo_of_the_csv_and_of_the_ledger_are_the_same(catalogue, database_url, real_odoo):
    before = cost_in_odoo(real_odoo)
    uid = real_odoo.as_person("admin", MODEL, "search", [["uuid", "=", WATERCOLOR]])[0]
    made = []
    for number in range(3):
        values = {"prompt": f"A sum of {number}", "model_id": uid, "shape": "16:9" if number else "1:1"}
        made += [real_odoo.as_person("ann", REQUEST, "create", values)]
    real_odoo.as_person("ann", REQUEST, "action_generate", made)
    wait_for_pictures(real_odoo, made)
    wait_until_settled(database_url)
    rows = csv.DictReader(io.StringIO(call(catalogue, "GET", f"{PREFIX}/usage", key="odoo", Accept="text/csv").text))
    [in_csv] = [Decimal(row["spent"]) for row in rows if row["currency"] == "USD"]
    with psycopg.connect(database_url) as connection:
        [in_ledger] = connection.execute("SELECT sum(spent) FROM ledger WHERE currency = 'USD'").fetchone()
    in_odoo = cost_in_odoo(real_odoo) - before
    expected = PRICES["512x512"] + 2 * PRICES["672x384"]
    assert (in_odoo, in_csv, in_ledger) == (expected, expected, expected)


def test_what_was_paid_twice_and_never_reported_counts_twice_in_odoo_too(catalogue, database_url, real_odoo):
    catalogue.chain.n8n.faults.add(ACKNOWLEDGES)
    before, prompt = cost_in_odoo(real_odoo), "A picture that two executions paid for"
    [model] = real_odoo.as_person("admin", MODEL, "search", [["uuid", "=", WATERCOLOR]])
    made = real_odoo.as_person("ann", REQUEST, "create", {"prompt": prompt, "model_id": model, "shape": "1:1"})
    real_odoo.as_person("ann", REQUEST, "action_generate", [made])
    first = execution(catalogue, prompt)
    assert first.ask() == "start"
    first.name_job("7f")
    assert name_another_job(first, "8a").status_code == 409
    first.deliver()
    wait_for_pictures(real_odoo, [made])
    wait_until_settled(database_url)
    real_odoo.shell(f"env['{REQUEST}']._cron_costs()\nenv.cr.commit()\n")
    [record] = real_odoo.as_person("ann", REQUEST, "read", [made], ["cost"])
    assert record["cost"] == "0.01835008 USD (estimated)"
    assert cost_in_odoo(real_odoo) - before == 2 * PRICES["512x512"]


def name_another_job(first: Execution, job_id: str) -> httpx.Response:
    """What a second execution says that has paid, too."""
    ids = {name: first.event[name] for name in ("requestId", "correlationId")}
    body = ids | {"executionId": "2", "provider": "fal", "jobId": job_id}
    url = f"{first.bridge.url}{REQUESTS}/{first.request_id}/generation/job"
    return httpx.put(url, json=body, headers={"X-API-Key": KEYS["n8n"]}, timeout=30)


def cost_in_odoo(odoo: Any) -> Decimal:
    """The sum of a pivot in Odoo, in USD, to nine places."""
    groups = odoo.as_person(
        "mia", REQUEST, "read_group", [["cost_currency", "=", "USD"]], ["cost_value:sum"], ["cost_currency"]
    )
    return Decimal(f"{groups[0]['cost_value']:.9f}").normalize() if groups else Decimal(0)


def wait_for_pictures(odoo: Any, ids: list[int]) -> None:
    for _ in range(WAIT):
        states = odoo.as_person("ann", REQUEST, "read", ids, ["status"])
        if {state["status"] for state in states} == {"completed"}:
            return
        odoo.as_person("ann", REQUEST, "action_follow", ids)
    raise AssertionError(states)


def test_a_model_that_is_removed_is_archived_and_comes_back_with_its_name_of_here(catalogue, real_odoo):
    [found] = real_odoo.as_person("admin", MODEL, "search", [["uuid", "=", WATERCOLOR]])
    real_odoo.as_person("mia", MODEL, "write", [found], {"name": "Our watercolours"})
    put_model(catalogue, active=False)
    synchronize(real_odoo)
    assert real_odoo.as_person("ann", MODEL, "search_count", [["id", "=", found]]) == 0
    put_model(catalogue, name="Watercolor 2")
    synchronize(real_odoo)
    [model] = real_odoo.as_person("ann", MODEL, "read", [found], ["name", "active", "price"])
    assert (model["name"], model["active"], model["price"]) == (
        "Our watercolours",
        True,
        "0.035 USD for a megapixel",
    )
    real_odoo.as_person("mia", MODEL, "write", [found], {"name": "Watercolor"})
