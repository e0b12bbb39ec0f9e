"""People see the picture being made: a real Odoo, bridge and browser, and an N8N whose steps the test takes."""

import re
import statistics
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import psycopg
import pytest
from bridge_thread import running_bridge
from execution import ACKNOWLEDGES, AWAY, execution, handed_over

from scrape import read
from stage import KEYS, REQUESTS

pytest.importorskip("playwright", reason="Playwright is not installed here (make e2e-odoo does that)")

from browser import DESKTOP, PHONE, PICTURE, Person

SETTINGS = {
    "worker": {"poll": "0.2s"},
    "n8n": {"breaker": {"probe_every": "1s"}},
    "generation": {"when_maybe_paid": "stop"},
}
LANGUAGES = ("de_DE", "es_ES")
PEOPLE = f"""
for code in {LANGUAGES}:
    env["res.lang"]._activate_lang(code)
modules = env["ir.module.module"].search([("name", "in", ("base", "web", "mail", "aigen_image"))])
modules._update_translations({LANGUAGES})
group = env.ref("aigen_image.group_user")
for login, name, lang in (
    ("lea", "Lea Beispiel", "de_DE"), ("eva", "Eva Ejemplo", "es_ES"), ("tom", "Tom Example", "en_US"),
):
    user = env["res.users"].with_context(no_reset_password=True).create({{
        "name": name, "login": login, "password": login, "lang": lang,
    }})
    user.odoobot_state = "disabled"  # on a phone, its greeting would cover the page
    group._aigen_add_users(user.ids)
env.cr.commit()
env.registry.signal_changes()  # the server may have cached which languages there are
"""
REPORTS = (
    {"stage": "queued", "queuePosition": 3},
    {"stage": "queued", "queuePosition": 0},
    {"stage": "generating"},
    {"stage": "generating", "percent": 42.4},
    {"stage": "finishing"},
)
ENGLISH = ("Number 4 in the queue", "Next in the queue", "Being made", "Being made · 42 %", "Almost there")
GERMAN = (
    "Nummer 4 in der Warteschlange", "Als Nächstes an der Reihe", "Wird erstellt", "Wird erstellt · 42 %",
    "Gleich fertig",
)  # fmt: skip
SPANISH = ("Número 4 en la cola", "La siguiente en la cola", "En creación", "En creación · 42 %", "Casi lista")
TRANSLATED = {
    "Number %s in the queue": ("Nummer %s in der Warteschlange", "Número %s en la cola"),
    "Next in the queue": ("Als Nächstes an der Reihe", "La siguiente en la cola"),
    "Being made": ("Wird erstellt", "En creación"),
    "Almost there": ("Gleich fertig", "Casi lista"),
    "This takes longer than usual": ("Das dauert länger als üblich", "Está tardando más de lo habitual"),
    "The image service was restarted, going on": (
        "Der Bilddienst wurde neu gestartet, es geht weiter", "El servicio de imágenes se reinició, se continúa",
    ),
    "The image service is away since %s.": (
        "Der Bilddienst ist seit %s nicht erreichbar.", "El servicio de imágenes no está disponible desde %s.",
    ),
    "Your picture will come.": ("Ihr Bild kommt noch.", "Su imagen llegará."),
}  # fmt: skip
SEEN_WITHIN, BUSY = 3.0, 2
"""Seconds from the answer to a report to its word in an open form, and how many times slower a busy machine may be."""
HEADLINE, DETAIL = ".o_aigen_stage .o_aigen_headline", ".o_aigen_stage .o_aigen_detail"
CARD, LOG = ".o_kanban_record", ".o_aigen_log li"
WATCH = """([selector, texts, patience]) => {
    const plain = (element) => element.innerText.replaceAll("\\u00a0", " ");
    const isThere = () => [...document.querySelectorAll(selector)].some(
        (element) => texts.every((text) => plain(element).includes(text)));
    window.shown = new Promise((resolve, reject) => {
        const started = Date.now();
        const timer = setInterval(() => {
            const late = Date.now() - started > patience;
            if (isThere() || late) {
                clearInterval(timer);
                late ? reject(new Error(`${texts} was not shown at ${selector}`)) : resolve(Date.now() / 1000);
            }
        }, 20);
    });
    return isThere();
}"""


