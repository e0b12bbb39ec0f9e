"""Compares the facts. Every account must be empty; its lines describe what went wrong."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from aigen_bridge.domain.image import ImageRef
from chaos.callbacks import broken_promises, wrong_refusals
from chaos.facts import Facts, Row
from chaos.jobs import missing_pictures, unexplained, wrong_in_the_books
from chaos.storage import owner_of

FINAL = frozenset({"completed", "failed", "cancelled"})
LEGAL = {
    "queued": {"dispatched", "received", "completed", "failed", "cancelled"},
    "dispatched": {"queued", "received", "completed", "failed", "cancelled"},
    "received": {"completed", "failed", "cancelled"},
    "failed": {"queued", "received", "completed"},
}
"""The legal transitions of the specification, independent of the code on purpose."""
NOT_N8N = frozenset({"http_404", "unexpected_answer", "http_502", "http_503", "http_504"})
"""Errors of responses that are not from N8N's workflow. They mean that N8N is away and never justify giving up."""
BACK = timedelta(seconds=5)
"""A destination that has been back for this long has been probed, because probes run every second."""

Account = Callable[[Facts], Iterator[str]]


def _not_accepted(facts: Facts) -> Iterator[str]:
    yield from facts.refused
    yield from (f"{name}: never answered with 202 or 200" for name in sorted(facts.ordered - facts.accepted))


def _lost(facts: Facts) -> Iterator[str]:
    yield from (f"{name}: accepted, and the bridge does not know it" for name in facts.accepted - facts.requests.keys())


def _from_nowhere(facts: Facts) -> Iterator[str]:
    yield from (f"{name}: was never requested" for name in facts.requests.keys() - facts.ordered)


def _not_ended(facts: Facts) -> Iterator[str]:
    for name, row in facts.requests.items():
        if row["status"] not in FINAL:
            yield f"{name}: still {row['status']}"


def _given_up(facts: Facts) -> Iterator[str]:
    """Yields requests that failed because N8N was away. Failures that the injected faults explain are in order."""
    for row in facts.unaided:
        if not _is_excused(row, facts):
            yield f"{row['request_id']}: {row['error_code']}, its dispatch: {row['cause'] or 'acknowledged'}"


def _is_excused(row: Row, facts: Facts) -> bool:
    if row["error_code"] == "maybe_paid":
        return True
    if row["error_code"] == "timed_out":  # N8N has reported its result to operations
        return bool(row["handed_over"])
    if row["cause"] == "destination_out":
        return not _was_back(row["began_at"], row["finished_at"], facts)
    return row["cause"] not in NOT_N8N and not _is_away(row["attempted_at"], facts)


def _was_back(since: datetime, until: datetime, facts: Facts) -> bool:
    for begin, end in sorted(facts.away):
        if min(begin, until) - since >= BACK:
            return True
        since = max(since, end)
    return until - since >= BACK


def _is_away(at: datetime, facts: Facts) -> bool:
    return any(begin <= at <= end for begin, end in facts.away)


def missed_attempts(facts: Facts) -> int:
    """Returns the number of dispatch attempts that began while N8N was away."""
    started = (row["finished_at"] - row["took"] for row in facts.attempts if row["step"] == "dispatch")
    return sum(_is_away(at, facts) for at in started)


def _cancelled_in_vain(facts: Facts) -> Iterator[str]:
    for name in facts.cancelled & facts.requests.keys():
        if (status := facts.requests[name]["status"]) != "cancelled":
            yield f"{name}: its cancellation was answered with 200, it is {status}"


def _unheard_of(facts: Facts) -> Iterator[str]:
    for name, row in _ended(facts):
        if name not in facts.effects and not _dead_letter(facts, name):
            yield f"{name}: {row['status']}, and Odoo never heard of it"


def _other_news(facts: Facts) -> Iterator[str]:
    for name, row in _ended(facts):
        known = facts.effects.get(name)
        last = (known[-1]["version"], known[-1]["status"]) if known else None
        if known and last != (row["version"], row["status"]) and not _dead_letter(facts, name):
            yield f"{name}: {row['status']} {row['version']}, Odoo's last news is {last}"


def _duplicates(facts: Facts) -> Iterator[str]:
    for name, effects in facts.effects.items():
        counts = Counter(effect["version"] for effect in effects)
        yield from (f"{name}: version {version} {number} times" for version, number in counts.items() if number > 1)


def _backwards(facts: Facts) -> Iterator[str]:
    for name, effects in facts.effects.items():
        versions = [effect["version"] for effect in effects]
        if versions != sorted(versions):
            yield f"{name}: versions {versions}"


