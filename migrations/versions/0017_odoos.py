"""the Odoo of each request, queues for each Odoo, and the uuid of each Odoo's database

Revision: 0017, after 0016. A version before knows one Odoo, and all that it writes belongs to `default`. It may move
the request of another Odoo, for example when it receives the callback. The trigger puts the entry that it enqueues into
a queue that it does not claim, unless there is one: its reconciliation, which does not know that queue, enqueues
nothing twice.

Tables may be large. A new constraint is first enforced for new rows and then validated, and the index is built
concurrently. Neither blocks writers. An interrupted build leaves an invalid index, which the next run replaces.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

STEPS = "step IN ('dispatch', 'fetch', 'deliver', 'alert')"
QUEUES = f"{STEPS} OR step ~ '^(dispatch|deliver):[a-z][a-z0-9-]{{0,62}}$'"
ACTIONS = "'replay', 'discard', 'complete', 'purge', 'restored'"


def upgrade() -> None:
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
            owner text := (SELECT odoo FROM requests WHERE request_id = NEW.request_id);
            queue text := NEW.step || ':' || owner;
        BEGIN
            IF owner = 'default' OR owner IS NULL THEN
                RETURN NEW;
            ELSIF EXISTS (
                SELECT FROM outbox WHERE request_id = NEW.request_id AND step = queue AND state IN ('pending', 'dead')
            ) THEN
                RETURN NULL;
            END IF;
            NEW.step := queue;
            RETURN NEW;
        END
        $$
    """)
    op.execute("DROP TRIGGER IF EXISTS outbox_choose_queue ON outbox")
    op.execute("""
        CREATE TRIGGER outbox_choose_queue BEFORE INSERT ON outbox FOR EACH ROW
        WHEN (NEW.step IN ('dispatch', 'deliver')) EXECUTE FUNCTION aigen_choose_queue()
    """)
    with op.get_context().autocommit_block():
        for name, table, columns, where in (
            ("requests_odoo_idx", "requests", ["odoo", "created_at DESC", "request_id DESC"], None),
            (
                "outbox_delivering_elsewhere_idx",
                "outbox",
                ["step", "due_at"],
                "step LIKE 'deliver:%' AND lease_owner IS NOT NULL",
            ),
        ):
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                [sa.text(column) for column in columns],
                postgresql_where=sa.text(where) if where else None,
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
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
