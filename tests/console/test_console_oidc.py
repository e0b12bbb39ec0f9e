"""Signing in to the console by OpenID Connect, at a provider on another site."""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
import structlog
from playwright.sync_api import expect
from psycopg.rows import dict_row

from console.operator import Operator
from loop_thread import LoopThread
from oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer, issuing
from stage import KEYS, Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Browsing = Callable[[Stage], "Browser"]
START, CALLBACK = "/console/sign-in/oidc", "/console/sign-in/oidc/callback"
COOKIE, FLOW_COOKIE = "aigen_console", "aigen_console_sign_in"


@pytest.fixture
def issuer(loop: LoopThread) -> Iterator[Issuer]:
    with loop.open(issuing("localhost")) as issuer:
        yield issuer


@pytest.fixture
def known(staging: Staging, issuer: Issuer) -> Callable[..., Stage]:
    """A function that runs the API, which knows the provider. Its arguments are settings of the console."""

    def start(**console: Any) -> Stage:
        settings = {
            "oidc_issuer": issuer.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_operators": ["bridge-operators"],
            "oidc_viewers": ["bridge-viewers"],
        }
        return staging(console=settings | console)

    return start


class Browser:
    """A browser without pages: cookies, and addresses that are followed one at a time."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def begin(self, wanted: str = "/console/keys", **headers: str) -> httpx.Response:
        """Presses the button, and goes to the provider, which sends the browser back. Returns that answer."""
        answer = self.http.get(START, params={"next": wanted}, headers=headers)
        assert answer.status_code == 303, answer.text
        return httpx.get(answer.headers["location"], verify=False)

    def return_with(self, answer: httpx.Response, **changed: str) -> httpx.Response:
        """Follows the provider back, with some parameters changed."""
        sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        return self.http.get(CALLBACK, params=sent | changed)

    def sign_out(self) -> httpx.Response:
        """Presses the button."""
        [token] = re.findall(r'name="csrf" value="([0-9a-f]+)"', self.http.get("/console/keys").text)[:1]
        return self.http.post("/console/sign-out", data={"csrf": token})

    def sign_in(self, wanted: str = "/console/keys") -> httpx.Response:
        """Goes to the provider and back."""
        return self.return_with(self.begin(wanted))


@pytest.fixture
def browsing() -> Iterator[Callable[[Stage], Browser]]:
    """A function that opens a browser before a stage."""
    with ExitStack() as opened:
        yield lambda stage: Browser(opened.enter_context(httpx.Client(base_url=str(stage.api.base_url), verify=False)))


@pytest.fixture
def operations(database_url: str) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns what was recorded."""

    def read() -> list[dict[str, Any]]:
        with psycopg.connect(database_url, row_factory=dict_row) as connection:
            return connection.execute("SELECT client, action, note FROM operations ORDER BY id").fetchall()

    return read


def test_a_person_signs_in_where_the_company_does_and_out_again(
    known: Callable[..., Stage], issuer: Issuer, visiting: Visiting
) -> None:
    operator = visiting(known(), client=None)
    operator.open("/keys?x=1")
    operator.assert_accessible()
    operator.snap("sign-in-oidc")
    operator.page.get_by_role("link", name=f"Sign in at {urlsplit(issuer.url).netloc}").click()
    expect(operator.page.locator(".who .name")).to_have_text("oidc:ada@example.com")
    assert operator.page.url.endswith("/console/keys?x=1")
    assert operator.page.inner_text(".who .role") == "operator"
    cookies = {cookie["name"]: cookie for cookie in operator.page.context.cookies()}
    assert (cookies[COOKIE]["httpOnly"], cookies[COOKIE]["sameSite"]) == (True, "Strict")
    assert FLOW_COOKIE not in cookies
    operator.page.get_by_role("button", name="Sign out").click()
    expect(operator.page.get_by_text("You have left.")).to_be_visible()
    back = parse_qs(urlsplit(operator.page.url).query)["post_logout_redirect_uri"]
    assert back == [f"{operator.url}/console/sign-in"]
    operator.open("/keys")
    assert "/console/sign-in?" in operator.page.url


def test_the_page_of_signing_in_fits_a_phone_in_the_dark(known: Callable[..., Stage], visiting: Visiting) -> None:
    operator = visiting(known(oidc_issuer=f"http://{'provider' * 7}.localhost"), client=None, dark=True, phone=True)
    operator.open("/sign-in")
    operator.assert_nothing_sticks_out()
    operator.assert_accessible()
    operator.snap("sign-in-oidc-phone-dark")


