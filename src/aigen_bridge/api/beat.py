"""The beats of the API: while they are missing, N8N could not be heard, and its silence means nothing."""

import asyncio

import structlog

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.generations import BEAT_SECONDS, Generations

log = structlog.get_logger(__name__)


async def beat(generations: Generations) -> None:
    """Writes a beat every `BEAT_SECONDS`, until cancelled. One that cannot be written is left out."""
    while True:
        try:
            await generations.beat()
        except StoreUnavailableError as error:
            log.debug("store.unavailable", step="beat", reason=error.reason)
        except Exception:  # a bug must not end the beats
            log.exception("beat.bug")
        await asyncio.sleep(BEAT_SECONDS)
