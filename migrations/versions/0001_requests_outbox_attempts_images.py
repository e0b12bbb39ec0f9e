"""requests, outbox, attempts, images

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("failed_by", sa.Text(), nullable=True),
        sa.Column("image", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("callback_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'failed') = (failed_by IS NOT NULL)", name=op.f("requests_failed_check")),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'failed')) = (completed_at IS NOT NULL)",
            name=op.f("requests_ended_check"),
        ),
        sa.CheckConstraint("failed_by IN ('bridge', 'n8n')", name=op.f("requests_failed_by_check")),
        sa.CheckConstraint("status <> 'completed' OR image IS NOT NULL", name=op.f("requests_completed_check")),
        sa.CheckConstraint(
            "status IN ('queued', 'dispatched', 'received', 'completed', 'failed', 'cancelled')",
            name=op.f("requests_status_check"),
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("requests_pkey")),
    )
    op.create_index(
        "requests_newest_idx",
        "requests",
        [sa.literal_column("created_at DESC"), sa.literal_column("request_id DESC")],
        unique=False,
    )
    op.create_index(
        "requests_status_idx",
        "requests",
        ["status", sa.literal_column("created_at DESC"), sa.literal_column("request_id DESC")],
        unique=False,
    )
    op.create_table(
        "images",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("images_request_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("images_pkey")),
    )
    op.execute("ALTER TABLE images ALTER COLUMN content SET STORAGE EXTERNAL")  # images do not compress again
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name=op.f("outbox_finished_check")),
        sa.CheckConstraint("lease_owner IS NULL OR state = 'pending'", name=op.f("outbox_lease_check")),
        sa.CheckConstraint(
            "state IN ('pending', 'done', 'dead', 'cancelled', 'superseded')", name=op.f("outbox_state_check")
        ),
        sa.CheckConstraint("step IN ('dispatch', 'fetch', 'deliver')", name=op.f("outbox_step_check")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("outbox_request_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
    )
    op.create_index(
        "outbox_dead_idx", "outbox", ["finished_at"], unique=False, postgresql_where=sa.text("state = 'dead'")
    )
    op.create_index(
        "outbox_due_idx",
        "outbox",
        ["step", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "outbox_live_idx",
        "outbox",
        ["request_id", "step"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("outbox_request_idx", "outbox", ["request_id"], unique=False)
    op.create_table(
        "request_changes",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'dispatched', 'received', 'completed', 'failed', 'cancelled')",
            name=op.f("request_changes_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.request_id"],
            name=op.f("request_changes_request_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("request_id", "version", name=op.f("request_changes_pkey")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("outcome IN ('done', 'retry', 'dead', 'lost')", name=op.f("attempts_outcome_check")),
        sa.ForeignKeyConstraint(["entry_id"], ["outbox.id"], name=op.f("attempts_entry_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("attempts_request_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("attempts_pkey")),
    )
    op.create_index("attempts_entry_idx", "attempts", ["entry_id"], unique=False)
    op.create_index("attempts_request_idx", "attempts", ["request_id"], unique=False)


def downgrade() -> None:
    op.drop_index("attempts_request_idx", table_name="attempts")
    op.drop_index("attempts_entry_idx", table_name="attempts")
    op.drop_table("attempts")
    op.drop_table("request_changes")
    op.drop_index("outbox_request_idx", table_name="outbox")
    op.drop_index("outbox_live_idx", table_name="outbox", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("outbox_due_idx", table_name="outbox", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("outbox_dead_idx", table_name="outbox", postgresql_where=sa.text("state = 'dead'"))
    op.drop_table("outbox")
    op.drop_table("images")
    op.drop_index("requests_status_idx", table_name="requests")
    op.drop_index("requests_newest_idx", table_name="requests")
    op.drop_table("requests")
