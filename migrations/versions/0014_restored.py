"""the operator action `restored`

Revision: 0014, after 0013.
"""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    _allow("'replay', 'discard', 'complete', 'purge', 'restored'")


def downgrade() -> None:
    op.execute("DELETE FROM operations WHERE action = 'restored'")
    _allow("'replay', 'discard', 'complete', 'purge'")


def _allow(actions: str) -> None:
    op.drop_constraint(op.f("operations_action_check"), "operations")
    op.create_check_constraint(op.f("operations_action_check"), "operations", f"action IN ({actions})")
