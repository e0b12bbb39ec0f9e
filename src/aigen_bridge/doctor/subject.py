"""The subject of the checks: the settings, as far as they can be loaded, and their database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

from pydantic import Field, SecretStr

from aigen_bridge.doctor.finding import NotLookedAtError
from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.domain.provenance import MarkingMode
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.settings import DatabaseSettings, LoggingSettings, Settings, WrongSettingsError, load
from aigen_bridge.settings.sections import DatabaseSection, N8nSettings, OdooSettings
from aigen_bridge.settings.values import HttpUrl, OdooName
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.url import parse

SECRET_MIN = 6
"""Characters. Removing shorter secrets from a text would make it unreadable."""

P = TypeVar("P", bound=LoggingSettings)


class _N8n(LoggingSettings):
    calls_out: ClassVar[bool] = True
    n8n: N8nSettings


class _Odoo(LoggingSettings):
    calls_out: ClassVar[bool] = True
    odoo: OdooSettings


class _OtherOdoos(LoggingSettings):
    calls_out: ClassVar[bool] = True
    odoos: dict[OdooName, OdooSettings] = Field(default_factory=dict)


class _PublicUrl(LoggingSettings):
    calls_out: ClassVar[bool] = True
    public_url: HttpUrl


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The settings and the database to check. A part is None if its settings are missing or wrong, see `complaints`.

    `may_write`: the checks may write to the image store, and delete what they wrote.
    """

    settings: Settings | None = None
    database_url: SecretStr | None = None
    database: DatabaseSection = field(default_factory=DatabaseSection)
    n8n: N8nSettings | None = None
    odoos: Mapping[str, OdooSettings] = field(default_factory=dict)
    public_url: str | None = None
    complaints: tuple[str, ...] = ()
    inspection: Inspection | None = None
    unsuitable: UnsuitableDatabaseError | None = None
    may_write: bool = False
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @property
    def opened(self) -> Inspection:
        """The open database.

        Raises `NotLookedAtError` if its settings are missing or wrong, `UnsuitableDatabaseError` if it cannot be used.
        """
        if self.unsuitable is not None:
            raise self.unsuitable
        if self.inspection is None:
            raise NotLookedAtError
        return self.inspection

    @property
    def marks(self) -> bool:
        """Whether the bridge marks images."""
        return self.settings is not None and self.settings.marking.mode is not MarkingMode.OFF

    @property
    def listener_url(self) -> SecretStr | None:
        """The URL for LISTEN; None if workers poll."""
        return None if self.database_url is None else self.database.listener_url(self.database_url)

    @classmethod
    def of(cls, settings: Settings) -> "Subject":
        """Creates the subject from complete settings."""
        return cls(
            settings=settings,
            database_url=settings.database_url,
            database=settings.database,
            n8n=settings.n8n,
            odoos=settings.all_odoos,
            public_url=settings.public_url,
        )

    @classmethod
    def here(cls) -> "Subject":
        """Creates the subject from the environment, as far as its settings are valid."""
        try:
            return cls.of(load(Settings))
        except WrongSettingsError as error:
            complaints = tuple(error.lines)
        database, n8n, public = _part(DatabaseSettings), _part(_N8n), _part(_PublicUrl)
        odoo, others = _part(_Odoo), _part(_OtherOdoos)
        return cls(
            database_url=database.database_url if database else None,
            database=database.database if database else DatabaseSection(),
            n8n=n8n.n8n if n8n else None,
            odoos=({DEFAULT_ODOO: odoo.odoo} if odoo else {}) | (others.odoos if others else {}),
            public_url=public.public_url if public else None,
            complaints=complaints,
        )

    def secrets(self) -> list[str]:
        """Returns all secrets, the longest first. No finding may show them."""
        known = [self.n8n.api_key, *self.n8n.all_signing_secrets] if self.n8n else []
        known += [odoo.api_key for odoo in self.odoos.values()]
        known += [self.settings.rate_limit.storage, *self.settings.alerts.urls] if self.settings else []
        image_key = self.settings.image_store.secret_access_key if self.settings else None
        known += [image_key] if image_key else []
        for client in self.settings.clients.values() if self.settings else ():
            known += [*client.keys, *client.signing_secrets]
        texts = {secret.get_secret_value() for secret in known if secret} | self._passwords()
        return sorted((text for text in texts if len(text) >= SECRET_MIN), key=len, reverse=True)

    def _passwords(self) -> set[str]:
        urls = filter(None, (self.database_url, self.database.listen_url))
        return {text for url in urls for text in _passwords(url.get_secret_value())}


def _passwords(url: str) -> set[str]:
    """Returns the database's password as it is, and the credentials as they are written in its URL."""
    parameters = parse(url)
    passwords = {value for name in ("password", "sslpassword") if (value := parameters.get(name))}
    credentials = url.partition("://")[2].rpartition("@")[0]
    return passwords | {credentials, credentials.partition(":")[2]} if passwords else set()


def odoo_setting(odoo: str, field_name: str) -> str:
    """Names a setting of an Odoo in a sentence: `AIGEN_ODOO__URL`, or for another Odoo `url of 'north' in …`."""
    return f"AIGEN_ODOO__{field_name.upper()}" if odoo == DEFAULT_ODOO else f"{field_name} of {odoo!r} in AIGEN_ODOOS"


def _part(kind: type[P]) -> P | None:
    try:
        return load(kind)
    except WrongSettingsError:
        return None
