"""The tables of destinations and incidents, which concern no single request."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from aigen_bridge.store.columns import metadata, timestamptz

destinations = Table(
    "destinations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),  # transient failures in a row
    Column("allowance", Double),  # the current concurrency limit; NULL: that of the settings
    Column("error_code", Text),
    Column("error_detail", Text),
    timestamptz("error_since"),  # while the breaker is open: its probes have failed with this error_code since then
    timestamptz("opened_at"),  # the breaker has been open since then
    timestamptz("probe_at"),  # the next probe while it is open
    CheckConstraint("(opened_at IS NULL) = (probe_at IS NULL)", name="open"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("cause", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_times", Integer, nullable=False, server_default="0"),
    Column("told_over", Boolean, nullable=False, server_default=text("false")),  # the end was reported
    timestamptz("opened_at", required=True),
    timestamptz("seen_at", required=True),
    timestamptz("told_at"),
    timestamptz("recovered_at"),
    Index("incidents_open_idx", "cause", unique=True, postgresql_where=text("recovered_at IS NULL")),
    Index("incidents_recovered_idx", "recovered_at", postgresql_where=text("recovered_at IS NOT NULL")),
)

occurrences = Table(
    "occurrences",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey(incidents.c.id, ondelete="CASCADE"), nullable=False),
    Column("request_id", Uuid),  # NULL if no request is known
    Column("detail", Text, nullable=False),
    timestamptz("at", required=True),
    Index("occurrences_incident_idx", "incident_id", "id"),
)
