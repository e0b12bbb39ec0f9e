"""Checks the workers, the outbox and the dead letters."""

from datetime import timedelta

from aigen_bridge.doctor.finding import Finding, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.inspection import Backlog

SLOW, STUCK = timedelta(seconds=30), timedelta(minutes=5)
"""A worker with free capacity claims a due entry within moments."""


async def look_at_processes(subject: Subject) -> list[Finding]:
    """At least one worker is connected, and several API processes share their rate limits."""
    running = await subject.opened.processes()
    if running.workers:
        findings = [ok("worker", f"{_count(running.workers, 'worker')} connected.")]
    elif subject.listener_url is None:
        findings = [ok("worker", "Workers poll, so they cannot be counted; the outbox shows whether they work.")]
    else:
        due = sum(backlog.count for backlog in await subject.opened.waiting())
        waiting = f"; {_count(due, 'entry')} due" if due else ""
        advice = "Start 'aigen-bridge worker' (or 'up'). A pooler that renames connections hides a running worker."
        findings = [wrong("worker", f"No worker is connected{waiting}.", advice)]
    return findings + _shared_limits(subject, running.apis)


def _shared_limits(subject: Subject, apis: int) -> list[Finding]:
    settings = subject.settings
    if settings is None or apis < 2 or not settings.rate_limit.storage.get_secret_value().startswith("memory"):  # noqa: PLR2004
        return []
    found = f"{apis} API processes count separately, so a client may call {apis} times as often as the limit allows."
    return [warning("rate limits", found, "Set AIGEN_RATE_LIMIT__STORAGE to redis://…, or lower the limits.")]


async def look_at_outbox(subject: Subject) -> list[Finding]:
    """No entry has been due for long, and no request is past its deadline."""
    waiting = await subject.opened.waiting()
    findings = [_late(backlog) for backlog in waiting if backlog.oldest_age >= SLOW]
    overdue = await subject.opened.overdue()
    if overdue.count:
        found = (
            f"{_count(overdue.count, 'request')} past the callback's deadline, for up to {spoken(overdue.oldest_age)}."
        )
        findings.append(
            wrong("outbox", found, "The workers' sweep should have failed them. Start a worker and read its log.")
        )
    if subject.settings:  # otherwise its names may be wrong
        findings += [_unclaimed(backlog) for backlog in await subject.opened.unknown_odoos()]
    if findings:
        return findings
    due = sum(backlog.count for backlog in waiting)
    return [ok("outbox", f"{_count(due, 'entry')} due, none for long." if due else "Nothing is due.")]


def _late(backlog: Backlog) -> Finding:
    found = f"{backlog.kind}: {_count(backlog.count, 'entry')} due, the oldest for {spoken(backlog.oldest_age)}."
    advice = "Check that workers run (above), and read their log. They may be busy with a slow N8N or Odoo."
    return (wrong if backlog.oldest_age >= STUCK else warning)("outbox", found, advice)


def _unclaimed(backlog: Backlog) -> Finding:
    found = (
        f"{_count(backlog.count, 'entry')} for the Odoo {backlog.kind!r}, which is not in AIGEN_ODOOS; none is sent."
    )
    advice = "Add it to AIGEN_ODOOS again until they are sent. Odoo has to be told of a cancelled request, too."
    return wrong("outbox", found, advice)


async def look_at_rows(subject: Subject) -> list[Finding]:
    """Pending entries and the newest requests can be read."""
    unreadable = await subject.opened.unreadable()
    if not unreadable:
        return [ok("rows", "Pending entries and the newest requests can be read.")]
    first, why = next(iter(unreadable.items()))
    advice = "Correct their rows in the table requests or outbox with SQL, then replay their dead letters."
    found = f"{_count(len(unreadable), 'request')} cannot be read, such as {first}: {why}."
    return [wrong("rows", found, advice)]


async def look_at_dead_letters(subject: Subject) -> list[Finding]:
    """There are no dead letters."""
    dead = await subject.opened.dead()
    if not dead:
        return [ok("dead letters", "None.")]
    kinds = ", ".join(f"{backlog.count} {backlog.kind}" for backlog in dead)
    oldest = spoken(max(backlog.oldest_age for backlog in dead))
    advice = "List them with 'aigen-bridge dead-letters list', then 'replay' or 'discard' them."
    return [warning("dead letters", f"{kinds}; the oldest is {oldest} old.", advice)]


def _count(number: int, what: str) -> str:
    plural = what[:-1] + "ies" if what.endswith("y") else what + "s"
    return f"{number} {what if number == 1 else plural}"
