"""Checks the paid work: images that may have been paid for without a picture, and whether N8N can be heard."""

from datetime import timedelta

from aigen_bridge.doctor.finding import Finding, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.inspection import Recent

PERIOD = timedelta(days=7)
BEATS_MISSING = timedelta(seconds=30)
"""An API process records a beat every second; a busy database may delay some."""


async def look_at_generations(subject: Subject) -> list[Finding]:
    """Nothing was paid for without a trace lately, and the API records that it can hear N8N."""
    findings = [*await _missing_beats(subject), *await _payments(subject)]
    return findings or [ok("generations", f"No payment in doubt within {spoken(PERIOD)}.")]


async def _missing_beats(subject: Subject) -> list[Finding]:
    age = await subject.opened.beat_age()
    if (age is not None and age < BEATS_MISSING) or not (await subject.opened.processes()).apis:
        return []
    last = f"has recorded no beat for {spoken(age)}" if age is not None else "has never recorded a beat"
    found = f"An API process is connected but {last}, so the bridge does not resume requests that fell silent at N8N."
    advice = "Upgrade API processes that run an older version; look for beat.bug in the API's log, then restart it."
    return [wrong("generations", found, advice)]


async def _payments(subject: Subject) -> list[Finding]:
    within, findings = spoken(PERIOD), []
    if (undecided := await subject.opened.undecided(PERIOD)).number:
        found = f"Requests that failed as maybe_paid within {within} and wait for a decision: {_list(undecided)}."
        advice = "Look for their jobs at the AI service, then 'aigen-bridge requests replay ID', which may pay again."
        findings.append(warning("generations", found, advice))
    if (doubts := await subject.opened.doubts(PERIOD)).number:
        found = f"Requests that may have been paid for without a trace within {within}: {_list(doubts)}."
        advice = "'aigen-bridge requests show ID' says when; compare with the AI service's list of jobs or its bill."
        findings.append(warning("generations", found, advice))
    if (others := await subject.opened.other_jobs(PERIOD)).number:
        found = f"Jobs submitted beside the one of their request within {within}: {_list(others)}."
        advice = "N8N was told to cancel each. Check at the AI service that it did: otherwise it was paid for, too."
        findings.append(warning("generations", found, advice))
    return findings


def _list(recent: Recent) -> str:
    newest = ", ".join(recent.newest)
    return (
        f"{recent.number} ({newest})" if recent.number <= len(recent.newest) else f"{recent.number} (newest: {newest})"
    )
