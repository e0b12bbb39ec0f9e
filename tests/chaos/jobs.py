"""Compares the AI service's jobs with the requests: what was paid for, and whether its picture arrived."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaos.facts import Facts, Row
from chaos.weather import REFUSED

CLIENT_CANCELLED = "client_cancelled"
"""The AI service's error_type of a job that was cancelled."""
UNBILLED = "ended unbilled"
NEVER_NAMED = "never named, counted as maybe paid"
NAMED_BESIDE = "named beside another, counted as maybe paid"
CANCELLED, MAYBE_PAID, SAID_NO = "cancelled", "maybe paid", "the AI service said no to another submission"


@dataclass(frozen=True, slots=True)
class Extra:
    """A job of a request that has another. `reason` explains it; None if nothing does."""

    request_id: str
    job_id: str
    reason: str | None


def extra_jobs(facts: Facts) -> Iterator[Extra]:
    """Yields every job beyond the first of a request.

    Each time that the bridge counted a request as maybe paid, a grant ended without a job's name. That explains one
    job at most, which nobody named, or which was named when another was known.
    """
    counted = Counter(row["request_id"] for row in facts.doubts)
    for request_id, jobs in jobs_by_request(facts).items():
        doubts = counted[request_id]
        for job in _all_but_one(jobs, facts.named):
            reason = _reason(job, facts.named.get(job["id"]))
            doubts -= reason != UNBILLED
            yield Extra(request_id, job["id"], reason if reason == UNBILLED or doubts >= 0 else None)


def unexplained(facts: Facts) -> Iterator[str]:
    """Yields the jobs beyond the first that nothing explains."""
    for extra in extra_jobs(facts):
        if extra.reason is None:
            yield f"{extra.request_id}: job {extra.job_id} is one too many"


def wrong_in_the_books(facts: Facts) -> Iterator[str]:
    """Yields the jobs about which the bridge and the AI service disagree."""
    at_provider = {job["id"]: job for job in facts.jobs}
    for job_id, named in facts.named.items():
        job = at_provider.get(job_id)
        if job is None or job["request_id"] != named["request_id"]:
            yield f"{named['request_id']}: the AI service has no job {job_id} for it"
        elif named["ended"] and job["billed"]:
            yield f"{named['request_id']}: job {job_id} was given up as unbilled, and is billed"


def missing_pictures(facts: Facts) -> Iterator[str]:
    """Yields the requests whose job made a picture that Odoo does not have, without a good reason."""
    for name, sha256 in facts.pictures.items():
        if not _has(facts, name, sha256) and excuse(name, facts) is None:
            row = facts.requests.get(name) or {"status": "unknown", "error_code": None}
            yield f"{name}: its picture {sha256[:12]} was made; it is {row['status']} {row['error_code'] or ''}".strip()


def excused_pictures(facts: Facts) -> Counter[str]:
    """Counts the pictures that Odoo does not have, by the reason why that is in order."""
    missing = (name for name, sha256 in facts.pictures.items() if not _has(facts, name, sha256))
    return Counter(reason for name in missing if (reason := excuse(name, facts)))


def excuse(name: str, facts: Facts) -> str | None:
    """Returns why Odoo rightly has no picture of this request; None if there is no reason."""
    row = facts.requests.get(name, {})
    ending = row.get("status"), row.get("failed_by"), row.get("error_code")
    if ending[0] == "cancelled":
        return CANCELLED
    if ending == ("failed", "bridge", "maybe_paid"):
        return MAYBE_PAID
    return SAID_NO if ending == ("failed", "n8n", REFUSED) and name in facts.declined else None


def jobs_by_request(facts: Facts) -> dict[str, list[Row]]:
    """Returns the jobs of each request, in the order in which the AI service took them."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for job in sorted(facts.jobs, key=lambda job: job["submitted_at"]):
        grouped[job["request_id"]].append(job)
    return dict(grouped)


def causes_of_doubt(facts: Facts) -> Counter[str]:
    """Counts the grants that ended without a job's name, by what happened to their executions."""
    return Counter(_cause(row, facts) for row in facts.doubts)


def _cause(row: Row, facts: Facts) -> str:
    if any(name in row["note"].split() for name in facts.dead_executions):
        return "N8N died"
    return "the answer to the submission was lost" if row["request_id"] in facts.unanswered else "another cause"


def _all_but_one(jobs: list[Row], named: Mapping[str, Row]) -> list[Row]:
    """Returns the jobs without the one that counts as the request's own."""

    def rank(job: Row) -> tuple[bool, bool]:
        known = named.get(job["id"])
        return known is not None and not known["is_other"] and not known["ended"], job["billed"]

    own = max(jobs, key=rank)
    return [job for job in jobs if job is not own]


def _reason(job: Row, named: Row | None) -> str | None:
    is_other = named is not None and named["is_other"]
    is_cancelled = job["ending"] is not None and job["ending"]["error_type"] == CLIENT_CANCELLED
    if not job["billed"] and not (is_other and is_cancelled):  # that cancellation cost nothing only by luck
        return UNBILLED
    if named is None:
        return NEVER_NAMED
    return NAMED_BESIDE if is_other else None


def _has(facts: Facts, name: str, sha256: str) -> bool:
    """Returns whether Odoo's last news of a request is this picture."""
    image = facts.effects.get(name, [{}])[-1].get("image") or {}
    return image.get("sha256") == sha256