class Watch:
    """Notes when texts appear together in one element of a page, from the time that it is made."""

    def __init__(self, person, selector, *texts):
        self.person = person
        is_there = person.page.evaluate(WATCH, [selector, texts, 60_000])
        assert not is_there, f"{texts} were at {selector} before"

    def seconds_after(self, at):
        return self.person.page.evaluate("() => window.shown") - at


@pytest.fixture(scope="module")
def people(real_odoo):
    """Adds people who read German, Spanish and English, and have no pictures yet."""
    real_odoo.shell(PEOPLE)


@pytest.fixture
def bridge(database_url, real_odoo, configure, people):
    """A bridge before an N8N that does nothing."""
    with running_bridge(database_url, real_odoo, settings=SETTINGS) as bridge:
        bridge.chain.n8n.faults.add(ACKNOWLEDGES)
        configure(bridge.url)
        yield bridge


@pytest.fixture
def own_database(database_url) -> Iterator[psycopg.Connection]:
    """The bridge's database, in which time can be moved."""
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        yield connection


def ask_for(person, prompt):
    """Generate, and show the log and, in a tab of its own, the gallery. Returns that tab."""
    person.wish(prompt, shape="")
    person.generate()
    return open_gallery(person, prompt)


def open_gallery(person, prompt):
    tab = person.new_tab()
    tab.open("ai-images", f"{CARD}:has-text('{prompt}')")
    return tab


def until_shown(person, selector, *texts):
    found = person.page.locator(selector)
    for text in texts:
        found = found.filter(has_text=text)
    found.first.wait_for()


def end_silence(connection, request_id):
    """N8N has said nothing for as long as it may."""
    connection.execute("UPDATE api_beats SET since = now() - interval '1 day'")
    over = "UPDATE generations SET quiet_until = now() - interval '1 hour' WHERE request_id = %s"
    connection.execute(over, [request_id])


def answered(bridge, path, method="GET"):
    """How often the bridge has answered such calls."""
    scraped = read(httpx.get(f"{bridge.url}/metrics", timeout=30).text)
    return scraped.total("aigen_http_requests_total", method=method, route=path)


@pytest.mark.parametrize(
    ("name", "login", "device", "shape", "words"),
    [
        ("desktop", "ann", DESKTOP, "Square (1:1)", ENGLISH),
        ("phone", "lea", PHONE, "Quadrat (1:1)", GERMAN),
        ("spanish", "eva", DESKTOP, "Cuadrada (1:1)", SPANISH),
    ],
)
def test_each_word_of_the_progress_is_soon_in_form_log_and_gallery(  # noqa: PLR0917
    bridge, real_odoo, browser, record_property, capsys, name, login, device, shape, words
):
    prompt = f"A ferry in the morning, {name}"
    form = Person.log_in(browser, real_odoo.url, login, **device)
    gallery = ask_for(form, prompt)
    log = open_gallery(form, prompt)
    log.page.goto(form.page.url)
    log.page.click("a[name=log]")
    log.page.wait_for_selector(LOG)
    until_shown(form, "[name=shape]", shape)
    run = execution(bridge, prompt)
    assert run.ask() == "start"
    run.name_job()
    seconds = {"form": [], "log": [], "gallery": []}
    for report, said in zip(REPORTS, words, strict=True):
        watches = {
            "form": Watch(form, HEADLINE, said),
            "log": Watch(log, LOG, said),
            "gallery": Watch(gallery, CARD, prompt, said),
        }
        run.report(**report)
        at = time.time()
        for place, watch in watches.items():
            seconds[place].append(watch.seconds_after(at))
        if "percent" in report:
            form.snap(f"odoo-{name}-progress")
            log.page.locator(LOG).last.scroll_into_view_if_needed()
            log.snap(f"odoo-{name}-progress-log")
    run.deliver()
    form.page.wait_for_selector(PICTURE)
    gallery.page.wait_for_selector(f"{CARD}:has-text('{prompt}') img")
    show(seconds, name, record_property, capsys)
    assert form.errors == []
    assert statistics.median(seconds["form"]) < BUSY * SEEN_WITHIN


