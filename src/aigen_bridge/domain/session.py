"""Sessions of the console."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LIFETIME = timedelta(hours=8)
"""The time after which a session ends, whether it is used or not."""


OIDC_PREFIX = "oidc:"
"""What the names of people begin with who signed in by OpenID Connect."""


class Role(StrEnum):
    """What a person may do in the console. A viewer changes nothing."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has not ended.

    `name` is the client, or the person as `oidc:…`. With `odoo`, it sees and acts on this Odoo only. `key_digest` is
    the SHA-256 of the key that opened it, None for a sign-in without a key.
    """

    id: int
    name: str
    role: Role
    odoo: str | None
    key_digest: bytes | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime

    @property
    def is_by_openid_connect(self) -> bool:
        """Whether the provider signed the person in."""
        return self.key_digest is None and self.name.startswith(OIDC_PREFIX)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """When a key of a client was first and last used. `fingerprint` are the first 12 hex digits of its SHA-256."""

    client: str
    fingerprint: str
    first_at: datetime
    last_at: datetime
