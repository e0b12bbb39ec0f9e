"""Notifies people by mail, chat, webhook and every other service of Apprise (https://appriseit.com/services/)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from aigen_bridge.domain.errors import TransientError
from aigen_bridge.logs import muted
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from apprise import Apprise

log = structlog.get_logger(__name__)


class Notifier:
    """Sends messages to every channel. A message counts as sent when one channel accepts it; failures are logged."""

    def __init__(self, urls: Sequence[SecretStr]) -> None:
        self._channels = [_channel(url) for url in urls]

    async def notify(self, title: str, body: str, *, recovered: bool) -> None:
        """Logs the message and sends it to all channels.

        Raises `TransientError` when there are channels and none accepts it.
        """
        (log.warning if recovered else log.critical)("alert", title=title, body=body)
        if not self._channels:
            return
        kind, title = "success" if recovered else "failure", one_line(title)  # a mail's subject is a header
        taken = [
            await channel.async_notify(body, title=title, notify_type=kind, body_format="text")
            for channel in self._channels
        ]
        failed = [_name(channel) for channel, took in zip(self._channels, taken, strict=True) if not took]
        if failed:
            log.error("alert.channel_failed", channels=failed)
        if not any(taken):
            raise TransientError("alert_failed", f"No channel took the alert: {', '.join(failed)}.")


def _channel(url: SecretStr) -> "Apprise":
    from apprise import Apprise  # noqa: PLC0415 - takes half a second, and a bridge without alerts does not need it

    channel = Apprise()
    with muted("apprise"):  # it logs what it cannot parse, such as half of a password that contains a slash
        channel.add(url.get_secret_value())
    return channel


def _name(channel: "Apprise") -> str:
    """Returns the channel's URL scheme, such as `mailto`. The rest of the URL may contain secrets."""
    return ", ".join(url.partition(":")[0] for url in channel.urls(privacy=True))
