"""Sign-in by OpenID Connect: one attempt at it, and the person that the provider knows."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.session import Role

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """One attempt to sign in. Only the browser that began it has its secret, in a cookie.

    What the provider and the address bar see is derived from the secret and does not reveal it: the `state` that binds
    the answer to the browser, the `nonce` that binds the ID token, and the `verifier` of PKCE (RFC 7636). So the bridge
    stores nothing, and any of its processes can finish the attempt.
    """

    secret: str

    @classmethod
    def new(cls) -> "SignInAttempt":
        """Begins an attempt."""
        return cls(secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, cookie: str) -> "SignInAttempt | None":
        """Reads the secret in a cookie; None if it is no secret."""
        return cls(cookie) if _SECRET.fullmatch(cookie) else None

    @property
    def state(self) -> str:
        """The parameter `state`."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """The parameter and claim `nonce`."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """The `code_verifier`, 64 characters."""
        return self._derived("verifier")

    def began(self, state: str) -> bool:
        """Returns whether this attempt sent this `state`."""
        return hmac.compare_digest(self.state.encode(), state.encode(errors="replace"))

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Person:
    """A person whom the provider has signed in. `groups` is None if the provider sent no such claim.

    `subject` names the person at the provider for ever. `name` is for other people to read.
    """

    subject: str
    name: str
    groups: frozenset[str] | None


class NoRoleError(BridgeError):
    """The provider knows the person, but none of the person's groups gives a role in the console."""

    def __init__(self, person: Person, groups_claim: str) -> None:
        reason = (
            f"the provider sent no claim {groups_claim!r}"
            if person.groups is None
            else "none of your groups gives you a role in the console"
        )
        super().__init__("no_role", f"You are {person.name}, but {reason}.")


def role_of(person: Person, *, operators: Sequence[str], viewers: Sequence[str], groups_claim: str = "groups") -> Role:
    """Returns the role that a person's groups give. *operator* wins. Raises `NoRoleError` if they give none."""
    groups = person.groups or frozenset()
    if not groups.isdisjoint(operators):
        return Role.OPERATOR
    if not groups.isdisjoint(viewers):
        return Role.VIEWER
    raise NoRoleError(person, groups_claim)
