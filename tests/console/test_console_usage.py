"""Usage by mouse: exact sums for each currency, the same CSV as the API, and queries that are none."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

from aigen_bridge.console.usage_report import presets, tables
from aigen_bridge.contracts import examples
from aigen_bridge.domain.money import MOST
from aigen_bridge.domain.usage import GroupBy, Used
from console.access import NORTH_OPS, OPS, TWO_ODOOS, as_viewer, call, opened
from console.operator import Operator, signed_in
from outages import write
from stage import Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
API, PATH = "/api/v1/influencegen/usage", "/console/usage"
ANNE = "0d9c1a52-7d0b-4a3f-8f2e-3f1c9b7a6e21"
MODEL_ID = examples.REQUESTED["modelId"]
HOSTILE = "<script>alert(1)</script>"
ENTRIES = """
    INSERT INTO ledger (
        request_id, odoo, user_id, model_id, accepted_at, kind, charge, spent, reserved, currency, basis, images,
        failures
    )
    SELECT gen_random_uuid(), odoo, CAST(user_id AS uuid), CAST(:model_id AS uuid), CAST(at AS timestamptz), kind,
        charge, spent, reserved, currency, basis, images, failures
    FROM (VALUES
        ('default', :anne, '2026-03-31 21:59:59Z', 'charge', 'unnamed:1', 0.035, 0, 'USD', 'billed', 1, 0, 101),
        ('default', NULL, '2026-04-01 12:00:00Z', 'charge', 'unnamed:1', 0.000000001, 0, 'USD', 'estimated', 1, 0, 3),
        ('default', NULL, '2026-04-02 12:00:00Z', 'charge', 'unnamed:1', 1234.5, 0, 'EUR', 'billed', 1, 0, 1),
        ('north', NULL, '2026-04-02 12:00:00Z', 'reserve', NULL, 0, 1.035, 'USD', NULL, 0, 0, 2),
        ('north', NULL, '2026-04-02 12:00:00Z', 'end', NULL, 0, 0, NULL, NULL, 0, 1, 1)
    ) AS e (odoo, user_id, at, kind, charge, spent, reserved, currency, basis, images, failures, times),
        generate_series(1, times)
