"""Two people ask for pictures while each program of the chain fails in turn; then the books are compared."""

import time

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from chain.hops import measure, note
from real_n8n import WEBHOOK

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1200)]  # the first one waits until everything is installed

ROUNDS = 5
REFUSAL = "No lighthouses, please."


def test_ten_pictures_of_two_people_are_shown(crew):
    for number in range(ROUNDS):
        pair = [crew.press(crew.ann, f"A kite, number {number}"), crew.press(crew.dan, f"A tram, number {number}")]
        for asked in pair:
            measure(crew, asked, crew.shown_at(asked))
    assert crew.ann.errors == crew.dan.errors == []


def test_a_refusal_of_the_ai_service_is_shown_in_its_own_words(crew):
    refused = Fault(
        kind=FaultKind.FAIL_JOB, route="generate", status=422, name="content_policy_violation", detail=REFUSAL
    )
    crew.ground.ai.simulator.faults.add(refused)
    asked = crew.press(crew.ann, "A lighthouse that nobody may draw")
    crew.ann.page.wait_for_selector(f".o_aigen_words:has-text('{REFUSAL}')")
    assert crew.record(asked)["error_code"] == "content_policy_violation"


def test_a_person_learns_that_the_ai_service_is_down(crew):
    crew.ground.ai.stop()
    try:
        asked = crew.press(crew.dan, "A ferry that does not sail")
        crew.dan.page.wait_for_selector(".o_aigen_words:has-text('There is no picture')")
    finally:
        crew.ground.ai.start()
    assert (crew.record(asked)["status"], crew.record(asked)["error_code"]) == ("failed", "ai_unreachable")


def test_a_killed_n8n_costs_nobody_a_picture_nor_one_asked_for_meanwhile(crew):
    with crew.ground.ai.holding():
        pair = [crew.press(crew.ann, "A comet above a village"), crew.press(crew.dan, "A comet above a harbour")]
        crew.until_generating(*pair)
        crew.ground.n8n.kill()
    meanwhile = crew.press(crew.dan, "Stars above a road that is closed")
    crew.dan.page.wait_for_selector("[role=status]:has-text('The image service is away')")
    crew.ground.n8n.start(WEBHOOK)
    back_at = time.time()
    for asked in (pair[0], meanwhile):
        note(f"N8N back → shown: {crew.shown_at(asked) - back_at:.1f} s ({asked.prompt})")
    crew.until_in_bridge(pair[1], "completed")


def test_a_killed_worker_delays_pictures_and_loses_none(crew):
    with crew.ground.ai.holding():
        first = crew.press(crew.ann, "A clock that stops")
        crew.until_generating(first)
        crew.ground.bridge.kill("worker")
    second = crew.press(crew.dan, "A clock that is wound up")
    crew.until_in_bridge(first, "completed")
    assert crew.record(first)["attachment_id"] is None
    crew.ground.bridge.start("worker")
    for asked in (first, second):
        crew.shown_at(asked)


def test_what_is_asked_for_while_the_api_is_down_is_sent_by_itself(crew):
    crew.ground.bridge.kill("api")
    asked = crew.press(crew.ann, "A letter that waits for the postman")
    crew.ann.page.wait_for_selector(".o_aigen_words:has-text('It is sent by itself')")
    crew.ground.bridge.start("api")
    back_at = time.time()
    crew.ann.page.wait_for_selector(".o_aigen_stage[data-status=completed]", timeout=240_000)
    note(f"API back → shown: {crew.shown_at(asked) - back_at:.1f} s")


def test_a_picture_that_is_ready_while_odoo_restarts_is_shown_on_the_page_that_was_left_open(crew):
    with crew.ground.ai.holding():
        pair = [crew.press(crew.ann, "A door that closes"), crew.press(crew.dan, "A door that opens")]
        crew.until_generating(*pair)
        crew.ground.odoo.server.stop()
    for asked in pair:
        crew.until_in_bridge(asked, "completed")
    crew.ground.odoo.server.start()
    for asked in pair:
        crew.shown_at(asked)


def test_a_crash_of_the_bridges_database_costs_nobody_a_picture(crew):
    with crew.ground.ai.holding():
        pair = [crew.press(crew.ann, "A library at night"), crew.press(crew.dan, "A library at noon")]
        crew.until_generating(*pair)
    crew.ground.bridge.crash_database(3)
    for asked in pair:
        crew.shown_at(asked)


def test_a_picture_that_is_cancelled_while_it_is_generated_is_not_shown(crew):
    with crew.ground.ai.holding():
        asked = crew.press(crew.ann, "A parade that is called off")
        crew.until_generating(asked)
        crew.ann.menu("action_cancel").click()
        crew.ann.page.wait_for_selector(".o_aigen_stage[data-status=cancelled]")
        crew.until_in_bridge(asked, "cancelled")
        crew.until_cancelled_at_the_provider(asked)
    assert crew.record(asked)["attachment_id"] is None


def test_the_books_of_bridge_n8n_provider_and_odoo_balance(crew):
    from chain.books import balance, read_books  # noqa: PLC0415 - imports Playwright

    books = read_books(crew)
    assert balance(books) == []
