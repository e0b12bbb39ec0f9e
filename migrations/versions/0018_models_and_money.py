"""the catalogue of models, and money: budgets, their usage, and the ledger

Revision: 0018, after 0017. A version before accepts without a model's entry and without reserving. What it does to a
request that has an entry is settled all the same, because triggers note which requests are to be settled. Each
statement is a transaction of its own, and may be repeated.

`aigen_budgets_unchanged` waits for a change of the budgets that is under way, then says whether the caller knows the
current ones. It is VOLATILE, so its query sees what was committed while it waited; the snapshot of the calling
statement is older. An accept holds the shared lock until its transaction ends, a change of the budgets the exclusive
one.

The triggers write with the rights of the owner: until rights on the new tables are granted, the version before goes on.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"

ACTIONS = "'replay', 'discard', 'complete', 'purge', 'restored', 'confirm'"
AMOUNT = sa.Numeric(21, 9)
SUM = sa.Numeric(38, 9)
NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column("requests", sa.Column("model", postgresql.JSONB(none_as_null=True)), if_not_exists=True)
        _create_tables()
        op.execute("INSERT INTO budget_changes (id, revision) VALUES (1, 0) ON CONFLICT DO NOTHING")
        _replace_check("operations", "action", f"action IN ({ACTIONS}, 'put', 'remove')")
        _create_functions()
        _create_triggers()


def _create_tables() -> None:
    op.create_table(
        "models",
        sa.Column("model_id", sa.Uuid(), primary_key=True),
        sa.Column("entry", postgresql.JSONB(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
        if_not_exists=True,
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("most", AMOUNT, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        sa.Column("odoo", sa.Text()),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("campaign_id", sa.Uuid()),
        sa.Column("model_id", sa.Uuid()),
        sa.Column("contact", sa.Text()),
        sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
        sa.CheckConstraint("period IN ('day', 'month', 'total')", name=op.f("budgets_period_check")),
        sa.CheckConstraint("most >= 0", name=op.f("budgets_most_check")),
        sa.UniqueConstraint("name", name=op.f("budgets_name_key")),
        if_not_exists=True,
    )
    op.create_table(
        "budget_usage",
        sa.Column("budget_id", sa.BigInteger(), nullable=False),
        sa.Column("period_start", TIME, nullable=False),
        sa.Column("spent", SUM, nullable=False, server_default="0"),
        sa.Column("reserved", SUM, nullable=False, server_default="0"),
        sa.Column("noticed_percent", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("budget_id", "period_start", name=op.f("budget_usage_pkey")),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.id"], ondelete="CASCADE", name=op.f("budget_usage_budget_id_fkey")
        ),
        if_not_exists=True,
    )
    op.create_table(
        "budget_changes",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("budget_changes_single_check")),
        if_not_exists=True,
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("odoo", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("campaign_id", sa.Uuid()),
        sa.Column("model_id", sa.Uuid()),
        sa.Column("accepted_at", TIME, nullable=False),
        sa.Column("at", TIME, nullable=False, server_default=NOW),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("charge", sa.Text()),
        sa.Column("reserved", AMOUNT, nullable=False, server_default="0"),
        sa.Column("spent", AMOUNT, nullable=False, server_default="0"),
        sa.Column("currency", sa.Text()),
        sa.Column("rates", postgresql.JSONB(), nullable=False, server_default="{}"),
        sa.Column("basis", sa.Text()),
        sa.Column("images", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("note", sa.Text()),
        sa.CheckConstraint(
            "kind IN ('reserve', 'release', 'charge', 'correction', 'end')", name=op.f("ledger_kind_check")
        ),
        sa.CheckConstraint("currency IS NOT NULL OR (spent = 0 AND reserved = 0)", name=op.f("ledger_currency_check")),
        if_not_exists=True,
    )
    op.create_index("ledger_request_idx", "ledger", ["request_id"], if_not_exists=True)
    op.create_index("ledger_accepted_idx", "ledger", ["accepted_at"], if_not_exists=True)
    op.create_table(
        "unsettled",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "addons",
        sa.Column("odoo", sa.Text(), primary_key=True),
        sa.Column("version", sa.Text()),
        sa.Column("seen_at", TIME, nullable=False, server_default=NOW),
        if_not_exists=True,
    )


def _create_functions() -> None:
    op.execute("""
        CREATE OR REPLACE FUNCTION aigen_budgets_unchanged(known bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(hashtext('aigen-bridge budgets'));
            RETURN EXISTS (SELECT FROM budget_changes WHERE revision = known);
        END
        $$
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION aigen_unsettled() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO unsettled (request_id) VALUES (NEW.request_id);
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION aigen_job_unsettled() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO unsettled (request_id) SELECT r.request_id FROM requests AS r
            WHERE r.request_id = NEW.request_id AND (r.model IS NOT NULL OR r.cost IS NOT NULL)
                AND (NEW.is_other OR NEW.ended_at IS NOT NULL OR r.completed_at IS NOT NULL);
            RETURN NULL;
        END
        $$
    """)


def _create_triggers() -> None:
    op.execute("""
        CREATE OR REPLACE TRIGGER requests_unsettled AFTER UPDATE OF status, cost, image, awaited ON requests
        FOR EACH ROW
        WHEN ((NEW.model IS NOT NULL OR NEW.cost IS NOT NULL)
            AND (NEW.cost IS DISTINCT FROM OLD.cost
                OR (NEW.status <> OLD.status AND (NEW.completed_at IS NOT NULL OR OLD.completed_at IS NOT NULL))
                OR (NEW.completed_at IS NOT NULL AND ((NEW.image IS NULL) <> (OLD.image IS NULL)
                    OR (NEW.awaited IS NULL) <> (OLD.awaited IS NULL)))))
        EXECUTE FUNCTION aigen_unsettled()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER provider_jobs_unsettled AFTER INSERT OR UPDATE OF ended_at ON provider_jobs
        FOR EACH ROW EXECUTE FUNCTION aigen_job_unsettled()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER provider_jobs_unsettled ON provider_jobs")
    op.execute("DROP TRIGGER requests_unsettled ON requests")
    op.execute("DROP FUNCTION aigen_job_unsettled()")
    op.execute("DROP FUNCTION aigen_unsettled()")
    op.execute("DROP FUNCTION aigen_budgets_unchanged(bigint)")
    op.execute("DELETE FROM operations WHERE action IN ('put', 'remove')")
    _replace_check("operations", "action", f"action IN ({ACTIONS})")
    for table in ("addons", "unsettled", "ledger", "budget_changes", "budget_usage", "budgets", "models"):
        op.drop_table(table)
    op.drop_column("requests", "model")


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
