"""destinations as the registry in the code names them

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.drop_constraint(op.f("destinations_name_check"), "destinations", type_="check")


def downgrade() -> None:
    op.execute("DELETE FROM destinations WHERE name NOT IN ('n8n', 'odoo')")
    op.create_check_constraint(op.f("destinations_name_check"), "destinations", "name IN ('n8n', 'odoo')")
