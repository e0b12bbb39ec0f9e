"""Who asked; the fence of each attempt; destinations as the registry in the code names them

Revision: 0010, after 0009.

A version from before writes neither `client` nor `fence`: both stay NULL there, and NULLs are never duplicates.
`updated_at` of a cancelled request becomes when its image came, which decides how long the image is kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("requests", sa.Column("client", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("fence", sa.BigInteger(), nullable=True))
    op.create_index("attempts_lease_idx", "attempts", ["entry_id", "fence"], unique=True)
    op.drop_index("attempts_entry_idx", table_name="attempts")
    op.drop_constraint(op.f("destinations_name_check"), "destinations", type_="check")
    op.execute("""
        UPDATE requests AS r SET updated_at = i.created_at FROM images AS i
        WHERE i.request_id = r.request_id AND r.status = 'cancelled' AND i.created_at > r.updated_at
    """)


def downgrade() -> None:
    op.execute("DELETE FROM destinations WHERE name NOT IN ('n8n', 'odoo')")
    op.create_check_constraint(op.f("destinations_name_check"), "destinations", "name IN ('n8n', 'odoo')")
    op.create_index("attempts_entry_idx", "attempts", ["entry_id"])
    op.drop_index("attempts_lease_idx", table_name="attempts")
    op.drop_column("attempts", "fence")
    op.drop_column("requests", "client")
