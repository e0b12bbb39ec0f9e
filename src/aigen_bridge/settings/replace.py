"""Replaces the secrets in the settings of a running process, and nothing else."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import SecretStr

from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.settings import Settings, WrongSettingsError
from aigen_bridge.settings.sections import (
    ConsoleSettings,
    DatabaseSection,
    ImageStoreSettings,
    N8nSettings,
    OdooSettings,
    Section,
)
from aigen_bridge.store.url import parse

S = TypeVar("S", bound=Section)
RESTART = "restart API and workers to use it"


def with_new_secrets(current: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Returns the current settings with the new secrets, and the names of new settings that need a restart.

    Raises `WrongSettingsError` for secrets that do not fit the current settings.
    """
    _refuse_lost(current, new)
    _refuse_unknown_odoos(current, new)
    odoos = {name: _odoo(odoo, new.all_odoos.get(name, odoo)) for name, odoo in current.all_odoos.items()}
    replaced: dict[str, Any] = {
        "clients": new.clients,
        "n8n": _n8n(current.n8n, new.n8n),
        "odoo": odoos.pop(DEFAULT_ODOO),
        "odoos": odoos,
        "metrics": current.metrics.model_copy(update={"token": new.metrics.token}),
        "console": _console(current.console, new.console),
        "image_store": _image_store(current.image_store, new.image_store),
        "database_url": _database_url(current.database_url, new.database_url),
        "database": _database(current.database, new.database),
    }
    fields = {name: getattr(current, name) for name in Settings.model_fields} | replaced
    waiting = [f"AIGEN_{name.upper()}" for name, value in fields.items() if getattr(new, name) != value]
    return Settings.model_construct(**fields), waiting


def _refuse_lost(current: Settings, new: Settings) -> None:
    """Refuses settings without a secret that protected something: its file may be empty only for a moment."""
    lost = [
        name
        for name, before, after in (
            ("AIGEN_METRICS__TOKEN", current.metrics.token, new.metrics.token),
            ("AIGEN_N8N__SIGNING_SECRET", current.n8n.all_signing_secrets, new.n8n.all_signing_secrets),
        )
        if before and not after
    ]
    if lost:
        raise WrongSettingsError([f"{name} is missing now; if that is meant, {RESTART}." for name in lost])


def _refuse_unknown_odoos(current: Settings, new: Settings) -> None:
    for name, client in new.clients.items():
        if client.odoo is not None and client.odoo not in current.all_odoos:
            text = (
                f"AIGEN_CLIENTS has client {name!r} for Odoo {client.odoo!r}, which is new in AIGEN_ODOOS; {RESTART}."
            )
            raise WrongSettingsError([text])


def _n8n(current: N8nSettings, new: N8nSettings) -> N8nSettings:
    return _of_same_place(current, new, ("webhook_url",), ("api_key", "signing_secret", "signing_secrets"))


def _odoo(current: OdooSettings, new: OdooSettings) -> OdooSettings:
    return _of_same_place(current, new, ("url", "database", "login"), ("api_key", "api_key_expires"))


def _console(current: ConsoleSettings, new: ConsoleSettings) -> ConsoleSettings:
    return _of_same_place(current, new, ("oidc_issuer", "oidc_client_id"), ("oidc_client_secret",))


def _image_store(current: ImageStoreSettings, new: ImageStoreSettings) -> ImageStoreSettings:
    return _of_same_place(current, new, ("url", "endpoint"), ("access_key_id", "secret_access_key"))


def _of_same_place(current: S, new: S, place: Sequence[str], secrets: Sequence[str]) -> S:
    """Returns the current settings with the new secrets, unless they are for another place."""
    if any(getattr(current, name) != getattr(new, name) for name in place):
        return current
    return current.model_copy(update={name: getattr(new, name) for name in secrets})


def _database(current: DatabaseSection, new: DatabaseSection) -> DatabaseSection:
    if current.listen_url is None or new.listen_url is None:
        return current
    return current.model_copy(update={"listen_url": _database_url(current.listen_url, new.listen_url)})


def _database_url(current: SecretStr, new: SecretStr) -> SecretStr:
    """Returns the new URL if only its password is new. Another host, role or database is another database."""
    before, after = parse(current.get_secret_value()), parse(new.get_secret_value())
    same = {**before, "password": ""} == {**after, "password": ""} and "password" in after
    return new if same else current
