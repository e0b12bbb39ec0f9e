"""An OpenID Connect provider on a real socket that behaves well unless it is told to lie."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.serving import serving

CLIENT_ID, CLIENT_SECRET = "aigen-bridge", "s€cret: with / odd + characters"
REDIRECT_URI = "http://bridge.test/console/sign-in/oidc/callback"
KEYS: dict[str, Key] = {
    "rsa": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
    "ec384": ECKey.generate_key("P-384", {"kid": "ec384"}),
    "okp": OKPKey.generate_key("Ed25519", {"kid": "okp"}),
}
HS256, NONE = b'{"alg":"HS256","kid":"rsa"}', b'{"alg":"none","kid":"rsa"}'
Handler = Callable[[Request], Any]


@dataclass
class Issuer:
    """The provider. Tests change its fields to make it lie.

    `claims` change those of ID tokens (None: absent), `metadata` the discovery document. `answers` replace what it
    answers at a path. `userinfo` is None as long as everything is in the ID token.
    """

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    tokens: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Handler] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=lambda: list(KEYS.values()))
    alg: str = "RS256"
    signed_with: Key = field(default_factory=lambda: KEYS["rsa"])
    header: dict[str, Any] = field(default_factory=dict)
    accepts: tuple[str, ...] = ("client_secret_basic",)
    error: str | None = None
    calls: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)

    def discovery(self, _request: Request) -> Response:
        """The discovery document."""
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/leave?hint=1",
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": list(self.accepts),
        }
        if self.userinfo is not None:
            document["userinfo_endpoint"] = f"{self.url}/userinfo"
        return JSONResponse(_changed(document, self.metadata))

    def published(self, _request: Request) -> Response:
        """The key set, public keys only."""
        return JSONResponse(KeySet(self.keys).as_dict(private=False))

    def authorize(self, request: Request) -> Response:
        """Signs the person in without asking, and redirects back with a code."""
        asked = dict(request.query_params)
        back = {"state": asked["state"], "iss": self.url}
        if self.error:
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back | {'error': self.error})}", 303)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back | {'code': code})}", 303)

    async def redeem(self, request: Request) -> Response:
        """The token endpoint. Checks the client, and the code with all that belongs to it; a code counts once."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client", "error_description": f"{CLIENT_SECRET} is wrong"}, 401)
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = _challenge(form.get("code_verifier", ""))
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        access_token = secrets.token_urlsafe(16)
        tokens = {"access_token": access_token, "token_type": "Bearer", "id_token": self.id_token(asked, access_token)}
        self.issued += [each for each in tokens.values() if each]
        return JSONResponse(_changed(tokens, self.tokens))

    def id_token(self, asked: dict[str, str], access_token: str) -> str:
        """A signed ID token, with all that the fields change."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "subject-1",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": asked["nonce"],
            "at_hash": _half_hash(access_token, self.alg),
        }
        if self.userinfo is None:
            claims |= {"email": "ada@example.com", "email_verified": True, "groups": ["bridge-operators", "staff"]}
        header = _changed({"alg": self.alg, "kid": self.signed_with.kid, "x": "unknown to us"}, self.header)
        registry = JWSRegistry(algorithms=[self.alg], strict_check_header=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has a new name
            return jwt.encode(header, _changed(claims, self.claims), self.signed_with, registry=registry)

    def about(self, request: Request) -> Response:
        """The userinfo endpoint."""
        if request.headers["authorization"].removeprefix("Bearer ") not in self.issued:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse({"sub": "subject-1"} | (self.userinfo or {}))

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic" and "client_secret_basic" in self.accepts:
            pair = base64.b64decode(encoded).decode().split(":")
            return [unquote_plus(part) for part in pair] == [CLIENT_ID, CLIENT_SECRET]
        given = (form.get("client_id"), form.get("client_secret"))
        return "client_secret_post" in self.accepts and given == (CLIENT_ID, CLIENT_SECRET)


@asynccontextmanager
async def issuing(host: str = "127.0.0.1") -> AsyncIterator[Issuer]:
    """Serves a provider. To a browser, `localhost` is another site than 127.0.0.1."""
    issuer = Issuer()

    def at(path: str, usual: Any, *methods: str) -> Route:
        async def answer(request: Request) -> Response:
            issuer.calls.append(path)
            found: Any = issuer.answers.get(path, usual)(request)
            return found if isinstance(found, Response) else await found

        return Route(path, answer, methods=list(methods or ("GET",)))

    routes = [
        at("/.well-known/openid-configuration", issuer.discovery),
        at("/keys", issuer.published),
        at("/authorize", issuer.authorize),
        at("/token", issuer.redeem, "POST"),
        at("/userinfo", issuer.about),
        at("/leave", lambda _request: Response("You have left.")),
    ]
    async with serving(Starlette(routes=routes)) as url:
        issuer.url = url.replace("127.0.0.1", host)
        yield issuer


def forged(issuer: Issuer) -> Handler:
    """A token endpoint whose ID token is signed by HS256, with the provider's public key as the secret."""

    def sign(payload: str) -> str:
        signed = f"{_encoded(HS256)}.{payload}"
        public = KEYS["rsa"].as_pem(private=False)
        return f"{signed}.{_encoded(hmac.digest(public, signed.encode(), 'sha256'))}"

    return _signing_otherwise(issuer, sign)


def unsigned(issuer: Issuer) -> Handler:
    """A token endpoint whose ID token says that it needs no signature."""
    return _signing_otherwise(issuer, lambda payload: f"{_encoded(NONE)}.{payload}.")


def _signing_otherwise(issuer: Issuer, sign: Callable[[str], str]) -> Handler:
    async def answer(request: Request) -> Response:
        tokens = json.loads(bytes((await issuer.redeem(request)).body))
        return JSONResponse(tokens | {"id_token": sign(tokens["id_token"].split(".")[1])})

    return answer


def _changed(given: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (given | changes).items() if value is not None}


def _challenge(verifier: str) -> str:
    return _encoded(hashlib.sha256(verifier.encode()).digest())


def _half_hash(access_token: str, alg: str) -> str:
    digest = hashlib.new("sha512" if alg.startswith("Ed") else f"sha{alg[2:]}", access_token.encode()).digest()
    return _encoded(digest[: len(digest) // 2])


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
