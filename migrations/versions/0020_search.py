"""searching requests, and what operators did

Revision: 0020, after 0019. Each statement is a transaction of its own, and may be repeated.

The table may have millions of rows, so its indexes are built without blocking writers. A build that was interrupted
leaves an invalid index, which the next run replaces. They hold delivered requests only: those change hardly any more,
and every change of a request writes all of its index entries again.

The statements of the search have one plan, however frequent a term is (store/search.py), so the planner needs no
statistics of the terms. Without them, ANALYZE need not compute the terms of its sample.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"

EARLIER_ACTIONS = "'replay', 'discard', 'complete', 'purge', 'restored', 'confirm', 'put', 'remove'"
ACTIONS = "'pause', 'resume', 'limit', 'cancel', 'stop', 'sign-in', 'sign-out', 'sign-in-refused', 'revoke'"
DELIVERED = sa.text("delivered_at IS NOT NULL")
TERMS = sa.text("""(
    to_tsvector('simple'::regconfig, translate(left(event ->> 'prompt', 4000), './:@-_+~&<', '          '))
    || array_to_tsvector(array_remove(ARRAY[
        'user:' || left(event ->> 'userId', 36), 'model:' || left(event ->> 'modelId', 36),
        'campaign:' || left(event ->> 'campaignId', 36),
        'error:' || left(error_code, 201), 'status:' || status, 'odoo:' || odoo,
        'month:' || extract(julian FROM date_trunc('month', timezone('UTC', created_at)))::text
    ], NULL))
)""")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for column in ("before", "after"):
            op.add_column("operations", sa.Column(column, postgresql.JSONB(none_as_null=True)), if_not_exists=True)
        op.add_column("operations", sa.Column("odoo", sa.Text()), if_not_exists=True)
        _replace_check(f"{EARLIER_ACTIONS}, {ACTIONS}")
        op.execute("""
            UPDATE operations AS o SET odoo = r.odoo FROM requests AS r
            WHERE r.request_id = o.request_id AND o.odoo IS NULL
        """)
        _index_requests()


def _index_requests() -> None:
    op.drop_index("requests_search_idx", "requests", postgresql_concurrently=True, if_exists=True)
    op.create_index(
        "requests_search_idx",
        "requests",
        [TERMS],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 1024},
        postgresql_where=DELIVERED,
        postgresql_concurrently=True,
    )
    op.execute("ALTER INDEX requests_search_idx ALTER COLUMN 1 SET STATISTICS 0")
    op.drop_index("requests_correlation_idx", "requests", postgresql_concurrently=True, if_exists=True)
    op.create_index(
        "requests_correlation_idx",
        "requests",
        ["correlation_id"],
        postgresql_where=DELIVERED,
        postgresql_concurrently=True,
    )


def downgrade() -> None:
    op.drop_index("requests_correlation_idx", "requests")
    op.drop_index("requests_search_idx", "requests")
    op.execute(f"DELETE FROM operations WHERE action NOT IN ({EARLIER_ACTIONS})")  # noqa: S608 - a constant
    _replace_check(EARLIER_ACTIONS)
    for column in ("odoo", "after", "before"):
        op.drop_column("operations", column)


def _replace_check(actions: str) -> None:
    constraint = op.f("operations_action_check")
    op.execute(
        f"ALTER TABLE operations DROP CONSTRAINT IF EXISTS {constraint}, "
        f"ADD CONSTRAINT {constraint} CHECK (action IN ({actions})) NOT VALID"
    )
    op.execute(f"ALTER TABLE operations VALIDATE CONSTRAINT {constraint}")
