"""What strangers and other sites send to the console by hand: broken headers, cookies, addresses and forms."""

import base64
import json
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from console.access import as_viewer
from console.operator import csrf_of, signed_in
from loop_thread import LoopThread
from stage import KEYS, Stage, staged

LONE_SURROGATE = "\ud800"
FORMS = ("/console/dead-letters/discard", "/console/budgets/_new", "/console/models/new")


@pytest.fixture(scope="module")
def stage(loop: LoopThread, module_database_url: str) -> Iterator[Stage]:
    with loop.open(staged(module_database_url)) as stage:
        yield stage


@pytest.fixture(scope="module")
def console(stage: Stage) -> Iterator[httpx.Client]:
    with signed_in(stage) as console:
        yield console


@pytest.mark.parametrize("broken", ["http://[", "//[::1", "//a\N{ACCOUNT OF}b/"])
def test_an_address_that_is_none_leads_to_the_first_page(console: httpx.Client, broken: str) -> None:
    page = console.get("/console/sign-in", params={"next": broken})
    assert (page.status_code, 'name="next" value="/console"' in page.text) == (200, True)
    signed = console.post("/console/sign-in", data={"key": KEYS["ops"], "next": broken})
    assert (signed.status_code, signed.headers["location"]) == (303, "/console")
    form = {"csrf": csrf_of(console), "back": broken}
    wrong = console.post("/console/dead-letters/discard", data=form, headers={"Referer": broken.encode()})
    assert (wrong.status_code, wrong.headers["location"]) == (303, "/console")
    foreign = console.post("/console/sign-out", data=form, headers={"Origin": broken.encode()})
    assert foreign.status_code == 403


@pytest.mark.parametrize("host", ["[", "[::1", "a/console/keys?", "a b"])
def test_a_host_that_is_none_does_not_break_a_page(console: httpx.Client, host: str) -> None:
    for path in ("/console/keys", "/console/no-such-page", "/console/sign-in"):
        assert console.get(path, headers={"Host": host}).status_code < 500


@pytest.mark.parametrize("notice", ["[" * 30_000, json.dumps({"kind": "done", "text": LONE_SURROGATE}), "[]", "x"])
def test_a_notice_that_nobody_left_does_not_break_a_page(console: httpx.Client, notice: str) -> None:
    cookies = dict(console.cookies) | {"aigen_console_notice": base64.urlsafe_b64encode(notice.encode()).decode()}
    assert httpx.get(f"{console.base_url}/console/keys", cookies=cookies, verify=False).status_code == 200


@pytest.mark.parametrize("charset", ["raw_unicode_escape", "punycode", "no-such"])
def test_a_form_chooses_no_codec(console: httpx.Client, charset: str) -> None:
    """Some decode to lone surrogates, and the time of some grows with the square of the size."""
    part = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}'.format
    fields = [part("csrf", csrf_of(console)), part("reason", r"\ud800"), part("selected", r"\ud800")]
    body = "".join(f"--b\r\n{field}\r\n" for field in fields) + "--b--\r\n"
    for path in FORMS:
        kind = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
        assert console.post(path, content=body, headers=kind).headers["location"] == "/console"
        assert "The form is not in UTF-8." in console.get("/console/keys").text


def test_json_of_any_depth_is_no_bug(console: httpx.Client) -> None:
    csrf = csrf_of(console)
    for depth in (900, 20_000):
        deep = '{"a":' * depth + "1" + "}" * depth
        for fields in ({"json": deep}, {"seen": f'{{"updatedAt": null, "entry": {{"a": {deep}}}}}'}):
            assert console.post("/console/models/new", data=fields | {"csrf": csrf}).status_code < 500


@pytest.mark.parametrize("at", ["2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_state_that_nobody_saw_is_no_bug(console: httpx.Client, at: str) -> None:
    form = {"csrf": csrf_of(console), "seen": json.dumps({"updatedAt": at, "entry": {}})}
    terms = {"limit": "1", "currency": "USD", "period": "day", "kind": "soft"}
    assert console.post("/console/budgets/none", data=form | terms).status_code < 500
    assert console.post("/console/budgets/none/remove", data=form).status_code < 500
    assert console.post("/console/destinations/n8n/resume", data=form | {"seen": at}).status_code < 500


def test_a_stranger_uploads_nothing(stage: Stage) -> None:
    answer = httpx.post(f"{stage.api.base_url}/console/sign-in", files={"key": b"x" * 2**20}, verify=False)
    assert answer.status_code == 303
    assert "aigen_console" not in answer.cookies


def test_a_viewer_uploads_nothing(stage: Stage, loop: LoopThread) -> None:
    with as_viewer(stage, loop.run) as viewer:
        form = {"csrf": csrf_of(viewer)}
        answer = viewer.post(f"/console/requests/{uuid4()}/complete", data=form, files={"file": b"x" * 2**20})
        assert answer.status_code == 303
        assert "application/x-www-form-urlencoded" in viewer.get("/console/keys").text
