"""The final state of the addon, the bridge, PostgreSQL, Odoo, N8N and the AI service."""

import asyncio
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from aigen_bridge.sim.n8n_journal import Journal
from chaos.ground import DEAD_LETTERS, KEYS
from chaos.load_balancer import Answered
from chaos.postgres import Postgres
from chaos.schedule import Order

Row = dict[str, Any]

QUERIES = {
    "requests": """
        SELECT request_id::text, status, version, failed_by, error_code, delivered_at IS NOT NULL AS delivered,
            r.image ->> 'sha256' AS declared, encode(sha256(i.content), 'hex') AS stored
        FROM requests AS r LEFT JOIN images AS i USING (request_id)""",
    "changes": "SELECT request_id::text, version, status FROM request_changes ORDER BY request_id, version",
    "entries": "SELECT id, request_id::text, step, state, attempts, error_code FROM outbox ORDER BY id",
    "attempts": """
        SELECT entry_id, step, request_id::text, round, number, outcome, finished_at, finished_at - started_at AS took
        FROM (SELECT *, count(*) FILTER (WHERE outcome = 'held') OVER (PARTITION BY entry_id ORDER BY id) AS round
            FROM attempts) AS numbered
        WHERE outcome NOT IN ('lost', 'held') ORDER BY id""",
    "named": """
        SELECT request_id::text, job_id, execution_id, is_other, ended_at IS NOT NULL AS ended FROM provider_jobs""",
    "doubts": "SELECT request_id::text, note FROM generation_changes WHERE state = 'doubtful' ORDER BY id",
    "quarantine": "SELECT id, request_id::text, error_code FROM quarantine WHERE state = 'open'",
    "waiting_images": """
        SELECT request_id::text FROM images UNION ALL SELECT request_id::text FROM original_images""",
}
UNAIDED = """
    SELECT r.request_id::text, r.error_code, entry.error_code AS cause, entry.created_at AS began_at, entry.finished_at,
        latest.started_at AS attempted_at, EXISTS (
            SELECT FROM quarantine AS q
            WHERE q.request_id = r.request_id AND q.state = 'open' AND q.error_code = 'n8n_undelivered'
        ) AS handed_over
    FROM requests AS r
    LEFT JOIN LATERAL (
        SELECT * FROM outbox WHERE request_id = r.request_id AND step = 'dispatch' ORDER BY id DESC LIMIT 1
    ) AS entry ON true
    LEFT JOIN LATERAL (SELECT * FROM attempts WHERE entry_id = entry.id ORDER BY id DESC LIMIT 1) AS latest ON true
    WHERE r.failed_by = 'bridge' AND r.error_code NOT IN ('image_fetch_failed', 'image_rejected')
"""
"""Requests that the bridge gave up without a result, with the last dispatch entry and its last attempt."""
ALERTED = "SELECT DISTINCT request_id::text FROM occurrences"
BUGS = ("step.bug", "worker.bug", "worker.claim_failed", "sweep.bug", "purge.bug", "api.bug", "request.orphaned")
"""Log events that report unexpected errors."""
ANSWER_LOST = frozenset({0, 504})
"""How the AI service's record shows a submission that was taken, and whose answer was lost."""
DECLINED = 422
"""The AI service's no to a prompt."""


EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Violation|Timeout)\b")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the ledger compares. Requests are identified by their ids."""

    ordered: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    """Requests for which the addon received 202 or 200."""
    cancelled: frozenset[str] = frozenset()
    """Requests whose cancellation was answered with 200."""
    refused: tuple[str, ...] = ()
    callbacks: tuple[Answered, ...] = ()
    requests: dict[str, Row] = field(default_factory=dict)
    changes: dict[str, list[Row]] = field(default_factory=dict)
    """By request, in order of version."""
    entries: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    effects: dict[str, list[Row]] = field(default_factory=dict)
    """The effects in Odoo by request, in the order in which they were applied."""
    torn_images: frozenset[str] = frozenset()
    """SHA-256 of images in Odoo whose bytes do not match it."""
    dead_letters: frozenset[str] = frozenset()
    """Ids from the API's list: `entry-7`, `callback-7`."""
    replayed: frozenset[str] = frozenset()
    """Dead letters that a person replayed at the end."""
    alerted: frozenset[str | None] | None = None
    """Requests with an alert; None when this version of the bridge sends no alerts."""
    jobs: tuple[Row, ...] = ()
    """The AI service's own ledger: every job that it took, with its request."""
    unanswered: frozenset[str] = frozenset()
    """Requests with a submission whose answer was lost."""
    declined: frozenset[str] = frozenset()
    """Requests to which the AI service said no, at a submission or in the result of a job."""
    pictures: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the picture of each request for which a job succeeded. All its jobs make the same one."""
    named: dict[str, Row] = field(default_factory=dict)
    """The jobs that the bridge knows, by their ids. `ended`: given up, because they ended unbilled."""
    doubts: list[Row] = field(default_factory=list)
    """Each time that the bridge counted a request as maybe paid."""
    dead_executions: frozenset[str] = frozenset()
    """Executions that died with N8N."""
    away: tuple[tuple[datetime, datetime], ...] = ()
    """The times at which N8N was killed and at which its webhook was registered again."""
    objects: dict[str, str] | None = None
    """The SHA-256 of the bytes of each object in the image store, by its key; None when there is none."""
    swept: frozenset[str] = frozenset()
    """The keys of the objects that are left when days have passed."""
    waiting_images: list[Row] = field(default_factory=list)
    """The images in PostgreSQL."""
    unaided: list[Row] = field(default_factory=list)
    """The requests that the bridge had given up when everything had ended, before a person intervened."""
    fallen: tuple[str, ...] = ()
    bugs: tuple[str, ...] = ()


def stored(database: Postgres) -> dict[str, Any]:
    """Returns the facts from PostgreSQL."""
    found: dict[str, Any] = {name: database.read(query) for name, query in QUERIES.items()}
    found["requests"] = {row["request_id"]: row for row in found["requests"]}
    found["changes"] = _by(found["changes"], "request_id")
    found["named"] = {row["job_id"]: row for row in found["named"]}
    if database.read("SELECT to_regclass('occurrences') IS NOT NULL AS exists")[0]["exists"]:
        found["alerted"] = frozenset(row["request_id"] for row in database.read(ALERTED))
    return found


def unaided(database: Postgres) -> list[Row]:
    """Returns the requests that the bridge has given up so far."""
    return database.read(UNAIDED)


def applied(folder: Path) -> dict[str, Any]:
    """Returns the facts from Odoo, read from the file that it syncs before it responds."""
    path = folder / "effects.jsonl"
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    effects = [entry for line in lines if (entry := json.loads(line))["version"]]
    named = {entry["image"]["sha256"] for entry in effects if entry["image"]}
    torn = {name for name in named if hashlib.sha256((folder / name).read_bytes()).hexdigest() != name}
    return {"effects": _by(effects, "requestId"), "torn_images": frozenset(torn)}


async def generated(flux: httpx.AsyncClient, orders: Mapping[str, Order]) -> dict[str, Any]:
    """Returns the facts from the AI service. `orders` are the requests by their correlation ids."""
    jobs, calls = [
        (await flux.get(f"/_sim/{name}", timeout=30)).raise_for_status().json() for name in ("jobs", "calls")
    ]
    submissions = [(_order(call, orders), call["status"]) for call in calls if call["route"] == "generate"]
    known = tuple({**job, "request_id": orders[job["correlation_id"]].request_id} for job in jobs)
    endings = [(orders[job["correlation_id"]], job["ending"]["status"]) for job in jobs if job["ending"]]
    made = {order for order, status in endings if status == httpx.codes.OK}
    return {
        "jobs": known,
        "unanswered": frozenset(order.request_id for order, status in submissions if status in ANSWER_LOST),
        "declined": frozenset(order.request_id for order, status in [*submissions, *endings] if status == DECLINED),
        "pictures": await asyncio.to_thread(lambda: {order.request_id: order.sha256 for order in made}),
    }


def _order(call: Row, orders: Mapping[str, Order]) -> Order:
    return orders[call["headers"]["x-correlation-id"]]


def dead_executions(path: Path) -> frozenset[str]:
    """Returns the executions that died with N8N, from the file in which it keeps them."""
    return frozenset(Journal(path).unfinished())


def bugs(logs: Iterable[Path]) -> tuple[str, ...]:
    """Returns the unexpected errors in the logs: file, event, and the exceptions' last lines."""
    lines = chain.from_iterable(((log.name, line) for line in log.open(errors="replace")) for log in logs)
    found = Counter(_bug(name, line) for name, line in lines if any(f'"{bug}"' in line for bug in BUGS))
    return tuple(f"{bug} ({number} x)" if number > 1 else bug for bug, number in found.items())


def _bug(name: str, line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return f"{name}: {line[:300]}"
    raised = [line for line in str(event.get("exception", "")).splitlines() if EXCEPTION.match(line)]
    return f"{name}: {event['event']} {' < '.join(reversed(raised))[:400]}"


async def dead_letters(api: httpx.AsyncClient) -> list[Row]:
    """Returns the API's list of dead letters."""
    found: list[Row] = []
    query: dict[str, Any] = {"limit": 200}
    while True:
        answer = await api.get(DEAD_LETTERS, params=query, headers={"X-API-Key": KEYS["ops"]}, timeout=10)
        page = answer.raise_for_status().json()
        found += page["items"]
        if page["nextCursor"] is None:
            return found
        query["cursor"] = page["nextCursor"]


async def replay(api: httpx.AsyncClient) -> dict[str, int]:
    """Replays every dead letter, as a person does. Returns the HTTP status for each."""
    answers: dict[str, int] = {}
    for letter in await dead_letters(api):
        if letter["kind"] != "callback":  # those contradict the stored result, and would contradict it again
            path = f"{DEAD_LETTERS}/{letter['id']}/replay"
            answer = await api.post(path, headers={"X-API-Key": KEYS["ops"]}, timeout=10)
            answers[letter["id"]] = answer.status_code
    return answers


def _by(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[name]].append(row)
    return dict(grouped)
