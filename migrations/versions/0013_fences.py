"""the fence of each attempt

Revision: 0013, after 0012. NULL in rows that an older version writes; NULLs are never duplicates.

The table may have millions of rows, so its index is built without blocking writers. A build that was interrupted leaves
an invalid index, which the next run replaces.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("fence", sa.BigInteger(), nullable=True), if_not_exists=True)
    with op.get_context().autocommit_block():
        op.drop_index("attempts_lease_idx", "attempts", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "attempts_lease_idx", "attempts", ["entry_id", "fence"], unique=True, postgresql_concurrently=True
        )
        op.drop_index("attempts_entry_idx", "attempts", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    op.create_index("attempts_entry_idx", "attempts", ["entry_id"])
    op.drop_index("attempts_lease_idx", "attempts")
    op.drop_column("attempts", "fence")
