"""Checks ID tokens (OpenID Connect Core 1.0, section 3.1.3.7): their signature, and what they claim."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core.claims import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

from aigen_bridge.domain.errors import PermanentError

ALGORITHMS = (*(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA", "Ed25519")
"""Signatures that only the provider can make. Anybody who knows the client's secret can make those of HS256."""
SKEW_SECONDS = 60
"""How far the clocks of the two machines may differ."""
SUBJECT_MAX = 255


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token must say: who issued it, for whom, in answer to which attempt, beside which access token."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None


class OtherKeyError(PermanentError):
    """No known key verifies the token. The provider may have new keys."""


def key_set(document: dict[str, Any]) -> KeySet:
    """Returns the keys of a JWK set that can verify signatures. Raises `PermanentError` if there is none.

    Keys of other kinds, damaged and weak ones are left out.
    """
    found = document.get("keys")
    keys = list(_usable(found if isinstance(found, list) else ()))
    if not keys:
        raise PermanentError("no_keys", "The key set of the OpenID Connect provider has no key that can be used.")
    return KeySet(keys)


def _usable(documents: Iterable[Any]) -> Iterable[Key]:
    for each in documents:
        if not isinstance(each, dict) or each.get("kty") == "oct" or each.get("use", "sig") != "sig":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)
            try:
                yield JWKRegistry.import_key(each)
            except (JoseError, SecurityWarning, ValueError, TypeError, KeyError):
                continue


def verified(id_token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """Returns the claims of an ID token.

    Raises `OtherKeyError` if it is signed with another key, and `PermanentError`, which says what is wrong, if it must
    not be accepted. Neither quotes the token.
    """
    try:
        token = _decoded(id_token, keys)
        claims = CodeIDToken(token.claims, token.header, _options(expected), _parameters(expected, token.header["alg"]))
        claims.validate(now=int(time.time()), leeway=SKEW_SECONDS)
    except (InvalidKeyIdError, BadSignatureError):
        raise OtherKeyError("id_token_refused", _refused("no key of the provider verifies its signature")) from None
    except JoseError as error:
        what = " ".join(filter(None, (error.error, error.description)))
        raise PermanentError("id_token_refused", _refused(what)) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PermanentError("id_token_refused", _refused(type(error).__name__)) from None
    if not 0 < len(claims["sub"]) <= SUBJECT_MAX:
        raise PermanentError("id_token_refused", _refused("its claim 'sub' names nobody"))
    return dict(claims)


def _decoded(id_token: str, keys: KeySet) -> jwt.Token:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has a new name, and providers use the old one
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        return jwt.decode(id_token, keys, registry=registry)


def _options(expected: Expected) -> dict[str, Any]:
    return {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
    }


def _parameters(expected: Expected, alg: str) -> dict[str, Any]:
    """Returns what the claims are compared with. Authlib cannot compute the `at_hash` of Ed25519."""
    access_token = None if alg == "Ed25519" else expected.access_token
    return {"client_id": expected.client_id, "nonce": expected.nonce, "access_token": access_token}


def _refused(what: str) -> str:
    return f"The ID token of the OpenID Connect provider is not accepted: {what}."