def test_what_happened_is_recorded_with_the_subject_and_without_tokens(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer, operations: Callable[[], list[dict[str, Any]]]
) -> None:
    browser = browsing(known())
    with structlog.testing.capture_logs() as lines:
        answer = browser.begin()
        assert browser.return_with(answer).status_code == 200
    assert operations() == [
        {
            "client": "oidc:ada@example.com",
            "action": "sign-in",
            "note": "by OpenID Connect as subject-1, from 127.0.0.1",
        }
    ]
    [code] = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    for secret in (code, CLIENT_SECRET, browser.http.cookies[COOKIE], *issuer.issued):
        assert secret not in str(lines)


def test_a_viewer_comes_in_as_one(known: Callable[..., Stage], browsing: Browsing, issuer: Issuer) -> None:
    issuer.claims["groups"] = ["bridge-viewers"]
    browser = browsing(known())
    browser.sign_in()
    assert re.search(r'class="role">viewer<', browser.http.get("/console/keys").text)


def test_who_has_no_role_is_told_which_settings_give_one_and_it_is_recorded(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer, operations: Callable[[], list[dict[str, Any]]]
) -> None:
    issuer.claims |= {"groups": ["<script>alert(1)</script>"], "email": "<b>eve</b>@example.com"}
    browser = browsing(known())
    answer = browser.sign_in()
    assert answer.status_code == 403
    assert "AIGEN_CONSOLE__OIDC_OPERATORS" in answer.text
    assert "bridge-operators" not in answer.text
    assert "&lt;b&gt;eve&lt;/b&gt;@example.com" in answer.text
    assert "<b>eve" not in answer.text
    assert COOKIE not in browser.http.cookies
    assert [(each["client"], each["action"]) for each in operations()] == [
        ("oidc:<b>eve</b>@example.com", "sign-in-refused")
    ]


def test_while_the_provider_is_away_a_key_still_opens_the_console(
    known: Callable[..., Stage], browsing: Browsing
) -> None:
    browser = browsing(known(oidc_issuer="http://127.0.0.1:9"))
    answer = browser.http.get(START, params={"next": "/console/keys"})
    assert answer.status_code == 503
    assert "sign in with a key" in answer.text
    assert 'value="/console/keys"' in answer.text
    assert browser.http.post("/console/sign-in", data={"key": KEYS["ops"]}).status_code == 303


def test_a_provider_that_lies_is_named_and_opens_nothing(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer
) -> None:
    issuer.claims["nonce"] = "of another attempt"
    browser = browsing(known())
    answer = browser.sign_in()
    assert answer.status_code == 502
    assert "is not accepted" in answer.text
    assert COOKIE not in browser.http.cookies


def test_only_the_browser_that_began_can_come_back_and_only_once(
    known: Callable[..., Stage], browsing: Browsing
) -> None:
    """Otherwise somebody could sign others in as himself, and see what they do."""
    stage = known()
    victim, attacker = browsing(stage), browsing(stage)
    of_attacker = attacker.begin()
    for answer in (victim.return_with(of_attacker), victim.return_with(victim.begin(), state="guessed")):
        assert (answer.status_code, "not begun in this browser" in answer.text) == (403, True)
    victim.begin()
    assert victim.return_with(of_attacker).status_code == 403
    assert attacker.return_with(of_attacker).status_code == 200
    assert attacker.return_with(of_attacker).status_code == 403
    assert COOKIE not in victim.http.cookies


@pytest.mark.parametrize("cookie", ["", ".", "x" * 43, "%00.%2F", '"quoted"', "x" * 4000])
def test_a_cookie_or_an_address_that_nobody_sent_opens_nothing(
    known: Callable[..., Stage], browsing: Browsing, cookie: str
) -> None:
    browser = browsing(known())
    headers = {"Cookie": f"{FLOW_COOKIE}={cookie}"}
    for query in ("", "?code=&state=", "?error=x&state=%00", "?code=a&code=b&state=%ED%A0%80", "?state[]=1"):
        assert browser.http.get(f"{CALLBACK}{query}", headers=headers).status_code == 403


