"""The tables. The migrations create them; `make check` verifies that both agree.

Constraints enforce the invariants: legal states, `completed_at` exactly in terminal states, an image for every
completed request, one pending outbox entry per request and step, one open incident per cause.
"""

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
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aigen_bridge.domain.budget import Period
from aigen_bridge.domain.generation import State
from aigen_bridge.domain.ledger import EntryKind
from aigen_bridge.domain.queues import ODOO_NAME, PER_ODOO
from aigen_bridge.domain.replay_job import ReplayState
from aigen_bridge.domain.request import DEFAULT_ODOO, FINAL, FailedBy, Status, Step
from aigen_bridge.domain.session import Role
from aigen_bridge.store.columns import metadata, one_of, timestamptz

ENTRY_STATES = ("pending", "done", "dead", "cancelled", "superseded")
GENERATION_STATES = tuple(state for state in State if state is not State.DONE)
OPERATIONS = (
    *("replay", "discard", "complete", "purge", "restored", "confirm", "put", "remove"),
    *("pause", "resume", "limit", "cancel", "stop", "mark", "move", "adopt"),
    *("sign-in", "sign-out", "sign-in-refused", "revoke"),
)
QUARANTINE_STATES = ("open", "replayed", "discarded")
QUEUES = f"{one_of('step', Step)} OR step ~ '^({'|'.join(PER_ODOO)}):{ODOO_NAME}$'"
ATTEMPT_OUTCOMES = ("done", "retry", "dead", "held", "lost")
AMOUNT = Numeric(21, 9)  # WHOLE_DIGITS and PLACES of domain/money.py
SUM = Numeric(38, 9)  # costs that N8N reports are counted, however absurd

IMAGE_IS_KEPT = "delivered_at IS NOT NULL AND image IS NOT NULL AND image_purged_at IS NULL"
ATTEMPTS_ARE_KEPT = "delivered_at IS NOT NULL AND (attempts_purged_at IS NULL OR attempts_purged_at < delivered_at)"
"""Conditions for a delivered request that still has an image or attempts to purge. A late result may add attempts after
the first ones were purged."""

DELIVERED = "delivered_at IS NOT NULL"
WORDS = "'simple'::regconfig, translate({text}, './:@-_+~&<', '          ')"
"""SQL: the arguments of `to_tsvector` and `plainto_tsquery` that split a text into its words. Without these characters,
PostgreSQL would take some words for one host, path, address or number, such as `sea.Sunset`."""
_PROMPT = WORDS.format(text="left(event ->> 'prompt', 4000)")
PROMPT_WORDS = f"to_tsvector({_PROMPT})"
MONTH_TERM = "'month:' || extract(julian FROM date_trunc('month', timezone('UTC', {at})))::text"
"""SQL: the term for the month of a time: the Julian day of its first. An index cannot use `to_char`."""
_NAMED_TERMS = (
    "'user:' || left(event ->> 'userId', 36), 'model:' || left(event ->> 'modelId', 36), "
    "'campaign:' || left(event ->> 'campaignId', 36), "
    "'error:' || left(error_code, 201), 'status:' || status, 'odoo:' || odoo, " + MONTH_TERM.format(at="created_at")
)
SEARCH_TERMS = f"({PROMPT_WORDS} || array_to_tsvector(array_remove(ARRAY[{_NAMED_TERMS}], NULL)))"
"""SQL: what requests are searched by. No word of a prompt has a colon. Words of more than 2,046 bytes are left out."""

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
    Column("odoo", Text, nullable=False, server_default=DEFAULT_ODOO),  # its name in AIGEN_ODOOS; never changes
    Column("client", Text),  # the client, as in AIGEN_CLIENTS; NULL in rows older than this column
    Column("traceparent", Text),  # of the span that accepted the request, or as the caller sent it
    Column("awaited", JSONB(none_as_null=True)),  # an image that is still to be fetched from N8N's URL
    Column("generation_facts", JSONB(none_as_null=True)),  # how the image was generated, as N8N reported it
    Column("cost", JSONB(none_as_null=True)),  # as N8N reported it
    Column("model", JSONB(none_as_null=True)),  # the catalogue's entry when it was accepted; never changes
    Column("provenance", JSONB(none_as_null=True)),  # the marks of the image; NULL in rows older than this column
    timestamptz("created_at", required=True),
    timestamptz("updated_at", required=True),
    timestamptz("dispatched_at"),
    timestamptz("completed_at"),
    timestamptz("delivered_at"),
    timestamptz("callback_deadline_at"),
    timestamptz("image_purged_at"),  # the bytes only; `image` stays
    timestamptz("attempts_purged_at"),
    CheckConstraint("length(traceparent) = 55", name="traceparent"),
    CheckConstraint(one_of("status", Status), name="status"),
    CheckConstraint(one_of("failed_by", FailedBy), name="failed_by"),
    CheckConstraint("(status = 'failed') = (failed_by IS NOT NULL)", name="failed"),
    CheckConstraint("status <> 'completed' OR image IS NOT NULL", name="completed"),
    CheckConstraint("status <> 'received' OR awaited IS NOT NULL OR image IS NOT NULL", name="received"),
    CheckConstraint("image_purged_at IS NULL OR (image IS NOT NULL AND completed_at IS NOT NULL)", name="purged"),
    CheckConstraint(f"({one_of('status', sorted(FINAL))}) = (completed_at IS NOT NULL)", name="ended"),
    Index("requests_deadline_idx", "callback_deadline_at", postgresql_where=text("callback_deadline_at IS NOT NULL")),
    Index(
        "requests_undelivered_idx",
        "completed_at",
        postgresql_where=text("completed_at IS NOT NULL AND delivered_at IS NULL"),
    ),
    Index("requests_image_kept_idx", "delivered_at", postgresql_where=text(IMAGE_IS_KEPT)),
    Index("requests_attempts_kept_idx", "delivered_at", postgresql_where=text(ATTEMPTS_ARE_KEPT)),
    Index("requests_newest_idx", text("created_at DESC"), text("request_id DESC")),
    Index("requests_odoo_idx", "odoo", text("created_at DESC"), text("request_id DESC")),
    Index("requests_status_idx", "status", text("created_at DESC"), text("request_id DESC")),
    Index(  # STATISTICS 0: see store/search.py
        "requests_search_idx",
        text(SEARCH_TERMS),
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 1024},
        postgresql_where=text(DELIVERED),
    ),
    Index("requests_correlation_idx", "correlation_id", postgresql_where=text(DELIVERED)),
)

