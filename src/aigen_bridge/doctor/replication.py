"""Checks PostgreSQL's standbys, the archive of its write-ahead log, and the pooler before it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, size, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store.migrations import check
from aigen_bridge.store.replication import Replication, Server, Standby, servers

LATE = timedelta(minutes=1)
"""The lag of a standby that takes over too late, or serves reports that are too old."""
SYNCHRONOUS_ADVICE = (
    "Replicate synchronously: synchronous_standby_names and synchronous_commit = on (Patroni: synchronous_mode). "
    "Otherwise a failover is a backup that is seconds old (docs/operations.md)."
)


async def look_at_replication(subject: Subject) -> list[Finding]:
    """There is one primary, its standbys follow it, commits wait for one of them, and its log is archived."""
    named = await servers(_url(subject), subject.database.timeout)
    findings = _named_servers(named)
    try:
        found = await subject.opened.replication()
    except StoreUnavailableError:  # `look_at_database` says why
        if not findings:
            raise
        return findings
    return [*findings, *_standbys(found, is_expected=len(named) > 1), *_archive(found)]


def _url(subject: Subject) -> str:
    if subject.database_url is None:
        raise NotLookedAtError
    return subject.database_url.get_secret_value()


def _named_servers(found: Sequence[Server]) -> list[Finding]:
    if len(found) == 1:
        return []
    primaries = [server for server in found if not (server.is_standby or server.error)]
    silent = [f"{server.name} cannot be asked: {server.error}" for server in found if server.error]
    front = max((primary.position for primary in primaries), default=0)
    standbys = [
        f"{server.name} ({size(max(0, front - server.position))} behind)" for server in found if server.is_standby
    ]
    named = f"Primary: {_listed([primary.name for primary in primaries])}. Standbys: {_listed(standbys)}."
    unseen = "".join(f" {each}." for each in silent)
    if len(primaries) > 1:
        advice = "Stop all but the right one at once: what the others accept is lost. Then look at your failover."
        return [wrong("servers", f"Several servers accept writes. {named}", advice)]
    if not primaries:
        advice = "Start the primary, or see why your failover has not promoted a standby."
        return [wrong("servers", f"No server accepts writes. {named}{unseen}", advice)]
    if silent:
        advice = "Start it, or remove it from AIGEN_DATABASE_URL. A failover needs a standby that runs."
        return [warning("servers", f"{named}{unseen}", advice)]
    return [ok("servers", named)]


def _standbys(found: Replication, *, is_expected: bool) -> list[Finding]:
    if found.is_synchronous and all(standby.sync_state == "async" for standby in found.standbys):
        return [_without_synchronous_standby(found)]
    if not found.standbys:
        return [_without_standby(is_expected=is_expected)]
    if not found.is_synchronous:
        reason = "synchronous_commit is local" if found.standby_names else "synchronous_standby_names is empty"
        detail = f"Replication is asynchronous ({reason}), so a failover loses what was accepted last. {_named(found)}"
        return [warning("replication", detail, SYNCHRONOUS_ADVICE)]
    if late := [standby.name for standby in found.standbys if standby.lag and standby.lag > LATE]:
        advice = "Look at its network and disk, and for long queries on it."
        return [warning("replication", f"{_listed(late)} is more than {spoken(LATE)} behind. {_named(found)}", advice)]
    return [ok("replication", f"Commits wait for a standby. {_named(found)}")]


def _archive(found: Replication) -> list[Finding]:
    if found.unarchived is None:
        return []
    detail = f"PostgreSQL could not archive {found.unarchived} of its write-ahead log."
    advice = (
        "Its log says what archive_command answered. Until that works, a restore ends before this file, and the disk "
        "fills up (docs/backup-and-restore.md)."
    )
    return [wrong("archive", detail, advice)]


def _without_synchronous_standby(found: Replication) -> Finding:
    names = f"synchronous_standby_names is {found.standby_names!r}"
    detail = f"{names}, but no such standby is connected: commits wait. {_named(found)}"
    return wrong("replication", detail, "Start the standby, or empty synchronous_standby_names until it runs.")


def _without_standby(*, is_expected: bool) -> Finding:
    if is_expected:
        detail = "AIGEN_DATABASE_URL names several servers, but no standby is connected to the primary."
        return warning("replication", detail, "Start the standbys. Until then, nothing can take over.")
    return ok("replication", "No standby is connected.")


def _named(found: Replication) -> str:
    if not found.standbys:
        return "0 connected."
    visible = [_described(standby) for standby in found.standbys if standby.sync_state]
    if visible:
        return f"Standbys: {_listed(visible)}."
    return f'{len(found.standbys)} connected; GRANT pg_monitor TO "{found.role}" shows which and how far behind.'


def _described(standby: Standby) -> str:
    lag = f", {spoken(standby.lag)}" if standby.lag else ""
    return f"{standby.name} ({standby.sync_state}{lag}, {size(max(0, standby.behind or 0))} behind)"


async def look_at_pooler(subject: Subject) -> list[Finding]:
    """A pooler in transaction mode is known to the settings, and the listener goes past it."""
    is_pooled, prepares = await subject.opened.is_pooled(), subject.database.prepared_statements
    if prepares:
        how = "A pooler in session mode is in between; no statements are prepared."
        findings = [ok("pooler", how if is_pooled else "None is in between.")]
    elif is_pooled:
        findings = [ok("pooler", "One is in between, and each transaction begins with its own settings.")]
    else:
        found = (
            "None is in between, yet AIGEN_DATABASE__PREPARED_STATEMENTS is false: statements take three round trips."
        )
        findings = [warning("pooler", found, "Remove that setting.")]
    return findings + await _listener(subject)


async def _listener(subject: Subject) -> list[Finding]:
    if subject.listener_url is None:
        poll = spoken(subject.settings.worker.poll) if subject.settings else "the polling interval"
        found = f"Workers get no notifications behind the pooler: they poll, and begin up to {poll} late at each step."
        return [warning("listener", found, "Set AIGEN_DATABASE__LISTEN_URL to a URL of this database past the pooler.")]
    if subject.database.listen_url is None:
        return []
    try:
        await asyncio.to_thread(
            check,
            _url(subject),
            subject.database.timeout,
            prepared_statements=subject.database.prepared_statements,
            listener_url=subject.listener_url.get_secret_value(),
        )
    except UnsuitableDatabaseError as error:
        return [wrong("listener", error.detail, error.advice)]
    except StoreUnavailableError as error:
        found = f"AIGEN_DATABASE__LISTEN_URL cannot be reached: {error.reason}"
        return [warning("listener", found, "Correct it, or start what it names. Workers poll meanwhile.")]
    return [ok("listener", "AIGEN_DATABASE__LISTEN_URL leads to this database.")]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
