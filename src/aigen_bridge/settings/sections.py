"""The sections of the settings, one for each thing that is set up."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FilePath, IPvAnyNetwork, SecretStr, model_validator

from aigen_bridge.settings.values import (
    AlertUrls,
    DatabaseTimeout,
    Duration,
    HttpUrl,
    KeptFor,
    Key,
    OriginUrl,
    RateLimit,
    SigningSecret,
    Timeout,
)


class Scope(StrEnum):
    """What a client may do."""

    REQUESTS = "requests"
    CALLBACKS = "callbacks"
    OPS = "ops"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Client(Section):
    """A named caller. Two keys may be valid at once, so that one can be replaced without a gap."""

    keys: tuple[Key, ...] = Field(min_length=1, max_length=2)
    scopes: frozenset[Scope] = Field(min_length=1)
    signing_secrets: tuple[SigningSecret, ...] = ()
    signature_required: bool = Field(default=False, description="refuse callbacks that are not signed")

    @model_validator(mode="after")
    def _a_required_signature_needs_a_secret(self) -> "Client":
        if self.signature_required and not self.signing_secrets:
            raise ValueError("signature_required needs signing_secrets")
        return self


class DatabaseSection(Section):
    """How the database is talked to."""

    timeout: DatabaseTimeout = Field(
        timedelta(seconds=10), description="for a statement, a transaction or a connection"
    )


class BreakerSettings(Section):
    """When a system counts as out. What is owed to it is then held, and a try now and then finds out if it is back."""

    failures: int = Field(20, ge=1, le=10_000, description="failed calls in a row, over all workers")
    probe_every: Duration = timedelta(seconds=5)
    hold: Duration = Field(timedelta(minutes=10), description="age at which what is held is given up")


class N8nSettings(Section):
    """Where requests go."""

    webhook_url: HttpUrl
    api_key: Key = Field(description="sent as X-API-Key")
    signing_secret: SigningSecret | None = Field(None, description="whsec_…: sign what is sent")
    timeout: Timeout = timedelta(seconds=30)
    retry_jitter: float = Field(0.0, ge=0, le=1)
    concurrency: int = Field(200, ge=1, le=2000, description="webhook calls in flight for each worker")
    breaker: BreakerSettings = BreakerSettings()


class OdooSettings(Section):
    """Where results go."""

    url: OriginUrl
    database: str = Field(min_length=1)
    login: str = Field(min_length=1)
    api_key: SecretStr = Field(min_length=1, description="of a bot user that has no password")
    api_key_expires: AwareDatetime | None = Field(
        None, description="when Odoo will refuse that key; alerts come in time"
    )
    timeout: Timeout = timedelta(seconds=45)
    concurrency: int = Field(2, ge=1, le=64, description="calls in flight over all workers, at most")
    slow_after: Duration = Field(timedelta(seconds=2), description="a slower answer halves the calls in flight")
    breaker: BreakerSettings = BreakerSettings(hold=timedelta(hours=24))


class CallbackSettings(Section):
    """What N8N may send, and by when."""

    deadline: Duration = timedelta(minutes=10)
    max_bytes: int = Field(32 * 2**20, ge=2**10, le=2**30)
    read_timeout: Timeout = Field(timedelta(seconds=60), description="for the whole body to arrive")
    rate_limit: RateLimit = "100/second"


class RequestsSettings(Section):
    """What Odoo may send."""

    rate_limit: RateLimit = "100/second"


class RateLimitSettings(Section):
    """Where the counts are kept: in each process, or shared by all (`redis://…`, `memcached://…`)."""

    storage: SecretStr = SecretStr("memory://")


class ImageUrlSettings(Section):
    """From where images may be fetched when N8N sends a URL."""

    allowed_hosts: tuple[str, ...] = Field((), description="exact names or *.example.com; empty: any public host")
    allow_http: bool = Field(default=False, description="for development")
    trusted_networks: tuple[IPvAnyNetwork, ...] = Field((), description="private networks that may be reached")
    timeout: Timeout = timedelta(seconds=30)
    lifetime: Duration = Field(timedelta(minutes=5), description="of a URL that does not say when it expires")
    concurrency: int = Field(8, ge=1, le=100, description="downloads at once in each worker")


class AlertsSettings(Section):
    """Who is told when something needs a person."""

    urls: AlertUrls = Field((), description="addresses as Apprise writes them: mailto://…, slack://…, json://…")
    window: Duration = Field(timedelta(minutes=15), description="repeated alerts of one cause are folded for so long")


class TlsSettings(Section):
    """`serve` terminates TLS when `certificate` is set, and asks for client certificates when `client_ca` is."""

    certificate: FilePath | None = None
    key: FilePath | None = None
    client_ca: FilePath | None = Field(None, description="only callers with a certificate by this CA get in")

    @model_validator(mode="after")
    def _certificate_and_key_belong_together(self) -> "TlsSettings":
        if (self.certificate is None) != (self.key is None) or (self.client_ca and not self.certificate):
            raise ValueError("certificate and key are needed together, and for client_ca")
        return self


class DeprecationSettings(Section):
    """Announces the end of an API version in the headers of its answers (RFC 9745, RFC 8594)."""

    since: datetime
    sunset: datetime | None = None
    link: HttpUrl | None = Field(None, description="what to do instead")


class WorkerSettings(Section):
    """How the worker goes about it."""

    lease: Duration = timedelta(seconds=90)
    poll: Duration = Field(timedelta(seconds=5), description="a look at the outbox even if nobody called")
    grace: Duration = Field(timedelta(seconds=20), description="time to finish what is in hand at SIGTERM")
    metrics_host: str = Field("127.0.0.1", description="address of the port for Prometheus")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="none: a worker tells no metrics; 0: any free one"
    )


class MetricsSettings(Section):
    """What Prometheus may read, at `/metrics` of the API and at the worker's port."""

    enabled: bool = True
    token: Key | None = Field(
        None, description="asked for as `Authorization: Bearer …`; without it, everybody may read"
    )


class RetentionSettings(Section):
    """How long things are kept after nothing about them is owed any more (REQ-ATEL-007); None is for ever."""

    images: KeptFor = Field(timedelta(days=30), description="their bytes, after Odoo got them")
    quarantine: KeptFor = Field(timedelta(days=30), description="callbacks, after a person handled them")
    incidents: KeptFor = Field(timedelta(days=90), description="what people were alerted of, after it was over")
    attempts: KeptFor = Field(timedelta(days=90), description="after Odoo knew how the request ended")
    requests: KeptFor = Field(timedelta(days=365), description="after Odoo knew how they ended")
    every: Duration = Field(timedelta(minutes=10), description="how often a worker looks for what may go")

    @model_validator(mode="after")
    def _a_request_stays_as_long_as_what_belongs_to_it(self) -> "RetentionSettings":
        parts = (self.images, self.attempts)
        if self.requests and any(kept_for is None or kept_for > self.requests for kept_for in parts):
            raise ValueError("requests must be kept at least as long as images and attempts, which go with them")
        return self


class LogSettings(Section):
    """How it tells."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"