request_changes = Table(
    "request_changes",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("status", Text, nullable=False),
    Column("note", Text),
    timestamptz("at", required=True),
    CheckConstraint(one_of("status", Status), name="status"),
)

images = Table(
    "images",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # STORAGE EXTERNAL: images are compressed already
    timestamptz("created_at", required=True),
)

original_images = Table(  # as they came, of images that were marked afterwards
    "original_images",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),  # STORAGE EXTERNAL, as above
    timestamptz("created_at", required=True),
)

image_store = Table(  # one row: the object store that this database keeps its images in
    "image_store",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token", Uuid, nullable=False, server_default=text("gen_random_uuid()")),  # in the store's object `owner`
    Column("location", Text),  # the URL where that object was put; NULL: nowhere yet
    Column("is_draining", Boolean, nullable=False, server_default=text("false")),  # images go to PostgreSQL
    Column("shard", Integer, nullable=False, server_default="0"),  # the next one to sweep, as in domain/image.py
    timestamptz("shard_due_at", required=True),
    CheckConstraint("id = 1", name="id"),
)

image_garbage = Table(  # objects that nothing refers to, until a day after their deletion
    "image_garbage",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("is_certain", Boolean, nullable=False),  # false: kept if something refers to it when it is due
    timestamptz("noted_at", required=True),
    timestamptz("due_at", required=True),
    timestamptz("claimed_at"),  # a worker is deleting it since then
    timestamptz("deleted_at"),
    Index("image_garbage_due_idx", "due_at", postgresql_where=text("deleted_at IS NULL")),
    Index("image_garbage_deleted_idx", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
)

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
    Column("out_seconds", Double, nullable=False, server_default="0"),  # of all outages and pauses that have ended
    timestamptz("paused_at"),  # an operator has paused it since then
    Column("paused_by", Text),
    Column("pause_reason", Text),
    Column("concurrency", Integer),  # the most calls in flight, as an operator limited it; NULL: that of the settings
    CheckConstraint("(opened_at IS NULL) = (probe_at IS NULL)", name="open"),
    CheckConstraint("concurrency >= 1", name="concurrency"),
)

destination_pauses = Table(  # their time does not count for what waited
    "destination_pauses",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("began_at", DateTime(timezone=True), primary_key=True),
    timestamptz("ended_at"),  # NULL: it lasts
    CheckConstraint("ended_at >= began_at", name="end"),
)