"""


async def _book(database_url: str) -> None:
    async with opened(database_url) as database:
        await write(database, ENTRIES, anne=ANNE, model_id=MODEL_ID)


def test_sums_are_shown_for_each_currency_with_bars_and_a_csv(
    staging: Staging, visiting: Visiting, run: Run, database_url: str
) -> None:
    stage = staging(money={"time_zone": "Europe/Berlin"}, **TWO_ODOOS)
    run(_book(database_url))
    call(stage, "PUT", f"/api/v1/ops/models/{MODEL_ID}", json=examples.MODEL | {"name": f"Paper {HOSTILE}"})
    operator = visiting(stage)
    page = operator.page
    operator.open("/usage?from=2026-01-01&to=2026-02-01")
    operator.expect_text("Nothing was used in this period")
    page.get_by_label("From").fill("2026-03-01")
    page.get_by_label("Before").fill("2026-05-01")
    page.get_by_label("One line for each").select_option("day")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**groupBy=day**")
    expect(page.locator("main h2")).to_have_text(["EUR", "USD", "Without a price"])
    usd = page.locator("section", has=page.locator("h2", has_text="USD"))
    for figure in ("3.535000003", "0.000000003", "2.07"):
        expect(usd.locator("dl")).to_contain_text(figure)
    expect(usd.locator("tbody tr td:first-child")).to_have_text(["2026-03-31", "2026-04-01", "2026-04-02"])
    operator.expect_text("1\N{NARROW NO-BREAK SPACE}234.50")
    operator.snap("usage")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download CSV").click()
    assert waiting.value.suggested_filename == "usage-2026-03-01-2026-05-01-by-day.csv"
    query = {"from": "2026-03-01", "to": "2026-05-01", "groupBy": "day"}
    expected = httpx.get(f"{stage.api.base_url}{API}", params=query, headers=OPS | {"Accept": "text/csv"}, verify=False)
    assert waiting.value.path().read_bytes() == expected.content
    page.get_by_label("One line for each").select_option("model")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name=f"Paper {HOSTILE}").first.click()
    page.wait_for_url(f"**/console/requests?modelId={MODEL_ID}&createdAfter=*")
    assert page.locator(".notice.problem:visible").count() == 0
    page.go_back()
    page.get_by_role("link", name="Last month").click()
    page.wait_for_url("**groupBy=model**")
    expect(page.get_by_role("link", name="Last month")).to_have_attribute("aria-current", "true")
    operator.open("/usage?from=2026-03-01&to=2026-05-01&groupBy=user")
    operator.at_night_on_a_phone()
    operator.assert_nothing_sticks_out()
    operator.snap("usage-phone-dark")


def test_queries_that_are_none_are_words_on_the_page_and_keep_what_was_typed(
    staging: Staging, run: Run, database_url: str
) -> None:
    stage = staging(money={"time_zone": "Pacific/Kiritimati"}, **TWO_ODOOS)
    run(_book(database_url))
    with signed_in(stage) as console:
        for query, words in (
            ({"from": HOSTILE}, "&lt;script&gt;"),
            ({"from": "2026-02-30"}, "must be a date"),
            ({"from": "2026-05-01", "to": "2026-04-01"}, "is not after the beginning"),
            ({"groupBy": "colour"}, "must be one of: user"),
            ({"to": "0001-01-01"}, "<code>to</code>"),
        ):
            answer = console.get(PATH, params=query)
            assert (answer.status_code, words in answer.text) == (422, True), (query, answer.text)
            assert HOSTILE not in answer.text
            assert console.get(f"{PATH}.csv", params=query).status_code == 422
        for query in (
            {"from": "0001-01-01", "to": "9999-12-31"},
            {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"},
            {"from": " 2026-04-01 ", "odoo": "\0"},
            {"from": "2026-04-01T00:00:00+02:00", "to": "2026-05-01", "odoo": "south"},
        ):
            assert console.get(PATH, params=query).status_code in {200, 422}, query
            assert console.get(f"{PATH}.csv", params=query).status_code in {200, 422}, query


def test_an_operator_of_one_odoo_sees_what_it_used_and_a_viewer_sees_all(
    staging: Staging, run: Run, database_url: str
) -> None:
    stage = staging(**TWO_ODOOS)
    run(_book(database_url))
    query = {"from": "2026-03-01", "to": "2026-05-01", "groupBy": "odoo"}
    with signed_in(stage, NORTH_OPS) as limited, as_viewer(stage, run) as viewer:
        page = limited.get(PATH, params=query | {"odoo": "default"}).text
        assert (">north</span>" in page, ">default</span>" in page) == (True, False)
        lines = list(csv.DictReader(io.StringIO(limited.get(f"{PATH}.csv", params=query).text)))
        assert {line["key"] for line in lines} == {"north"}
        assert ">default</span>" in viewer.get(PATH, params=query).text


AMOUNTS = st.decimals(min_value=0, max_value=MOST, places=9, allow_nan=False, allow_infinity=False)
USED = st.builds(
    Used,
    key=st.sampled_from(["a", "b", None]),
    currency=st.sampled_from(["USD", "EUR", None]),
    spent=AMOUNTS,
    estimated=AMOUNTS,
    reserved=AMOUNTS,
    images=st.integers(0, 9),
    failures=st.integers(0, 9),
)


@given(st.lists(USED, max_size=30), st.sampled_from([*GroupBy, None]).filter(lambda group: group != GroupBy.MODEL))
def test_totals_are_exact_and_never_mix_currencies(found: list[Used], group_by: GroupBy | None) -> None:
    shown = {table.currency: table for table in tables(found, group_by, {})}
    assert shown.keys() == {used.currency for used in found}
    for currency, table in shown.items():
        own = [used for used in found if used.currency == currency]
        for name in ("spent", "estimated", "reserved"):
            assert Fraction(getattr(table.total, name)) == sum(Fraction(getattr(used, name)) for used in own)
        for row in table.rows:
            assert isinstance(row.spent_share, Decimal)
            assert 0 <= row.spent_share + row.reserved_share <= 100


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis
def test_the_usual_periods_are_never_empty(now: datetime) -> None:
    for zone in ("UTC", "Europe/Berlin", "Pacific/Kiritimati"):
        assert all(preset.since < preset.until for preset in presets(now, zone))


@given(st.sampled_from(["user", "day", "odoo"]))
def test_no_cell_of_the_csv_begins_a_formula(group: str) -> None:
    from aigen_bridge.contracts.usage import UsageReport, usage_filter  # noqa: PLC0415

    wanted = usage_filter(None, None, GroupBy(group), None, now=datetime.now(UTC), time_zone="UTC")
    key = {"user": ANNE, "day": "2026-03-31", "odoo": "north"}[group]
    used = Used(key=key, currency="USD", spent=MOST, estimated=MOST, reserved=MOST, images=1, failures=1)
    for line in csv.reader(io.StringIO(UsageReport.of(wanted, [used]).csv())):
        assert not [cell for cell in line if cell[:1] in set("=+-@\t\r")]
