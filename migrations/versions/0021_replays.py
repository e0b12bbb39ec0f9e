"""replays in the background

Revision: 0021, after 0020. Workers of a version before do not know the new tables and leave background replays to the
others. Each statement is a transaction of its own, and may be repeated.

`operations_target_idx` finds who handled a dead letter. Every replay of an operator is a row there, so it is built
without blocking writers. A build that was interrupted leaves an invalid index, which the next run replaces.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _create_tables()
        op.create_index(
            "replay_jobs_due_idx",
            "replay_jobs",
            ["due_at"],
            postgresql_where=sa.text("finished_at IS NULL"),
            if_not_exists=True,
        )
        op.drop_index("operations_target_idx", "operations", postgresql_concurrently=True, if_exists=True)
        op.create_index("operations_target_idx", "operations", ["target"], postgresql_concurrently=True)


def _create_tables() -> None:
    op.create_table(
        "replay_jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("kind", sa.Text()),
        sa.Column("since", TIME),
        sa.Column("until", TIME),
        sa.Column("error_code", sa.Text()),
        sa.Column("odoo", sa.Text()),
        sa.Column("max_per_second", sa.Double(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="running"),
        sa.Column("matched", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("replayed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("moved_on", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("after_at", TIME),
        sa.Column("after_id", sa.Text()),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("due_at", TIME, nullable=False, server_default=NOW),
        sa.Column("finished_at", TIME),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", TIME),
        sa.Column("leases_lost", sa.Integer(), nullable=False, server_default="0"),
        sa.CheckConstraint(
            "state IN ('running', 'stopping', 'stopped', 'finished')", name=op.f("replay_jobs_state_check")
        ),
        sa.CheckConstraint(
            "(state IN ('stopped', 'finished')) = (finished_at IS NOT NULL)", name=op.f("replay_jobs_finished_check")
        ),
        sa.CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name=op.f("replay_jobs_lease_check")),
        sa.CheckConstraint("(after_at IS NULL) = (after_id IS NULL)", name=op.f("replay_jobs_after_check")),
        if_not_exists=True,
    )
    op.create_table(
        "replay_failures",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("letter", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moved_on", sa.Boolean(), nullable=False),
        sa.Column("at", TIME, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("replay_failures_pkey")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["replay_jobs.id"], ondelete="CASCADE", name=op.f("replay_failures_job_id_fkey")
        ),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_index("operations_target_idx", "operations")
    op.drop_table("replay_failures")
    op.drop_table("replay_jobs")
