"""deadlines, undelivered, lost leases

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("leases_lost", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "requests_deadline_idx",
        "requests",
        ["callback_deadline_at"],
        unique=False,
        postgresql_where=sa.text("callback_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "requests_undelivered_idx",
        "requests",
        ["completed_at"],
        unique=False,
        postgresql_where=sa.text("completed_at IS NOT NULL AND delivered_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "requests_undelivered_idx",
        table_name="requests",
        postgresql_where=sa.text("completed_at IS NOT NULL AND delivered_at IS NULL"),
    )
    op.drop_index(
        "requests_deadline_idx", table_name="requests", postgresql_where=sa.text("callback_deadline_at IS NOT NULL")
    )
    op.drop_column("outbox", "leases_lost")
