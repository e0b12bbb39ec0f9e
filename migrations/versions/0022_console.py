"""sessions of the console, and when each key was last used

Revision: 0022, after 0021. A version before knows neither table, and records no use of a key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_table(
            "console_sessions",
            sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
            sa.Column("token_digest", sa.LargeBinary(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("role", sa.Text(), nullable=False),
            sa.Column("odoo", sa.Text()),
            sa.Column("key_digest", sa.LargeBinary()),
            sa.Column("created_at", TIME, nullable=False, server_default=NOW),
            sa.Column("seen_at", TIME, nullable=False, server_default=NOW),
            sa.Column("expires_at", TIME, nullable=False),
            sa.Column("ended_at", TIME),
            sa.CheckConstraint("role IN ('viewer', 'operator')", name=op.f("console_sessions_role_check")),
            if_not_exists=True,
        )
        op.create_index(
            "console_sessions_token_idx", "console_sessions", ["token_digest"], unique=True, if_not_exists=True
        )
        op.create_table(
            "key_uses",
            sa.Column("client", sa.Text(), primary_key=True),
            sa.Column("fingerprint", sa.Text(), primary_key=True),
            sa.Column("first_at", TIME, nullable=False, server_default=NOW),
            sa.Column("last_at", TIME, nullable=False, server_default=NOW),
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_table("key_uses")
    op.drop_table("console_sessions")
