"""destinations_and_incidents

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

STEPS = ("dispatch", "fetch", "deliver")
OUTCOMES = ("done", "retry", "dead", "lost")


def _allow(table: str, column: str, values: tuple[str, ...]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table, type_="check")
    op.create_check_constraint(name, table, f"{column} IN ({', '.join(map(repr, values))})")


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("allowance", sa.Double(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("name IN ('n8n', 'odoo')", name=op.f("destinations_name_check")),
        sa.CheckConstraint("(opened_at IS NULL) = (probe_at IS NULL)", name=op.f("destinations_open_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("destinations_pkey")),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("told_times", sa.Integer(), server_default="0", nullable=False),
        sa.Column("told_over", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recovered_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("incidents_pkey")),
    )
    op.create_index(
        "incidents_open_idx", "incidents", ["cause"], unique=True, postgresql_where=sa.text("recovered_at IS NULL")
    )
    op.create_index(
        "incidents_recovered_idx",
        "incidents",
        ["recovered_at"],
        unique=False,
        postgresql_where=sa.text("recovered_at IS NOT NULL"),
    )
    op.create_table(
        "occurrences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("occurrences_incident_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("occurrences_pkey")),
    )
    op.create_index("occurrences_incident_idx", "occurrences", ["incident_id", "id"], unique=False)
    op.alter_column("attempts", "request_id", existing_type=sa.UUID(), nullable=True)
    op.add_column("outbox", sa.Column("incident_id", sa.BigInteger(), nullable=True))
    op.alter_column("outbox", "request_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(
        "outbox_delivering_idx",
        "outbox",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("step = 'deliver' AND lease_owner IS NOT NULL"),
    )
    op.create_index(
        "outbox_live_alert_idx",
        "outbox",
        ["incident_id"],
        unique=True,
        postgresql_where=sa.text("state = 'pending' AND incident_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("outbox_incident_id_fkey"), "outbox", "incidents", ["incident_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(
        "outbox_incident_idx",
        "outbox",
        ["incident_id"],
        unique=False,
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    )
    op.execute("INSERT INTO destinations (name) VALUES ('n8n'), ('odoo')")
    _allow("outbox", "step", (*STEPS, "alert"))
    _allow("attempts", "outcome", (*OUTCOMES, "held"))
    op.create_check_constraint(op.f("outbox_request_check"), "outbox", "(step = 'alert') = (request_id IS NULL)")
    op.create_check_constraint(op.f("outbox_incident_check"), "outbox", "(step = 'alert') = (incident_id IS NOT NULL)")


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE step = 'alert'")  # their attempts go with them
    op.execute("DELETE FROM attempts WHERE outcome = 'held'")
    op.drop_constraint(op.f("outbox_incident_check"), "outbox", type_="check")
    op.drop_constraint(op.f("outbox_request_check"), "outbox", type_="check")
    _allow("attempts", "outcome", OUTCOMES)
    _allow("outbox", "step", STEPS)
    op.drop_constraint(op.f("outbox_incident_id_fkey"), "outbox", type_="foreignkey")
    op.drop_index(
        "outbox_live_alert_idx",
        table_name="outbox",
        postgresql_where=sa.text("state = 'pending' AND incident_id IS NOT NULL"),
    )
    op.drop_index("outbox_incident_idx", table_name="outbox", postgresql_where=sa.text("incident_id IS NOT NULL"))
    op.drop_index(
        "outbox_delivering_idx",
        table_name="outbox",
        postgresql_where=sa.text("step = 'deliver' AND lease_owner IS NOT NULL"),
    )
    op.alter_column("outbox", "request_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("outbox", "incident_id")
    op.alter_column("attempts", "request_id", existing_type=sa.UUID(), nullable=False)
    op.drop_index("occurrences_incident_idx", table_name="occurrences")
    op.drop_table("occurrences")
    op.drop_index(
        "incidents_recovered_idx", table_name="incidents", postgresql_where=sa.text("recovered_at IS NOT NULL")
    )
    op.drop_index("incidents_open_idx", table_name="incidents", postgresql_where=sa.text("recovered_at IS NULL"))
    op.drop_table("incidents")
    op.drop_table("destinations")
