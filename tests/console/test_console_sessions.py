"""How long a session lasts, in how many processes, and what a page that is open says when it ends."""

from collections.abc import Callable
from typing import Any

import httpx
import structlog
from playwright.sync_api import expect

from aigen_bridge.domain.session import Role
from console.operator import Operator, csrf_of, signed_in
from console.planted import execute, revoke_all
from loop_thread import LoopThread
from stage import KEYS, Stage, serve_api

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]


def test_a_session_ends_after_eight_hours_though_it_is_in_use(staging: Staging, run: Run) -> None:
    stage = staging()
    with signed_in(stage) as console:
        [(seconds,)] = run(
            execute(
                stage, "UPDATE console_sessions SET seen_at = now() RETURNING extract(epoch FROM expires_at - now())"
            )
        )
        assert 8 * 3600 - 60 < seconds <= 8 * 3600
        assert console.get("/console/keys").status_code == 200
        run(execute(stage, "UPDATE console_sessions SET expires_at = now() - interval '1 s' RETURNING id"))
        over = console.get("/console/keys?x=1")
        assert (over.status_code, over.headers["location"]) == (303, "/console/sign-in?next=%2Fconsole%2Fkeys%3Fx%3D1")


def test_a_session_is_known_to_every_process_of_the_api_and_ends_in_all(staging: Staging, loop: LoopThread) -> None:
    stage = staging()
    with signed_in(stage) as console, loop.open(serve_api(stage.settings)) as second:
        cookies = {"aigen_console": console.cookies["aigen_console"]}
        url = f"{second.base_url}/console/keys"
        page = httpx.get(url, cookies=cookies, verify=False)
        assert page.status_code == 200
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        assert console.post("/console/sign-out", data={"csrf": csrf}).status_code == 303, "a form of the other process"
        assert httpx.get(url, cookies=cookies, verify=False).status_code == 303


def test_sessions_that_ended_a_month_ago_are_deleted_when_somebody_signs_in(staging: Staging, run: Run) -> None:
    stage = staging()
    with signed_in(stage), signed_in(stage):
        run(
            execute(
                stage, "UPDATE console_sessions SET expires_at = now() - interval '29 days' WHERE id = 1 RETURNING id"
            )
        )
        run(
            execute(
                stage, "UPDATE console_sessions SET expires_at = now() - interval '31 days' WHERE id = 2 RETURNING id"
            )
        )
        with signed_in(stage):
            assert run(execute(stage, "SELECT id FROM console_sessions ORDER BY id")) == [(1,), (3,)]


def test_a_page_whose_session_was_revoked_goes_to_the_sign_in_and_comes_back(
    staging: Staging, visiting: Visiting, run: Run
) -> None:
    stage = staging()
    operator = visiting(stage)
    operator.open("/replays?x=1")
    run(revoke_all(stage))
    expect(operator.page.locator("#key")).to_be_visible()
    operator.sign_in(KEYS["ops"])
    assert operator.page.url.endswith("/console/replays?x=1")


def test_a_form_whose_session_was_revoked_changes_nothing_and_leads_back_to_its_page(
    staging: Staging, run: Run
) -> None:
    stage = staging()
    with signed_in(stage) as console:
        run(revoke_all(stage))
        came_from = {"Referer": f"{console.base_url}/console/keys"}
        answer = console.post("/console/no-such-action", data={"csrf": "x"}, headers=came_from)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in?next=%2Fconsole%2Fkeys")


def test_the_token_of_a_session_is_not_in_the_database(staging: Staging, run: Run) -> None:
    stage = staging()
    with signed_in(stage) as console:
        token = console.cookies["aigen_console"]
        stored = run(execute(stage, "SELECT console_sessions::text FROM console_sessions"))
        assert Role.OPERATOR.value in str(stored)
        assert token not in str(stored)
        assert token.encode().hex() not in str(stored)


def test_what_open_pages_ask_for_by_themselves_does_not_fill_the_log(staging: Staging) -> None:
    with signed_in(staging()) as console:
        csrf = csrf_of(console)
        console.get("/console/sign-in")  # on the same connection, so the line before is written
        with structlog.testing.capture_logs() as lines:
            console.get("/console/keys", headers={"HX-Request": "true"})
            console.get("/console/keys")
            console.get("/console/no-such-page", headers={"HX-Request": "true"})
            console.post("/console/sign-out", data={"csrf": csrf}, headers={"HX-Request": "true"})
            console.get("/console/sign-in")
    answered = [line for line in lines if line["event"] == "api.answered" and "sign-in" not in line["path"]]
    levels = [(line["log_level"], line["status"]) for line in answered]
    assert levels == [("debug", 200), ("info", 200), ("info", 404), ("info", 303)]
