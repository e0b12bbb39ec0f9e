"""the marks of images, and originals beside marked images

Revision: 0023, after 0022. An older version knows no marks: it delivers images as they come, leaves `mark` entries
alone, and enqueues a `fetch` for a request that waits for its mark. A trigger turns that entry into a `mark`. Switch
marking on once every process runs this version.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"

PER_ODOO = " OR step ~ '^(dispatch|deliver):[a-z][a-z0-9-]{0,62}$'"
STEPS = "step IN ('dispatch', 'fetch', 'deliver', 'alert')" + PER_ODOO
STEPS_WITH_MARK = "step IN ('dispatch', 'fetch', 'mark', 'deliver', 'alert')" + PER_ODOO
ACTIONS = (
    "action IN ('replay', 'discard', 'complete', 'purge', 'restored', 'confirm', 'put', 'remove', "
    "'pause', 'resume', 'limit', 'cancel', 'stop', 'sign-in', 'sign-out', 'sign-in-refused', 'revoke'"
)
RECEIVED = "status <> 'received' OR awaited IS NOT NULL"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column("requests", sa.Column("provenance", JSONB()), if_not_exists=True)
        op.create_table(
            "original_images",
            sa.Column("request_id", sa.Uuid(), primary_key=True),
            sa.Column("sha256", sa.Text(), nullable=False),
            sa.Column("content", sa.LargeBinary(), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
            sa.ForeignKeyConstraint(
                ["request_id"],
                ["requests.request_id"],
                ondelete="CASCADE",
                name=op.f("original_images_request_id_fkey"),
            ),
            if_not_exists=True,
        )
        op.execute("ALTER TABLE original_images ALTER COLUMN content SET STORAGE EXTERNAL")
        _replace_check("outbox", "step", STEPS_WITH_MARK)
        _create_trigger()
        _replace_check("requests", "received", RECEIVED + " OR image IS NOT NULL")
        _replace_check("operations", "action", ACTIONS + ", 'mark')")


def _create_trigger() -> None:
    op.execute("""
        CREATE OR REPLACE FUNCTION aigen_mark_instead() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN
            IF NOT EXISTS (SELECT FROM requests WHERE request_id = NEW.request_id AND image IS NOT NULL) THEN
                RETURN NEW;
            END IF;
            IF EXISTS (
                SELECT FROM outbox
                WHERE request_id = NEW.request_id AND step = 'mark' AND state IN ('pending', 'dead')
            ) THEN
                RETURN NULL;
            END IF;
            NEW.step := 'mark';
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER outbox_mark_instead BEFORE INSERT ON outbox FOR EACH ROW
        WHEN (NEW.step = 'fetch') EXECUTE FUNCTION aigen_mark_instead()
    """)


def downgrade() -> None:
    """Refuses while images wait for their marks: the older version would fail their requests."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM requests WHERE status = 'received' AND awaited IS NULL) THEN
                RAISE 'Images are waiting for their marks. Switch marking off, and wait until no request is received.';
            END IF;
        END $$
    """)
    op.execute("DROP TRIGGER outbox_mark_instead ON outbox")
    op.execute("DROP FUNCTION aigen_mark_instead()")
    op.execute("DELETE FROM outbox WHERE step = 'mark'")
    _replace_check("requests", "received", RECEIVED)
    op.execute("DELETE FROM operations WHERE action = 'mark'")
    _replace_check("operations", "action", ACTIONS + ")")
    _replace_check("outbox", "step", STEPS)
    op.drop_table("original_images")
    op.drop_column("requests", "provenance")


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