@pytest.mark.parametrize("number", [0, 1], ids=LANGUAGES)
def test_browsers_get_all_these_words_in_their_language(real_odoo, people, number):
    query = {"lang": LANGUAGES[number], "mods": "aigen_image"}
    path = "/web/webclient/translations" + ("/x" if real_odoo.version == "18" else "")
    answer = httpx.get(f"{real_odoo.url}{path}", params=query, timeout=60)
    messages = {each["id"]: each["string"] for each in answer.json()["modules"]["aigen_image"]["messages"]}
    assert {word: messages.get(word) for word in TRANSLATED} == {w: words[number] for w, words in TRANSLATED.items()}


def show(seconds, name, record_property, capsys):
    for place, measured in seconds.items():
        record_property(f"reported_to_shown_seconds_{place}", measured)
        with capsys.disabled():
            rounded = [round(s, 2) for s in measured]
            print(f"\nreported to shown, {name}, {place}: median {statistics.median(measured):.2f} s, all {rounded}")  # noqa: T201


def test_twenty_four_tiles_cost_the_bridge_one_call_each_time(bridge, real_odoo, browser, record_property, capsys):
    prompts = [f"Tile number {number:02}" for number in range(24)]
    model = real_odoo.as_person("tom", "aigen.image.model", "search", [], 0, 1)[0]
    wishes = [{"prompt": prompt, "model_id": model} for prompt in prompts]
    ids = real_odoo.as_person("tom", "aigen.image.request", "create", wishes)
    real_odoo.as_person("tom", "aigen.image.request", "action_generate", ids)
    runs = [execution(bridge, prompt) for prompt in prompts]
    for number, run in enumerate(runs):
        run.ask()
        run.name_job(f"job-{number}")
        run.report("generating", percent=number)
    tom = Person.log_in(browser, real_odoo.url, "tom")
    gallery = open_gallery(tom, prompts[0])
    for number, prompt in enumerate(prompts):
        until_shown(gallery, CARD, prompt, f"{number}\u00a0%")
    gallery.snap("odoo-desktop-progress-tiles")
    count(bridge, 1, 11.0, record_property, capsys, gallery)
    tom.page.goto(f"{real_odoo.url}/odoo/ai-images/{ids[0]}")
    until_shown(tom, HEADLINE, "0\u00a0%")
    count(bridge, 2, 11.0, record_property, capsys, gallery)
    real_odoo.as_person("tom", "aigen.image.request", "action_cancel", ids)
    until_shown(tom, ".o_aigen_words", "Cancelled")
    assert tom.errors == []


def count(bridge, tabs, seconds, record_property, capsys, person):
    """Counts the calls to the bridge while this many tabs are open, and checks that they are few."""
    routes = {"of all": REQUESTS, "of one": f"{REQUESTS}/{{requestId}}", "log": f"{REQUESTS}/{{requestId}}/timeline"}
    before, started = {name: answered(bridge, route) for name, route in routes.items()}, time.monotonic()
    person.page.wait_for_timeout(seconds * 1000)
    took = time.monotonic() - started
    calls = {name: answered(bridge, route) - before[name] for name, route in routes.items()}
    record_property(f"calls_of_{tabs}_tabs", calls)
    with capsys.disabled():
        print(f"\n24 pictures under way, {tabs} tabs open: {calls} calls of the bridge in {took:.1f} s")  # noqa: T201
    assert 0 < calls["of all"] <= tabs * (took / 2 + 1)
    assert calls["of one"] == calls["log"] == 0


