"""What the console says about marks: on the page of a request, of a dead letter, of the destinations."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from aigen_bridge.domain.marks import find_marks
from aigen_bridge.domain.provenance import Mark
from aigen_bridge.domain.session import Role
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.sessions import Sessions
from console.operator import Operator, csrf_of, signed_in
from image_files import LIGHTHOUSE
from stage import CLIENTS, Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
DEAD = """
    UPDATE outbox SET state = 'dead', finished_at = now(), error_code = 'cannot_mark', error_detail = 'No room.'
    WHERE step = 'mark';
    INSERT INTO incidents (cause, times, opened_at, seen_at) VALUES ('image_unmarked', 2, now(), now()),
        ('marking_down', 1, now(), now())
"""


def write(stage: Stage, statement: str) -> None:
    with psycopg.connect(stage.settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
        connection.execute(statement)


def uploaded(stage: Stage, run: Run) -> str:
    """Completes a request by hand. Returns the path of its page."""
    path = f"/console/requests/{run(stage.ask())['requestId']}"
    with signed_in(stage) as console:
        upload = {"file": ("x.png", LIGHTHOUSE, "image/png")}
        console.post(f"{path}/complete", data={"csrf": csrf_of(console)}, files=upload)
        assert "The image passed its checks, and goes to Odoo once it is marked." in console.get(path).text
    return path


def delivered(stage: Stage, run: Run) -> str:
    """Completes a request by hand, and waits until its image is marked and delivered. Returns the path of its page."""
    path = uploaded(stage, run)
    run(stage.until_delivered(path.rpartition("/")[2]))
    return path


def test_the_page_of_a_request_says_how_its_image_is_marked_and_leads_to_the_original(
    staging: Staging, visiting: Visiting, run: Run
) -> None:
    stage = staging(worker=True, marking={"mode": "metadata"})
    path = delivered(stage, run)
    for look in ({}, {"dark": True}, {"phone": True}):
        operator = visiting(stage, **look)
        operator.open(path.removeprefix("/console"))
        text = operator.text()
        assert "Marked as made by AI" in text
        assert "by the bridge, in its metadata" in text
        assert "no mark" in text
        assert operator.page.get_by_role("link", name="The original image").is_visible()
        assert "marked as made by AI in its metadata" in text  # the timeline
        operator.assert_nothing_sticks_out()
        operator.assert_accessible()
        operator.snap(f"request-marked{'-'.join(['', *look])}")
    with signed_in(stage) as console:
        marked, original = console.get(f"{path}/image"), console.get(f"{path}/image?original=true")
        again = console.get(f"{path}/image?original=true", headers={"If-None-Match": original.headers["etag"]})
    assert find_marks(marked.content, "png") == (Mark.DIGITAL_SOURCE_TYPE,)
    assert (original.content, original.headers["content-type"]) == (LIGHTHOUSE, "image/png")
    assert "sandbox" in original.headers["content-security-policy"]
    assert (again.status_code, marked.headers["etag"] == original.headers["etag"]) == (304, False)


def test_an_original_is_shown_to_nobody_who_may_not_see_the_image(staging: Staging, run: Run) -> None:
    odoos = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "l", "api_key": "k"}}
    stage = staging(
        worker=True,
        odoos=odoos,
        clients=CLIENTS | {"north": {"keys": ["key-of-north"], "scopes": ["ops"], "odoo": "north"}},
        console={"viewers_see_content": False},
        marking={"mode": "metadata"},
    )
    path = delivered(stage, run)
    with signed_in(stage) as console:
        assert "original=true" in console.get(path).text
        console.cookies.set("aigen_console", run(_viewer(stage)), path="/console")
        assert "original=true" not in console.get(path).text
        assert console.get(f"{path}/image?original=true").status_code == 403
    with signed_in(stage, "north") as console:
        assert console.get(f"{path}/image?original=true").status_code == 404


async def _viewer(stage: Stage) -> str:
    database = Database(open_engine(stage.settings.database_url.get_secret_value(), pool_size=1, name="test"))
    token = await Sessions(database).open("viewer", Role.VIEWER, odoo=None, key_digest=None, note="a test")
    await database.close()
    return token


def test_where_originals_are_not_kept_the_page_has_no_link_to_one(staging: Staging, run: Run) -> None:
    stage = staging(worker=True, marking={"mode": "metadata", "keep_original": False})
    path = delivered(stage, run)
    with signed_in(stage) as console:
        assert "original=true" not in console.get(path).text
        missing = console.get(f"{path}/image?original=true")
    assert (missing.status_code, "is not kept" in missing.text) == (404, True)


def test_an_image_that_waits_for_its_mark_and_one_that_cannot_be_marked(staging: Staging, run: Run) -> None:
    stage = staging(marking={"mode": "metadata"})
    path = uploaded(stage, run)
    with signed_in(stage) as console:
        csrf = csrf_of(console)
        console.post("/console/destinations/marking/pause", data={"csrf": csrf, "reason": "a new certificate"})
        waiting, destinations = console.get(path).text, console.get("/console/destinations").text
        write(stage, DEAD)
        [entry] = [part.partition('"')[0] for part in console.get(path).text.split("/console/dead-letters/")[1:]]
        letter, overview = console.get(f"/console/dead-letters/{entry}").text, console.get("/console").text
        console.post(f"/console/dead-letters/{entry}/discard", data={"csrf": csrf, "reason": "away"})
        refused = console.get("/console/dead-letters").text
        runbook = console.get("/console/runbook").text

    assert "Its image waits to be marked as made by AI, which is paused." in waiting
    assert "not yet" in waiting
    assert "the marking of images" in destinations
    assert "a new certificate" in destinations
    assert "The image could not be marked as made by AI, and is kept." in letter
    assert "waits for its mark" in refused
    for anchor in ("aigenimagesunmarked", "aigenbreakeropen"):
        assert f"/console/runbook#{anchor}" in overview
        assert f'id="{anchor}"' in runbook


@pytest.mark.parametrize("odoo", ["north", "default"])
def test_the_marking_of_all_odoos_is_not_for_the_operators_of_one(staging: Staging, odoo: str) -> None:
    odoos = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "l", "api_key": "k"}}
    bound = {"bound": {"keys": ["key-of-bound"], "scopes": ["ops"], "odoo": odoo}}
    stage = staging(odoos=odoos, clients=CLIENTS | bound, marking={"mode": "metadata"})
    with signed_in(stage, "bound") as console:
        for page in ("", "/destinations"):
            shown = console.get(f"/console{page}")
            assert (shown.status_code, "the marking of images" in shown.text) == (200, False)
        console.post("/console/destinations/marking/pause", data={"csrf": csrf_of(console), "reason": "mine"})
    with signed_in(stage) as console:
        shown = console.get("/console/destinations").text
    assert ("the marking of images" in shown, "mine" in shown) == (True, False)
