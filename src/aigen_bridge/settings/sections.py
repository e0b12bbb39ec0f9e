"""The sections of the settings."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, model_validator

from aigen_bridge.domain.destination import N8N_CALLS_MAX, ODOO_CALLS_MAX
from aigen_bridge.domain.generation import WhenMaybePaid
from aigen_bridge.domain.provenance import MarkingMode, OnFailure
from aigen_bridge.domain.signature import SIGNATURES_MAX
from aigen_bridge.settings.values import (
    AlertUrls,
    AllowedHosts,
    ClientKey,
    DatabaseTimeout,
    DatabaseUrl,
    Duration,
    ExchangeRates,
    File,
    Groups,
    HttpUrl,
    ImageStoreUrl,
    IssuerUrl,
    KeptFor,
    Key,
    Networks,
    OdooName,
    OriginUrl,
    Password,
    RateLimit,
    Scopes,
    SigningSecret,
    SigningSecrets,
    Storage,
    Text,
    Timeout,
    TimeZoneName,
    Token,
    TraceUrl,
)


class Scope(StrEnum):
    """A permission of a client."""

    REQUESTS = "requests"
    CALLBACKS = "callbacks"
    OPS = "ops"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Client(Section):
    """A named caller. Two keys may be valid at once, to replace one without an interruption."""

    keys: tuple[ClientKey, ...] = Field(min_length=1, max_length=2)
    scopes: frozenset[Scope] = Field(min_length=1)
    signing_secrets: tuple[SigningSecret, ...] = ()
    signature_required: bool = Field(default=False, description="refuse callbacks that are not signed")
    odoo: OdooName | None = Field(
        None,
        description="the Odoo that it speaks for, as in AIGEN_ODOOS; with scope ops or callbacks: for this one only",
    )

    @model_validator(mode="after")
    def _a_required_signature_needs_a_secret(self) -> "Client":
        if self.signature_required and not self.signing_secrets:
            raise ValueError("signature_required needs signing_secrets")
        return self


class DatabaseSection(Section):
    """Database access."""

    timeout: DatabaseTimeout = Field(
        timedelta(seconds=10), description="for a statement, a transaction or a connection"
    )
    prepared_statements: bool = Field(default=True, description="false behind a pooler in transaction mode")
    listen_url: DatabaseUrl | None = Field(
        None, description="leads to the same database past the pooler, for LISTEN and 'migrate'"
    )

    def listener_url(self, database_url: SecretStr) -> SecretStr | None:
        """Returns the URL for LISTEN. None if a pooler in transaction mode is in between and no other URL is set."""
        return self.listen_url or (database_url if self.prepared_statements else None)


class BreakerSettings(Section):
    """A destination's breaker. While it is open, entries are held, and probes check whether the destination is back."""

    failures: int = Field(20, ge=1, le=10_000, description="failed calls in a row, over all workers")
    probe_every: Duration = timedelta(seconds=5)
    hold: Duration = Field(timedelta(minutes=10), description="age at which a held entry is given up")


class N8nSettings(Section):
    """N8N's webhook, which receives requests."""

    webhook_url: HttpUrl
    api_key: Key = Field(description="sent as X-API-Key")
    signing_secret: SigningSecret | None = Field(None, description="whsec_…: signs outbound events")
    signing_secrets: SigningSecrets = Field(
        (), max_length=SIGNATURES_MAX - 1, description="sign as well, while a secret is being replaced"
    )
    timeout: Timeout = timedelta(seconds=30)
    retry_jitter: float = Field(0.0, ge=0, le=1)
    concurrency: int = Field(200, ge=1, le=N8N_CALLS_MAX, description="webhook calls in flight per worker")
    breaker: BreakerSettings = BreakerSettings()

    @property
    def all_signing_secrets(self) -> tuple[SecretStr, ...]:
        """All secrets that sign outbound events, each once."""
        single = () if self.signing_secret is None else (self.signing_secret,)
        return tuple(dict.fromkeys((*single, *self.signing_secrets)))


class Transport(StrEnum):
    """How the bridge calls Odoo."""

    AUTO = "auto"
    """JSON-2 from Odoo 19 on, otherwise JSON-RPC. Odoo is asked for its version."""

    JSONRPC = "jsonrpc"
    """`/jsonrpc`, with odoorpc. Odoo 19 still has it and logs a warning for each call."""

    JSON2 = "json2"
    """`/json/2`, which Odoo has since 19."""


class OdooSettings(Section):
    """An Odoo database that sends requests and receives their results."""

    url: OriginUrl
    database: Text
    login: Text
    api_key: Password = Field(min_length=1, description="of a bot user that has no password")
    api_key_expires: AwareDatetime | None = Field(
        None, description="when that key expires in Odoo; alerts are sent before"
    )
    transport: Transport = Transport.AUTO
    timeout: Timeout = timedelta(seconds=45)
    concurrency: int = Field(2, ge=1, le=ODOO_CALLS_MAX, description="maximum calls in flight over all workers")
    slow_after: Duration = Field(timedelta(seconds=2), description="a slower response halves the calls in flight")
    breaker: BreakerSettings = BreakerSettings(hold=timedelta(hours=24))


