"""traceparent

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("requests", sa.Column("traceparent", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("requests_traceparent_check"), "requests", "length(traceparent) = 55")


def downgrade() -> None:
    op.drop_column("requests", "traceparent")
