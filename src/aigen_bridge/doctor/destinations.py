"""Whether the breaker for a system that we call is open: what is owed to it waits there."""

from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, warning
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.destination import Destination
from aigen_bridge.store.destinations import DestinationState

NAMES = {Destination.N8N: "N8N", Destination.ODOO: "Odoo"}


async def look_at_destinations(subject: Subject) -> list[Finding]:
    """No breaker is open."""
    if subject.inspection is None:
        raise NotLookedAtError
    states = await subject.inspection.destinations()
    return [_out(state) for state in states if state.opened_at] or [ok("breakers", "Closed: N8N and Odoo get calls.")]


def _out(state: DestinationState) -> Finding:
    since = f"{state.opened_at:%Y-%m-%d %H:%M:%S %Z}"
    found = f"{NAMES[state.name]} is away since {since} ({state.error_detail}); outbox entries held: {state.held}."
    return warning("breakers", found, "Mend it (see its own line); what is held is sent then.")