def test_while_n8n_is_away_a_person_reads_since_when_and_then_it_goes_on(bridge, real_odoo, browser):
    prompt = "A heron that waits for its painter"
    bridge.chain.n8n.faults.clear()
    bridge.chain.n8n.faults.add(AWAY)
    ann = Person.log_in(browser, real_odoo.url, "ann")
    gallery = ask_for(ann, prompt)
    ann.page.click("a[name=log]")
    away = re.compile(r"The image service is away since \d\d:\d\d( [AP]M)?\.")  # 24 hours in Odoo 18, 12 in 19
    until_shown(ann, HEADLINE, away)
    until_shown(ann, DETAIL, "Your picture will come.")
    until_shown(ann, LOG, away, "Your picture will come.")
    until_shown(gallery, CARD, prompt, away, "Your picture will come.")
    [held] = held_in(bridge, prompt)
    formats = 'since => ["HH:mm", "hh:mm a"].map((format) => luxon.DateTime.fromISO(since).toFormat(format))'
    times = ann.page.evaluate(formats, held["since"])
    assert any(f"since {time}." in ann.page.inner_text(HEADLINE) for time in times)
    bridge.chain.n8n.faults.clear()
    bridge.chain.n8n.faults.add(ACKNOWLEDGES)
    run = execution(bridge, prompt)
    run.ask()
    run.name_job()
    run.report("generating", percent=10)
    until_shown(ann, HEADLINE, "Being made · 10\u00a0%")
    until_shown(gallery, CARD, prompt, "Being made · 10\u00a0%")
    assert ann.page.locator("[data-held]").count() == gallery.page.locator("[data-held]").count() == 0
    run.deliver()
    ann.page.wait_for_selector(PICTURE)
    assert ann.errors == []


def held_in(bridge, prompt):
    """Returns what holds the requests with this prompt."""
    answer = httpx.get(f"{bridge.url}{REQUESTS}", headers={"X-API-Key": KEYS["ops"]}, timeout=30)
    return [item["held"] for item in answer.json()["items"] if item["held"] and item["prompt"] == prompt]


def test_a_request_that_n8n_lost_says_so_and_goes_on(bridge, real_odoo, browser, own_database):
    prompt, restarted = "A clock that is wound up again", "The image service was restarted, going on"
    ann = Person.log_in(browser, real_odoo.url, "ann")
    gallery = ask_for(ann, prompt)
    ann.page.click("a[name=log]")
    lost = execution(bridge, prompt)
    lost.ask()
    lost.name_job()
    lost.report("generating", percent=30)
    until_shown(ann, HEADLINE, "30\u00a0%")
    end_silence(own_database, lost.request_id)
    following = execution(bridge, prompt, number=2)
    assert following.ask() == "resume"
    following.report("generating", percent=60)
    until_shown(ann, DETAIL, restarted)
    until_shown(ann, LOG, restarted)
    until_shown(gallery, CARD, prompt, restarted)
    until_shown(ann, HEADLINE, "Being made · 60\u00a0%")
    ann.snap("odoo-desktop-progress-restarted")
    following.deliver()
    ann.page.wait_for_selector(PICTURE)
    ann.page.click("a[name=facts]")
    until_shown(ann, "[name=resent]", "1")
    assert len(handed_over(bridge, prompt)) == 2
    assert ann.errors == []


@pytest.mark.parametrize(
    ("login", "late"), [("ann", "This takes longer than usual"), ("lea", "Das dauert länger als üblich")]
)
def test_a_late_picture_is_called_late_and_is_shown_even_after_it_timed_out(
    bridge, real_odoo, browser, own_database, login, late
):
    prompt = f"A train that is late, for {login}"
    person = Person.log_in(browser, real_odoo.url, login)
    gallery = ask_for(person, prompt)
    person.page.click("a[name=log]")
    run = execution(bridge, prompt)
    run.ask()
    run.name_job()
    with closing(psycopg.connect(real_odoo.database_url, autocommit=True)) as connection:
        an_hour_ago = "UPDATE aigen_image_request SET started_at = now() AT TIME ZONE 'UTC' - interval '1 hour'"
        connection.execute(f"{an_hour_ago} WHERE prompt = %s", [prompt])
    run.report("generating", percent=99)
    until_shown(person, DETAIL, late)
    until_shown(person, LOG, late)
    until_shown(gallery, CARD, prompt, late)
    own_database.execute("UPDATE requests SET callback_deadline_at = now() WHERE request_id = %s", [run.request_id])
    person.page.wait_for_selector(".o_aigen_stage[data-status=failed]")
    run.deliver()
    person.page.wait_for_selector(PICTURE)
    gallery.page.wait_for_selector(f"{CARD}:has-text('{prompt}') img")
    assert person.errors == []


