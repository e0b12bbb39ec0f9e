"""When each key was last used: collected in the process, and written every few seconds."""

import asyncio

import structlog
from sqlalchemy import text

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.session import KeyUse
from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import from_row

WRITE_SECONDS = 10.0
FINGERPRINT_DIGITS = 12

_WRITE = text("""
    INSERT INTO key_uses AS k (client, fingerprint)
    SELECT * FROM unnest(CAST(:client AS text[]), CAST(:fingerprint AS text[])) AS used (client, fingerprint)
    ORDER BY 1, 2  -- two processes lock the rows in the same order
    ON CONFLICT (client, fingerprint) DO UPDATE SET last_at = greatest(k.last_at, excluded.last_at)
""")
_KNOWN = text("SELECT client, fingerprint, first_at, last_at FROM key_uses ORDER BY client, fingerprint")

log = structlog.get_logger(__name__)


class KeyUses:
    """The uses in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: set[tuple[str, bytes]] = set()

    def note(self, client: str, key_digest: bytes) -> None:
        """Notes that a key was used."""
        self._used.add((client, key_digest))

    async def write_regularly(self) -> None:
        """Writes the noted uses every `WRITE_SECONDS`, until cancelled. Those that cannot be written are kept."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
            except StoreUnavailableError as error:
                log.debug("store.unavailable", step="key_uses", reason=error.reason)
            except Exception:  # a bug must not end the loop
                log.exception("key_uses.bug")

    async def write(self) -> None:
        """Writes the noted uses, as of now."""
        if not self._used:
            return
        noted, self._used = self._used, set()
        used = sorted((client, fingerprint(key_digest)) for client, key_digest in noted)
        row = {"client": [client for client, _ in used], "fingerprint": [known for _, known in used]}
        try:
            async with self._database.writing() as connection:
                await connection.execute(_WRITE, row)
        except BaseException:
            self._used |= noted
            raise

    async def known(self) -> list[KeyUse]:
        """Returns the uses of all keys, also of those that are no longer in the settings."""
        async with self._database.reading() as connection:
            return [from_row(KeyUse, row) for row in await connection.execute(_KNOWN)]


def fingerprint(key_digest: bytes) -> str:
    """Returns the fingerprint of a key by its SHA-256."""
    return key_digest.hex()[:FINGERPRINT_DIGITS]
