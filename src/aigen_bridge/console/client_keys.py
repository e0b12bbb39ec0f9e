"""The clients of the settings with their keys, and when each key was used. Never a key, only its fingerprint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.domain.session import KeyUse
from aigen_bridge.settings import Client, Scope
from aigen_bridge.settings.values import key_digest
from aigen_bridge.store.key_uses import fingerprint


class State(StrEnum):
    """What is known of a key."""

    ONLY = "only"
    """The only key of its client."""

    NEWER = "newer"
    """The newer of two keys, which stays."""

    IN_USE = "in use"
    """The older of two keys. The client has used it since it first used the newer one, or has not used that yet."""

    REPLACED = "replaced"
    """The older of two keys. The client has not used it since it first used the newer one: it can be taken out."""

    REMOVED = "removed"
    """A key that was used, and is no longer in the settings."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `first_at` and `last_at` are None if no use is known."""

    fingerprint: str
    state: State
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """A client with its keys. `client` is None if the settings no longer have it."""

    name: str
    client: Client | None
    keys: Sequence[Key]

    @property
    def rights(self) -> str:
        """What the client may do, in words."""
        if self.client is None:
            return "no longer in AIGEN_CLIENTS"
        number = len(self.client.keys)
        odoo = "every Odoo" if _is_of_all(self.client) else f"Odoo {self.client.odoo or DEFAULT_ODOO}"
        signing = "must sign" if self.client.signature_required else "may sign" if self.client.signing_secrets else None
        scopes = f"scopes {', '.join(sorted(self.client.scopes))}"
        keys = f"{number} keys" if number > 1 else "1 key"
        return " · ".join(filter(None, (scopes, odoo, keys, signing)))


def client_keys(clients: Mapping[str, Client], uses: Sequence[KeyUse], odoo: str | None) -> list[ClientKeys]:
    """Returns the clients by name, then those that are no longer in the settings. With `odoo`, those of this Odoo."""
    by_client: dict[str, dict[str, KeyUse]] = {}
    for use in uses:
        by_client.setdefault(use.client, {})[use.fingerprint] = use
    known = [
        ClientKeys(name, client, _keys(client, by_client.get(name, {})))
        for name, client in sorted(clients.items())
        if odoo is None or _is_of(client, odoo)
    ]
    gone = sorted(by_client.keys() - clients.keys()) if odoo is None else []
    return known + [ClientKeys(name, None, _removed(by_client[name], ())) for name in gone]


def recorded_since(uses: Sequence[KeyUse]) -> datetime | None:
    """Returns since when uses are recorded, as far as is known: a key without a use was not used since."""
    return min((use.first_at for use in uses), default=None)


def _is_of(client: Client, odoo: str) -> bool:
    """Returns whether a client belongs to this Odoo alone."""
    return not _is_of_all(client) and (client.odoo or DEFAULT_ODOO) == odoo


def _is_of_all(client: Client) -> bool:
    """Returns whether a client belongs to every Odoo, as N8N and operators do for whom none is set."""
    return client.odoo is None and (Scope.OPS in client.scopes or Scope.REQUESTS not in client.scopes)


def _keys(client: Client, uses: Mapping[str, KeyUse]) -> list[Key]:
    """Returns the newer key of a client first, then those that go or are gone."""
    current = [fingerprint(key_digest(key)) for key in client.keys]
    if len(current) == 1:
        return [_key(current[0], State.ONLY, uses), *_removed(uses, current)]
    older, newer = _in_order(current[0], current[1], uses)
    state = State.REPLACED if _is_replaced(uses.get(older), uses.get(newer)) else State.IN_USE
    return [_key(newer, State.NEWER, uses), _key(older, state, uses), *_removed(uses, current)]


def _in_order(first: str, second: str, uses: Mapping[str, KeyUse]) -> tuple[str, str]:
    """Returns the older key of two, then the newer: by their first uses, otherwise as the settings list them."""
    known = uses.get(first), uses.get(second)
    if known[1] and (known[0] is None or known[1].first_at < known[0].first_at):
        return second, first
    return first, second


def _is_replaced(older: KeyUse | None, newer: KeyUse | None) -> bool:
    return newer is not None and (older is None or older.last_at < newer.first_at)


def _removed(uses: Mapping[str, KeyUse], current: Sequence[str]) -> list[Key]:
    gone = [use for name, use in uses.items() if name not in current]
    gone.sort(key=lambda use: use.last_at, reverse=True)
    return [Key(use.fingerprint, State.REMOVED, use.first_at, use.last_at) for use in gone]


def _key(name: str, state: State, uses: Mapping[str, KeyUse]) -> Key:
    use = uses.get(name)
    return Key(name, state, use.first_at, use.last_at) if use else Key(name, state)
