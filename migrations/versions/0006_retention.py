"""retention

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

PURGED = "image_purged_at IS NULL OR (image IS NOT NULL AND completed_at IS NOT NULL)"
IMAGE_IS_KEPT = "delivered_at IS NOT NULL AND image IS NOT NULL AND image_purged_at IS NULL"
ATTEMPTS_ARE_KEPT = "delivered_at IS NOT NULL AND (attempts_purged_at IS NULL OR attempts_purged_at < delivered_at)"


def upgrade() -> None:
    op.add_column("requests", sa.Column("image_purged_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("attempts_purged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("requests_purged_check"), "requests", PURGED)
    op.create_index(
        "requests_image_kept_idx", "requests", ["delivered_at"], unique=False, postgresql_where=sa.text(IMAGE_IS_KEPT)
    )
    op.create_index(
        "requests_attempts_kept_idx",
        "requests",
        ["delivered_at"],
        unique=False,
        postgresql_where=sa.text(ATTEMPTS_ARE_KEPT),
    )
    op.create_index(
        "quarantine_handled_idx",
        "quarantine",
        ["handled_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'open'"),
    )
    op.create_index(
        "quarantine_owed_idx", "quarantine", ["request_id"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    _allow("'replay', 'discard', 'complete', 'purge'")


def downgrade() -> None:
    op.execute("DELETE FROM operations WHERE action = 'purge'")
    _allow("'replay', 'discard', 'complete'")
    op.drop_index("quarantine_owed_idx", table_name="quarantine", postgresql_where=sa.text("state = 'open'"))
    op.drop_index("quarantine_handled_idx", table_name="quarantine", postgresql_where=sa.text("state <> 'open'"))
    op.drop_index("requests_attempts_kept_idx", table_name="requests", postgresql_where=sa.text(ATTEMPTS_ARE_KEPT))
    op.drop_index("requests_image_kept_idx", table_name="requests", postgresql_where=sa.text(IMAGE_IS_KEPT))
    op.drop_constraint(op.f("requests_purged_check"), "requests")
    op.drop_column("requests", "attempts_purged_at")
    op.drop_column("requests", "image_purged_at")


def _allow(actions: str) -> None:
    op.drop_constraint(op.f("operations_action_check"), "operations")
    op.create_check_constraint(op.f("operations_action_check"), "operations", f"action IN ({actions})")
