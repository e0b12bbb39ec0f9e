"""Compares the store with the model, and checks the laws that hold independently of the model."""

from itertools import pairwise
from typing import Any

from machine.expected import ENDED, LEADS_TO, Expected
from machine.generating import ExpectedGeneration
from machine.world import ARE_MARKED, NAMES, request_id

NO_GENERATION = {"state": "none", "ends": False}


class Balance:
    """Compares after every step, and keeps the state of the previous step."""

    def __init__(self) -> None:
        self._versions: dict[str, tuple[int, str, str | None]] = {}

    def check(
        self,
        found: dict[str, Any],
        expected: list[Expected],
        generations: list[ExpectedGeneration],
        operations: list[tuple[int, str, str]],
    ) -> None:
        """Raises AssertionError for the first difference."""
        requests = found["requests"] or {}
        assert len(requests) == len(expected)
        for number, wanted in enumerate(expected):
            name = str(request_id(number))
            mine = {
                part: [tuple(row[1:]) for row in found[part] or [] if row[0] == name]
                for part in ("entries", "images", "originals", "moves", "attempts", "operations", "jobs")
            }
            self._check_laws(name, requests[name], mine, wanted)
            _check_request(requests[name], wanted)
            _check_rows(mine, wanted)
            _check_generation((found["generations"] or {}).get(name, NO_GENERATION), mine["jobs"], generations[number])
            assert mine["operations"] == [each[1:] for each in operations if each[0] == number]

    def _check_laws(self, name: str, row: dict[str, Any], mine: dict[str, Any], wanted: Expected) -> None:
        version, status, failed_by = self._versions.get(name, (1, "queued", None))
        self._versions[name] = (row["version"], row["status"], row["failed_by"])
        assert row["version"] >= version, "the version went back"
        assert row["version"] > version or (row["status"], row["failed_by"]) == (status, failed_by), "moved unseen"
        path = ["queued", *(status for _, status in mine["moves"])]
        assert all(after in LEADS_TO[before] for before, after in pairwise(path)), path
        assert path[-1] == row["status"]
        assert [version for version, _ in mine["moves"]] == list(range(2, row["version"] + 1)), "a move is not recorded"
        if failed_by == "n8n" or status in {"completed", "cancelled"}:
            assert row["status"] == status, "what has ended for good has ended"
        live = [step for step, state in mine["entries"] if state == "pending"]
        assert len(live) == len(set(live)), "one live entry for each request and step"
        if not wanted.forgotten:
            _check_nothing_lost(row, live, [step for step, state in mine["entries"] if state == "dead"], wanted)
        assert len(mine["images"]) <= 1
        assert bool(mine["images"]) == (row["image"] is not None)
        if row["status"] != "cancelled":  # an image that arrives after a cancellation is only kept
            has_image = row["status"] == "completed" or (row["status"] == "received" and row["awaited"] is None)
            assert bool(mine["images"]) == has_image, "completed, or waiting for a mark, exactly when there is an image"


def _check_nothing_lost(row: dict[str, Any], live: list[str], dead: list[str], wanted: Expected) -> None:
    if row["status"] in ENDED:
        is_enqueued = "deliver" in live + dead
        assert is_enqueued or row["delivered"] or wanted.waived, "this ending would never be delivered to Odoo"
    else:
        waits_for_an_operator = row["status"] == "received" and "mark" in dead
        assert live or row["deadline"] or waits_for_an_operator, "nothing would ever move this request on"


def _check_request(row: dict[str, Any], wanted: Expected) -> None:
    now = (row["status"], row["version"], row["failed_by"], row["error_code"])
    assert now == (wanted.status, wanted.version, wanted.failed_by, wanted.reason)
    assert (NAMES.get(row["image"]), NAMES.get(row["awaited"])) == (wanted.image, wanted.awaited)
    assert row["delivered"] == wanted.delivered
    assert row["deadline"] == (wanted.deadline is not None)


def _check_rows(mine: dict[str, Any], wanted: Expected) -> None:
    states = {"live": "pending", "dead": "dead"}
    for word, state in states.items():
        assert [step for step, found in mine["entries"] if found == state] == [o.step for o in wanted.in_state(word)]
    assert len(mine["entries"]) == len(wanted.entries)
    assert [NAMES[sha256] for (sha256,) in mine["images"]] == ([wanted.image] if wanted.image else [])
    assert [sha256 in ARE_MARKED for (sha256,) in mine["images"]] == ([wanted.marked] if wanted.image else [])
    assert [(NAMES[sha256], sha256 in ARE_MARKED) for (sha256,) in mine["originals"]] == (
        [(wanted.image, False)] if wanted.marked else []
    )
    assert mine["moves"] == wanted.history
    assert sorted(mine["attempts"]) == sorted(wanted.attempts), "the timeline differs from the attempts that were made"


def _check_generation(row: dict[str, Any], jobs: list[tuple[str, bool]], wanted: ExpectedGeneration) -> None:
    names = ("state", "holder", "key", "job", "refused", "ended", "doubts", "resumes", "unheard", "in_a_persons_hands")
    assert {name: row.get(name) or None for name in names} == {name: getattr(wanted, name) or None for name in names}
    assert row["ends"] == (wanted.quiet_until is not None)
    assert dict(jobs) == {job: job in wanted.ended_jobs for job in wanted.named}
    assert wanted.resumes <= wanted.rules.resumes
