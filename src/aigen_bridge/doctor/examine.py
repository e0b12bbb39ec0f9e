"""Runs all checks concurrently. Each has its own deadline and is independent of the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from aigen_bridge.doctor.budgets import look_at_budgets
from aigen_bridge.doctor.callback import look_at_callback_url
from aigen_bridge.doctor.contradictions import look_at_settings
from aigen_bridge.doctor.database import look_at_clock, look_at_database, look_at_tables
from aigen_bridge.doctor.destinations import look_at_destinations
from aigen_bridge.doctor.disk import look_at_disk
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, warning, wrong
from aigen_bridge.doctor.generations import look_at_generations
from aigen_bridge.doctor.image_store import look_at_image_store
from aigen_bridge.doctor.marking import look_at_marking
from aigen_bridge.doctor.models import look_at_models
from aigen_bridge.doctor.n8n import look_at_n8n_key, look_at_webhook
from aigen_bridge.doctor.odoo import look_at_odoos
from aigen_bridge.doctor.outbox import look_at_dead_letters, look_at_outbox, look_at_processes, look_at_rows
from aigen_bridge.doctor.replication import look_at_pooler, look_at_replication
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.destination import with_breaker
from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store.inspection import inspection

CHECK_SECONDS = 20.0
"""For a whole check. Each of its calls has a much shorter timeout."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `about` names it in the finding when the check itself fails."""

    about: str
    look: Callable[[Subject], Awaitable[list[Finding]]]


CHECKS = (  # in the order of the report
    Check("settings", look_at_settings),
    Check("database", look_at_database),
    Check("replication", look_at_replication),
    Check("pooler", look_at_pooler),
    Check("tables", look_at_tables),
    Check("clock", look_at_clock),
    Check("worker", look_at_processes),
    Check("outbox", look_at_outbox),
    Check("rows", look_at_rows),
    Check("dead letters", look_at_dead_letters),
    Check("generations", look_at_generations),
    Check("models", look_at_models),
    Check("budgets", look_at_budgets),
    Check("marking", look_at_marking),
    Check("image store", look_at_image_store),
    Check("breakers", look_at_destinations),
    Check("N8N", look_at_webhook),
    Check("N8N key", look_at_n8n_key),
    Check("Odoo", look_at_odoos),
    Check("callback URL", look_at_callback_url),
    Check("disk", look_at_disk),
)


async def examine(
    subject: Subject, checks: Sequence[Check] = CHECKS, *, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Runs all checks, each within `seconds`. Returns findings in the order of the checks, without secrets."""
    async with _with_database(subject) as examined:
        found = await asyncio.gather(*(_run(check, examined, seconds) for check in checks))
    unseen = ", ".join(check.about for check, findings in zip(checks, found, strict=True) if findings is None)
    rest = [warning("the rest", f"Not checked: {unseen}.", "Fix the problems above, then run the doctor again.")]
    secrets = subject.secrets()
    seen = [finding for findings in found if findings for finding in findings]
    return [_censored(finding, secrets) for finding in seen + (rest if unseen else [])]


@asynccontextmanager
async def _with_database(subject: Subject) -> AsyncIterator[Subject]:
    if subject.database_url is None:
        yield subject
        return
    async with AsyncExitStack() as stack:
        try:
            url, database = subject.database_url.get_secret_value(), subject.database
            inspecting = inspection(
                url,
                database.timeout,
                with_breaker(subject.odoos, marks=subject.marks),
                prepared_statements=database.prepared_statements,
            )
            opened = replace(subject, inspection=await stack.enter_async_context(inspecting))
        except UnsuitableDatabaseError as error:
            opened = replace(subject, unsuitable=error)
        yield opened


async def _run(check: Check, subject: Subject, seconds: float) -> list[Finding] | None:
    """Runs one check. Returns None when it could not run for a reason that another check reports."""
    try:
        async with asyncio.timeout(seconds):
            return await check.look(subject)
    except TimeoutError:
        return [
            wrong(check.about, f"No answer within {seconds:.0f} s.", "Check whether it hangs, or run the doctor again.")
        ]
    except (NotLookedAtError, StoreUnavailableError):
        return None
    except Exception as error:  # the other checks are still worth reading
        log.exception("doctor.bug", about=check.about)
        return [wrong(check.about, f"The check itself failed ({type(error).__name__}).", "Please report it as a bug.")]


def _censored(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Removes secrets: findings quote other systems, and some of them repeat what they were sent."""
    found, advice = finding.found, finding.advice
    for secret in secrets:
        found, advice = found.replace(secret, "***"), advice.replace(secret, "***")
    return replace(finding, found=found, advice=advice)
