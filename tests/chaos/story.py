"""What everybody knows about one request: printed for those that do not balance."""

from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

from chaos.facts import Facts, Row

STARTS_WITH_ID = len(str(UUID(int=0)))


def concerned(accounts: Mapping[str, Iterable[str]]) -> list[str]:
    """The requests that the accounts complain of, each once, in the accounts' order."""
    starts = (line[:STARTS_WITH_ID] for lines in accounts.values() for line in lines)
    return list(dict.fromkeys(start for start in starts if _is_id(start)))


def story(name: str, facts: Facts) -> Iterator[str]:
    """The addon's promise, the bridge's state and moves, its entries and tries, N8N's callbacks, Odoo's effects."""
    promises = [("accepted", facts.accepted), ("cancelled", facts.cancelled)]
    yield f"{name}: to the addon: {', '.join(word for word, names in promises if name in names) or 'nothing'}"
    yield f"  bridge: {_state(facts.requests.get(name))}"
    moves = (f"{row['version']} {row['status']}" for row in facts.changes.get(name, []))
    yield f"  moves: {', '.join(moves) or 'none'}"
    for row in facts.entries:
        if row["request_id"] == name:
            tries = (f"{t['number']} {t['outcome']} {t['finished_at']:%M:%S.%f}" for t in _tries(facts, row["id"]))
            yield f"  entry {row['id']} ({row['step']}): {row['state']}; tries: {', '.join(tries) or 'none'}"
    for said in facts.callbacks:
        if said.request_id == name:
            answer = f"{said.status or said.broke}{' duplicate' if said.duplicate else ''}"
            yield f"  callback: {said.says} {_short(said.content)}, answered {answer}"
    for effect in facts.effects.get(name, []):
        image = effect.get("image") or {}
        yield f"  Odoo: {effect['version']} {effect['status']} {_short(image.get('sha256'))}"


def _tries(facts: Facts, entry_id: int) -> Iterator[Row]:
    return (row for row in facts.tries if row["entry_id"] == entry_id)


def _state(row: Row | None) -> str:
    if row is None:
        return "unknown"
    delivered = "delivered" if row["delivered"] else "not delivered"
    error = f" by {row['failed_by']}: {row['error_code']}" if row["failed_by"] else ""
    return f"{row['status']} {row['version']}{error}, {delivered}, image {_short(row['said'])} {_short(row['stored'])}"


def _short(content: str | None) -> str:
    return (content or "none")[:12]


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
