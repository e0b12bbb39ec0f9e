"""Every setting, typed and frozen. Built once at the start and passed in; nothing else reads the environment.

Sources, the first one that knows a setting wins: environment, `.env`, a directory of secret files
(`AIGEN_SECRETS_DIR`, by default `/run/secrets`; a file is named like the variable, case does not matter).
"""

import os
import re
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

CALLBACK_PATH = "/api/v1/influencegen/ai-image-callback"

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\Z")


def _duration(value: Any) -> Any:
    """`600` (seconds), `10m`, `1.5h`; anything else, such as ISO 8601, is left to pydantic."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])}) if match else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _origin(value: str) -> str:
    url = _http_url(value)
    if urlsplit(url).path:
        raise ValueError("must be an address without a path, such as https://odoo.example.com")
    return url


def _database_url(value: SecretStr) -> SecretStr:
    scheme, _, rest = value.get_secret_value().partition("://")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"} or not rest:
        raise ValueError("must look like postgresql://user:password@host/database")
    return SecretStr(f"postgresql+psycopg://{rest}")


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class Scope(StrEnum):
    """What a client may do."""

    REQUESTS = "requests"
    CALLBACKS = "callbacks"
    OPS = "ops"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Client(_Section):
    """A named caller. Two keys may be valid at once, so that one can be replaced without a gap."""

    keys: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(min_length=1, max_length=2)
    scopes: frozenset[Scope] = Field(min_length=1)
    signing_secrets: tuple[SecretStr, ...] = ()


class N8nSettings(_Section):
    """Where requests go."""

    webhook_url: HttpUrl
    api_key: SecretStr = Field(min_length=1, description="sent as X-API-Key")
    timeout: Duration = timedelta(seconds=30)
    retry_jitter: float = Field(0.0, ge=0, le=1)
    concurrency: int = Field(200, ge=1, le=2000, description="webhook calls in flight for each worker")


class OdooSettings(_Section):
    """Where results go."""

    url: Annotated[str, AfterValidator(_origin)]
    database: str = Field(min_length=1)
    login: str = Field(min_length=1)
    api_key: SecretStr = Field(min_length=1, description="of a bot user that has no password")
    timeout: Duration = timedelta(seconds=45)
    concurrency: int = Field(2, ge=1, le=64, description="calls in flight for each worker")


class CallbackSettings(_Section):
    """What N8N may send, and by when."""

    deadline: Duration = timedelta(minutes=10)
    max_bytes: int = Field(32 * 2**20, ge=2**10, le=2**30)


class WorkerSettings(_Section):
    """How the worker goes about it."""

    lease: Duration = timedelta(seconds=90)
    poll: Duration = Field(timedelta(seconds=5), description="a look at the outbox even if nobody called")
    grace: Duration = Field(timedelta(seconds=20), description="time to finish what is in hand at SIGTERM")


class LogSettings(_Section):
    """How it tells."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"


class DatabaseSettings(BaseSettings):
    """The database alone: all that `migrate` needs."""

    model_config = SettingsConfigDict(
        env_prefix="AIGEN_",
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        secrets_dir_missing="ok",
    )

    database_url: Annotated[SecretStr, AfterValidator(_database_url)]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - its shape is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Secret files may name nested settings, too (`AIGEN_N8N__API_KEY`)."""
        directory = Path(os.environ.get("AIGEN_SECRETS_DIR", "/run/secrets"))
        files = NestedSecretsSettingsSource(file_secret_settings, secrets_dir=directory)
        return init_settings, env_settings, dotenv_settings, files


class Settings(DatabaseSettings):
    """All of it. Built by `load`, which turns what is wrong into plain lines."""

    public_url: HttpUrl
    n8n: N8nSettings
    odoo: OdooSettings
    clients: dict[str, Client] = Field(min_length=1)
    callback: CallbackSettings = CallbackSettings()
    worker: WorkerSettings = WorkerSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _lease_outlasts_every_call(self) -> "Settings":
        longest = max(self.n8n.timeout, self.odoo.timeout)
        if self.worker.lease <= longest:
            raise ValueError(f"must be longer than every call may take, which is {longest.total_seconds():g} s")
        return self

    @cached_property
    def callback_url(self) -> str:
        """Where N8N reports results."""
        return self.public_url + CALLBACK_PATH


class WrongSettingsError(Exception):
    """Settings are missing or wrong. One line for each: its name as a variable and what is wrong, never its value.

    `missing_parts` are the whole top-level settings that nothing was said about.
    """

    def __init__(self, lines: list[str], missing_parts: frozenset[str] = frozenset()) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.missing_parts = missing_parts


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **given: Any) -> S:
    """Read the settings; `given` ones come before all sources. Raises `WrongSettingsError`."""
    try:
        return kind(**given)
    except SettingsError as error:  # a text that should be JSON is not
        field = re.search(r'field "(\w+)"', str(error))
        name = _variable((field[1],)) if field else "A setting"
        raise WrongSettingsError([f"{name} is wrong: it is not valid JSON."]) from None
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)
        missing = {str(i["loc"][0]) for i in items if i["type"] == "missing" and len(i["loc"]) == 1}
        lines = [line for item in items for line in _explained(item, kind)]
        raise WrongSettingsError(lines, frozenset(missing)) from None


def _explained(item: Any, kind: type[BaseSettings]) -> list[str]:
    path = item["loc"]
    if item["type"] != "missing":
        return [f"{_variable(path)} is wrong: {item['msg'].removeprefix('Value error, ')}."]
    section = kind.model_fields[path[0]].annotation if len(path) == 1 else None
    if isinstance(section, type) and issubclass(section, _Section):
        inner = [name for name, field in section.model_fields.items() if field.is_required()]
        return [f"{_variable((*path, name))} is missing." for name in inner]
    return [f"{_variable(path)} is missing."]


def _variable(path: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in path] or ["worker", "lease"]  # the one rule over several settings
    if parts[0] == "clients":  # one JSON text holds them all
        return "AIGEN_CLIENTS" + "".join(f".{part}" for part in parts[1:])
    return "AIGEN_" + "__".join(parts).upper()
