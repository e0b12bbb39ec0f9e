"""The tables. The migrations build them; `make check` proves that both say the same.

The database holds the invariants: legal states, ended exactly when a final state says so, an image exactly
when completed, one live outbox entry for each request and step, one open incident for each cause.
"""

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aigen_bridge.domain.destination import Destination
from aigen_bridge.domain.request import FINAL, FailedBy, Status, Step

NOW = text("now()")
ENTRY_STATES = ("pending", "done", "dead", "cancelled", "superseded")
OPERATIONS = ("replay", "discard", "complete")
QUARANTINE_STATES = ("open", "replayed", "discarded")
ATTEMPT_OUTCOMES = ("done", "retry", "dead", "held", "lost")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _moment(name: str, *, required: bool = False) -> Column[object]:
    default = NOW if required else None
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=default)


def _one_of(column: str, allowed: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in allowed)})"


requests = Table(
    "requests",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    Column("correlation_id", Uuid, nullable=False),
    Column("event", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=Status.QUEUED.value),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("failed_by", Text),
    Column("image", JSONB(none_as_null=True)),
    Column("traceparent", Text),  # of the span that accepted it, or as the caller sent it
    Column("awaited", JSONB(none_as_null=True)),  # an image that N8N has and we still have to fetch
    _moment("created_at", required=True),
    _moment("updated_at", required=True),
    _moment("dispatched_at"),
    _moment("completed_at"),
    _moment("delivered_at"),
    _moment("callback_deadline_at"),
    CheckConstraint("length(traceparent) = 55", name="traceparent"),
    CheckConstraint(_one_of("status", Status), name="status"),
    CheckConstraint(_one_of("failed_by", FailedBy), name="failed_by"),
    CheckConstraint("(status = 'failed') = (failed_by IS NOT NULL)", name="failed"),
    CheckConstraint("status <> 'completed' OR image IS NOT NULL", name="completed"),
    CheckConstraint("status <> 'received' OR awaited IS NOT NULL", name="received"),
    CheckConstraint(f"({_one_of('status', sorted(FINAL))}) = (completed_at IS NOT NULL)", name="ended"),
    Index("requests_deadline_idx", "callback_deadline_at", postgresql_where=text("callback_deadline_at IS NOT NULL")),
    Index(
        "requests_undelivered_idx",
        "completed_at",
        postgresql_where=text("completed_at IS NOT NULL AND delivered_at IS NULL"),
    ),
    Index("requests_newest_idx", text("created_at DESC"), text("request_id DESC")),
    Index("requests_status_idx", "status", text("created_at DESC"), text("request_id DESC")),
)

request_changes = Table(
    "request_changes",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("status", Text, nullable=False),
    Column("note", Text),
    _moment("at", required=True),
    CheckConstraint(_one_of("status", Status), name="status"),
)

images = Table(
    "images",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # STORAGE EXTERNAL: images do not compress again
    _moment("created_at", required=True),
)

destinations = Table(
    "destinations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),  # transient ones in a row
    Column("allowance", Double),  # calls that may be in flight at once; NULL: as the settings say
    Column("error_code", Text),
    Column("error_detail", Text),
    _moment("opened_at"),  # the breaker is open since then
    _moment("probe_at"),  # the next try while it is open
    CheckConstraint(_one_of("name", Destination), name="name"),
    CheckConstraint("(opened_at IS NULL) = (probe_at IS NULL)", name="open"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("cause", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_times", Integer, nullable=False, server_default="0"),
    Column("told_over", Boolean, nullable=False, server_default=text("false")),  # that it is over
    _moment("opened_at", required=True),
    _moment("seen_at", required=True),
    _moment("told_at"),
    _moment("recovered_at"),
    Index("incidents_open_idx", "cause", unique=True, postgresql_where=text("recovered_at IS NULL")),
    Index("incidents_recovered_idx", "recovered_at", postgresql_where=text("recovered_at IS NOT NULL")),
)

occurrences = Table(
    "occurrences",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey(incidents.c.id, ondelete="CASCADE"), nullable=False),
    Column("request_id", Uuid),  # as far as one is known
    Column("detail", Text, nullable=False),
    _moment("at", required=True),
    Index("occurrences_incident_idx", "incident_id", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE")),
    Column("incident_id", BigInteger, ForeignKey(incidents.c.id, ondelete="CASCADE")),
    Column("step", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("leases_lost", Integer, nullable=False, server_default="0"),  # in a row
    Column("error_code", Text),
    Column("error_detail", Text),
    _moment("created_at", required=True),
    _moment("due_at", required=True),  # of a leased entry: when the lease ends
    _moment("give_up_at"),  # no try after this moment, whatever the schedule says
    _moment("finished_at"),
    CheckConstraint(_one_of("step", Step), name="step"),
    CheckConstraint(_one_of("state", ENTRY_STATES), name="state"),
    CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished"),
    CheckConstraint("lease_owner IS NULL OR state = 'pending'", name="lease"),
    CheckConstraint("(step = 'alert') = (request_id IS NULL)", name="request"),
    CheckConstraint("(step = 'alert') = (incident_id IS NOT NULL)", name="incident"),
    Index("outbox_due_idx", "step", "due_at", postgresql_where=text("state = 'pending'")),
    Index("outbox_live_idx", "request_id", "step", unique=True, postgresql_where=text("state = 'pending'")),
    Index("outbox_dead_idx", "finished_at", postgresql_where=text("state = 'dead'")),
    Index(
        "outbox_live_alert_idx",
        "incident_id",
        unique=True,
        postgresql_where=text("state = 'pending' AND incident_id IS NOT NULL"),
    ),
    Index("outbox_delivering_idx", "due_at", postgresql_where=text("step = 'deliver' AND lease_owner IS NOT NULL")),
    Index("outbox_request_idx", "request_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry_id", BigInteger, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE")),  # none: an alert
    Column("step", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("http_status", Integer),
    Column("error_code", Text),
    Column("detail", Text),
    _moment("started_at", required=True),
    _moment("finished_at", required=True),
    CheckConstraint(_one_of("outcome", ATTEMPT_OUTCOMES), name="outcome"),
    Index("attempts_request_idx", "request_id"),
    Index("attempts_entry_idx", "entry_id"),
)

operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("client", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),  # a dead letter's name, or `request`
    Column("request_id", Uuid),
    Column("note", Text),
    _moment("at", required=True),
    CheckConstraint(_one_of("action", OPERATIONS), name="action"),
    Index("operations_request_idx", "request_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("state", Text, nullable=False, server_default="open"),
    Column("client", Text, nullable=False),
    Column("version", Text, nullable=False),  # of the endpoint: v1, v2
    Column("request_id", Uuid),  # as the callback says; there may be no such request
    Column("error_code", Text, nullable=False),
    Column("error_detail", Text, nullable=False),
    Column("headers", JSONB, nullable=False),  # without keys and signatures
    Column("payload", LargeBinary, nullable=False),  # the event as it came
    Column("image", LargeBinary),  # what came beside it (v2)
    Column("fingerprint", LargeBinary, nullable=False),
    Column("times_seen", Integer, nullable=False, server_default="1"),
    _moment("created_at", required=True),
    _moment("seen_at", required=True),
    _moment("handled_at"),
    CheckConstraint(_one_of("state", QUARANTINE_STATES), name="state"),
    CheckConstraint("(state = 'open') = (handled_at IS NULL)", name="handled"),
    Index("quarantine_open_idx", "created_at", postgresql_where=text("state = 'open'")),
    Index("quarantine_same_idx", "fingerprint", unique=True, postgresql_where=text("state = 'open'")),
)
