"""Bridge → people: notifies operators of an incident, what it means and which command fixes it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.incident import ADVICE, Incident, OccurrenceRecord
from aigen_bridge.domain.outbox import AlertClaim, Effect, Notified
from aigen_bridge.domain.request import DEFAULT_ODOO, Step
from aigen_bridge.domain.retry import Policy, exponential
from aigen_bridge.quoting import one_line

POLICY = Policy(
    waits=exponential(timedelta(seconds=2), factor=2, times=6, cap=timedelta(minutes=1)),
    then_every=timedelta(minutes=2),
    give_up_after=timedelta(hours=1),
    jitter=0.2,
)
"""2 s, 4 s … 60 s, then every 2 minutes for an hour. By then, the dashboards have shown the incident."""

_INERT = str.maketrans(
    {
        "@": "(at)",
        "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
    }
)
"""`@channel` and `<!channel>` would notify everyone, `<url|text>` would be a link that shows another address."""


class Channels(Protocol):
    """Mail, chat and other configured channels. Raises `StepError` if no one was reached."""

    async def notify(self, title: str, body: str, *, recovered: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Alert:
    """The `alert` step. `home` is the bridge's own address, which identifies the sender of the alert."""

    channels: Channels
    home: str
    concurrency: int = 2
    policy: Policy = POLICY
    step: Step = Step.ALERT

    async def run(self, claim: AlertClaim) -> Effect:
        """Sends all occurrences that have not been reported as one message."""
        incident = claim.incident
        recovered = incident.recovered_at is not None
        await self.channels.notify(title(incident), body(incident, self.home), recovered=recovered)
        return Notified(incident.times, recovered=recovered)

    def gave_up(self, error: StepError) -> Effect:  # noqa: ARG002 - the same for every error
        """Has no effect: the dead letter records that no one was reached."""
        return None


def title(incident: Incident) -> str:
    """Returns one line, for the subject of a mail."""
    kind = "recovered" if incident.recovered_at else "critical"
    return f"[aigen-bridge] {kind}: {_headline(incident)}{_count(incident)}"


def body(incident: Incident, home: str) -> str:
    """Returns what happened, to which requests, and what to do."""
    advice = ADVICE[incident.cause]
    odoo = [f"Odoo:       {incident.odoo}"] if incident.odoo != DEFAULT_ODOO else []
    lines = [f"{_headline(incident)}.", "", f"cause:      {incident.cause}", *odoo, f"happened:   {_period(incident)}"]
    if incident.recovered_at:
        lines.append(f"over:       no occurrence since {_at(incident.seen_at)}")
    if not (incident.recovered_at and advice.over):
        lines.append(f"what to do: {advice.mend}")
    named = [_line(occurrence) for occurrence in incident.latest]
    unnamed = incident.times - len(named)
    lines += ["", "latest first:", *named, *([f"- and {unnamed} earlier"] if unnamed > 0 else [])]
    return "\n".join([*lines, "", f"from the bridge at {home}"])


def _headline(incident: Incident) -> str:
    advice = ADVICE[incident.cause]
    headline = advice.over if incident.recovered_at and advice.over else advice.title
    return headline if incident.odoo == DEFAULT_ODOO else f"{headline} (Odoo {incident.odoo})"


def _count(incident: Incident) -> str:
    return f" ({incident.times} times)" if incident.times > 1 else ""


def _period(incident: Incident) -> str:
    if incident.times == 1:
        return _at(incident.opened_at)
    new = incident.times - incident.notified_times
    unreported = f", {new} of them new" if 0 < new < incident.times else ""
    return f"{incident.times} times{unreported}, first {_at(incident.opened_at)}, last {_at(incident.seen_at)}"


def _line(occurrence: OccurrenceRecord) -> str:
    about = f"request {occurrence.request_id}" if occurrence.request_id else "no known request"
    return f"- {_at(occurrence.at)} {about}: {_inert(occurrence.detail)}"


def _inert(text: str) -> str:
    """Returns text from outside as one line that mentions nobody and hides no link, whatever a chat makes of it."""
    return one_line(text).translate(_INERT).replace("](", "] (")


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
