"""Working without a mouse on a page that renews itself."""

from collections.abc import Callable

from playwright.sync_api import expect

from console.operator import Operator, signed_in
from stage import Stage

OLD = "document.querySelector('#live').dataset.isOld = 'yes'"


def test_the_focus_stays_where_it_is_when_a_page_renews_itself(
    staging: Callable[..., Stage], visiting: Callable[..., Operator]
) -> None:
    operator = visiting(staging())
    operator.open("/destinations")
    page = operator.page
    page.keyboard.press("j")
    page.keyboard.press("j")
    for _ in range(2):
        page.evaluate(OLD)
        expect(page.locator("#live[data-is-old]")).to_have_count(0)
        expect(page.get_by_role("link", name="Odoo", exact=True)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Limit…").first).to_be_focused()
    page.evaluate(OLD)
    expect(page.locator("#live[data-is-old]")).to_have_count(0)
    expect(page.get_by_role("button", name="Limit…").first).to_be_focused()

    page.keyboard.press("/")
    page.keyboard.type("jk")
    expect(page.locator("#find")).to_have_value("jk")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="N8N", exact=True)).to_be_focused()


def test_the_menu_of_a_phone_shows_where_one_is(
    staging: Callable[..., Stage], visiting: Callable[..., Operator]
) -> None:
    operator = visiting(staging(), phone=True)
    for path in ("/runbook", "/keys", ""):
        operator.open(path)
        expect(operator.page.locator(".side [aria-current]")).to_be_in_viewport(ratio=1)


def test_what_is_paused_is_on_a_page_from_the_beginning(
    staging: Callable[..., Stage], run: Callable[..., object]
) -> None:
    stage = staging()
    pause = stage.api.post(
        "/api/v1/ops/destinations/n8n/pause", json={"reason": "an upgrade"}, headers=stage.as_client("ops")
    )
    run(pause)
    with signed_in(stage) as console:
        for path in ("/console/keys", "/console/no-such-page"):
            assert "N8N is paused since" in console.get(path, headers={"Accept": "text/html"}).text, path
