"""What happens next with a request, in one sentence, and when."""

from aigen_bridge.contracts.resources import Ahead
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.store.timeline import Owed, Prospect


def ahead(request: ImageRequest, prospect: Prospect) -> Ahead:
    """The next thing that somebody does, or that nobody will."""
    for entry in prospect.owed:  # the newest first; a live one matters more than a dead one
        if not entry.is_dead:
            return _live(entry)
    if request.status is Status.DISPATCHED:
        what = (
            "N8N reports the result. If it does not by then, the request fails as timed_out; a late result still wins."
        )
        return Ahead(what=what, at=prospect.callback_deadline_at)
    for entry in prospect.owed:
        what = f"Nothing by itself: {entry.step} was given up ({entry.error_code}). A person replays or discards it."
        return Ahead(what=what, dead_letter=f"entry-{entry.id}")
    return Ahead(what="Nothing: Odoo knows how it ended." if request.delivered_at else "Nothing more is owed.")


def _live(entry: Owed) -> Ahead:
    number = entry.attempts + 1
    if entry.in_hand:
        return Ahead(
            what=f"Try {entry.attempts} to {entry.step} is under way; if its worker dies, another takes over.",
            at=entry.due_at,
        )
    if entry.destination_is_out:
        return Ahead(
            what=f"The {entry.step} is held: its destination is away. The bridge tries again until it is back.",
            at=entry.probe_at,
        )
    return Ahead(what=f"Try {number} to {entry.step}.", at=entry.due_at)