def _unfounded(facts: Facts) -> Iterator[str]:
    """Yields effects in Odoo for states that the request never had."""
    for name, effects in facts.effects.items():
        true = {(change["version"], change["status"]) for change in facts.changes.get(name, [])}
        applied = [(effect["version"], effect["status"]) for effect in effects]
        yield from (f"{name}: Odoo applied {news}, which it never was" for news in applied if news not in true)


def _hashes(facts: Facts) -> Iterator[str]:
    reported = {each.request_id: each.content for each in facts.callbacks if each.says != "failed"}
    for name, row in facts.requests.items():
        if row["status"] != "completed":
            continue
        image = facts.effects.get(name, [{}])[-1].get("image") or {"sha256": None}
        odoo = image["sha256"] if name in facts.effects and not _dead_letter(facts, name) else row["declared"]
        stored = row["stored"] or _in_the_store(name, row, facts)
        seen = {row["declared"], stored, odoo, reported.get(name)}
        if len(seen) > 1 or odoo in facts.torn_images:
            bridge = f"bridge declares {row['declared']}, has {stored}"
            yield f"{name}: {bridge}, Odoo {odoo}, N8N {reported.get(name)}"


def _in_the_store(name: str, row: Row, facts: Facts) -> str | None:
    return (facts.objects or {}).get(ImageRef(UUID(name), row["declared"]).key)


def _not_moved(facts: Facts) -> Iterator[str]:
    """Yields images that are still in PostgreSQL although the image store is back."""
    if facts.objects is not None:
        yield from (f"{row['request_id']}: its image is still in PostgreSQL" for row in facts.waiting_images)


def _objects_lost(facts: Facts) -> Iterator[str]:
    """Yields images whose object is missing or damaged, now or when days have passed."""
    if facts.objects is None:
        return
    in_postgresql = {row["request_id"] for row in facts.waiting_images}
    for key, ref in _references(facts).items():
        found = facts.objects.get(key)
        if found != ref.sha256 and not (found is None and str(ref.request_id) in in_postgresql):
            yield f"{ref.request_id}: the object of its image is {'damaged' if found else 'missing'}"
        elif found and key not in facts.swept:
            yield f"{ref.request_id}: the object of its image was swept"


def _objects_left(facts: Facts) -> Iterator[str]:
    """Yields objects that nothing refers to, and that are still there when days have passed."""
    yield from (f"{owner_of(key)}: nothing refers to {key}" for key in facts.swept - _references(facts).keys())


def _references(facts: Facts) -> dict[str, ImageRef]:
    refs = (ImageRef(UUID(name), row["declared"]) for name, row in facts.requests.items() if row["declared"])
    return {ref.key: ref for ref in refs}


def _live_entries(facts: Facts) -> Iterator[str]:
    yield from (f"{_entry(row)} is still live" for row in facts.entries if row["state"] == "pending")


def _two_live(facts: Facts) -> Iterator[str]:
    live = Counter((row["request_id"], row["step"]) for row in facts.entries if row["state"] == "pending")
    yield from (f"{name}: {number} live entries for {step}" for (name, step), number in live.items() if number > 1)


def _gaps(facts: Facts) -> Iterator[str]:
    for name, row in facts.requests.items():
        changes = facts.changes.get(name, [])
        versions = [change["version"] for change in changes]
        last = changes[-1]["status"] if changes else "queued"
        if versions != list(range(2, row["version"] + 1)) or last != row["status"]:
            yield f"{name}: is {row['status']} {row['version']}, its changes are {versions}, the last to {last}"


def _illegal_moves(facts: Facts) -> Iterator[str]:
    for name, changes in facts.changes.items():
        for before, after in pairwise(["queued", *(change["status"] for change in changes)]):
            if after not in LEGAL.get(before, ()):
                yield f"{name}: moved from {before} to {after}"


def _not_delivered(facts: Facts) -> Iterator[str]:
    """Yields ended requests whose last delivery is missing, unfinished, or inconsistent with `delivered`."""
    last = {row["request_id"]: row for row in facts.entries if row["step"] == "deliver"}
    for name, row in _ended(facts):
        entry = last.get(name)
        if entry is None or entry["state"] not in {"done", "dead"}:
            yield f"{name}: {row['status']}, and its last delivery is {entry and entry['state']}"
        elif (entry["state"] == "done") != row["delivered"]:
            yield f"{name}: delivered is {row['delivered']}, its last delivery is {entry['state']}"


