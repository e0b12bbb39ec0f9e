"""The ledger in PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_RECOMPUTE = text("""
    INSERT INTO budget_usage AS u (budget_id, period_start, spent, reserved)
    SELECT b.id, p.period_start, sum(round(l.spent * r.rate, 9)), sum(round(l.reserved * r.rate, 9))
    FROM budgets AS b
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.period = 'total' THEN timestamptz '1970-01-01 00:00:00Z'
            ELSE date_trunc(b.period, now(), b.time_zone) END AS period_start
    ) AS p
    JOIN ledger AS l ON l.accepted_at >= p.period_start
        AND l.odoo = coalesce(b.odoo, l.odoo)
        AND (b.user_id IS NULL OR l.user_id = b.user_id)
        AND (b.campaign_id IS NULL OR l.campaign_id = b.campaign_id)
        AND (b.model_id IS NULL OR l.model_id = b.model_id)
    CROSS JOIN LATERAL (SELECT CAST(l.rates ->> b.currency AS numeric) AS rate) AS r
    WHERE b.id = ANY (CAST(:budget_id AS bigint[])) AND r.rate IS NOT NULL
    GROUP BY b.id, p.period_start
    ON CONFLICT (budget_id, period_start) DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved
""")


async def recompute(connection: AsyncConnection, budget_ids: Sequence[int]) -> None:
    """A stand-in until settling exists."""
    await connection.execute(_RECOMPUTE, {"budget_id": list(budget_ids)})
