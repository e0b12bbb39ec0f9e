"""awaited images, quarantine

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error_detail", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("times_seen", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'open') = (handled_at IS NULL)", name=op.f("quarantine_handled_check")),
        sa.CheckConstraint("state IN ('open', 'replayed', 'discarded')", name=op.f("quarantine_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("quarantine_pkey")),
    )
    op.create_index(
        "quarantine_open_idx",
        "quarantine",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "quarantine_same_idx",
        "quarantine",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.add_column("outbox", sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "requests", sa.Column("awaited", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True)
    )

    op.create_check_constraint(
        op.f("requests_received_check"), "requests", "status <> 'received' OR awaited IS NOT NULL"
    )
    for column in ("payload", "image"):
        op.execute(f"ALTER TABLE quarantine ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_constraint(op.f("requests_received_check"), "requests")
    op.drop_column("requests", "awaited")
    op.drop_column("outbox", "give_up_at")
    op.drop_index("quarantine_same_idx", table_name="quarantine", postgresql_where=sa.text("state = 'open'"))
    op.drop_index("quarantine_open_idx", table_name="quarantine", postgresql_where=sa.text("state = 'open'"))
    op.drop_table("quarantine")
