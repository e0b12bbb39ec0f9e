"""Checks the breakers. While one is open, entries are held for its destination."""

from aigen_bridge.doctor.finding import Finding, ok, warning
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.destinations import DestinationState


async def look_at_destinations(subject: Subject) -> list[Finding]:
    """No breaker is open."""
    states = await subject.opened.destinations()
    called = ", ".join(state.destination.label for state in states)
    return [_away(state) for state in states if state.opened_at] or [ok("breakers", f"All closed: {called}.")]


def _away(state: DestinationState) -> Finding:
    since = f"{state.opened_at:%Y-%m-%d %H:%M:%S %Z}"
    label = state.destination.label
    found = f"{label} has been away since {since} ({state.error_detail}); outbox entries held: {state.held}."
    return warning("breakers", found, "Repair it (see its own line). Held entries are sent afterwards.")
