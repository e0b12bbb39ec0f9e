"""destinations that operators pause and limit

Revision: 0019, after 0018. A version before ignores both: its workers call a paused destination, and fail requests
whose time stands still. Each statement is a transaction of its own, and may be repeated.

`destination_pauses` has every pause, because the time of a pause does not count for what waited during it. The pause
that lasts has no end.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column("destinations", sa.Column("paused_at", TIME), if_not_exists=True)
        op.add_column("destinations", sa.Column("paused_by", sa.Text()), if_not_exists=True)
        op.add_column("destinations", sa.Column("pause_reason", sa.Text()), if_not_exists=True)
        op.add_column("destinations", sa.Column("concurrency", sa.Integer()), if_not_exists=True)
        _check_concurrency()
        op.create_table(
            "destination_pauses",
            sa.Column("destination", sa.Text(), primary_key=True),
            sa.Column("began_at", TIME, primary_key=True),
            sa.Column("ended_at", TIME),
            sa.CheckConstraint("ended_at >= began_at", name=op.f("destination_pauses_end_check")),
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_table("destination_pauses")
    for name in ("concurrency", "pause_reason", "paused_by", "paused_at"):
        op.drop_column("destinations", name)


def _check_concurrency() -> None:
    constraint = op.f("destinations_concurrency_check")
    op.execute(
        f"ALTER TABLE destinations DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK (concurrency >= 1) NOT VALID"
    )
    op.execute(f"ALTER TABLE destinations VALIDATE CONSTRAINT {constraint}")
