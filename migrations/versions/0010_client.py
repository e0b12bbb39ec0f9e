"""the client of a request

Revision: 0010, after 0009. NULL in rows that an older version writes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("requests", sa.Column("client", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("requests", "client")