class CallbackSettings(Section):
    """Limits of N8N's callbacks."""

    deadline: Duration = timedelta(minutes=10)
    max_bytes: int = Field(32 * 2**20, ge=2**10, le=2**30)
    read_timeout: Timeout = Field(timedelta(seconds=60), description="for the whole body to arrive")
    rate_limit: RateLimit = "100/second"


class GenerationSettings(Section):
    """When N8N counts as silent while it generates an image, and what then happens."""

    silence: Duration = Field(
        timedelta(seconds=30),
        le=timedelta(hours=1),
        description="without a word of N8N, before a request is resumed",
    )
    resumes: int = Field(3, ge=0, le=20, description="how often a request is sent to N8N again after a silence")
    when_maybe_paid: WhenMaybePaid = Field(
        WhenMaybePaid.AGAIN,
        description="an image may have been paid for without a trace: send the request again, once, or stop",
    )
    rate_limit: RateLimit = "500/second"


class RequestsSettings(Section):
    """Limits of the request API."""

    rate_limit: RateLimit = "100/second"


class RateLimitSettings(Section):
    """The storage of the counts: in each process, or shared by all (`redis://…`, `memcached://…`)."""

    storage: Storage = SecretStr("memory://")


class ImageUrlSettings(Section):
    """Rules for fetching images from the URLs that N8N sends."""

    allowed_hosts: AllowedHosts = Field(
        (),
        description="fal.media, *.fal.media (its subdomains) or .fal.media (both); empty or *: any public host",
    )
    allow_http: bool = Field(default=False, description="for development")
    trusted_networks: Networks = Field((), description="private networks from which images may be fetched")
    timeout: Timeout = timedelta(seconds=30)
    lifetime: Duration = Field(timedelta(minutes=5), description="of a URL without an expiry")
    concurrency: int = Field(8, ge=1, le=100, description="concurrent downloads per worker")


class AlertsSettings(Section):
    """Notifications of operators."""

    urls: AlertUrls = Field((), description="Apprise URLs: mailto://…, slack://…, json://…")
    window: Duration = Field(
        timedelta(minutes=15), description="period in which repeated alerts of one cause are reported together"
    )


class TlsSettings(Section):
    """`serve` terminates TLS when `certificate` is set, and asks for client certificates when `client_ca` is set."""

    certificate: File | None = None
    key: File | None = None
    client_ca: File | None = Field(None, description="only callers with a certificate from this CA are accepted")

    @model_validator(mode="after")
    def _certificate_and_key_belong_together(self) -> "TlsSettings":
        if (self.certificate is None) != (self.key is None) or (self.client_ca and not self.certificate):
            raise ValueError("set certificate and key together; client_ca needs both")
        return self


class DeprecationSettings(Section):
    """Announces the end of an API version in the headers of its responses (RFC 9745, RFC 8594)."""

    since: datetime
    sunset: datetime | None = None
    link: HttpUrl | None = Field(None, description="what to do instead")


class WorkerSettings(Section):
    """The worker's timing and its port for metrics and health."""

    lease: Duration = timedelta(seconds=90)
    poll: Duration = Field(
        timedelta(seconds=5), description="polling interval of the outbox, for when no notification arrives"
    )
    grace: Duration = Field(timedelta(seconds=20), description="time to finish running attempts after SIGTERM")
    metrics_host: Text = Field("127.0.0.1", description="address of the port for metrics and health")
    metrics_port: int | None = Field(None, ge=0, le=65535, description="none: no metrics, no health; 0: any free port")


class ConsoleSettings(Section):
    """The operations console, and sign-in to it by OpenID Connect."""

    enabled: bool = Field(default=True, description="serve it at /console")
    viewers_see_content: bool = Field(default=True, description="whether viewers see prompts and images")
    trace_url: TraceUrl | None = Field(None, description="where traces are shown: a URL with `{traceId}` in it")
    url: OriginUrl | None = Field(None, description="where browsers find the bridge, if not at AIGEN_PUBLIC_URL")
    oidc_issuer: IssuerUrl | None = Field(None, description="as the provider names itself, character by character")
    oidc_client_id: Text | None = None
    oidc_client_secret: Password | None = Field(None, min_length=1)
    oidc_operators: Groups = Field((), description="groups whose members see everything and act")
    oidc_viewers: Groups = Field((), description="groups whose members only look")
    oidc_groups_claim: Text = Field("groups", description="the claim with the groups of a person")
    oidc_name_claim: Text | None = Field(None, description="the claim to name a person by, instead of a verified email")
    oidc_scopes: Scopes = ("openid", "email", "profile")

    @model_validator(mode="after")
    def _openid_connect_is_complete_or_off(self) -> "ConsoleSettings":
        needed = {
            "ISSUER": self.oidc_issuer,
            "CLIENT_ID": self.oidc_client_id,
            "CLIENT_SECRET": self.oidc_client_secret,
            "OPERATORS (or …__OIDC_VIEWERS)": self.oidc_operators or self.oidc_viewers,
        }
        missing = [f"AIGEN_CONSOLE__OIDC_{name}" for name, value in needed.items() if not value]
        if missing and len(missing) < len(needed):
            raise ValueError(f"sign-in by OpenID Connect also needs {' and '.join(missing)}")
        return self


