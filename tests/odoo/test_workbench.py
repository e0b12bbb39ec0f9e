"""The workbench in a real browser, over the real bridge: several at once, choosing, presets, boards, records, links."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from bridge_thread import Bridge, running_bridge

from aigen_bridge.sim.faults import Fault, FaultKind

pytest.importorskip("playwright", reason="Playwright is not installed here (make e2e-odoo does that)")

from browser import DESKTOP, PHONE, PICTURE, Person

CARD = ".o_kanban_record:not(.o_kanban_ghost)"
READY = ".o_aigen_thumb[data-status=completed] img"
BANNER = ".o_aigen_batch"
PROMPT = "[name=prompt] textarea"
GRANT_PRODUCTS = """
env.ref("product.group_product_manager")._aigen_add_users(env["res.users"].search([("login", "=", "ann")]).ids)
env["product.template"].search([("name", "=", "Desk lamp")]).unlink()
print("PRODUCT=%s" % env["product.template"].create({"name": "Desk lamp"}).id)
env.cr.commit()
"""


@pytest.fixture
def bridge(database_url: str, real_odoo: Any, configure: Any) -> Iterator[Bridge]:
    with running_bridge(database_url, real_odoo, flux_seconds=2) as bridge:
        configure(bridge.url)
        yield bridge


def ask_for(person: Person, prompt: str, number: int = 1) -> None:
    """Asks for as many variants from the keyboard, and waits until all of them are there."""
    person.wish(prompt, shape="")
    if number > 1:
        person.page.locator("[name=variants] label").get_by_text(str(number), exact=True).click()
    person.page.press(PROMPT, "Control+Enter")
    if number > 1:
        person.page.wait_for_selector(f"{BANNER}:has-text('{number} of {number} ready')")
    else:
        person.page.wait_for_selector(PICTURE)


def select_all(person: Person, prompt: str) -> None:
    """Opens the gallery and selects the pictures of this prompt."""
    person.open("ai-images", f"{CARD}:has-text('{prompt}')")
    for card in person.page.locator(f"{CARD}:has-text('{prompt}')").all():
        card.hover()
        card.locator(".o_aigen_select input").check()


def in_bar(person: Person, action: str) -> None:
    """Presses a button of the bar for the selected pictures."""
    person.page.click(f".o_aigen_selection [data-action={action}]")


@pytest.mark.parametrize(
    ("name", "login", "device"), [("desktop", "ann", DESKTOP), ("dark", "dan", DESKTOP), ("phone", "zoe", PHONE)]
)
def test_four_variants_fill_live_and_one_is_chosen(bridge, real_odoo, browser, name, login, device):
    prompt = f"A paper boat on a pond, morning light, for {login}"
    person = Person.log_in(browser, real_odoo.url, login, dark=name == "dark", **device)
    person.wish(prompt, shape="")
    person.page.locator("[name=variants] label").get_by_text("4", exact=True).click()
    person.page.wait_for_selector("button[name=action_generate]:has-text('Generate 4')")
    person.snap(f"odoo-{name}-variants")
    person.page.press(PROMPT, "Control+Enter")
    person.page.wait_for_selector(f"{BANNER}:has-text('of 4 ready')")
    assert person.page.locator(f"{CARD} .o_aigen_thumb").count() == 4
    person.page.wait_for_selector(f"{CARD} .o_aigen_moment")
    person.snap(f"odoo-{name}-filling")
    person.page.wait_for_selector(f"{BANNER}:has-text('4 of 4 ready')")
    person.page.wait_for_selector(f"{CARD} {READY} >> nth=3")
    person.snap(f"odoo-{name}-batch")
    chosen = person.page.locator(CARD).nth(1)
    chosen.hover()
    chosen.locator(READY if name == "phone" else "[data-action=enlarge]").click()
    person.page.wait_for_selector(".o-FileViewer-viewImage")
    enlarged(person, "4", "[aria-label='4']", name)
    person.page.wait_for_selector(".o_aigen_stars .fa-star >> nth=3")
    person.snap(f"odoo-{name}-enlarged")
    enlarged(person, "ArrowRight", "[aria-label=Next]", name)
    person.page.wait_for_selector(".o_aigen_stars:not(:has(.fa-star))")
    enlarged(person, "Escape", "[aria-label=Close]", name)
    person.page.wait_for_selector(".o-FileViewer-viewImage", state="detached")
    assert person.errors == []


def enlarged(person: Person, key: str, button: str, device: str) -> None:
    """Does something to the enlarged picture: a phone has no keys."""
    if device == "phone":
        person.page.click(f".o-FileViewer {button}")
    else:
        person.page.keyboard.press(key)


def test_a_variant_that_failed_says_why_in_its_tile_and_is_tried_again_alone(bridge, real_odoo, browser):
    detail = "The picture came out blurred."
    bridge.chain.n8n.faults.add(Fault(kind=FaultKind.AI_ERROR, name="generation_failed", detail=detail))
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ann.wish("A kite that tears", shape="")
    ann.page.locator("[name=variants] label").get_by_text("2", exact=True).click()
    ann.page.press(PROMPT, "Control+Enter")
    failed = ann.page.locator(f"{CARD} .o_aigen_thumb[data-status=failed]")
    failed.first.wait_for()
    assert detail in failed.first.inner_text()
    ann.page.wait_for_selector(f"{BANNER}:has-text('1 of 2 ready')")
    ann.snap("odoo-desktop-batch-failed")
    ann.page.click(f"{CARD} button[name=action_try_again]")
    ann.page.wait_for_selector(f"{BANNER}:has-text('2 of 2 ready')")
    assert failed.count() == 0
    assert ann.errors == []


def test_a_matrix_is_shown_before_it_is_sent(bridge, real_odoo, browser):
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ann.wish("A {red|blue boat", shape="")
    ann.page.wait_for_selector(".o_aigen_refusal:has-text('not closed')")
    ann.page.fill(PROMPT, "A {red|blue} boat in {spring|autumn}")
    ann.page.wait_for_selector(".o_aigen_matrix li:has-text('A blue boat in autumn')")
    ann.snap("odoo-desktop-matrix")
    ann.page.press(PROMPT, "Control+Enter")
    ann.page.wait_for_selector(f"{BANNER}:has-text('4 of 4 ready')")
    for words in ("A red boat in spring", "A red boat in autumn", "A blue boat in spring", "A blue boat in autumn"):
        assert ann.page.locator(f"{CARD}:has-text('{words}')").count() == 1
    assert ann.errors == []


def test_a_preset_asks_for_its_words(bridge, real_odoo, browser):
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ann.wish("A portrait of {{subject}}, studio light", shape="")
    ann.page.click("button.o_aigen_save_preset")
    ann.page.fill(".o_dialog [name=name] input, .o_dialog [name=name] textarea", "Studio portrait")
    ann.page.click(".o_dialog .o_form_button_save")
    ann.page.wait_for_selector(".o_dialog", state="detached")
    ann.page.click(".o_aigen_preset:has-text('Studio portrait')")
    ann.page.fill(".o_aigen_placeholders input[name=subject]", "Ada")
    ann.snap("odoo-desktop-preset")
    ann.page.click(".o_aigen_placeholders .btn-primary")
    ann.page.wait_for_function(f"document.querySelector('{PROMPT}').value === 'A portrait of Ada, studio light'")
    ann.generate()
    ann.page.wait_for_selector(PICTURE)
    assert ann.errors == []


def test_a_board_is_shared_seen_and_revoked(bridge, real_odoo, browser):
    prompt, board = "An old pier for the board", "Harbour"
    ann, dan = (Person.log_in(browser, real_odoo.url, login) for login in ("ann", "dan"))
    ask_for(ann, prompt)
    select_all(ann, prompt)
    in_bar(ann, "board")
    ann.page.fill(".modal [name=board_id] input", board)
    ann.page.locator(".modal .o-autocomplete--dropdown-item").get_by_text("Create").first.click()
    ann.page.click(".modal button[name=action_add]")
    ann.page.wait_for_selector(".modal", state="detached")
    share(ann, board, "shared", "Dan Example")
    dan.open("ai-boards", f".o_kanban_record:has-text('{board}') .o_aigen_mosaic img")
    dan.snap("odoo-desktop-boards")
    dan.page.click(f".o_kanban_record:has-text('{board}') .o_aigen_mosaic")
    dan.page.wait_for_selector(f".o_aigen_board_banner:has-text('{board}')")
    dan.page.wait_for_selector(f"{CARD} {READY}")
    dan.snap("odoo-desktop-board")
    url = dan.url + dan.page.locator(f"{CARD} {READY}").first.get_attribute("src")
    picture = dan.page.request.get(url).body()
    share(ann, board, "private")
    dan.open("ai-boards", ".o_nocontent_help, .o_kanban_renderer")
    dan.page.wait_for_selector(f".o_kanban_record:has-text('{board}')", state="detached")
    assert dan.page.request.get(url).body() != picture  # Odoo answers with a placeholder
    assert ann.errors == dan.errors == []


def share(person: Person, board: str, visibility: str, *people: str) -> None:
    """Says who sees a board, in its settings."""
    person.open("ai-boards", f".o_kanban_record:has-text('{board}')")
    card = person.page.locator(f".o_kanban_record:has-text('{board}')")
    card.hover()
    card.locator(".o_dropdown_kanban button").click()
    person.page.locator(".dropdown-item").get_by_text("Settings and sharing").click()
    person.page.wait_for_selector(".o-mail-Message")  # Odoo 19 first shows what it kept, and then what the server says
    person.page.click(f"[name=visibility] input[data-value={visibility}]")
    for name in people:
        person.page.fill("[name=user_ids] input", name)
        person.page.locator(".o-autocomplete--dropdown-item").get_by_text(name).click()
    person.page.click(".o_form_button_save")
    person.page.wait_for_selector(".o_form_button_save", state="hidden")


def test_a_picture_is_made_for_a_product_and_used_there(bridge, real_odoo, browser):
    product = real_odoo.shell(GRANT_PRODUCTS).partition("PRODUCT=")[2].split()[0]
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ann.open(f"product.template/{product}", "button[name=action_make_picture]")
    ann.page.click("button[name=action_make_picture]")
    ann.page.wait_for_selector(".o_aigen_target:has-text('For Desk lamp')")
    assert "Desk lamp" in ann.page.input_value(PROMPT)
    ann.generate()
    ann.page.wait_for_selector(PICTURE)
    ann.page.click("button[name=action_use]")
    ann.page.wait_for_selector(".o_aigen_target:has-text('In use for Desk lamp')")
    ann.snap("odoo-desktop-used")
    ann.open(f"product.template/{product}", "[name=image_1920] img[src*='/web/image'], img[data-src*='/web/image']")
    ann.snap("odoo-desktop-product")
    assert real_odoo.as_person("ann", "product.template", "read", [int(product)], ["image_128"])[0]["image_128"]
    assert ann.errors == []


def test_a_link_shows_the_picture_to_somebody_without_a_login_until_it_is_taken_back(bridge, real_odoo, browser):
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ask_for(ann, "A lantern for everybody")
    ann.menu("action_share_link").click()
    ann.page.fill(".modal [name=title] input", "A lantern")
    ann.page.click(".modal button[name=action_share]")
    url = (
        real_odoo.url
        + urlsplit(ann.page.inner_text(".modal [name=url]").split()[0])._replace(scheme="", netloc="").geturl()
    )
    ann.snap("odoo-desktop-link")
    guest = browser.new_context(**DESKTOP).new_page()
    guest.goto(url)
    guest.wait_for_selector("img[src*='/file']")
    Person(guest, real_odoo.url).snap("odoo-guest-link")
    assert "A lantern" in guest.inner_text("h1")
    assert guest.locator("img[src*='/file']").first.evaluate("image => image.decode().then(() => image.naturalWidth)")
    with guest.expect_download() as download:
        guest.click("a:has-text('Download')")
    assert download.value.suggested_filename.endswith((".png", ".jpg", ".webp"))
    ann.page.click(".modal button[name=action_stop]")
    ann.page.wait_for_selector(".modal", state="detached")
    assert guest.goto(url).status in {403, 404}
    guest.wait_for_selector("h1:has-text('nothing to see')")
    assert ann.errors == []


def test_selected_pictures_are_downloaded_as_one_zip(bridge, real_odoo, browser):
    prompt = "A crane over the docks"
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ask_for(ann, prompt, 2)
    select_all(ann, prompt)
    ann.snap("odoo-desktop-selected")
    with ann.page.expect_download() as download:
        in_bar(ann, "download")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as pictures:
        names = pictures.namelist()
        assert pictures.testzip() is None
    assert len(set(names)) == 2
    assert all(name.startswith("a-crane-over-the-docks") for name in names)
    assert ann.errors == []


def test_two_pictures_are_compared(bridge, real_odoo, browser):
    prompt = "A gate in the mist"
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ask_for(ann, prompt, 2)
    select_all(ann, prompt)
    in_bar(ann, "compare")
    slider = ann.page.locator(".o_aigen_compare_stage input[type=range]")
    slider.press("ArrowRight")
    ann.snap("odoo-desktop-compare")
    assert ann.errors == []


@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_a_manager_sees_the_figures(bridge, real_odoo, browser, name, device):
    mia = Person.log_in(browser, real_odoo.url, "mia", **device)
    ask_for(mia, "A picture for the report")
    mia.open("ai-image-dashboard", ".o_aigen_graphs canvas")
    assert int(mia.page.inner_text(".o_aigen_value >> nth=0")) >= 1
    mia.snap(f"odoo-{name}-dashboard")
    mia.page.click(".o_aigen_figure >> nth=0")
    mia.page.wait_for_selector(".o_data_row:has-text('A picture for the report'), .o_kanban_record")
    assert mia.errors == []
