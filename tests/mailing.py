"""A real mail server on a real socket, with the mails that it received."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

USER, PASSWORD = "bridge", "mail-hunter2"


@dataclass
class Mailbox:
    """The received mails; also the handler that the server calls."""

    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        """The subjects, oldest first."""
        return [str(mail["Subject"]) for mail in self.mails]

    def text(self, number: int) -> str:
        """Returns the body of a mail as text."""
        body = self.mails[number].get_body(("plain", "html"))
        assert body is not None
        return str(body.get_content())

    async def until(self, count: int, *, seconds: float = 60) -> None:
        """Waits until `count` mails have arrived."""
        async with asyncio.timeout(seconds):
            while len(self.mails) < count:
                await asyncio.sleep(0.05)


def mail_url(port: int) -> str:
    """Returns the mail server's URL for `AIGEN_ALERTS__URLS`."""
    return f"mailto://{USER}:{PASSWORD}@127.0.0.1:{port}?from=bridge@example.com&to=ops@example.com"


@asynccontextmanager
async def mail_server(port: int = 0) -> AsyncIterator[tuple[Mailbox, int]]:
    """Runs a server that requires the password. Yields its mailbox and its port."""
    mailbox = Mailbox()

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))

    def connection() -> SMTP:
        return SMTP(mailbox, authenticator=authenticate, auth_required=True, auth_require_tls=False)

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    async with server:
        yield mailbox, server.sockets[0].getsockname()[1]


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Runs a server that accepts connections and never sends anything. Yields its port."""
    stopping = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stopping.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        stopping.set()
