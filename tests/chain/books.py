"""The books of the bridge, N8N, the AI service and Odoo, and what does not balance between them."""

import base64
import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from aigen_bridge.sim.flux_jobs import Job
from chain.ground import PAYS_ONCE
from chain.hops import note
from chain.people import Crew, rows, until
from chaos.facts import BUGS, QUERIES

Row = dict[str, Any]
RUNNING = frozenset({"new", "running", "waiting"})
FINAL = frozenset({"completed", "failed", "cancelled"})
EXECUTIONS = """
SELECT id, CASE WHEN deletedAt IS NULL THEN status ELSE 'success' END
FROM execution_entity WHERE workflowId = 'aigen-main'"""
"""N8N marks a successful execution as deleted and leaves its status as it was, because the workflow keeps none."""


@dataclass(frozen=True)
class Books:
    """What each program says about each request, by request id."""

    bridge: dict[str, Row]
    odoo: dict[str, Row]
    attachments: dict[str, list[str]]
    """The SHA-256 of the bytes of each attachment."""
    executions: dict[str, list[str]]
    """The final status of each execution of N8N. The empty id has those that are not known to the bridge."""
    jobs: dict[str, list[Job]]
    """What the AI service took on."""
    complaints: list[str]
    """Processes that ended by themselves, and unexpected errors in the logs."""


def read_books(crew: Crew) -> Books:
    """Reads the books once everything has come to its end, or had the time for it."""
    with suppress(AssertionError):
        until(lambda: _is_settled(crew))
    bridge = {row["request_id"]: row for row in rows(crew.ground.bridge.postgres.url, QUERIES["requests"])}
    records = crew.in_odoo("status <> 'draft'")
    ids: dict[str | None, str] = {record["correlation_id"]: record["request_id"] for record in records}
    jobs: dict[str, list[Job]] = defaultdict(list)
    for job in crew.ground.ai.simulator.jobs:
        jobs[ids.get(job.correlation_id, f"unknown correlation id {job.correlation_id}")].append(job)
    books = Books(
        bridge=bridge,
        odoo={record["request_id"]: record for record in records},
        attachments=_attachments(crew, records),
        executions=_executions(crew),
        jobs=jobs,
        complaints=[*crew.ground.bridge.supervisor.fallen, *_bugs(crew)],
    )
    _note(books)
    return books


def _is_settled(crew: Crew) -> bool:
    """Whether every request is delivered and no execution is running. Alerts may still be pending."""
    unsettled = """SELECT request_id FROM requests WHERE delivered_at IS NULL
        UNION ALL SELECT request_id FROM outbox WHERE state = 'pending' AND step <> 'alert'"""
    executions = {status for statuses in _executions(crew).values() for status in statuses}
    return not rows(crew.ground.bridge.postgres.url, unsettled) and not executions & RUNNING


def _attachments(crew: Crew, records: list[Row]) -> dict[str, list[str]]:
    ids = {record["id"]: record["request_id"] for record in records}
    domain = [("res_model", "=", "aigen.image.request"), ("res_id", "in", list(ids))]
    fields = ["res_id", "datas"]
    found: dict[str, list[str]] = defaultdict(list)
    for file in crew.ground.odoo.as_person("mia", "ir.attachment", "search_read", domain, fields):
        found[ids[file["res_id"]]].append(hashlib.sha256(base64.b64decode(file["datas"])).hexdigest())
    return found


def _executions(crew: Crew) -> dict[str, list[str]]:
    """Reads N8N's own database. The bridge knows which request an execution works on."""
    known = rows(crew.ground.bridge.postgres.url, "SELECT execution_id, request_id::text FROM executions")
    requests = {row["execution_id"]: row["request_id"] for row in known}
    database = crew.ground.n8n.home / ".n8n/database.sqlite"
    found: dict[str, list[str]] = defaultdict(list)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for number, status in connection.execute(EXECUTIONS):
            found[requests.get(str(number), "")].append(status)
    return found


def _bugs(crew: Crew) -> list[str]:
    return [json.dumps(entry)[:500] for entry in crew.ground.bridge.logged() if entry.get("event") in BUGS]


def balance(books: Books) -> list[str]:
    """Returns what does not balance."""
    wrong = [
        f"{name} is only in the books of one of bridge and Odoo" for name in books.bridge.keys() ^ books.odoo.keys()
    ]
    for name in books.bridge.keys() & books.odoo.keys():
        wrong += [f"{name}: {problem}" for problem in _problems(books, name)]
    foreign = books.jobs.keys() - books.bridge.keys()
    return wrong + [f"a job of {name}" for name in foreign] + books.complaints


def _problems(books: Books, name: str) -> Iterator[str]:
    bridge, odoo, attachments = books.bridge[name], books.odoo[name], books.attachments.get(name, [])
    if bridge["status"] not in FINAL or not bridge["delivered"]:
        yield f"{bridge['status']}, delivered: {bridge['delivered']}"
    if (bridge["status"], bridge["error_code"]) != (odoo["status"], odoo["error_code"]):
        yield f"{bridge['status']} {bridge['error_code']} in the bridge, {odoo['status']} {odoo['error_code']} in Odoo"
    expected = [bridge["stored"]] if bridge["status"] == "completed" else []
    if attachments != expected or bridge["declared"] != bridge["stored"]:
        yield f"attachments {attachments}, in the bridge {bridge['stored']}, declared {bridge['declared']}"
    executions, jobs = books.executions.get(name, []), books.jobs.get(name, [])
    if bridge["status"] == "completed" and "success" not in executions:
        yield f"completed, and no execution of N8N succeeded: {executions}"
    if RUNNING.intersection(executions):
        yield f"executions of N8N that have not ended: {executions}"
    if not _is_paid_right(bridge["status"], jobs, executions.count("crashed")):
        yield f"{bridge['status']} with {len(jobs)} jobs {jobs}; executions {executions}"


def _is_paid_right(status: str, jobs: list[Job], crashes: int) -> bool:
    """Whether a picture cost one job, and what did not become a picture at most one."""
    if status != "completed":
        return len(jobs) <= 1
    return 1 <= len(jobs) <= (1 if PAYS_ONCE else 1 + crashes) and any(job.billed for job in jobs)


def _note(books: Books) -> None:
    """Adds the totals to the report."""
    statuses = Counter(row["status"] for row in books.bridge.values())
    executions = Counter(status for found in books.executions.values() for status in found)
    attachments = sum(len(found) for found in books.attachments.values())
    note(f"bridge: {len(books.bridge)} requests {dict(statuses)}; Odoo: {len(books.odoo)}, {attachments} attachments")
    jobs = [job for found in books.jobs.values() for job in found]
    billed = sum(job.billed for job in jobs)
    note(f"N8N: {executions.total()} executions {dict(executions)}; AI service: {len(jobs)} jobs, {billed} billed")
