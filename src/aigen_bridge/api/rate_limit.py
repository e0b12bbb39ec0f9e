"""Rate limits per client, counted in memory or in a shared storage."""

import math
import time

import limits
import structlog
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from aigen_bridge import metrics
from aigen_bridge.api.errors import TooManyCallsError
from aigen_bridge.settings import Settings, WrongSettingsError

SIGN_IN_LIMIT = "10/minute"
"""Sign-ins to the console from one address. A key cannot be guessed; this limits what trying costs."""

log = structlog.get_logger(__name__)


class RateLimits:
    """The rate limit of each kind of call. Raises `WrongSettingsError` for an unusable storage."""

    def __init__(self, settings: Settings) -> None:
        try:
            storage = storage_from_string(f"async+{settings.rate_limit.storage.get_secret_value()}")
        except (ConfigurationError, ValueError) as error:
            raise WrongSettingsError([f"AIGEN_RATE_LIMIT__STORAGE is wrong: {_reason(error)}"]) from None
        assert isinstance(storage, Storage)  # noqa: S101 - `async+` makes it one
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self._limits = {
            "requests": limits.parse(settings.requests.rate_limit),
            "reading": limits.parse(settings.requests.rate_limit),
            "callback": limits.parse(settings.callback.rate_limit),
            "generation": limits.parse(settings.generation.rate_limit),
            "sign-in": limits.parse(SIGN_IN_LIMIT),
        }

    async def count(self, kind: str, client: str, label: str | None = None) -> None:
        """Counts a call. Raises `TooManyCallsError` when it exceeds the limit.

        `label` stands in the metrics for clients that are no names of the settings, such as addresses.
        """
        limit = self._limits[kind]
        try:
            within = await self._strategy.hit(limit, kind, client)
            reset_at = 0.0 if within else (await self._strategy.get_window_stats(limit, kind, client)).reset_time
        except Exception as error:  # noqa: BLE001 - storages raise errors of their own
            log.warning("rate_limit.unavailable", reason=type(error).__name__)  # better no limit than no service
            return
        if not within:
            metrics.RATE_LIMITED.labels(label or client).inc()
            raise TooManyCallsError(client, limit, max(1, math.ceil(reset_at - time.time())))


def _reason(error: Exception) -> str:
    if "prerequisite" in str(error):
        return "the package for this kind of storage is not installed (extra 'redis')."
    return "it must look like memory:// or redis://host:6379/0."
