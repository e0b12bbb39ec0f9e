"""Checks the breakers, and which destinations are paused. While one is open or paused, entries wait."""

from datetime import datetime

from aigen_bridge.doctor.finding import Finding, ok, warning
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.destinations import DestinationState


async def look_at_destinations(subject: Subject) -> list[Finding]:
    """No breaker is open, and nothing is paused."""
    states = await subject.opened.destinations()
    called = ", ".join(state.destination.label for state in states)
    found = [_paused(state) if state.paused_at else _away(state) for state in states if _is_shut(state)]
    return found or [ok("breakers", f"All closed: {called}.")]


def _is_shut(state: DestinationState) -> bool:
    return state.paused_at is not None or state.opened_at is not None


def _away(state: DestinationState) -> Finding:
    label = state.destination.label
    found = f"{label} has been away since {_at(state.opened_at)} ({state.error_detail}); entries held: {state.held}."
    return warning("breakers", found, "Repair it (see its own line). Held entries are sent afterwards.")


def _paused(state: DestinationState) -> Finding:
    label, name = state.destination.label, state.destination.name
    away = f" Before, it had been away since {_at(state.opened_at)}." if state.opened_at else ""
    found = (
        f"{label} has been paused since {_at(state.paused_at)} by {state.paused_by}: {state.pause_reason!r}; entries "
        f"that wait: {state.held}. Nothing is sent to it, and nothing expires.{away}"
    )
    return warning("paused", found, f"When the reason is gone: aigen-bridge destinations resume {name}")


def _at(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
