"""What holds for every page and every action of the console. The routes come from the application itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from aigen_bridge.domain.session import Role
from console.access import NORTH_OPS, TWO_ODOOS
from console.operator import Operator, csrf_of, signed_in
from console.planted import HOSTILE, SECRET, Planted, execute, open_session, plant
from console.walking import FIELDS, Html, Visit, visits
from loop_thread import LoopThread
from stage import Stage, staged, working

PHONE_WIDTH, DESKTOP_WIDTH = {"width": 390, "height": 844}, {"width": 1400, "height": 900}
PROTECTED = {
    "content-security-policy": "default-src 'none'; ",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}
SHORTER = "() => document.querySelectorAll('.prose > :nth-child(n + 25)').forEach((each) => each.remove())"
"""The runbook is long: axe would take as much time for it as for all other pages."""
NOT_FOR_OPERATORS_ALONE = {"/console/sign-in", "/console/sign-out"}
ODD = ("", "x" * 999, "\0", "-1", "9" * 40, "2026-13-45", HOSTILE)


@pytest.fixture(scope="module")
def png() -> bytes:
    return (Path(__file__).parents[1] / "lighthouse.png").read_bytes()


@pytest.fixture(scope="module")
def world(loop: LoopThread, module_database_url: str, png: bytes) -> Iterator[tuple[Stage, Planted]]:
    """A stage with something hostile in everything that pages show."""
    with ExitStack() as running:
        console = {"viewers_see_content": False}
        stage = running.enter_context(loop.open(staged(module_database_url, console=console, **TWO_ODOOS)))
        with loop.open(working(stage.settings)):
            planted = loop.run(plant(stage, png))
        yield stage, planted


@contextmanager
def seeing(stage: Stage, loop: LoopThread, role: Role) -> Iterator[httpx.Client]:
    """Yields a client with a session of this role."""
    token = loop.run(open_session(stage, f"{role}@example.com", role))
    cookies = {"aigen_console": token}
    with httpx.Client(base_url=str(stage.api.base_url), cookies=cookies, timeout=30, verify=False) as console:
        yield console


def is_page(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("text/html")


def operations(stage: Stage, loop: LoopThread) -> int:
    """Returns how many actions are recorded, apart from sign-ins."""
    [(found,)] = loop.run(execute(stage, "SELECT count(*) FROM operations WHERE action NOT LIKE 'sign-%'"))
    return int(found)


def test_pages_show_hostile_text_as_text_and_have_no_script_or_style_of_their_own(world: tuple[Stage, Planted]) -> None:
    stage, planted = world
    shown = 0
    with signed_in(stage) as console:
        for visit in visits("GET", planted.names):
            answer = console.get(visit.path)
            assert answer.status_code < 500, (visit, answer.text)
            for name, value in PROTECTED.items():
                assert value in answer.headers[name], visit
            assert "unsafe" not in answer.headers["content-security-policy"], visit
            assert "unsafe" not in answer.headers["content-security-policy"], visit
            if is_page(answer):
                page = Html(answer.text)
                assert page.wrong == [], visit
                assert "<script>alert" not in answer.text, visit
                shown += "alert(1)" in answer.text
            head = console.head(visit.path)
            assert (head.status_code, head.content) == (answer.status_code, b""), visit
    assert shown > 0


def test_viewers_who_see_no_content_find_no_prompt_and_no_image_anywhere(
    world: tuple[Stage, Planted], loop: LoopThread
) -> None:
    stage, planted = world
    told: dict[Role, int] = {}
    wrong: list[str] = []
    for role in Role:
        with seeing(stage, loop, role) as console:
            told[role] = 0
            for visit in visits("GET", planted.names):
                answer = console.get(visit.path)
                assert answer.status_code < 500, visit
                is_content = SECRET in answer.text or (
                    "/static/" not in visit.route and answer.headers.get("content-type", "").startswith("image/")
                )
                told[role] += is_content
                wrong += [visit.path] if is_content and role is Role.VIEWER else []
    assert not wrong, "\n".join(wrong)
    assert told[Role.OPERATOR] > 0, "the prompts were not planted where pages show them"


def test_viewers_who_see_no_content_learn_nothing_of_it_by_searching(
    world: tuple[Stage, Planted], loop: LoopThread
) -> None:
    stage, planted = world
    for role, is_found in ((Role.OPERATOR, True), (Role.VIEWER, False)):
        with seeing(stage, loop, role) as console:
            for path in ("/console/requests", "/console/requests.csv"):
                answer = console.get(path, params={"q": SECRET})
                assert (planted.names["requests"][0] in answer.text) is is_found, (role, path, answer.text)


def test_an_operator_of_another_odoo_finds_nothing_of_this_one_and_changes_nothing_of_it(
    world: tuple[Stage, Planted], loop: LoopThread
) -> None:
    """Everything that was planted belongs to the first Odoo."""
    stage, planted = world
    before = operations(stage, loop)
    ids, letters = planted.names["requests"][:-1], planted.names["dead-letters"][:-1]
    wrong: list[str] = []
    with signed_in(stage, NORTH_OPS) as console:
        for visit in visits("GET", planted.names):
            answer = console.get(visit.path)
            assert answer.status_code < 500, visit
            foreign = [each for each in (*ids, *(f"/{letter}" for letter in letters)) if each not in visit.path]
            foreign += [SECRET, "oidc:", "Reason &lt;", "Contact &lt;"]
            wrong += [f"{visit.path} shows {each}" for each in foreign if each in answer.text]
        csrf = csrf_of(console)
        for visit in actions(planted):
            answer = console.post(visit.path, data={"csrf": csrf, "reason": "not mine", "selected": letters})
            assert answer.status_code < 500, visit
            notice = console.get("/console/keys").text
            wrong += [f"{visit.path} answers with {SECRET}"] if SECRET in answer.text + notice else []
    assert not wrong, "\n".join(wrong)
    assert operations(stage, loop) == before


def test_every_action_refuses_a_viewer(world: tuple[Stage, Planted], loop: LoopThread) -> None:
    stage, planted = world
    before = operations(stage, loop)
    with seeing(stage, loop, Role.VIEWER) as console:
        csrf = csrf_of(console)
        for visit in actions(planted):
            answer = console.post(visit.path, data={"csrf": csrf, "reason": "to see whether it works"})
            assert (answer.status_code, "You are signed in as a viewer" in answer.text) == (403, True), visit
    assert operations(stage, loop) == before


def test_every_action_refuses_a_form_that_is_not_of_this_session(
    world: tuple[Stage, Planted], loop: LoopThread
) -> None:
    stage, planted = world
    before = operations(stage, loop)
    with seeing(stage, loop, Role.OPERATOR) as console, seeing(stage, loop, Role.OPERATOR) as another:
        own, foreign = csrf_of(console), csrf_of(another)
        assert own != foreign
        for visit in [*actions(planted), *signing_out(planted)]:
            for csrf, headers in (
                ("", {}),
                (foreign, {}),
                (own, {"Origin": "https://evil.example"}),
                (own, {"Sec-Fetch-Site": "cross-site"}),
            ):
                answer = console.post(visit.path, data={"csrf": csrf, "reason": "none"}, headers=headers)
                assert (answer.status_code, "not sent from a page" in answer.text) == (403, True), visit
    assert operations(stage, loop) == before


def test_nothing_is_shown_or_done_without_a_session(world: tuple[Stage, Planted]) -> None:
    stage, planted = world
    open_to_all = {"/console/sign-in", "/console/static/{digest}/{name}"}
    with httpx.Client(base_url=str(stage.api.base_url), verify=False) as stranger:
        for visit in [*visits("GET", planted.names), *actions(planted)]:
            if visit.route in open_to_all or visit.route.startswith("/console/sign-in/"):
                continue
            answer = stranger.request(visit.method, visit.path)
            assert answer.status_code == 303, visit
            assert answer.headers["location"].startswith("/console/sign-in?next="), visit


def test_every_page_is_accessible_by_day_and_by_night_and_fits_on_a_phone(
    world: tuple[Stage, Planted], visiting: Callable[..., Operator]
) -> None:
    stage, planted = world
    operator = visiting(stage)
    wrong: list[str] = []
    for path in _pages(stage, planted):
        operator.page.set_viewport_size(DESKTOP_WIDTH)  # type: ignore[arg-type]
        operator.page.emulate_media(color_scheme="light")
        operator.page.goto(f"{operator.url}{path}")
        operator.page.evaluate(SHORTER)
        wrong += [f"{path}: {found}" for found in _axe(operator)]
        operator.page.emulate_media(color_scheme="dark")
        wrong += [f"{path}, dark: {found}" for found in _axe(operator, "color-contrast")]
        operator.page.set_viewport_size(PHONE_WIDTH)  # type: ignore[arg-type]
        wrong += [f"{path}: {operator.pixels_too_wide()} pixels too wide"] if operator.pixels_too_wide() > 0 else []
    assert wrong == []


def test_no_query_and_no_form_makes_a_page_fail(world: tuple[Stage, Planted]) -> None:
    """At the end of this file: forms of any content are accepted by some actions."""
    stage, planted = world
    with signed_in(stage) as console:
        for visit in {visit.route: visit for visit in visits("GET", planted.names)}.values():
            for odd in ODD:
                answer = console.get(visit.path, params=dict.fromkeys((*FIELDS, "cursor", "no-such-parameter"), odd))
                assert answer.status_code < 500, (visit, odd, answer.text)
                assert not is_page(answer) or Html(answer.text).wrong == [], (visit, odd)
        csrf = csrf_of(console)
        for visit in {visit.route: visit for visit in actions(planted)}.values():
            for odd in ("", "-1", HOSTILE):
                answer = console.post(visit.path, data=dict.fromkeys(FIELDS, odd) | {"csrf": csrf})
                assert answer.status_code < 500, (visit, odd, answer.text)


def _pages(stage: Stage, planted: Planted) -> list[str]:
    """Returns a path of each kind of page: one of each route, and one of each kind of error."""
    found: dict[tuple[str, int], str] = {}
    with signed_in(stage) as console:
        for visit in visits("GET", planted.names):
            answer = console.head(visit.path)
            if is_page(answer) and "banner" not in visit.route and "static" not in visit.route:
                found.setdefault(("" if answer.is_error else visit.route, answer.status_code), visit.path)
    return list(found.values())


def _axe(operator: Operator, *rules: str) -> list[str]:
    """Returns what axe finds, each with the elements."""
    options: dict[str, Any] = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = Axe().run(operator.page, options=options).response["violations"]
    return [f"{each['id']}: {[node['html'][:200] for node in each['nodes']]}" for each in found]


def actions(planted: Planted) -> list[Visit]:
    """Every action that changes something besides the session."""
    return [visit for visit in visits("POST", planted.names) if visit.route not in NOT_FOR_OPERATORS_ALONE]


def signing_out(planted: Planted) -> list[Visit]:
    return [visit for visit in visits("POST", planted.names) if visit.route == "/console/sign-out"]
