"""What follows when Odoo refuses the login or the key, on any transport."""

import time
from dataclasses import dataclass, field
from datetime import timedelta

from aigen_bridge.clients.odoo_errors import COOLDOWN
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

TRIES = 4
"""Tries of a call whose login is refused, although Odoo accepted the same key before: the key was revoked, or logins
are ignored for a while, which looks the same."""
PAUSE_MAX = timedelta(minutes=15)


@dataclass(slots=True)
class LoginPause:
    """The pause between refused logins, which doubles with each of them.

    A refused login may cost Odoo more than a call does. Where failed logins lock out an address, it may be that of a
    proxy, and so everybody's.
    """

    refusals: int = 0
    was_accepted: bool = False
    _until: float = field(default=0.0, repr=False)

    @property
    def left(self) -> timedelta:
        """How long it still lasts."""
        return timedelta(seconds=max(0.0, self._until - time.monotonic()))

    def check(self) -> None:
        """Raises `TransientError` while it lasts."""
        left = self.left
        if left:
            detail = (
                f"Odoo refused the login. The next one is tried in {left.total_seconds():.0f} s, so that Odoo does not "
                "lock it out."
            )
            raise TransientError("odoo_login_refused", detail, retry_after=left)

    def accepted(self) -> None:
        """Ends it."""
        self.refusals, self.was_accepted, self._until = 0, True, 0.0

    def refused(self) -> timedelta:
        """Begins it again, and returns how long it is."""
        length = min(COOLDOWN * int(2 ** min(self.refusals, 10)), PAUSE_MAX)
        self.refusals, self._until = self.refusals + 1, time.monotonic() + length.total_seconds()
        return length

    def error(self, *, http_status: int | None = None) -> StepError:
        """Returns the error for a refused login, and begins the pause, unless a call at the same time has begun it."""
        pause = self.left or self.refused()
        detail = (
            "Odoo refused the login. Check AIGEN_ODOO__LOGIN and AIGEN_ODOO__API_KEY (or those of this Odoo in "
            "AIGEN_ODOOS), whether the key has expired, and whether Odoo's log says that logins from this address are "
            "ignored for a while."
        )
        if self.was_accepted:
            return TransientError("odoo_login_refused", detail, http_status=http_status, retry_after=pause, tries=TRIES)
        return PermanentError("odoo_login_refused", detail, http_status=http_status)
