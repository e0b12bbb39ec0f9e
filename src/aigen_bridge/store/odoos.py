"""The databases of the Odoos: which one each Odoo has, as Odoo told it, and how much waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import odoo_destination
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record
from aigen_bridge.store.rows import from_row

_KNOWN = text("SELECT name, database_uuid FROM odoos")
_REPLACE = text("""
    INSERT INTO odoos (name, database_uuid) VALUES (:name, :uuid)
    ON CONFLICT (name) DO UPDATE SET database_uuid = excluded.database_uuid, since = now()
""")
_FIND = text("SELECT database_uuid FROM odoos WHERE name = :name FOR UPDATE")
_FORGET = text("DELETE FROM odoos WHERE name = :name")
_STATES = text("""
    SELECT o.name, known.database_uuid, d.opened_at, d.paused_at, (
        SELECT count(*) FROM outbox WHERE state = 'pending' AND step = o.queue
    ) AS backlog
    FROM unnest(CAST(:name AS text[]), CAST(:destination AS text[]), CAST(:queue AS text[]))
        WITH ORDINALITY AS o (name, destination, queue, place)
    LEFT JOIN odoos AS known ON known.name = o.name
    LEFT JOIN destinations AS d ON d.name = o.destination
    ORDER BY o.place
""")


@dataclass(frozen=True, slots=True)
class OdooState:
    """What is known of an Odoo. `backlog`: pending deliveries.

    `opened_at`: since when its breaker has been open. `paused_at`: since when operators have paused it.
    """

    name: str
    database_uuid: str | None
    opened_at: datetime | None
    paused_at: datetime | None
    backlog: int


class Odoos:
    """The Odoos in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> dict[str, str]:
        """Returns the uuid of each Odoo's database, by the name of the Odoo, where it is known."""
        async with self._database.reading() as connection:
            return {row.name: row.database_uuid for row in await connection.execute(_KNOWN)}

    async def states(self, names: Sequence[str]) -> list[OdooState]:
        """Returns what is known of these Odoos, in their order."""
        columns = {
            "name": list(names),
            "destination": [odoo_destination(name).name for name in names],
            "queue": [queue_of(Step.DELIVER, name) for name in names],
        }
        async with self._database.reading() as connection:
            return [from_row(OdooState, row) for row in await connection.execute(_STATES, columns)]

    async def confirm(self, name: str, uuid: str | None, action: OperatorAction) -> None:
        """Replaces the known uuid of an Odoo's database. If `uuid` is None, forgets it: the next delivery learns it."""
        async with self._database.transaction() as connection:
            before = {"databaseUuid": await connection.scalar(_FIND, {"name": name})}
            await connection.execute(_REPLACE if uuid else _FORGET, {"name": name, "uuid": uuid})
            after = {"databaseUuid": uuid}
            concerned = replace(action, odoo=name)
            await record(connection, concerned, "confirm", f"odoo:{name}", None, before=before, after=after)
