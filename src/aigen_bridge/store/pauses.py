"""SQL for the time of pauses, which does not count for what waits for a destination."""

from aigen_bridge.domain.destination import N8N


def paused_time(destination: str, since: str) -> str:
    """Returns SQL for how long a destination has been paused since a time. Both are SQL, the first may be NULL."""
    return f"""(
        SELECT coalesce(
            sum(greatest(coalesce(p.ended_at, now()) - greatest(p.began_at, {since}), interval '0')), interval '0')
        FROM destination_pauses AS p
        WHERE p.destination = {destination} AND (p.ended_at IS NULL OR p.ended_at > {since}) AND {since} < now()
    )"""  # noqa: S608 - SQL of this package


def was_paused(destination: str, since: str) -> str:
    """Returns SQL for whether a destination has been paused at any moment since a time. Both are SQL."""
    return f"""EXISTS (
        SELECT FROM destination_pauses AS p
        WHERE p.destination = {destination} AND (p.ended_at IS NULL OR p.ended_at > {since})
    )"""


def is_paused(destination: str) -> str:
    """Returns SQL for whether a destination is paused now."""
    return f"EXISTS (SELECT FROM destinations WHERE name = {destination} AND paused_at IS NOT NULL)"


_N8N = f"'{N8N.name}'"
N8N_IS_PAUSED = is_paused(_N8N)
"""SQL: whether N8N is paused now."""
STANDING_DEADLINE = f"(r.callback_deadline_at + {paused_time(_N8N, 'r.updated_at')})"
"""SQL: the callback deadline of `requests AS r`, which stands still while N8N is paused. It was set when the request
was last updated."""
