"""Everything that is known about one request, for requests that do not balance."""

from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

from chaos.facts import Facts, Row

STARTS_WITH_ID = len(str(UUID(int=0)))


def concerned(accounts: Mapping[str, Iterable[str]]) -> list[str]:
    """Returns the requests in the accounts' complaints, each once, in order of appearance."""
    starts = (line[:STARTS_WITH_ID] for lines in accounts.values() for line in lines)
    return list(dict.fromkeys(start for start in starts if _is_id(start)))


def story(name: str, facts: Facts) -> Iterator[str]:
    """Yields the addon's promises, the bridge's state, moves, entries and attempts, the callbacks and the effects."""
    promises = [("accepted", facts.accepted), ("cancelled", facts.cancelled)]
    yield f"{name}: to the addon: {', '.join(word for word, names in promises if name in names) or 'nothing'}"
    yield f"  bridge: {_state(facts.requests.get(name))}"
    moves = (f"{row['version']} {row['status']}" for row in facts.changes.get(name, []))
    yield f"  moves: {', '.join(moves) or 'none'}"
    for row in facts.entries:
        if row["request_id"] == name:
            made = (f"{a['number']} {a['outcome']} {a['finished_at']:%M:%S.%f}" for a in _attempts(facts, row["id"]))
            yield f"  entry {row['id']} ({row['step']}): {row['state']}; attempts: {', '.join(made) or 'none'}"
    for job in facts.jobs:
        if job["request_id"] == name:
            yield f"  job {job['id']}: {_ending(job)}; the bridge: {_named(facts.named.get(job['id']))}"
    for doubt in facts.doubts:
        if doubt["request_id"] == name:
            yield f"  maybe paid: {doubt['note']}"
    for callback in facts.callbacks:
        if callback.request_id == name:
            answer = f"{callback.status or callback.broke}{' duplicate' if callback.duplicate else ''}"
            yield f"  callback: {callback.says} {_short(callback.content)}, answered {answer}"
    for effect in facts.effects.get(name, []):
        image = effect.get("image") or {}
        yield f"  Odoo: {effect['version']} {effect['status']} {_short(image.get('sha256'))}"


def _attempts(facts: Facts, entry_id: int) -> Iterator[Row]:
    return (row for row in facts.attempts if row["entry_id"] == entry_id)


def _ending(job: Row) -> str:
    ending = f"{job['ending']['status']} {job['ending']['error_type'] or ''}".strip() if job["ending"] else job["stage"]
    return f"{ending}, {'billed' if job['billed'] else 'not billed'}"


def _named(row: Row | None) -> str:
    if row is None:
        return "never named"
    kind = "beside another" if row["is_other"] else "given up as unbilled" if row["ended"] else "its job"
    return f"{kind}, named by execution {row['execution_id']}"


def _state(row: Row | None) -> str:
    if row is None:
        return "unknown"
    delivered = "delivered" if row["delivered"] else "not delivered"
    error = f" by {row['failed_by']}: {row['error_code']}" if row["failed_by"] else ""
    image = f"{_short(row['declared'])} {_short(row['stored'])}"
    return f"{row['status']} {row['version']}{error}, {delivered}, image {image}"


def _short(content: str | None) -> str:
    return (content or "none")[:12]


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
