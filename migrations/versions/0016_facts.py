"""how an image was generated, and what it cost, as N8N reported it

Revision: 0016, after 0015. A version before writes neither: its results have no facts.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("requests", sa.Column("generation_facts", JSONB()))
    op.add_column("requests", sa.Column("cost", JSONB()))


def downgrade() -> None:
    op.drop_column("requests", "cost")
    op.drop_column("requests", "generation_facts")