odoos = Table(
    "odoos",
    metadata,
    Column("name", Text, primary_key=True),
    Column("database_uuid", Text, nullable=False),  # as Odoo told it; a copy that Odoo itself makes gets another
    timestamptz("since", required=True),
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

ONE_PENDING = "outbox_live_idx"
"""The unique index that allows one pending entry per request and step."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE")),
    Column("incident_id", BigInteger, ForeignKey(incidents.c.id, ondelete="CASCADE")),
    Column("step", Text, nullable=False),  # the queue: a trigger chooses that of the request's Odoo (domain/queues.py)
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("leases_lost", Integer, nullable=False, server_default="0"),  # in a row
    Column("error_code", Text),
    Column("error_detail", Text),
    timestamptz("created_at", required=True),  # when it is first due (may be in the future); its age counts from then
    timestamptz("due_at", required=True),  # for a leased entry: when the lease ends
    timestamptz("give_up_at"),  # no attempt after this time, whatever the schedule says
    timestamptz("finished_at"),
    CheckConstraint(QUEUES, name="step"),
    CheckConstraint(one_of("state", ENTRY_STATES), name="state"),
    CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished"),
    CheckConstraint("lease_owner IS NULL OR state = 'pending'", name="lease"),
    CheckConstraint("(step = 'alert') = (request_id IS NULL)", name="request"),
    CheckConstraint("(step = 'alert') = (incident_id IS NOT NULL)", name="incident"),
    Index("outbox_due_idx", "step", "due_at", postgresql_where=text("state = 'pending'")),
    Index(ONE_PENDING, "request_id", "step", unique=True, postgresql_where=text("state = 'pending'")),
    Index("outbox_dead_idx", "finished_at", postgresql_where=text("state = 'dead'")),
    Index(
        "outbox_live_alert_idx",
        "incident_id",
        unique=True,
        postgresql_where=text("state = 'pending' AND incident_id IS NOT NULL"),
    ),
    Index("outbox_delivering_idx", "due_at", postgresql_where=text("step = 'deliver' AND lease_owner IS NOT NULL")),
    Index(
        "outbox_delivering_elsewhere_idx",
        "step",
        "due_at",
        postgresql_where=text("step LIKE 'deliver:%' AND lease_owner IS NOT NULL"),
    ),
    Index("outbox_incident_idx", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
    Index("outbox_request_idx", "request_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry_id", BigInteger, ForeignKey(outbox.c.id, ondelete="CASCADE"), nullable=False),
    Column("fence", BigInteger),  # of the lease; NULL in rows older than this column
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE")),  # NULL for an alert
    Column("step", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("http_status", Integer),
    Column("error_code", Text),
    Column("detail", Text),
    timestamptz("started_at", required=True),
    timestamptz("finished_at", required=True),
    CheckConstraint(one_of("outcome", ATTEMPT_OUTCOMES), name="outcome"),
    Index("attempts_request_idx", "request_id"),
    Index("attempts_lease_idx", "entry_id", "fence", unique=True),
)

executions = Table(
    "executions",
    metadata,
    Column("execution_id", Text, primary_key=True),  # N8N's own id; a reset N8N reuses ids
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),  # of the request when the execution asked
    Column("letter", BigInteger),  # the row in `quarantine` of N8N's report that it failed
    timestamptz("noted_at", required=True),
    Index("executions_request_idx", "request_id"),
    Index("executions_noted_idx", "noted_at"),
)

generations = Table(
    "generations",
    metadata,
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), primary_key=True),
    Column("state", Text, nullable=False, server_default=State.NONE.value),
    Column("execution_id", Text),  # the holder of the grant, or the execution that polls the job
    Column("ask_key", Text),
    Column("job", JSONB(none_as_null=True)),  # the known job; `provider_jobs` has all
    Column("refusals", Integer, nullable=False, server_default="0"),
    Column("ended_jobs", Integer, nullable=False, server_default="0"),
    Column("doubts", Integer, nullable=False, server_default="0"),
    Column("resumes", Integer, nullable=False, server_default="0"),
    Column("is_resuming", Boolean, nullable=False, server_default=text("false")),
    Column("is_suspended", Boolean, nullable=False, server_default=text("false")),
    Column("progress", JSONB(none_as_null=True)),
    timestamptz("progress_at"),
    timestamptz("quiet_until"),  # on N8N's clock, which stands still during outages; NULL: silence has no effect
    CheckConstraint(one_of("state", GENERATION_STATES), name="state"),
    CheckConstraint("(state = 'running') = (job IS NOT NULL)", name="job"),
    CheckConstraint("state <> 'granted' OR execution_id IS NOT NULL", name="holder"),
    Index("generations_quiet_idx", "quiet_until", postgresql_where=text("quiet_until IS NOT NULL")),
)

provider_jobs = Table(
    "provider_jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("execution_id", Text, nullable=False),  # that named it first
    Column("is_other", Boolean, nullable=False),  # another job was known: N8N was told to cancel this one
    timestamptz("named_at", required=True),
    timestamptz("ended_at"),  # N8N reported that it ended unbilled
    Index("provider_jobs_same_idx", "request_id", "provider", "job_id", unique=True),
    Index("provider_jobs_other_idx", "named_at", postgresql_where=text("is_other")),
)

generation_changes = Table(
    "generation_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, ForeignKey(requests.c.request_id, ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False),
    timestamptz("at", required=True),
    CheckConstraint(one_of("state", GENERATION_STATES), name="state"),
    Index("generation_changes_request_idx", "request_id"),
    Index("generation_changes_doubts_idx", "at", postgresql_where=text("state = 'doubtful'")),
)

api_beats = Table(
    "api_beats",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    timestamptz("since", required=True),  # the beats have been unbroken since then
    timestamptz("at", required=True),
    CheckConstraint("id = 1", name="single"),
)

models = Table(
    "models",
    metadata,
    Column("model_id", Uuid, primary_key=True),
    Column("entry", JSONB, nullable=False),  # as PUT, without `active`
    Column("is_active", Boolean, nullable=False),
    timestamptz("updated_at", required=True),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("most", AMOUNT, nullable=False),
    Column("currency", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("time_zone", Text, nullable=False),  # in which days and months begin
    Column("is_hard", Boolean, nullable=False),
    Column("odoo", Text),  # NULL here and in the three below: any
    Column("user_id", Uuid),
    Column("campaign_id", Uuid),
    Column("model_id", Uuid),
    Column("contact", Text),
    timestamptz("updated_at", required=True),
    CheckConstraint(one_of("period", Period), name="period"),
    CheckConstraint("most >= 0", name="most"),
)

budget_usage = Table(
    "budget_usage",
    metadata,
    Column("budget_id", BigInteger, ForeignKey(budgets.c.id, ondelete="CASCADE"), primary_key=True),
    Column("period_start", DateTime(timezone=True), primary_key=True),
    Column("spent", SUM, nullable=False, server_default="0"),  # in the budget's currency
    Column("reserved", SUM, nullable=False, server_default="0"),
    Column("noticed_percent", Integer, nullable=False, server_default="0"),  # people were told of it
)

budget_changes = Table(
    "budget_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),  # increases with every change of a budget
    CheckConstraint("id = 1", name="single"),
)

ledger = Table(  # append-only; outlives requests
    "ledger",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, nullable=False),
    Column("odoo", Text, nullable=False),
    Column("user_id", Uuid),
    Column("campaign_id", Uuid),
    Column("model_id", Uuid),
    Column("accepted_at", DateTime(timezone=True), nullable=False),  # of the request: it decides the period
    timestamptz("at", required=True),
    Column("kind", Text, nullable=False),
    Column("charge", Text),  # which payment: `job:PROVIDER/ID`, or `unnamed:N`
    Column("reserved", AMOUNT, nullable=False, server_default="0"),  # changes of the sums, in `currency`
    Column("spent", AMOUNT, nullable=False, server_default="0"),
    Column("currency", Text),
    Column("rates", JSONB, nullable=False, server_default="{}"),  # from `currency` to others, when it was written
    Column("basis", Text),
    Column("images", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("note", Text),
    CheckConstraint(one_of("kind", EntryKind), name="kind"),
    CheckConstraint("currency IS NOT NULL OR (spent = 0 AND reserved = 0)", name="currency"),
    Index("ledger_request_idx", "request_id"),
    Index("ledger_accepted_idx", "accepted_at"),
)

unsettled = Table(  # written by triggers: what happened to these requests is not in the ledger yet
    "unsettled",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("request_id", Uuid, nullable=False),
)

addons = Table(
    "addons",
    metadata,
    Column("odoo", Text, primary_key=True),
    Column("version", Text),  # of the addon that last sent a request; NULL: it did not say
    timestamptz("seen_at", required=True),
)

operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("client", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),  # such as `entry-7`, `request`, `retention`, `model:ID`, `destination n8n`
    Column("request_id", Uuid),
    Column("note", Text),  # the reason
    Column("before", JSONB(none_as_null=True)),  # the fields that changed, as they were
    Column("after", JSONB(none_as_null=True)),
    Column("odoo", Text),  # NULL: concerns no single Odoo
    timestamptz("at", required=True),
    CheckConstraint(one_of("action", OPERATIONS), name="action"),
    Index("operations_request_idx", "request_id"),
    Index("operations_target_idx", "target"),
)

replay_jobs = Table(
    "replay_jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text),  # NULL here and in the four below: any
    Column("since", DateTime(timezone=True)),
    Column("until", DateTime(timezone=True)),
    Column("error_code", Text),
    Column("odoo", Text),
    Column("max_per_second", Double, nullable=False),
    Column("note", Text),
    Column("client", Text, nullable=False),  # that began it
    Column("state", Text, nullable=False, server_default=ReplayState.RUNNING.value),
    Column("matched", Integer, nullable=False, server_default="0"),
    Column("replayed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("moved_on", Integer, nullable=False, server_default="0"),
    Column("after_at", DateTime(timezone=True)),  # the last letter that was handled: its time and id
    Column("after_id", Text),
    timestamptz("created_at", required=True),  # its letters were dead before this time
    timestamptz("due_at", required=True),  # the next letter is not replayed before
    timestamptz("finished_at"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    timestamptz("lease_until"),
    Column("leases_lost", Integer, nullable=False, server_default="0"),  # in a row, at the same letter
    CheckConstraint(one_of("state", ReplayState), name="state"),
    CheckConstraint("(state IN ('stopped', 'finished')) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease"),
    CheckConstraint("(after_at IS NULL) = (after_id IS NULL)", name="after"),
    Index("replay_jobs_due_idx", "due_at", postgresql_where=text("finished_at IS NULL")),
)

replay_failures = Table(
    "replay_failures",
    metadata,
    Column("job_id", BigInteger, ForeignKey(replay_jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("letter", Text, nullable=False),
    Column("request_id", Uuid),
    Column("reason", Text, nullable=False),
    Column("moved_on", Boolean, nullable=False),
    timestamptz("at", required=True),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("state", Text, nullable=False, server_default="open"),
    Column("client", Text, nullable=False),
    Column("version", Text, nullable=False),  # of the endpoint: v1, v2
    Column("request_id", Uuid),  # as the callback declares; there may be no such request
    Column("error_code", Text, nullable=False),
    Column("error_detail", Text, nullable=False),
    Column("headers", JSONB, nullable=False),  # without keys and signatures
    Column("payload", LargeBinary, nullable=False),  # the event as it arrived
    Column("image", LargeBinary),  # the image part beside it (v2)
    Column("fingerprint", LargeBinary, nullable=False),
    Column("times_seen", Integer, nullable=False, server_default="1"),
    timestamptz("created_at", required=True),
    timestamptz("seen_at", required=True),
    timestamptz("handled_at"),
    CheckConstraint(one_of("state", QUARANTINE_STATES), name="state"),
    CheckConstraint("(state = 'open') = (handled_at IS NULL)", name="handled"),
    Index("quarantine_open_idx", "created_at", postgresql_where=text("state = 'open'")),
    Index("quarantine_owed_idx", "request_id", postgresql_where=text("state = 'open'")),
    Index("quarantine_handled_idx", "handled_at", postgresql_where=text("state <> 'open'")),
    Index("quarantine_same_idx", "fingerprint", unique=True, postgresql_where=text("state = 'open'")),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("token_digest", LargeBinary, nullable=False),  # SHA-256 of the token in the cookie
    Column("name", Text, nullable=False),  # the client or the person, as `operations.client`
    Column("role", Text, nullable=False),
    Column("odoo", Text),  # NULL: sees all
    Column("key_digest", LargeBinary),  # SHA-256 of the key: the session ends when the key does; NULL: no key
    timestamptz("created_at", required=True),
    timestamptz("seen_at", required=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    timestamptz("ended_at"),  # signed out or revoked
    CheckConstraint(one_of("role", Role), name="role"),
    Index("console_sessions_token_idx", "token_digest", unique=True),
)

key_uses = Table(
    "key_uses",
    metadata,
    Column("client", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),  # the first 12 hex digits of the key's SHA-256
    timestamptz("first_at", required=True),
    timestamptz("last_at", required=True),
)
