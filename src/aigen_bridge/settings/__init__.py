"""All settings, typed and frozen. They are loaded at the start and passed in; nothing else reads the environment.

`rotation` loads them again when secret files change.

Sources in order of precedence: environment, `.env`, a directory of secret files (`AIGEN_SECRETS_DIR`, by default
`/run/secrets`; a file has the name of the variable, case-insensitive).
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.settings.load import WrongSettingsError, load
from aigen_bridge.settings.remarks import PREFIX
from aigen_bridge.settings.sections import (
    AlertsSettings,
    CallbackSettings,
    Client,
    ConsoleSettings,
    DatabaseSection,
    DeprecationSettings,
    GenerationSettings,
    ImageStoreSettings,
    ImageUrlSettings,
    LogSettings,
    MarkingSettings,
    MetricsSettings,
    MoneySettings,
    N8nSettings,
    OdooSettings,
    RateLimitSettings,
    RequestsSettings,
    RetentionSettings,
    Scope,
    TlsSettings,
    WorkerSettings,
)
from aigen_bridge.settings.values import DatabaseUrl, HttpUrl, OdooName, key_digest, strict_json

__all__ = [
    "Client",
    "DatabaseSettings",
    "ImageStoreSettings",
    "ImageUrlSettings",
    "LoggingSettings",
    "PurgeSettings",
    "RetentionSettings",
    "Scope",
    "Settings",
    "TlsSettings",
    "WorkerSettings",
    "WrongSettingsError",
    "load",
    "secrets_directory",
]

CALLBACK_PATH = "/api/v1/influencegen/ai-image-callback"
OIDC_CALLBACK_PATH = "/console/sign-in/oidc/callback"


def secrets_directory() -> Path:
    """Returns the directory of the secret files."""
    return Path(os.environ.get("AIGEN_SECRETS_DIR", "/run/secrets"))


def _decoded(_: str, field: FieldInfo | None, value: str) -> Any:
    """Parses JSON as pydantic does, but refuses a name that is given twice, such as that of a client.

    `field` is None for what no section has, such as `AIGEN_ODOOS__NORTH__APIKEY`.
    """
    return value if field is None or NoDecode in field.metadata else strict_json(value)


class _SecretFiles(NestedSecretsSettingsSource):
    """Reads the files that are named like settings. Others belong to other programs, and may be unreadable."""

    @staticmethod
    def _iter_secret_files(path: Path) -> Iterator[Path]:
        files = NestedSecretsSettingsSource._iter_secret_files(path)  # noqa: SLF001 - it has no public method for this
        return (file for file in files if file.name.upper().startswith(PREFIX))


class LoggingSettings(BaseSettings):
    """Logging settings, which are needed first. Defines the sources of all settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        secrets_dir_missing="ok",
    )

    calls_out: ClassVar[bool] = False
    """Whether who needs these settings calls N8N, Odoo or others. If so, `load` looks at proxies and certificates."""
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Adds secret files, which may hold nested settings, too (`AIGEN_N8N__API_KEY`)."""
        files = _SecretFiles(file_secret_settings, secrets_dir=secrets_directory())
        for source in (env_settings, dotenv_settings, files):
            source.decode_complex_value = _decoded  # type: ignore[method-assign,assignment]
        return init_settings, env_settings, dotenv_settings, files


class DatabaseSettings(LoggingSettings):
    """Settings of `migrate`."""

    database_url: DatabaseUrl
    database: DatabaseSection = DatabaseSection()

    @cached_property
    def listener_url(self) -> str | None:
        """The URL for LISTEN. None if a pooler in transaction mode is in between and no other URL is set."""
        url = self.database.listener_url(self.database_url)
        return None if url is None else url.get_secret_value()

    @cached_property
    def migration_url(self) -> str:
        """The URL for migrations, which need a session: past a pooler in transaction mode, if there is such a URL."""
        url = self.database_url.get_secret_value()
        return url if self.database.prepared_statements else self.listener_url or url


class PurgeSettings(DatabaseSettings):
    """Settings of `purge`."""

    retention: RetentionSettings = RetentionSettings()
    image_store: ImageStoreSettings = ImageStoreSettings()


class Settings(PurgeSettings):
    """All settings. Created by `load`, which turns errors into plain lines."""

    calls_out: ClassVar[bool] = True
    public_url: HttpUrl
    n8n: N8nSettings
    odoo: OdooSettings
    odoos: dict[OdooName, OdooSettings] = {}
    clients: dict[str, Client] = Field(min_length=1)
    callback: CallbackSettings = CallbackSettings()
    generation: GenerationSettings = GenerationSettings()
    requests: RequestsSettings = RequestsSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    image_urls: ImageUrlSettings = ImageUrlSettings()
    alerts: AlertsSettings = AlertsSettings()
    tls: TlsSettings = TlsSettings()
    deprecated: dict[Literal["v1", "v2"], DeprecationSettings] = {}
    worker: WorkerSettings = WorkerSettings()
    metrics: MetricsSettings = MetricsSettings()
    money: MoneySettings = MoneySettings()
    marking: MarkingSettings = MarkingSettings()
    console: ConsoleSettings = ConsoleSettings()

    @model_validator(mode="after")
    def _lease_outlasts_every_call(self) -> "Settings":
        timestamp = self.marking.timeout if self.marking.timestamp_url else timedelta(0)
        odoos = (odoo.timeout for odoo in self.all_odoos.values())
        longest = max(self.n8n.timeout, self.image_urls.timeout, timestamp, *odoos)
        if self.worker.lease <= longest:
            raise PydanticCustomError(
                "short_lease",
                "AIGEN_WORKER__LEASE must be longer than every call may take, which is {seconds} s",
                {"seconds": longest.total_seconds()},
            )
        return self

    @model_validator(mode="after")
    def _the_default_odoo_has_its_own_settings(self) -> "Settings":
        if DEFAULT_ODOO in self.odoos:
            text = f"AIGEN_ODOOS must not contain {DEFAULT_ODOO!r}: its settings are AIGEN_ODOO__…"
            raise PydanticCustomError("two_defaults", "{text}", {"text": text})
        return self

    @model_validator(mode="after")
    def _every_client_speaks_for_a_known_odoo(self) -> "Settings":
        for name, client in self.clients.items():
            if client.odoo is not None and client.odoo not in self.all_odoos:
                known = ", ".join(self.all_odoos)
                text = f"AIGEN_CLIENTS has client {name!r} for Odoo {client.odoo!r}, which is none of: {known}"
                raise PydanticCustomError("unknown_odoo", "{text}", {"text": text})
        return self

    @model_validator(mode="after")
    def _no_key_is_given_twice(self) -> "Settings":
        """Refuses a key that would make a caller one of two clients, also if it is a hash in one of the places."""
        owners: dict[bytes, str] = {}
        for name, key in [(name, key) for name, client in self.clients.items() for key in client.keys]:
            owner = owners.get(digest := key_digest(key))
            if owner is not None:
                given = f"client {name!r} the same key twice" if owner == name else f"one key to {owner!r} and {name!r}"
                advice = "'aigen-bridge keys new' makes another"
                raise PydanticCustomError("shared_key", "{text}", {"text": f"AIGEN_CLIENTS gives {given}; {advice}"})
            owners[digest] = name
        return self

    @property
    def all_odoos(self) -> dict[str, OdooSettings]:
        """Every Odoo by name, the default one first."""
        return {DEFAULT_ODOO: self.odoo, **self.odoos}

    @cached_property
    def callback_url(self) -> str:
        """The URL at which N8N reports results."""
        return self.public_url + CALLBACK_PATH

    @property
    def console_url(self) -> str:
        """The URL at which browsers find the bridge, without the path of the console."""
        return self.console.url or self.public_url