def _settled_twice(facts: Facts) -> Iterator[str]:
    """Yields attempts with several outcomes.

    Two with the same duration are one that was written again after a broken commit.
    """
    ends: dict[str, set[Any]] = defaultdict(set)
    for row in facts.attempts:
        ends[_attempt(row)].add((row["outcome"], row["took"]))
    yield from (f"{name}: {len(ways)} different ends" for name, ways in ends.items() if len(ways) > 1)


def _written_twice(facts: Facts) -> Iterator[str]:
    counts = Counter((_attempt(row), row["outcome"], row["took"]) for row in facts.attempts)
    yield from (f"{name}: {number} times {outcome}" for (name, outcome, _), number in counts.items() if number > 1)


def _unlisted(facts: Facts) -> Iterator[str]:
    dead = {f"entry-{row['id']}": _entry(row) for row in facts.entries if row["state"] == "dead"}
    kept = {f"callback-{row['id']}": f"{row['request_id']}: callback in quarantine" for row in facts.quarantine}
    yield from (words for name, words in (dead | kept).items() if name not in facts.dead_letters)


def _unalerted(facts: Facts) -> Iterator[str]:
    """Yields dead letters without an alert, including replayed ones."""
    if facts.alerted is None:
        return
    for row in facts.entries:
        dead = row["state"] == "dead" or f"entry-{row['id']}" in facts.replayed
        if dead and row["request_id"] not in facts.alerted:
            yield f"{_entry(row)} died without an alert"
    for row in facts.quarantine:
        if row["request_id"] not in facts.alerted:
            yield f"{row['request_id']}: its callback {row['id']} is in quarantine without an alert"


UNALERTED = "dead letters without an alert"
ACCOUNTS: dict[str, Account] = {
    "lost": _lost,
    "duplicates": _duplicates,
    "refused or never accepted": _not_accepted,
    "from nowhere": _from_nowhere,
    "not ended": _not_ended,
    "given up although N8N came back": _given_up,
    "provider jobs beyond one, unexplained": unexplained,
    "provider jobs in the bridge's books that are wrong": wrong_in_the_books,
    "pictures that did not arrive": missing_pictures,
    "cancelled in vain": _cancelled_in_vain,
    "Odoo never heard of": _unheard_of,
    "Odoo knows other news": _other_news,
    "versions that went back": _backwards,
    "effects without a cause": _unfounded,
    "hashes that differ": _hashes,
    "images that were not moved to the image store": _not_moved,
    "objects missing or damaged": _objects_lost,
    "objects that nothing refers to": _objects_left,
    "callbacks taken without effect": lambda facts: broken_promises(facts.callbacks, facts.requests),
    "callbacks refused wrongly": lambda facts: wrong_refusals(facts.callbacks, facts.requests),
    "live entries": _live_entries,
    "two live entries for one step": _two_live,
    "gaps in the versions": _gaps,
    "illegal moves": _illegal_moves,
    "ended, delivery not accounted for": _not_delivered,
    "attempts settled twice": _settled_twice,
    "attempts recorded twice": _written_twice,
    "dead letters not listed": _unlisted,
    UNALERTED: _unalerted,
    "processes that fell over": lambda facts: iter(facts.fallen),
    "bugs in the logs": lambda facts: iter(facts.bugs),
}


def turnover(facts: Facts) -> dict[str, int]:
    """Returns the totals. The first three are equal when the ledger balances."""
    ended = [row for _, row in _ended(facts)]
    return {
        "accepted": len(facts.accepted),
        "ended": len(ended),
        "requests with their effect in Odoo": len(facts.effects),
        "of them with an image": sum(row["status"] == "completed" for row in ended),
    }


def compare(facts: Facts) -> dict[str, list[str]]:
    """Returns the lines of every account; all are empty when the ledger balances."""
    return {name: list(account(facts)) for name, account in ACCOUNTS.items()}


def _ended(facts: Facts) -> Iterator[tuple[str, Row]]:
    return ((name, row) for name, row in facts.requests.items() if row["status"] in FINAL)


def _dead_letter(facts: Facts, name: str) -> bool:
    """Whether a dead letter reports that this request's result was not delivered to Odoo."""
    dead = (r for r in facts.entries if r["request_id"] == name and r["step"] == "deliver" and r["state"] == "dead")
    return any(f"entry-{row['id']}" in facts.dead_letters for row in dead)


def _attempt(row: Row) -> str:
    """Identifies an attempt. A held entry has all its attempts again, with the same numbers, in a new round."""
    entry = f"entry {row['entry_id']} ({row['step']})"
    return f"{row['request_id']}: {entry}, attempt {row['number']} of round {row['round']}"


def _entry(row: Row) -> str:
    return f"{row['request_id']}: entry {row['id']} ({row['step']}, {row['attempts']} attempts)"
