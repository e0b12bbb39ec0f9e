"""A real SMTP server that stores the received mails."""

import asyncio
import email
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Mail:
    """One mail, received at `at` (monotonic seconds)."""

    at: float
    to: str
    subject: str
    body: str

    @property
    def is_over(self) -> bool:
        """Whether the mail reports a resolution."""
        return "resolved:" in self.subject

    @property
    def alerts(self) -> set[str]:
        """The names of the alerts in the subject."""
        return set(re.findall(r"Aigen\w+", self.subject))


@dataclass
class Mailbox:
    """All mails to all recipients."""

    mails: list[Mail] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        message = email.message_from_bytes(envelope.content or b"", policy=policy.default)
        body = message.get_body(("plain",))
        text = body.get_content() if body else ""
        self.mails += [Mail(time.monotonic(), to, str(message["Subject"]), text) for to in envelope.rcpt_tos]
        return "250 kept"

    def about(self, alert: str, to: str, *, over: bool, since: float) -> list[Mail]:
        """Returns the mails to a recipient about an alert."""
        return [m for m in self.mails if alert in m.alerts and m.to == to and m.is_over == over and m.at >= since]


@asynccontextmanager
async def mailbox() -> AsyncIterator[tuple[Mailbox, str]]:
    """Runs the server. Yields the mailbox and the server's address."""
    kept = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(kept, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
    async with server:
        yield kept, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
