"""Client of an OpenID Connect provider: the Authorization Code flow with PKCE, from its start to a person's groups."""

import base64
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlsplit, urlunsplit

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.jwk import KeySet
from pydantic import SecretStr

from aigen_bridge.clients.http_errors import printable
from aigen_bridge.clients.oidc_exchange import NAME, exchange
from aigen_bridge.clients.oidc_tokens import Expected, OtherKeyError, key_set, verified
from aigen_bridge.domain.errors import PermanentError, storable
from aigen_bridge.domain.sign_in import Person, SignInAttempt

DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 3600.0
"""How long the discovery document and the keys are reused."""
NAME_MAX = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registration:
    """The bridge as a client of the provider, and the claims that it reads."""

    issuer: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    groups_claim: str = "groups"
    name_claim: str | None = None


class OidcProvider:
    """The provider. `secret` returns the client's current secret there.

    Every method raises `TransientError` if the provider is away, and `PermanentError` if its answers are no good.
    """

    def __init__(
        self,
        registration: Registration,
        secret: Callable[[], SecretStr | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registration = registration
        self._secret = secret
        self._clock = clock
        self._metadata: tuple[float, OpenIDProviderMetadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def sign_in_url(self, attempt: SignInAttempt) -> str:
        """Returns the URL at the provider where a person signs in."""
        known = await self._discovered()
        return str(
            prepare_grant_uri(
                known["authorization_endpoint"],
                client_id=self._registration.client_id,
                response_type="code",
                redirect_uri=self._registration.redirect_uri,
                scope=list(self._registration.scopes),
                state=attempt.state,
                nonce=attempt.nonce,
                code_challenge=create_s256_code_challenge(attempt.verifier),
                code_challenge_method="S256",
            )
        )

    async def person(self, attempt: SignInAttempt, code: str, issuer: str | None = None) -> Person:
        """Redeems the code of an attempt, and returns who has signed in.

        `issuer` is the parameter `iss` of the answer (RFC 9207), which shows that it comes from this provider.
        """
        known = await self._discovered()
        self._check_issuer(known, issuer)
        tokens = await self._redeemed(known, code, attempt.verifier)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise PermanentError("no_id_token", f"{NAME} sent no ID token; AIGEN_CONSOLE__OIDC_SCOPES needs 'openid'.")
        bearer = access_token if isinstance(access_token, str) else None
        expected = Expected(self._registration.issuer, self._registration.client_id, attempt.nonce, bearer)
        claims = await self._verified(known, id_token, expected)
        if self._registration.groups_claim not in claims and bearer and known.get("userinfo_endpoint"):
            claims |= await self._userinfo(known, bearer, claims["sub"])
        return _person(claims, self._registration)

    async def sign_out_url(self, back: str) -> str | None:
        """Returns the URL at the provider that signs the person out there, too, and leads back. None if it has none.

        It carries no ID token, because the bridge keeps none, so some providers ask the person to confirm.
        """
        endpoint = (await self._discovered()).get("end_session_endpoint")
        parameters = [("client_id", self._registration.client_id), ("post_logout_redirect_uri", back)]
        return str(add_params_to_uri(endpoint, parameters)) if endpoint else None

    async def _discovered(self) -> OpenIDProviderMetadata:
        known = self._still_fresh(self._metadata)
        if known is None:
            document = await exchange("GET", self._registration.issuer.rstrip("/") + DISCOVERY)
            known = _checked(document, self._registration.issuer)
            self._metadata = self._clock(), known
        return known

    def _still_fresh(self, cached: tuple[float, T] | None) -> T | None:
        return cached[1] if cached and self._clock() - cached[0] < FRESH_SECONDS else None

    async def _verified(self, known: OpenIDProviderMetadata, id_token: str, expected: Expected) -> dict[str, Any]:
        """Verifies an ID token, with the keys that are known or else with those that the provider has now."""
        if keys := self._still_fresh(self._keys):
            with contextlib.suppress(OtherKeyError):
                return verified(id_token, keys, expected)
        keys = key_set(await exchange("GET", known["jwks_uri"]))
        self._keys = self._clock(), keys
        return verified(id_token, keys, expected)

    def _check_issuer(self, known: OpenIDProviderMetadata, issuer: str | None) -> None:
        always = known.get("authorization_response_iss_parameter_supported") is True
        if issuer != self._registration.issuer and (always or issuer is not None):
            detail = "The answer does not come from the provider that AIGEN_CONSOLE__OIDC_ISSUER names: sign in again."
            raise PermanentError("other_issuer", detail)

    async def _redeemed(self, known: OpenIDProviderMetadata, code: str, verifier: str) -> dict[str, Any]:
        registered, headers = self._registration, {}
        current = self._secret()
        secret = current.get_secret_value() if current else ""
        parameters = {"redirect_uri": registered.redirect_uri, "code": code, "code_verifier": verifier}
        methods = known.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            parameters |= {"client_id": registered.client_id, "client_secret": secret}
        else:
            headers["Authorization"] = _basic(registered.client_id, secret)
        body = str(prepare_token_request("authorization_code", **parameters))
        return await exchange(
            "POST", known["token_endpoint"], body=body, headers=headers, hidden=(secret, code, verifier)
        )

    async def _userinfo(self, known: OpenIDProviderMetadata, bearer: str, subject: str) -> dict[str, Any]:
        """Reads the claims that are not in the ID token (OpenID Connect Core 1.0, section 5.3)."""
        headers = {"Authorization": f"Bearer {bearer}"}
        claims = await exchange("GET", known["userinfo_endpoint"], headers=headers, hidden=(bearer,))
        if claims.get("sub") != subject:
            raise PermanentError("other_subject", f"{NAME} answered about another person than it has signed in.")
        return claims


def _checked(document: dict[str, Any], issuer: str) -> OpenIDProviderMetadata:
    """Checks the parts of a discovery document that are used. Raises `PermanentError`."""
    if (found := document.get("issuer")) != issuer:
        shown = printable(found)[:NAME_MAX] if isinstance(found, str) else "nothing"
        detail = f"AIGEN_CONSOLE__OIDC_ISSUER must be what the provider there calls itself: {shown}, not {issuer}."
        raise PermanentError("other_issuer", detail)
    optional = [name for name in ("userinfo_endpoint", "end_session_endpoint") if document.get(name)]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", *optional):
        _check_endpoint(document, name, issuer)
    known = OpenIDProviderMetadata(document)
    if not isinstance(known.token_endpoint_auth_methods_supported, list):
        raise PermanentError("unexpected_answer", f"{NAME} lists no token_endpoint_auth_methods_supported.")
    return known


def _check_endpoint(document: dict[str, Any], name: str, issuer: str) -> None:
    """Raises `PermanentError` unless this is an address; over TLS, unless the provider is on this machine."""
    url = document.get(name)
    try:
        parts = httpx.URL(urlunsplit(urlsplit(url if isinstance(url, str) and " " not in url else "")))
        good = bool(parts.host) and parts.scheme in {"https", urlsplit(issuer).scheme}
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise PermanentError("unexpected_answer", f"{NAME} names no {name} that is an https:// address.")


def _basic(client_id: str, secret: str) -> str:
    """Returns the header that identifies the client. RFC 6749, section 2.3.1, has both percent-encoded first."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _person(claims: dict[str, Any], registered: Registration) -> Person:
    named = claims.get(registered.name_claim) if registered.name_claim else _verified_email(claims)
    subject, name = _shown(claims["sub"]), _shown(named) if isinstance(named, str) else ""
    return Person(subject, name or subject, _groups(claims.get(registered.groups_claim)))


def _shown(text: str) -> str:
    return storable(printable(text))[:NAME_MAX]


def _verified_email(claims: dict[str, Any]) -> Any:
    """Returns the email address if the provider has verified it: anybody can claim another one."""
    return claims.get("email") if claims.get("email_verified") in (True, "true") else None


def _groups(claim: Any) -> frozenset[str] | None:
    match claim:
        case str():
            return frozenset({claim})
        case list():
            return frozenset(each for each in claim if isinstance(each, str))
    return None