def test_what_the_provider_says_about_a_refusal_is_shown_as_text(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer
) -> None:
    issuer.error = "access_denied"
    browser = browsing(known())
    answer = browser.return_with(browser.begin(), error_description="<script>alert(1)</script>" + "x" * 5000)
    assert answer.status_code == 403
    assert "access_denied: &lt;script&gt;" in answer.text
    assert "<script>alert" not in answer.text
    assert "x" * 400 not in answer.text


def test_an_answer_without_a_code_is_refused(known: Callable[..., Stage], browsing: Browsing) -> None:
    browser = browsing(known())
    answer = browser.return_with(browser.begin(), code="")
    assert (answer.status_code, "without a code" in answer.text) == (403, True)


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/console/../api", "/console\\evil", ""])
def test_coming_back_leads_to_pages_of_the_console_only(
    known: Callable[..., Stage], browsing: Browsing, wanted: str
) -> None:
    browser = browsing(known())
    answer = browser.begin()
    [cookie] = [each for each in browser.http.cookies.jar if each.name == FLOW_COOKIE]
    cookie.value = f"{str(cookie.value).partition('.')[0]}.{wanted}"
    assert 'content="0; url=/console"' in browser.return_with(answer).text


def test_addresses_come_from_the_settings_and_not_from_the_host_header(
    known: Callable[..., Stage], browsing: Browsing
) -> None:
    browser = browsing(known(url="http://console.example.com"))
    page = browser.http.get("/console/sign-in", headers={"Host": "evil.example"}).text
    assert 'href="http://console.example.com/console/sign-in/oidc?next=%2Fconsole"' in page
    answer = browser.http.get(START, headers={"Host": "evil.example"})
    [uri] = parse_qs(urlsplit(answer.headers["location"]).query)["redirect_uri"]
    assert uri == f"http://console.example.com{CALLBACK}"


def test_the_way_to_the_provider_and_back_leaks_nothing(known: Callable[..., Stage], browsing: Browsing) -> None:
    browser = browsing(known())
    answer = browser.http.get(START, headers={"X-Forwarded-Proto": "https"})
    flow = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Secure", "Path=/console/sign-in", "Max-Age=600"):
        assert part in flow
    secret = flow.partition("=")[2].partition(".")[0]
    assert secret not in answer.headers["location"]
    page = browser.sign_in()
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_signing_in_at_the_provider_is_limited_for_each_address(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer
) -> None:
    browser = browsing(known())
    assert [browser.http.get(START).status_code for _ in range(12)] == [303] * 10 + [429] * 2
    assert [browser.http.get(CALLBACK).status_code for _ in range(12)] == [403] * 10 + [429] * 2
    assert issuer.calls == ["/.well-known/openid-configuration"]


def test_without_a_provider_there_is_no_such_page_and_its_sessions_have_ended(
    known: Callable[..., Stage], browsing: Browsing, staging: Staging
) -> None:
    browser = browsing(known())
    browser.sign_in()
    assert browser.http.get("/console/keys").status_code == 200
    token = browser.http.cookies[COOKIE]
    url = str(staging().api.base_url)
    assert httpx.get(f"{url}/console/keys", cookies={COOKIE: token}, verify=False).status_code == 303
    assert "or with a key" not in httpx.get(f"{url}/console/sign-in", verify=False).text
    for path in (START, CALLBACK):
        assert httpx.get(url + path, verify=False).status_code == 404


def test_signing_out_works_where_the_provider_cannot_do_it(
    known: Callable[..., Stage], browsing: Browsing, issuer: Issuer
) -> None:
    issuer.metadata["end_session_endpoint"] = None
    browser = browsing(known())
    browser.sign_in()
    assert browser.sign_out().headers["location"] == "/console/sign-in"
    assert browser.http.get("/console/keys").status_code == 303


def test_signing_out_works_while_the_provider_is_away(
    known: Callable[..., Stage], browsing: Browsing, database_url: str
) -> None:
    browser = browsing(known(oidc_issuer="http://127.0.0.1:9"))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO console_sessions (token_digest, name, role, expires_at)"
            " VALUES (%s, 'oidc:ada', 'viewer', now() + interval '1 hour')",
            [hashlib.sha256(b"token").digest()],
        )
    browser.http.cookies.set(COOKIE, "token", path="/console")
    assert browser.sign_out().headers["location"] == "/console/sign-in"
    assert browser.http.get("/console/keys").status_code == 303