def test_what_may_have_been_paid_for_is_sent_again_only_by_a_manager_who_confirms_it(
    bridge, real_odoo, browser, own_database
):
    prompt = "A toll bridge that may have been paid"
    mia = Person.log_in(browser, real_odoo.url, "mia")
    mia.wish(prompt)
    mia.generate()
    run = execution(bridge, prompt)
    run.ask()
    end_silence(own_database, run.request_id)
    until_shown(mia, ".o_aigen_words", "may have been made and paid for", "may cost a second time")
    replay = "/api/v1/ops/requests/{requestId}/replay"
    replays = answered(bridge, replay, "POST")
    asks = ".modal:has-text('This picture may have been paid for already')"
    mia.page.locator("button[name=action_retrigger]").click()
    mia.page.wait_for_selector(asks)
    mia.snap("odoo-desktop-progress-maybe-paid-confirm")
    mia.page.locator(asks).get_by_role("button", name="Cancel").click()
    mia.page.wait_for_selector(asks, state="detached")
    mia.page.reload()
    until_shown(mia, ".o_aigen_words", "may have been made and paid for")
    assert answered(bridge, replay, "POST") == replays
    mia.page.locator("button[name=action_retrigger]").click()
    mia.page.locator(asks).get_by_role("button", name="Ok").click()
    mia.page.wait_for_selector(".o_notification:has-text('It is on its way again')")
    again = execution(bridge, prompt, number=2)
    assert again.ask() == "start"
    again.name_job()
    again.report("finishing")
    until_shown(mia, HEADLINE, "Almost there")
    again.deliver()
    mia.page.wait_for_selector(PICTURE)
    assert answered(bridge, replay, "POST") == replays + 1
    assert len(handed_over(bridge, prompt)) == 2
    assert mia.errors == []


def test_what_the_provider_told_is_on_the_facts_page_and_the_same_seed_is_the_one_it_used(bridge, real_odoo, browser):
    prompt, more = "A tram in the rain", "A tram in the snow"
    facts = {
        "provider": "fal",
        "jobId": "7f",
        "model": "fal-ai/flux-lora",
        "seed": 424242,
        "seconds": 3.14,
        "negativePrompt": "folded",
        "hasNsfwConcepts": [False],
    }
    ann = Person.log_in(browser, real_odoo.url, "ann")
    ann.wish(prompt)
    ann.generate()
    run = execution(bridge, prompt)
    run.ask()
    run.name_job()
    run.deliver(generation=facts, cost={"amount": "0.0350", "currency": "USD", "basis": "billed"})
    ann.page.wait_for_selector(PICTURE)
    shown = {
        "provider": "fal",
        "provider_model": "fal-ai/flux-lora",
        "seed_used": "424242",
        "made_in": "3.1",
        "negative_prompt_use": "Said as part of the prompt",
        "cost": "0.035 USD",
    }
    for field, words in shown.items():
        until_shown(ann, f".o_field_widget[name={field}]", re.compile(f"^{re.escape(words)}$"))
    ann.page.locator(".o_field_widget[name=cost]").scroll_into_view_if_needed()
    ann.snap("odoo-desktop-progress-facts")
    ann.page.click("a[name=log]")
    until_shown(ann, LOG, "made by fal fal-ai/flux-lora (job 7f), seed 424242, 3.1 s; cost 0.035 USD (billed)")
    ann.menu("action_same_seed").click()
    ann.page.wait_for_selector("button[name=action_generate]")
    ann.page.fill("[name=prompt] textarea", more)
    ann.generate()
    assert execution(bridge, more).event["seed"] == 424242
    execution(bridge, more).deliver()
    ann.page.wait_for_selector(PICTURE)
    assert ann.errors == []
