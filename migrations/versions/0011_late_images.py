"""when the late image of a cancelled request arrived

Revision: 0011, after 0010. `updated_at` of such a request decides how long its image is kept. Only delivered requests
are purged, and an older version takes `updated_at` of the others as the time of their last transition.
"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
        UPDATE requests AS r SET updated_at = i.created_at FROM images AS i
        WHERE i.request_id = r.request_id AND r.status = 'cancelled' AND r.delivered_at IS NOT NULL
            AND i.created_at > r.updated_at
    """)


def downgrade() -> None:
    """An older version does not mind."""
