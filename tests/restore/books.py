"""Counts of rows, and the comparison of bridge, Odoo and AI service after everything has ended."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from restore.people import ENDED, People
from restore.server import Server
from stage import KEYS, REQUESTS

TABLES = """
    SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY c.relname
"""
SHOWN = ("requests", "request_changes", "outbox", "attempts", "generations", "images", "quarantine", "ledger")
REQUEST = "SELECT request_id::text, status, delivered_at IS NOT NULL AS delivered, image ->> 'sha256' FROM requests"
PENDING = "SELECT count(*) FROM outbox WHERE state = 'pending' AND step <> 'alert'"
UNSETTLED = "SELECT count(*) FROM unsettled"
LETTERS = """
    SELECT 'callback ' || error_code FROM quarantine WHERE state = 'open'
    UNION ALL SELECT split_part(step, ':', 1) || ' ' || error_code FROM outbox WHERE state = 'dead'
"""


@dataclass(frozen=True)
class Request:
    """A request as the bridge knows it."""

    status: str
    is_delivered: bool
    sha256: str | None


@dataclass(frozen=True)
class Books:
    """The end of a run. `wrong` has a line for each broken promise, the rest are counts.

    `paid_again` counts images that N8N had reported before the loss and Odoo had not got: they are lost.
    """

    endings: Counter[str]
    forgotten: int
    paid: int
    paid_again: int
    letters: Counter[str]
    wrong: list[str]


def counts(server: Server) -> dict[str, int]:
    """Returns the number of rows of every table."""
    return {name: server.read(f'SELECT count(*) FROM "{name}"')[0][0] for (name,) in server.read(TABLES)}  # noqa: S608


async def close(people: People, server: Server, *, doubts: int = 0, reported: frozenset[str] = frozenset()) -> Books:
    """Compares what the people were promised with what the bridge, Odoo and the AI service know.

    `doubts` is the number of requests that must fail as `maybe_paid`. `reported` may be paid for again.
    """
    records = people.bridge.chain.odoo.records
    known = {name: Request(*rest) for name, *rest in server.read(REQUEST)}
    endings = Counter(_ending(records[name]) for name in people.accepted)
    correlated = {event["correlationId"]: name for name, event in people.events.items()}
    jobs = Counter(correlated[job.correlation_id] for job in people.bridge.chain.flux.jobs if job.billed)
    wrong = [
        *(f"{name}: accepted, and has not ended in Odoo" for name in people.waiting()),
        *(f"{name}: paid {number} times" for name, number in jobs.items() if number > 1 + (name in reported)),
        *(f"{name}: paid, and Odoo has no picture" for name in jobs if not records[name].sha256),
        *_contradictions(people, known),
        *(f"{name}: {each.status} in the bridge" for name, each in known.items() if each.status not in ENDED),
        *_left(server),
        *([f"{endings['failed maybe_paid']} of {doubts} doubtful"] if endings["failed maybe_paid"] != doubts else []),
        *(
            f"{number} {ending}"
            for ending, number in endings.items()
            if ending not in {"completed", "failed maybe_paid"}
        ),
        *[each async for each in _damaged(people, known)],
    ]
    letters = Counter(str(row[0]) for row in server.read(LETTERS))
    return Books(endings, len(people.accepted - known.keys()), jobs.total(), jobs.total() - len(jobs), letters, wrong)


def _ending(record: Any) -> str:
    return f"{record.status} {record.error_code or ''}".strip()


def _contradictions(people: People, known: Mapping[str, Request]) -> Iterator[str]:
    """Yields requests that ended otherwise in the bridge than in Odoo. Those that Odoo had ended are cancelled."""
    for name, request in known.items():
        record = people.bridge.chain.odoo.records[name]
        is_same = request.status == record.status and request.sha256 == record.sha256
        if not is_same and not (request.status == "cancelled" and record.status == "completed"):
            yield f"{name}: {request.status} in the bridge, {record.status} in Odoo"


def _left(server: Server) -> Iterator[str]:
    for what, query in (("outbox entries are pending", PENDING), ("changes are not in the ledger", UNSETTLED)):
        if number := server.read(query)[0][0]:
            yield f"{number} {what}"


async def _damaged(people: People, known: Mapping[str, Request]) -> Any:
    """Yields completed requests whose image the API does not return, or with another content than it was."""
    for name, request in known.items():
        if request.status == "completed":
            answer = await people.bridge.api.get(f"{REQUESTS}/{name}/image", headers={"X-API-Key": KEYS["ops"]})
            if answer.status_code != httpx.codes.OK or hashlib.sha256(answer.content).hexdigest() != request.sha256:
                yield f"{name}: its image cannot be read ({answer.status_code})"
