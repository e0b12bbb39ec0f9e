"""the object store of images, and the objects that are to be deleted

Revision: 0024, after 0023. An older version reads images from PostgreSQL only. Set AIGEN_IMAGE_STORE__URL once every
process runs this version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

ACTIONS = (
    "action IN ('replay', 'discard', 'complete', 'purge', 'restored', 'confirm', 'put', 'remove', "
    "'pause', 'resume', 'limit', 'cancel', 'stop', 'sign-in', 'sign-out', 'sign-in-refused', 'revoke', 'mark'"
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_table(
            "image_store",
            sa.Column("id", sa.Integer(), primary_key=True),
            sa.Column("token", sa.Uuid(), nullable=False, server_default=sa.text("gen_random_uuid()")),
            sa.Column("location", sa.Text()),
            sa.Column("is_draining", sa.Boolean(), nullable=False, server_default=sa.text("false")),
            sa.Column("shard", sa.Integer(), nullable=False, server_default="0"),
            _time("shard_due_at"),
            sa.CheckConstraint("id = 1", name=op.f("image_store_id_check")),
            if_not_exists=True,
        )
        op.execute("INSERT INTO image_store (id) VALUES (1) ON CONFLICT DO NOTHING")
        op.create_table(
            "image_garbage",
            sa.Column("request_id", sa.Uuid(), primary_key=True),
            sa.Column("sha256", sa.Text(), primary_key=True),
            sa.Column("is_certain", sa.Boolean(), nullable=False),
            _time("noted_at"),
            _time("due_at"),
            sa.Column("claimed_at", sa.DateTime(timezone=True)),
            sa.Column("deleted_at", sa.DateTime(timezone=True)),
            if_not_exists=True,
        )
        _index("image_garbage_due_idx", "due_at", "deleted_at IS NULL")
        _index("image_garbage_deleted_idx", "deleted_at", "deleted_at IS NOT NULL")
        _replace_check("operations", "action", ACTIONS + ", 'move', 'adopt')")


def downgrade() -> None:
    """Refuses while images are in the object store: the older version would not find them."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM image_store WHERE location IS NOT NULL) THEN
                RAISE 'Images are in an object store. Run ''aigen-bridge images move --to postgresql'' first.';
            END IF;
        END $$
    """)
    op.execute("DELETE FROM operations WHERE action IN ('move', 'adopt')")
    _replace_check("operations", "action", ACTIONS + ")")
    op.drop_table("image_garbage")
    op.drop_table("image_store")


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()"))


def _index(name: str, column: str, where: str) -> None:
    op.create_index(name, "image_garbage", [column], postgresql_where=sa.text(where), if_not_exists=True)


def _replace_check(table: str, name: str, condition: str) -> None:
    constraint = op.f(f"{table}_{name}_check")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