class MetricsSettings(Section):
    """Metrics for Prometheus, at `/metrics` of the API and at the worker's port."""

    enabled: bool = True
    token: Token | None = Field(
        None, description="required as `Authorization: Bearer …`; without it, metrics need no authentication"
    )


class RetentionSettings(Section):
    """Retention periods, which start when no work is pending any more (REQ-ATEL-007). None keeps data forever."""

    images: KeptFor = Field(timedelta(days=30), description="image bytes, after delivery to Odoo")
    quarantine: KeptFor = Field(timedelta(days=30), description="callbacks, after an operator handled them")
    incidents: KeptFor = Field(timedelta(days=90), description="incidents, after they ended")
    attempts: KeptFor = Field(
        timedelta(days=90), description="attempts, after the outcome of their request was delivered to Odoo"
    )
    requests: KeptFor = Field(timedelta(days=365), description="requests, after their outcome was delivered to Odoo")
    ledger: KeptFor = Field(None, description="entries of the ledger, after the request was accepted")
    every: Duration = Field(timedelta(minutes=10), description="interval between purges by a worker")

    @model_validator(mode="after")
    def _requests_outlive_their_parts(self) -> "RetentionSettings":
        parts = (self.images, self.attempts)
        if self.requests and any(kept_for is None or kept_for > self.requests for kept_for in parts):
            raise ValueError(
                "requests must be kept at least as long as images and attempts, which are deleted with them"
            )
        return self


class ImageStoreSettings(Section):
    """The storage of the bytes of images. Without a URL, it is PostgreSQL."""

    url: ImageStoreUrl | None = Field(
        None, description="s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
    )
    endpoint: HttpUrl | None = Field(None, description="of an S3 service other than Amazon's, or of an Azure account")
    region: Text | None = Field(None, description="of the bucket (S3)")
    access_key_id: Password | None = Field(None, description="S3: the id of the access key; Azure: the account's name")
    secret_access_key: Password | None = Field(
        None, description="S3 and Azure: the key; Google: the JSON of a service account. Without it: the machine's own"
    )
    timeout: Timeout = Field(timedelta(seconds=5), description="for one image")

    @model_validator(mode="after")
    def _a_key_has_an_id(self) -> "ImageStoreSettings":
        is_google = (self.url or "").startswith("gs:")
        if not is_google and (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("it needs both __ACCESS_KEY_ID and __SECRET_ACCESS_KEY, or neither")
        return self


class MarkingSettings(Section):
    """Marks images as generated by AI. `c2pa` needs a certificate, its key and the extra `marking`."""

    mode: MarkingMode = MarkingMode.OFF
    certificate: File | None = Field(None, description="the signing certificate and its chain, PEM, the leaf first")
    key: File | None = Field(None, description="the private key of the certificate, PEM (PKCS #8)")
    timestamp_url: HttpUrl | None = Field(None, description="a timestamp service (RFC 3161)")
    timeout: Timeout = Field(timedelta(seconds=10), description="for the timestamp service")
    keep_original: bool = Field(default=True, description="keep the bytes as they came, as long as the image is kept")
    on_failure: OnFailure = OnFailure.DELIVER
    include_prompt: bool = Field(default=False, description="name the prompt in the C2PA manifest")
    include_user: bool = Field(default=False, description="name the person's id in the C2PA manifest")

    @model_validator(mode="after")
    def _signing_needs_a_certificate(self) -> "MarkingSettings":
        if self.mode is MarkingMode.C2PA and (self.certificate is None or self.key is None):
            raise ValueError("mode c2pa needs certificate and key; 'aigen-bridge marking test-certificate' makes both")
        return self


class MoneySettings(Section):
    """Exchange rates, and the time zone in which a budget's days and months begin."""

    rates: ExchangeRates = Field({}, description='such as {"EUR/USD": "1.08"}: one euro costs 1.08 dollars')
    time_zone: TimeZoneName = Field("UTC", description="an IANA name, such as Europe/Berlin")


class LogSettings(Section):
    """Level and format of the log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"
