"""Signing in at an OpenID Connect provider, which may lie in every way."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog
from joserfc.jwk import OctKey, RSAKey
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from aigen_bridge.clients import oidc_exchange
from aigen_bridge.clients.oidc import FRESH_SECONDS, OidcProvider, Registration
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.domain.sign_in import Person, SignInAttempt
from aigen_bridge.settings import Settings
from aigen_bridge.settings.replace import with_new_secrets
from aigen_bridge.settings.rotation import Rotation
from aigen_bridge.wiring import open_api
from oidc_issuer import CLIENT_ID, CLIENT_SECRET, KEYS, REDIRECT_URI, Issuer, forged, issuing, unsigned
from stage import make_settings

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def provider(issuer: Issuer, clock: Any = time.monotonic, **registration: Any) -> OidcProvider:
    registered = Registration(issuer.url, CLIENT_ID, REDIRECT_URI, **registration)
    return OidcProvider(registered, lambda: SecretStr(CLIENT_SECRET), clock)


async def sign_in(found: OidcProvider, attempt: SignInAttempt | None = None, **changed: str | None) -> Person:
    """Signs in as a browser does: goes to the provider, and comes back with what it sends."""
    attempt = attempt or SignInAttempt.new()
    async with httpx.AsyncClient(verify=False) as browser:
        answer = await browser.get(await found.sign_in_url(attempt))
    back = urlsplit(answer.headers["location"])
    sent = {name: values[0] for name, values in parse_qs(back.query).items()} | changed
    assert attempt.began(str(sent["state"]))
    return await found.person(attempt, str(sent["code"]), sent["iss"])


async def refusal(found: OidcProvider, **changed: str | None) -> StepError:
    with pytest.raises(StepError) as caught:
        await sign_in(found, **changed)
    return caught.value


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        *[("RS256", "rsa"), ("RS512", "rsa"), ("PS256", "rsa")],
        *[("ES256", "ec"), ("ES384", "ec384"), ("EdDSA", "okp"), ("Ed25519", "okp")],
    ],
)
async def test_a_person_signs_in_with_every_asymmetric_signature(issuer: Issuer, alg: str, key: str) -> None:
    issuer.alg, issuer.signed_with = alg, KEYS[key]
    person = await sign_in(provider(issuer))
    assert person == Person("subject-1", "ada@example.com", frozenset({"bridge-operators", "staff"}))


async def test_the_question_carries_pkce_state_and_nonce_and_none_of_them_shows_the_secret(issuer: Issuer) -> None:
    attempt = SignInAttempt.new()
    url = await provider(issuer, scopes=("openid", "groups")).sign_in_url(attempt)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked | {"code_challenge": ""} == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid groups",
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": "",
        "code_challenge_method": "S256",
    }
    assert len({attempt.secret, attempt.state, attempt.nonce, attempt.verifier, asked["code_challenge"]}) == 5
    assert attempt.secret not in url
    assert attempt.verifier not in url


class Seconds(int):
    """A time in a claim: so many seconds from when the test runs, which may be long after it was collected."""


def as_of_now(claims: dict[str, Any]) -> dict[str, Any]:
    """Returns the claims with the times that `Seconds` mean now."""
    now = int(time.time())
    return {name: now + int(value) if isinstance(value, Seconds) else value for name, value in claims.items()}


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ({"iss": "https://other.example.com"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": ["another-client", "a-third"]}, "aud"),
        ({"aud": [CLIENT_ID, "another-client"]}, "azp"),
        ({"aud": [CLIENT_ID, "another-client"], "azp": "another-client"}, "azp"),
        ({"aud": CLIENT_ID, "azp": "another-client"}, "azp"),
        ({"aud": None}, "aud"),
        ({"aud": {CLIENT_ID: 1}}, "aud"),
        ({"nonce": "of another attempt"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": ["a list"]}, "nonce"),
        ({"exp": Seconds(-70)}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": Seconds(600)}, "future"),
        ({"iat": None}, "iat"),
        ({"nbf": Seconds(600)}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"at_hash": "of another token"}, "at_hash"),
        ({"at_hash": 7}, ""),
    ],
)
async def test_an_id_token_that_claims_anything_wrong_is_refused(
    issuer: Issuer, claims: dict[str, Any], what: str
) -> None:
    issuer.claims = as_of_now(claims)
    error = await refusal(provider(issuer))
    assert isinstance(error, PermanentError)
    assert error.code == "id_token_refused"
    assert what in error.detail


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID},
        {"exp": Seconds(-10)},
        {"iat": Seconds(30)},
        {"at_hash": None},
    ],
)
async def test_a_list_of_audiences_and_clocks_that_differ_a_little_are_no_reason_to_refuse(
    issuer: Issuer, claims: dict[str, Any]
) -> None:
    issuer.claims = as_of_now(claims)
    assert (await sign_in(provider(issuer))).subject == "subject-1"


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(issuer: Issuer) -> None:
    issuer.answers["/token"] = forged(issuer)
    assert (await refusal(provider(issuer))).code == "id_token_refused"


async def test_a_token_signed_with_the_clients_secret_is_refused(issuer: Issuer) -> None:
    key = OctKey.import_key(CLIENT_SECRET.encode(), {"kid": "shared"})
    issuer.alg, issuer.signed_with, issuer.keys = "HS256", key, [KEYS["rsa"], key]
    assert "HS256" in (await refusal(provider(issuer))).detail


async def test_an_unsigned_token_is_refused(issuer: Issuer) -> None:
    issuer.answers["/token"] = unsigned(issuer)
    assert (await refusal(provider(issuer))).code == "id_token_refused"


async def test_a_token_of_a_key_that_the_provider_does_not_have_is_refused(issuer: Issuer) -> None:
    issuer.signed_with = RSAKey.generate_key(2048, {"kid": "rsa"})
    assert "signature" in (await refusal(provider(issuer))).detail


async def test_a_key_that_must_not_sign_is_not_trusted(issuer: Issuer) -> None:
    encrypting = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})
    issuer.keys, issuer.signed_with = [KEYS["rsa"], encrypting], encrypting
    issuer.signed_with = RSAKey.import_key(encrypting.as_dict(private=True) | {"use": "sig"})
    assert "signature" in (await refusal(provider(issuer))).detail


async def test_keys_of_unknown_kinds_and_damaged_ones_do_not_disturb_the_good_one(issuer: Issuer) -> None:
    good = KEYS["rsa"].as_dict(private=False)
    odd: list[Any] = [{"kty": "AKP", "kid": "new"}, {"kty": "RSA", "kid": "rsa"}, {"n": 1}, "key", None, good]
    issuer.answers["/keys"] = lambda _request: JSONResponse({"keys": odd})
    assert (await sign_in(provider(issuer))).subject == "subject-1"


@pytest.mark.parametrize("keys", [{}, {"keys": []}, {"keys": {}}, {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}])
async def test_a_key_set_without_usable_keys_is_an_error_in_words(issuer: Issuer, keys: Any) -> None:
    issuer.answers["/keys"] = lambda _request: JSONResponse(keys)
    assert "no key that can be used" in (await refusal(provider(issuer))).detail


async def test_new_keys_of_the_provider_are_fetched_when_a_token_needs_them(issuer: Issuer) -> None:
    found = provider(issuer)
    await sign_in(found)
    await sign_in(found)
    assert issuer.calls.count("/keys") == issuer.calls.count(DISCOVERY) == 1
    new = RSAKey.generate_key(2048, {"kid": "new"})
    issuer.keys, issuer.signed_with = [new], new
    await sign_in(found)
    await sign_in(found)
    assert issuer.calls.count("/keys") == 2


async def test_documents_are_read_again_after_an_hour(issuer: Issuer) -> None:
    clock = Clock()
    found = provider(issuer, clock)
    await sign_in(found)
    clock.now += FRESH_SECONDS
    await sign_in(found)
    assert issuer.calls.count("/keys") == issuer.calls.count(DISCOVERY) == 2


async def test_a_code_counts_once_and_only_for_the_browser_that_began(issuer: Issuer) -> None:
    found = provider(issuer)
    assert "sign in again" in (await refusal(found, code="guessed")).detail
    stolen, thief = SignInAttempt.new(), SignInAttempt.new()
    async with httpx.AsyncClient(verify=False) as browser:
        answer = await browser.get(await found.sign_in_url(stolen))
    sent = parse_qs(urlsplit(answer.headers["location"]).query)
    assert not thief.began(sent["state"][0])
    with pytest.raises(PermanentError, match="invalid_grant"):
        await found.person(thief, sent["code"][0], issuer.url)


@pytest.mark.parametrize("sent", [None, "https://other.example.com", ""])
async def test_an_answer_of_another_provider_is_refused(issuer: Issuer, sent: str | None) -> None:
    error = await refusal(provider(issuer), iss=sent)
    assert error.code == "other_issuer"
    assert "/token" not in issuer.calls


async def test_the_parameter_iss_may_be_missing_where_the_provider_does_not_announce_it(issuer: Issuer) -> None:
    issuer.metadata["authorization_response_iss_parameter_supported"] = None
    assert (await sign_in(provider(issuer), iss=None)).subject == "subject-1"
    assert (await refusal(provider(issuer), iss="https://other.example.com")).code == "other_issuer"


@pytest.mark.parametrize("change", ["https://other.example.com", None, 7, "{url}/"])
async def test_a_provider_that_calls_itself_something_else_is_refused(issuer: Issuer, change: Any) -> None:
    issuer.metadata["issuer"] = change.format(url=issuer.url) if isinstance(change, str) else change
    error = await refusal(provider(issuer))
    assert error.code == "other_issuer"
    assert "AIGEN_CONSOLE__OIDC_ISSUER" in error.detail


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "//host/path",
        7,
        "http://[",
        "http://a b/",
        "/relative",
        "http://a:0x1/",
        "http://\N{SNOWMAN}.\0/",
    ],
)
async def test_an_endpoint_that_is_no_address_is_refused(issuer: Issuer, name: str, value: Any) -> None:
    issuer.metadata[name] = value
    assert name in (await refusal(provider(issuer))).detail


@pytest.mark.parametrize("path", [DISCOVERY, "/keys", "/token", "/userinfo"])
@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (Response("x" * (oidc_exchange.ANSWER_MAX + 1), media_type="application/json"), PermanentError, "longer than"),
        (Response("<html>", media_type="text/html"), PermanentError, "not JSON"),
        (Response("[" * 100_000, media_type="application/json"), PermanentError, "not JSON"),
        (JSONResponse(["a list"]), PermanentError, "no JSON object"),
        (Response("broken", 500), TransientError, "500"),
        (Response("away", 503), TransientError, "503"),
        (Response("denied", 403), PermanentError, "403"),
        (
            RedirectResponse("http://127.0.0.1:9/elsewhere?token=1"),
            PermanentError,
            "http://127.0.0.1:9/elsewhere, which",
        ),
    ],
)
async def test_an_answer_that_is_no_good_is_an_error_in_words(
    issuer: Issuer, path: str, answer: Response, kind: type[StepError], what: str
) -> None:
    issuer.userinfo = {"groups": ["staff"]}
    issuer.answers[path] = lambda _request: answer
    error = await refusal(provider(issuer))
    assert type(error) is kind
    assert what in error.detail


async def test_a_provider_that_is_slow_is_not_waited_for(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_exchange, "SECONDS", 0.2)
    blocked = asyncio.Event()

    async def never(_request: Any) -> Response:
        await blocked.wait()
        return Response()

    issuer.answers["/token"] = never
    error = await refusal(provider(issuer))
    assert isinstance(error, TransientError)
    assert "did not answer in time" in error.detail


async def test_a_provider_that_is_away_is_an_error_in_words() -> None:
    with pytest.raises(TransientError, match="could not be reached") as caught:
        await provider(Issuer("http://127.0.0.1:9")).sign_in_url(SignInAttempt.new())
    assert caught.value.away


async def test_the_secret_is_sent_as_the_provider_accepts_it(issuer: Issuer) -> None:
    issuer.accepts = ("client_secret_post",)
    assert (await sign_in(provider(issuer))).subject == "subject-1"


async def test_a_wrong_secret_is_an_error_that_says_what_to_compare(issuer: Issuer) -> None:
    registered = Registration(issuer.url, CLIENT_ID, REDIRECT_URI)
    error = await refusal(OidcProvider(registered, lambda: SecretStr("another")))
    assert "AIGEN_CONSOLE__OIDC_CLIENT_ID" in error.detail


async def test_a_new_secret_counts_with_the_next_sign_in(issuer: Issuer, database_url: str) -> None:
    def with_secret(secret: str) -> Settings:
        console = {"oidc_issuer": issuer.url, "oidc_client_id": CLIENT_ID, "oidc_operators": ["staff"]}
        return make_settings(database_url, console=console | {"oidc_client_secret": secret})

    rotation = Rotation(with_secret("before"))
    async with open_api(rotation.settings, rotation) as parts:
        assert parts.oidc is not None
        assert "invalid_client" in (await refusal(parts.oidc)).detail
        rotation.settings, _ = with_new_secrets(rotation.settings, with_secret(CLIENT_SECRET))
        assert (await sign_in(parts.oidc)).subject == "subject-1"
    assert list(rotation.state.secrets).count("OpenID Connect: client secret") == 1


async def test_neither_logs_nor_errors_show_a_secret(issuer: Issuer) -> None:
    async def repeats(request: Request) -> Response:
        text = f"{CLIENT_SECRET} {(await request.body()).decode()}"
        return JSONResponse({"error": "invalid_request", "error_description": text}, 400)

    issuer.userinfo = {}
    attempt, found = SignInAttempt.new(), provider(issuer)
    with structlog.testing.capture_logs() as lines:
        await sign_in(found, attempt)
        issuer.answers["/token"] = repeats
        error = await refusal(found)
    assert "invalid_request: *** " in error.detail
    assert "code_verifier=***" in error.detail
    assert [line["event"] for line in lines].count("oidc.answered") == 5
    for secret in (CLIENT_SECRET, attempt.secret, attempt.verifier, attempt.state, attempt.nonce, *issuer.issued):
        assert secret not in f"{lines}{error.detail}"


@pytest.mark.parametrize(
    ("tokens", "code"),
    [({"id_token": None}, "no_id_token"), ({"id_token": 7}, "no_id_token")]
    + [({"id_token": text}, "id_token_refused") for text in ("", "a.b.c", "a.b.c.d.e", "é.é.é", "." * 100_000)],
)
async def test_what_is_no_id_token_is_refused(issuer: Issuer, tokens: dict[str, Any], code: str) -> None:
    issuer.tokens = tokens
    assert (await refusal(provider(issuer))).code == code


async def test_groups_come_from_the_userinfo_if_the_id_token_has_none(issuer: Issuer) -> None:
    issuer.userinfo = {"groups": "bridge-viewers", "email": "bob@example.com", "email_verified": "true"}
    assert await sign_in(provider(issuer)) == Person("subject-1", "bob@example.com", frozenset({"bridge-viewers"}))
    issuer.tokens["access_token"] = None
    assert await sign_in(provider(issuer)) == Person("subject-1", "subject-1", None)


async def test_the_userinfo_of_another_person_is_refused(issuer: Issuer) -> None:
    issuer.userinfo = {"sub": "subject-2", "groups": ["bridge-operators"]}
    assert (await refusal(provider(issuer))).code == "other_subject"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email_verified": False}, "subject-1"),
        ({"email_verified": None}, "subject-1"),
        ({"email_verified": ["true"]}, "subject-1"),
        ({"email": 7}, "subject-1"),
        ({"email": "a\0\n\u202eb@example.com"}, "a\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}b@example.com"),
        ({"email": "x" * 10_000}, "x" * 200),
        ({"email": None, "sub": "a\0b"}, "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
async def test_an_email_address_names_a_person_only_if_it_is_verified(
    issuer: Issuer, claims: dict[str, Any], name: str
) -> None:
    issuer.claims = as_of_now(claims)
    assert (await sign_in(provider(issuer))).name == name


async def test_another_claim_may_name_a_person(issuer: Issuer) -> None:
    issuer.claims = {"preferred_username": "ada", "https://example.com/roles": ["bridge-viewers", 7, None]}
    found = provider(issuer, name_claim="preferred_username", groups_claim="https://example.com/roles")
    assert await sign_in(found) == Person("subject-1", "ada", frozenset({"bridge-viewers"}))


async def test_who_signs_out_is_led_to_the_provider_if_it_can_do_that(issuer: Issuer) -> None:
    url = await provider(issuer).sign_out_url("http://bridge.test/console/sign-in")
    assert url is not None
    assert parse_qs(urlsplit(url).query) == {
        "hint": ["1"],
        "client_id": [CLIENT_ID],
        "post_logout_redirect_uri": ["http://bridge.test/console/sign-in"],
    }
    issuer.metadata["end_session_endpoint"] = None
    assert await provider(issuer).sign_out_url("http://bridge.test/console/sign-in") is None
