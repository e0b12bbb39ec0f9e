"""lasting errors of a destination

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("destinations", sa.Column("error_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("destinations", "error_since")
