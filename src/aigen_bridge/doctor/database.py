"""Checks PostgreSQL: reachable, writable, with the tables of this version, and with a synchronous clock."""

import time
from datetime import timedelta

from aigen_bridge.doctor.finding import Finding, ok, size, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store import migrations

SKEW_SEEN, SKEW_HARMFUL = timedelta(seconds=2), timedelta(minutes=1)
"""Signatures (Standard Webhooks) are valid for 5 minutes; a clock that is off by a minute takes too much of that."""
UNREACHABLE_ADVICE = (
    "Start PostgreSQL, and check AIGEN_DATABASE_URL: host, port, user, password, name. Nothing is lost meanwhile: the "
    "API responds with 503, and Odoo and N8N retry."
)


async def look_at_database(subject: Subject) -> list[Finding]:
    """The database is reachable and writable."""
    began = time.monotonic()
    try:
        server = await subject.opened.server()
    except UnsuitableDatabaseError as error:
        return [wrong("database", error.detail, error.advice)]
    except StoreUnavailableError as error:
        return [wrong("database", f"It cannot be reached: {error.reason}", UNREACHABLE_ADVICE)]
    took = timedelta(seconds=time.monotonic() - began)
    name = f"PostgreSQL {server.version}"
    if server.standby:
        advice = "Point AIGEN_DATABASE_URL at the primary, or promote this server."
        return [wrong("database", f"{name} is a standby, which accepts no writes.", advice)]
    if server.read_only:
        advice = "ALTER DATABASE or ROLE … RESET default_transaction_read_only, or free the disk and undo what set it."
        return [wrong("database", f"{name} is read-only for this user.", advice)]
    return [ok("database", f"{name} answers in {spoken(took)}; the database has {size(server.bytes)}.")]


async def look_at_tables(subject: Subject) -> list[Finding]:
    """The tables of this version exist, and this user may read and write them."""
    try:
        await subject.opened.refuse_missing_rights()
    except UnsuitableDatabaseError as error:
        return [wrong("tables", error.detail, error.advice)]
    found, known = await subject.opened.revision(), migrations.head()
    if found is None:
        return [wrong("tables", "The database has no tables of the bridge.", "Run 'aigen-bridge migrate'.")]
    if migrations.is_older(found):
        return [wrong("tables", f"They are at revision {found}, not {known}.", "Run 'aigen-bridge migrate'.")]
    if invalid := await subject.opened.invalid_indexes():
        advice = "Unless it is being built just now: REINDEX INDEX CONCURRENTLY …, by the owner of the tables."
        return [warning("tables", f"The index {', '.join(invalid)} is unfinished, so queries do not use it.", advice)]
    if found != known:
        advice = "This is normal during an upgrade. Replace this version afterwards, too."
        return [warning("tables", f"A newer version has migrated them: to {found}, past {known}.", advice)]
    return [ok("tables", f"They are at revision {found}, as this version needs.")]


async def look_at_clock(subject: Subject) -> list[Finding]:
    """The clocks of this machine and of the database agree."""
    ahead, uncertainty = await subject.opened.clock(subject.now)
    if abs(ahead) - uncertainty < SKEW_SEEN:
        return [ok("clock", f"This machine's clock and the database's differ by {spoken(ahead)}.")]
    found = (
        f"The database's clock is {spoken(ahead)} {'ahead of' if ahead > timedelta(0) else 'behind'} this machine's."
    )
    advice = (
        "Synchronize both with NTP. Deadlines and retries use the database's clock. Signatures are checked with this "
        "machine's, and are refused when it is off by 5 minutes."
    )
    return [(wrong if abs(ahead) >= SKEW_HARMFUL else warning)("clock", found, advice)]
