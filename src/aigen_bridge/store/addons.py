"""The version of the addon that each Odoo last sent requests with."""

import time

from sqlalchemy import text

from aigen_bridge.store.database import Database

FRESH_SECONDS = 60.0
"""The time for which a process does not compare a version again that it has written."""

_KNOWN = text("SELECT odoo, version FROM addons ORDER BY odoo")
_NOTE = text("""
    INSERT INTO addons AS a (odoo, version) VALUES (:odoo, :version)
    ON CONFLICT (odoo) DO UPDATE SET version = excluded.version, seen_at = now()
        WHERE a.version IS DISTINCT FROM excluded.version
""")


class Addons:
    """The versions in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[tuple[str, str | None], float] = {}

    async def note(self, odoo: str, version: str | None) -> None:
        """Records the version of an Odoo's addon; None if it named none."""
        if time.monotonic() - self._noted.get((odoo, version), float("-inf")) < FRESH_SECONDS:
            return
        async with self._database.writing() as connection:
            await connection.execute(_NOTE, {"odoo": odoo, "version": version})
        self._noted = {each: at for each, at in self._noted.items() if each[0] != odoo}
        self._noted[odoo, version] = time.monotonic()

    async def known(self) -> dict[str, str | None]:
        """Returns the version by Odoo."""
        async with self._database.reading() as connection:
            return {row.odoo: row.version for row in await connection.execute(_KNOWN)}
