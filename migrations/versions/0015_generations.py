"""generations, the provider's jobs, the beats of the API, and the time for which a destination was out

Revision: 0015, after 0014. A version before writes none of them: its requests have no generation.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"

STATES = "state IN ('none', 'granted', 'running', 'doubtful')"


def upgrade() -> None:
    op.add_column("destinations", sa.Column("out_seconds", sa.Double(), nullable=False, server_default="0"))
    op.create_table(
        "generations",
        _request(primary_key=True),
        sa.Column("state", sa.Text(), nullable=False, server_default="none"),
        sa.Column("execution_id", sa.Text()),
        sa.Column("ask_key", sa.Text()),
        sa.Column("job", JSONB()),
        *(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("refusals", "ended_jobs", "doubts", "resumes")
        ),
        *(
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false"))
            for name in ("is_resuming", "is_suspended")
        ),
        sa.Column("progress", JSONB()),
        sa.Column("progress_at", sa.DateTime(timezone=True)),
        sa.Column("quiet_until", sa.DateTime(timezone=True)),
        sa.CheckConstraint(STATES, name=op.f("generations_state_check")),
        sa.CheckConstraint("(state = 'running') = (job IS NOT NULL)", name=op.f("generations_job_check")),
        sa.CheckConstraint("state <> 'granted' OR execution_id IS NOT NULL", name=op.f("generations_holder_check")),
    )
    op.create_index(
        "generations_quiet_idx", "generations", ["quiet_until"], postgresql_where=sa.text("quiet_until IS NOT NULL")
    )
    op.create_table(
        "provider_jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        _request(),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("is_other", sa.Boolean(), nullable=False),
        _now("named_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("provider_jobs_same_idx", "provider_jobs", ["request_id", "provider", "job_id"], unique=True)
    op.create_index("provider_jobs_other_idx", "provider_jobs", ["named_at"], postgresql_where=sa.text("is_other"))
    op.create_table(
        "generation_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        _request(),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        _now("at"),
        sa.CheckConstraint(STATES, name=op.f("generation_changes_state_check")),
    )
    op.create_index("generation_changes_request_idx", "generation_changes", ["request_id"])
    op.create_index(
        "generation_changes_doubts_idx", "generation_changes", ["at"], postgresql_where=sa.text("state = 'doubtful'")
    )
    op.create_table(
        "api_beats",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        _now("since"),
        _now("at"),
        sa.CheckConstraint("id = 1", name=op.f("api_beats_single_check")),
    )


def downgrade() -> None:
    for table in ("api_beats", "generation_changes", "provider_jobs", "generations"):
        op.drop_table(table)
    op.drop_column("destinations", "out_seconds")


def _request(*, primary_key: bool = False) -> sa.Column[object]:
    return sa.Column(
        "request_id",
        sa.Uuid(),
        sa.ForeignKey("requests.request_id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()"))
