"""destinations that operators pause and limit

Revision: 0019, after 0018. A version before ignores both: its workers call a paused destination, and fail requests
whose time stands still. Each statement is a transaction of its own, and may be repeated.

`destination_pauses` has every pause, because the time of a pause does not count for what waited during it. The pause
that lasts has no end.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"

ACTIONS = "'replay', 'discard', 'complete', 'purge', 'restored', 'confirm', 'put', 'remove'"
MORE_ACTIONS = "'pause', 'resume', 'limit', 'cancel', 'stop', 'sign-in', 'sign-out', 'sign-in-refused', 'revoke'"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column("destinations", sa.Column("paused_at", TIME), if_not_exists=True)
        op.add_column("destinations", sa.Column("paused_by", sa.Text()), if_not_exists=True)
        op.add_column("destinations", sa.Column("pause_reason", sa.Text()), if_not_exists=True)
        op.add_column("destinations", sa.Column("concurrency", sa.Integer()), if_not_exists=True)
        _replace_check("destinations", "concurrency", "concurrency >= 1")
        op.create_table(
            "destination_pauses",
            sa.Column("destination", sa.Text(), primary_key=True),
            sa.Column("began_at", TIME, primary_key=True),
            sa.Column("ended_at", TIME),
            sa.CheckConstraint("ended_at >= began_at", name=op.f("destination_pauses_end_check")),
            if_not_exists=True,
        )
        op.add_column("operations", sa.Column("before", postgresql.JSONB(none_as_null=True)), if_not_exists=True)
        op.add_column("operations", sa.Column("after", postgresql.JSONB(none_as_null=True)), if_not_exists=True)
        op.add_column("operations", sa.Column("odoo", sa.Text()), if_not_exists=True)
        _replace_check("operations", "action", f"action IN ({ACTIONS}, {MORE_ACTIONS})")


def downgrade() -> None:
    op.execute(f"DELETE FROM operations WHERE action IN ({MORE_ACTIONS})")  # noqa: S608 - constants
    _replace_check("operations", "action", f"action IN ({ACTIONS})")
    for name in ("odoo", "after", "before"):
        op.drop_column("operations", name, if_exists=True)
    op.drop_table("destination_pauses")
    for name in ("concurrency", "pause_reason", "paused_by", "paused_at"):
        op.drop_column("destinations", name)


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
