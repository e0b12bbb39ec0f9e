"""Pages that stay open while the database is away, and while the bridge is upgraded. PostgreSQL is really stopped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from playwright.sync_api import expect

from aigen_bridge.console import render as pages
from chaos.postgres import Postgres, postgres
from console.operator import Operator, csrf_of, signed_in
from loop_thread import LoopThread
from stage import KEYS, Stage, staged

Visiting = Callable[..., Operator]
OUTDATED = "Not up to date"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="aigen-away-") as folder, postgres(Path(folder) / "data") as server:
        yield server


@pytest.fixture
def stage(server: Postgres, loop: LoopThread) -> Iterator[Stage]:
    server.start()
    with ExitStack() as running:
        yield running.enter_context(loop.open(staged(server.url)))


def test_pages_say_that_the_database_is_away_and_come_back_by_themselves(
    server: Postgres, stage: Stage, visiting: Visiting
) -> None:
    polling, opening, acting = visiting(stage), visiting(stage), visiting(stage)
    connection = polling.page.locator("#connection")
    heading = polling.page.locator("h1").inner_text()
    server.stop()

    expect(connection).to_contain_text(f"{OUTDATED}: the bridge answered 503.")
    assert polling.page.locator("h1").inner_text() == heading, "what was there stays"

    opening.open("/runbook")
    opening.expect_text("The database is away")
    assert opening.page.evaluate("fetch(location.href).then((answer) => answer.status)") == 503
    opening.assert_accessible()

    acting.page.get_by_role("button", name="Sign out").click()
    acting.expect_text("It is not certain whether this was done.")

    server.start()
    expect(opening.page.locator("h1")).to_have_text("Runbook")
    expect(connection).to_be_hidden()
    acting.open("")
    assert acting.page.locator(".who").is_visible(), "the session is still there"


def test_signing_in_while_the_database_is_away_says_so(server: Postgres, stage: Stage) -> None:
    server.stop()
    answer = httpx.post(f"{stage.api.base_url}/console/sign-in", data={"key": KEYS["ops"]}, verify=False)
    assert (answer.status_code, "The database is away" in answer.text) == (503, True)
    assert "aigen_console" not in answer.cookies


def test_a_page_of_an_older_version_says_so_and_its_forms_still_work(
    stage: Stage, visiting: Visiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = visiting(stage)
    monkeypatch.setattr(pages, "__version__", "99.0.0")
    expect(operator.page.locator("#connection")).to_contain_text(
        "The bridge was upgraded to 99.0.0. Load the page again."
    )
    operator.page.get_by_role("button", name="Sign out").click()
    expect(operator.page.locator("#key")).to_be_visible()


def test_a_form_that_this_version_does_not_have_says_what_to_do(stage: Stage) -> None:
    with signed_in(stage) as console:
        csrf = csrf_of(console)
        came_from = {"Referer": f"{console.base_url}/console/keys"}
        answer = console.post("/console/action-of-tomorrow", data={"csrf": csrf}, headers=came_from)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/keys")
        words = console.get("/console/keys").text
        assert "The console has no action" in words
        assert "load it again. Nothing was changed." in words


def test_files_of_another_version_are_todays_and_are_not_kept(stage: Stage) -> None:
    answer = httpx.get(f"{stage.api.base_url}/console/static/0123456789ab/console.css", verify=False)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
