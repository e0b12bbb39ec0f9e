"""The story of a request as a picture: its rows, its bars, and an axis on which seconds and days are both readable."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.generation import State
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status, Step
from aigen_bridge.domain.story import Axis, Bar, Kind, Story, story
from aigen_bridge.domain.timeline import (
    AttemptRecord,
    GenerationRecord,
    PendingEntry,
    PendingWork,
    Record,
    TransitionRecord,
)

T0 = datetime(2026, 1, 31, 18, tzinfo=UTC)
NOTHING = PendingWork((), None)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def request(status: Status = Status.COMPLETED, **more: Any) -> ImageRequest:
    given_ = {"request_id": UUID(int=1), "correlation_id": UUID(int=2), "event": {}, "version": 2}
    return ImageRequest(**given_ | {"status": status, "created_at": T0, "updated_at": T0, "client": "odoo"} | more)


def attempt(
    end: float, step: Step = Step.DISPATCH, number: int = 1, outcome: str = "done", took: float = 0.1
) -> AttemptRecord:
    code, status = (None, None) if outcome == "done" else ("http_503", 503)
    return AttemptRecord(at(end), step, number, outcome, timedelta(seconds=took), status, code, None)


def change(seconds: float, status: Status, note: str | None = None, version: int = 2) -> TransitionRecord:
    return TransitionRecord(at(seconds), version, status, note)


def entry(step: Step = Step.DISPATCH, due: float = 10, **more: Any) -> PendingEntry:
    values = {"id": 7, "step": step, "is_dead": False, "attempts": 1, "error_code": None, "is_leased": False}
    return PendingEntry(**values | {"due_at": at(due), "destination_is_away": False, "probe_at": None} | more)


QUICK: list[Record] = [
    attempt(0.2),
    change(0.2, Status.DISPATCHED),
    change(1.7, Status.COMPLETED),
    attempt(2, Step.DELIVER, took=0.2),
]


def shape(told: Story) -> list[tuple[str, list[Kind]]]:
    return [(row.label, [bar.kind for bar in row.bars]) for row in told.rows]


def test_a_quick_request_has_a_row_for_each_hop_with_the_waits_between() -> None:
    told = story(request(), QUICK, NOTHING, at(60))

    assert shape(told) == [
        ("Accepted", [Kind.WORK]),
        ("Dispatch 1", [Kind.WAIT, Kind.WORK]),
        ("At N8N", [Kind.WORK]),
        ("Completed", [Kind.WORK]),
        ("Deliver 1", [Kind.WAIT, Kind.WORK]),
    ]
    assert [(row.main.took.total_seconds()) for row in told.rows] == [0, 0.1, 1.5, 0, 0.2]
    assert told.rows[0].main.text == "Accepted from odoo."
    assert told.is_over


def test_an_image_that_is_marked_weeks_later_has_not_waited_for_it() -> None:
    weeks = 30 * 86400
    fetched = [change(0.2, Status.DISPATCHED), change(1, Status.RECEIVED), attempt(1.4, Step.FETCH)]
    later = [attempt(weeks + 1, Step.MARK), change(weeks + 1, Status.COMPLETED, version=3)]
    told = story(request(), [*fetched, change(1.4, Status.COMPLETED), *later], NOTHING, at(weeks + 60))

    assert shape(told)[-2:] == [("Mark 1", [Kind.WORK]), ("Completed", [Kind.WORK])]
    assert shape(story(request(), [*QUICK[:3], *later], NOTHING, at(weeks + 60)))[-2:] == shape(told)[-2:]


def test_an_image_waits_to_be_marked_from_when_it_came() -> None:
    told = story(request(), [*QUICK[:2], change(1, Status.RECEIVED), attempt(3, Step.MARK)], NOTHING, at(60))

    assert told.rows[-1].label == "Mark 1"
    assert told.rows[-1].bars[0] == Bar(at(1), at(2.9), Kind.WAIT, "Waits for attempt 1.")


def test_a_failed_attempt_says_why_and_the_next_one_waits_from_its_end() -> None:
    records = [attempt(0.2, outcome="retry"), attempt(1.3, number=2)]
    first, second = story(request(Status.QUEUED), records, NOTHING, at(2)).rows[1:3]

    assert first.main.text == "Attempt 1 to dispatch failed, and is tried again. HTTP 503. http_503"
    assert (first.main.kind, second.bars[0].kind, second.bars[0].start, second.bars[0].end) == (
        Kind.FAILED,
        Kind.WAIT,
        at(0.2),
        at(1.2),
    )


def test_a_stay_at_n8n_is_cut_where_its_generation_changes_and_ends_badly_in_silence() -> None:
    records: list[Record] = [
        change(1, Status.DISPATCHED),
        GenerationRecord(at(2), State.GRANTED, "N8N execution 7 may start the generation"),
        GenerationRecord(at(5), State.DOUBTFUL, "the image may have been paid for"),
        change(8, Status.QUEUED, "N8N fell silent: sent again"),
        change(9, Status.DISPATCHED),
    ]
    told = story(request(Status.DISPATCHED), records, PendingWork((), at(600)), at(20))
    first, second, following = [row for row in told.rows if row.label in {"At N8N", "Next"}]

    assert [(bar.kind, bar.took.total_seconds()) for bar in first.bars] == [
        (Kind.WORK, 1),
        (Kind.WORK, 3),
        (Kind.FAILED, 3),
    ]
    assert first.bars[2].text.endswith("It ended without a result: N8N fell silent: sent again")
    assert first.took == timedelta(seconds=7)
    assert ([bar.kind for bar in second.bars], second.main.end) == ([Kind.NOW], at(20))
    assert (following.main.kind, following.main.start, following.main.end) == (Kind.PLANNED, at(20), at(600))
    assert not told.is_over


def test_what_comes_next_is_planned_in_words() -> None:
    records = [attempt(1, outcome="retry")]
    waiting = story(request(Status.QUEUED), records, PendingWork((entry(),), None), at(4)).rows[-1]
    running = story(request(Status.QUEUED), records, PendingWork((entry(is_leased=True),), None), at(4)).rows[-1]

    assert (waiting.label, [bar.kind for bar in waiting.bars]) == ("Dispatch 2", [Kind.WAIT, Kind.PLANNED])
    assert (waiting.main.text, waiting.main.end) == ("Attempt 2 to dispatch.", at(10))
    assert (running.label, [bar.kind for bar in running.bars]) == ("Dispatch 1", [Kind.NOW])


def test_a_dead_letter_waits_for_a_person() -> None:
    dead = PendingWork((entry(is_dead=True, error_code="http_403"),), None)
    failed = request(Status.FAILED, failed_by=FailedBy.BRIDGE, error_code="dispatch_failed", error_message="No.")
    told = story(failed, [attempt(1, outcome="dead"), change(1, Status.FAILED)], dead, at(50))

    assert [(row.label, row.main.kind) for row in told.rows[-2:]] == [
        ("Failed", Kind.FAILED),
        ("Waits for you", Kind.NOW),
    ]
    assert told.rows[-2].main.text == "Failed: dispatch_failed: No."
    assert told.is_over


def test_hundreds_of_attempts_that_ended_alike_are_one_row_between_the_first_and_the_last() -> None:
    held = [attempt(5.0 * n, outcome="held", number=1) for n in range(1, 401)]
    told = story(request(Status.QUEUED), [*held, attempt(2010)], NOTHING, at(2020))

    assert [row.label for row in told.rows] == ["Accepted", "Dispatch 1", "More alike", "Dispatch 1", "Dispatch 1"]
    assert told.rows[2].main.text == (
        "At least 398 attempts, each of which found the destination away, and is held (http_503)."
    )


def test_two_seconds_are_drawn_almost_to_scale() -> None:
    told = story(request(), QUICK, NOTHING, at(60))
    axis, stay = told.axis, told.rows[2].main

    drawn = axis.place(stay.end) - axis.place(stay.start)
    assert 0.55 < drawn < 0.8, "1.5 of 2 seconds"
    assert axis.breaks() == []


def test_tenths_of_a_second_are_still_seen_around_a_wait_of_three_days() -> None:
    records = [attempt(0.3, took=0.3), *QUICK[1:3], attempt(3 * 86400, Step.DELIVER, took=0.3)]
    told = story(request(), records, NOTHING, at(4 * 86400))
    axis = told.axis

    for row in told.rows:
        if row.main.took:
            assert axis.place(row.main.end) - axis.place(row.main.start) > 0.01, row.label
    [mark] = axis.breaks()
    assert mark.length > timedelta(days=2, hours=23)
    assert axis.ticks()[-1].after == timedelta(days=3)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)), min_size=1, max_size=30))
def test_the_axis_keeps_the_order_of_time_whatever_happened(stretches: list[tuple[float, float]]) -> None:
    bars = [Bar(at(min(pair)), at(max(pair)), Kind.WORK, "") for pair in stretches]
    axis = Axis(bars)
    instants = sorted({instant for bar in bars for instant in (bar.start, bar.end)})

    assert axis.place(instants[0]) == 0
    assert all(axis.place(before) <= axis.place(after) for before, after in pairwise(instants))
    assert axis.place(instants[-1]) <= 1.000001
    places = [tick.place for tick in axis.ticks()]
    assert places == sorted(places)
    assert len(places) <= 8


def test_a_moment_alone_has_an_axis() -> None:
    told = story(request(Status.QUEUED), [], NOTHING, T0)

    assert [tick.place for tick in told.axis.ticks()] == [0]
