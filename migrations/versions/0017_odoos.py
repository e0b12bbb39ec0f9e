"""the Odoo of each request, queues for each Odoo, and the uuid of each Odoo's database

Revision: 0017, after 0016. A version before knows one Odoo, and all that it writes belongs to `default`. It may move
the request of another Odoo, for example when it receives the callback. The trigger puts the entry that it enqueues into
a queue that it does not claim. Its reconciliation does not know that queue and would enqueue what is pending there, or
was given up or discarded since the request last moved. The trigger skips such an entry.

Tables may be large and in use, so each statement is a transaction of its own: it locks one table, and none for longer
than a moment. A new constraint is first enforced for new rows and then validated, and indexes are built concurrently.
Neither blocks writers. A run that was interrupted may be repeated; it replaces an index that is not complete.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

STEPS = "step IN ('dispatch', 'fetch', 'deliver', 'alert')"
QUEUES = f"{STEPS} OR step ~ '^(dispatch|deliver):[a-z][a-z0-9-]{{0,62}}$'"
ACTIONS = "'replay', 'discard', 'complete', 'purge', 'restored'"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column(
            "requests", sa.Column("odoo", sa.Text(), nullable=False, server_default="default"), if_not_exists=True
        )
        op.create_table(
            "odoos",
            sa.Column("name", sa.Text(), primary_key=True),
            sa.Column("database_uuid", sa.Text(), nullable=False),
            sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
            if_not_exists=True,
        )
        _replace_check("outbox", "step", QUEUES)
        _replace_check("operations", "action", f"action IN ({ACTIONS}, 'confirm')")
        op.execute("""
            CREATE OR REPLACE FUNCTION aigen_choose_queue() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE
                owner text;
                moved_at timestamptz;
                queue text;
            BEGIN
                SELECT odoo, updated_at INTO owner, moved_at FROM requests WHERE request_id = NEW.request_id;
                IF owner = 'default' OR owner IS NULL THEN
                    RETURN NEW;
                END IF;
                queue := NEW.step || ':' || owner;
                IF EXISTS (
                    SELECT FROM outbox WHERE request_id = NEW.request_id AND step = queue
                        AND (state = 'pending' OR (state IN ('dead', 'cancelled') AND finished_at > moved_at))
                ) THEN
                    RETURN NULL;
                END IF;
                NEW.step := queue;
                RETURN NEW;
            END
            $$
        """)
        op.execute("""
            CREATE OR REPLACE TRIGGER outbox_choose_queue BEFORE INSERT ON outbox FOR EACH ROW
            WHEN (NEW.step IN ('dispatch', 'deliver')) EXECUTE FUNCTION aigen_choose_queue()
        """)
        op.drop_index("requests_odoo_idx", "requests", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "requests_odoo_idx",
            "requests",
            ["odoo", sa.text("created_at DESC"), sa.text("request_id DESC")],
            postgresql_concurrently=True,
        )
        op.drop_index("outbox_delivering_elsewhere_idx", "outbox", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "outbox_delivering_elsewhere_idx",
            "outbox",
            ["step", "due_at"],
            postgresql_where=sa.text("step LIKE 'deliver:%' AND lease_owner IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Refuses while there are requests of other Odoos: the older version would deliver them to the wrong one."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM requests WHERE odoo <> 'default') THEN
                RAISE 'There are requests of other Odoos than the default one.';
            END IF;
        END $$
    """)
    op.execute("DROP TRIGGER outbox_choose_queue ON outbox")
    op.execute("DROP FUNCTION aigen_choose_queue()")
    op.drop_index("outbox_delivering_elsewhere_idx", "outbox")
    op.drop_index("requests_odoo_idx", "requests")
    op.execute("DELETE FROM operations WHERE action = 'confirm'")
    _replace_check("operations", "action", f"action IN ({ACTIONS})")
    _replace_check("outbox", "step", STEPS)
    op.drop_table("odoos")
    op.drop_column("requests", "odoo")


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
