"""Signing in and out, sessions, and what protects the pages."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from aigen_bridge.console.addresses import own_path
from console.operator import Operator, csrf_of, signed_in
from stage import CLIENTS, KEYS, Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]


def test_a_key_of_scope_ops_opens_the_page_that_was_wanted(staging: Staging, visiting: Visiting) -> None:
    operator = visiting(staging(), client=None)
    operator.open("/keys?x=1")
    assert operator.page.url.endswith("/console/sign-in?next=%2Fconsole%2Fkeys%3Fx%3D1")
    operator.assert_accessible()
    operator.snap("sign-in")
    operator.sign_in(KEYS["ops"])
    assert operator.page.url.endswith("/console/keys?x=1")
    assert operator.page.inner_text(".who .name") == "ops"


def test_another_key_opens_nothing_and_says_why(staging: Staging) -> None:
    with httpx.Client(base_url=str(staging().api.base_url), verify=False) as stranger:
        for key, words in (
            ("wrong", "No client has this key."),
            (KEYS["odoo"], "does not have the scope ops."),
            ("", "Enter a key."),
        ):
            answer = stranger.post("/console/sign-in", data={"key": key})
            assert (answer.status_code, words in answer.text) == (403, True)
            assert stranger.get("/console/keys").status_code == 303


def test_signing_out_ends_the_session_for_good(staging: Staging, visiting: Visiting) -> None:
    stage = staging()
    operator = visiting(stage)
    cookies = {cookie["name"]: cookie for cookie in operator.page.context.cookies()}
    token = cookies["aigen_console"]
    assert (token["httpOnly"], token["sameSite"], token["path"]) == (True, "Strict", "/console")
    operator.page.get_by_role("button", name="Sign out").click()
    expect(operator.page.locator("#key")).to_be_visible()
    again = httpx.get(f"{operator.url}/console/keys", cookies={"aigen_console": str(token["value"])}, verify=False)
    assert again.status_code == 303


def test_a_session_ends_when_its_key_is_taken_away_or_loses_a_right(staging: Staging) -> None:
    with signed_in(staging()) as console:
        assert console.get("/console/keys").status_code == 200
        token = console.cookies["aigen_console"]
    for client in ({"keys": ["another"], "scopes": ["ops"]}, {"keys": [KEYS["ops"]], "scopes": ["requests"]}):
        stage = staging(clients=CLIENTS | {"ops": client})
        later = httpx.get(f"{stage.api.base_url}/console/keys", cookies={"aigen_console": token}, verify=False)
        assert later.status_code == 303


def test_a_form_of_another_site_changes_nothing(staging: Staging) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}
    with signed_in(staging()) as console:
        forms = [(csrf_of(console), headers) for headers in foreign] + [("guessed", {})]
        for csrf, headers in forms:
            answer = console.post("/console/sign-out", headers=headers, data={"csrf": csrf})
            assert (answer.status_code, "not sent from a page" in answer.text) == (403, True)
        assert console.get("/console/keys").status_code == 200


def test_signing_in_is_limited_for_each_address(staging: Staging) -> None:
    url = str(staging().api.base_url)
    statuses = [
        httpx.post(f"{url}/console/sign-in", data={"key": f"guess-{n}"}, verify=False).status_code for n in range(12)
    ]
    assert statuses[:10] == [403] * 10
    assert 303 in statuses[10:], "a refused form comes back to its page"
    assert (
        httpx.post(f"{url}/console/sign-in", data={"key": KEYS["ops"]}, verify=False).cookies.get("aigen_console")
        is None
    )


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/console/keys?x=1", "/console/keys?x=1"),
        ("https://evil.example/", "/console"),
        ("//evil.example/console/", "/console"),
        ("//[", "/console"),
        ("/console//evil.example", "/console"),
        ("/console/../api", "/console"),
        ("/console\\evil", "/console"),
        ("/console/keys\r\nX: y", "/console"),
        ("/consolefake", "/console"),
    ],
)
def test_signing_in_leads_to_pages_of_the_console_only(wanted: str, reached: str) -> None:
    assert own_path(wanted) == reached


def test_behind_tls_the_cookie_never_travels_without(staging: Staging) -> None:
    url = str(staging().api.base_url)
    for protocol in ("https", "https, http", "HTTPS"):
        headers = {"X-Forwarded-Proto": protocol}
        answer = httpx.post(f"{url}/console/sign-in", data={"key": KEYS["ops"]}, headers=headers, verify=False)
        assert "Secure" in answer.headers["set-cookie"], protocol


def test_every_page_is_protected(staging: Staging) -> None:
    with signed_in(staging()) as console:
        for path in ("/console/keys", "/console/sign-in", "/console/no-such-page"):
            headers = console.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
            assert headers["cache-control"] == "no-store"


def test_an_unknown_page_says_so(staging: Staging) -> None:
    with signed_in(staging()) as console:
        answer = console.get("/console/no-such-page")
        assert (answer.status_code, "The console has no page" in answer.text) == (404, True)


def test_the_console_can_be_switched_off(staging: Staging) -> None:
    assert httpx.get(f"{staging(console={'enabled': False}).api.base_url}/console", verify=False).status_code == 404
