"""The story of a request as a picture: a row for each attempt and each stay at N8N, with bars on one axis of time.

The axis stretches short times and compresses long ones: what lies between two neighbouring instants is drawn as long as
`log(1 + seconds)`. So a story of two seconds is drawn almost true to scale, and one with a wait of three days still
shows the tenths of a second before and after it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby, pairwise
from math import log1p

from aigen_bridge.domain.generation import State
from aigen_bridge.domain.request import FINAL, NEXT_STEPS, ImageRequest, Status, Step
from aigen_bridge.domain.timeline import AttemptRecord, GenerationRecord, PendingWork, Record, TransitionRecord
from aigen_bridge.domain.upcoming import upcoming

ALIKE = 3
"""More attempts than this that ended alike, one after another, are folded: the first and the last keep their rows."""
LONG = timedelta(minutes=1)
"""A compressed stretch of the axis is marked as such from this length on."""
TICKS = 7
"""The most ticks on the axis."""


class Kind(StrEnum):
    """The meaning of a bar. `PLANNED` lies in the future, `NOW` reaches from the past until now."""

    WAIT = "wait"
    WORK = "work"
    FAILED = "failed"
    NOW = "now"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time, and what happened in it."""

    start: datetime
    end: datetime
    kind: Kind
    text: str

    @property
    def took(self) -> timedelta:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Row:
    """Bars that belong together, in order: a wait and its attempt, or the parts of a stay at N8N."""

    label: str
    bars: tuple[Bar, ...]

    @property
    def main(self) -> Bar:
        """The bar that the row is about: the last one that is no wait."""
        return next((bar for bar in reversed(self.bars) if bar.kind is not Kind.WAIT), self.bars[-1])

    @property
    def took(self) -> timedelta:
        """The length of the row without the wait before it."""
        begin = next((bar for bar in self.bars if bar.kind is not Kind.WAIT), self.bars[0])
        return self.bars[-1].end - begin.start


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis: where it is, from 0 to 1, and the time since the beginning of the story."""

    place: float
    after: timedelta


@dataclass(frozen=True, slots=True)
class Break:
    """A long stretch that is drawn short: where its middle is, from 0 to 1, and how long it really is."""

    place: float
    length: timedelta


class Axis:
    """The axis of time under these bars."""

    def __init__(self, bars: Iterable[Bar]) -> None:
        self._instants = sorted({instant for bar in bars for instant in (bar.start, bar.end)})
        self._places = {self._instants[0]: 0.0}
        lengths = [log1p((after - before).total_seconds()) for before, after in pairwise(self._instants)]
        reached, total = 0.0, sum(lengths) or 1.0
        for instant, length in zip(self._instants[1:], lengths, strict=True):
            reached += length
            self._places[instant] = reached / total

    def place(self, instant: datetime) -> float:
        """Returns where the start or end of a bar is, from 0 to 1."""
        return self._places[instant]

    def ticks(self) -> list[Tick]:
        """Returns marks at instants that are far enough from each other, the first and the last among them."""
        first, last = self._instants[0], self._instants[-1]
        chosen = [Tick(0.0, timedelta(0))]
        for instant in self._instants[1:-1]:
            place = self.place(instant)
            if place - chosen[-1].place >= 1 / TICKS and 1 - place >= 1 / TICKS:
                chosen.append(Tick(place, instant - first))
        return [*chosen, Tick(1.0, last - first)] if last > first else chosen

    def breaks(self) -> list[Break]:
        """Returns the stretches that are much longer than they are drawn."""
        return [
            Break((self.place(before) + self.place(after)) / 2, after - before)
            for before, after in pairwise(self._instants)
            if after - before >= LONG
        ]


@dataclass(frozen=True, slots=True)
class Story:
    """The rows in the order in which they began. `is_over`: nothing will happen by itself."""

    rows: tuple[Row, ...]
    is_over: bool

    @property
    def axis(self) -> Axis:
        """The axis of time."""
        return Axis(bar for row in self.rows for bar in row.bars)


def story(request: ImageRequest, records: Sequence[Record], pending: PendingWork, now: datetime) -> Story:
    """Returns the story of a request until `now`, and what comes next. `records` are in order of time."""
    changes = [each for each in records if isinstance(each, TransitionRecord)]
    attempts = [each for each in records if isinstance(each, AttemptRecord)]
    generation = [each for each in records if isinstance(each, GenerationRecord)]
    by = f" from {request.client}" if request.client else ""
    accepted = Row("Accepted", (_moment(request.created_at, Kind.WORK, f"Accepted{by}."),))
    past = [
        accepted,
        *_attempts(request, changes, attempts),
        *_stays(request, changes, generation, now),
        *_ends(request, changes),
    ]
    past.sort(key=lambda row: (row.bars[0].start, row.bars[-1].start))
    last = max([request.created_at, *(each.at for each in records)])
    coming = list(_coming(request, pending, last, max(now, last)))
    is_open = request.status not in FINAL or any(not entry.is_dead for entry in pending.entries)
    return Story((*past, *coming), is_over=not is_open)


def _moment(at: datetime, kind: Kind, text: str) -> Bar:
    return Bar(at, at, kind, text)


# ---- attempts


def _attempts(
    request: ImageRequest, changes: Sequence[TransitionRecord], attempts: Sequence[AttemptRecord]
) -> Iterator[Row]:
    completed = [each.at for each in changes if each.status is Status.COMPLETED]
    for step in (Step.DISPATCH, Step.FETCH, Step.MARK, Step.DELIVER):
        enqueued = [request.created_at] if step is Step.DISPATCH else []
        entered = Step.FETCH if step is Step.MARK else step  # both begin when the request is `received`
        enqueued += [each.at for each in changes if NEXT_STEPS.get(each.status) is entered]
        waited_since = enqueued[0] if enqueued else request.created_at
        rows: list[tuple[AttemptRecord, Row]] = []
        for attempt in (each for each in attempts if each.step is step):
            start = attempt.at - attempt.took
            since = max([waited_since, *(at for at in enqueued if at <= start)])
            if step is Step.MARK and any(since <= at <= start for at in completed):
                since = start  # an operator enqueued it, and nothing records when
            rows.append((attempt, _attempt_row(attempt, since, start)))
            waited_since = attempt.at
        yield from _folded(rows)


def _attempt_row(attempt: AttemptRecord, since: datetime, start: datetime) -> Row:
    kind = Kind.WORK if attempt.outcome == "done" else Kind.FAILED
    tried = Bar(start, attempt.at, kind, _attempt_text(attempt))
    wait = (Bar(since, start, Kind.WAIT, f"Waits for attempt {attempt.number}."),) if since < start else ()
    return Row(f"{attempt.step.capitalize()} {attempt.number}", (*wait, tried))


_OUTCOMES = {
    "done": "succeeded",
    "retry": "failed, and is tried again",
    "held": "found the destination away, and is held",
    "dead": "failed for good",
    "lost": "was lost with its worker",
}


def _attempt_text(attempt: AttemptRecord) -> str:
    status = f" HTTP {attempt.http_status}." if attempt.http_status else ""
    reason = ": ".join(text for text in (attempt.error_code, attempt.detail) if text)
    ended = _OUTCOMES.get(attempt.outcome, attempt.outcome)
    return f"Attempt {attempt.number} to {attempt.step} {ended}.{status}" + (f" {reason}" if reason else "")


def _folded(rows: Sequence[tuple[AttemptRecord, Row]]) -> Iterator[Row]:
    """Yields the rows; of a long run of attempts that ended alike, the first, one for all between, and the last.

    The records may lack some of those between.
    """
    for (outcome, code), grouped in groupby(rows, key=lambda each: (each[0].outcome, each[0].error_code)):
        run = list(grouped)
        if len(run) <= ALIKE:
            yield from (row for _, row in run)
            continue
        between = run[1:-1]
        code_text = f" ({code})" if code else ""
        text = f"At least {len(between)} attempts, each of which {_OUTCOMES.get(outcome, outcome)}{code_text}."
        start, end = between[0][1].bars[0].start, between[-1][0].at
        yield run[0][1]
        yield Row("More alike", (Bar(start, end, Kind.FAILED, text),))
        yield run[-1][1]


# ---- at N8N


def _stays(
    request: ImageRequest, changes: Sequence[TransitionRecord], generation: Sequence[GenerationRecord], now: datetime
) -> Iterator[Row]:
    """Yields a row for each stay at N8N, from its acknowledgement until the next state."""
    since: datetime | None = None
    for change in changes:
        if change.status is Status.DISPATCHED:
            since = since or change.at
        elif since:
            yield _stay(request, since, change, generation, now)
            since = None
    if since:
        yield _stay(request, since, None, generation, now)


def _stay(
    request: ImageRequest,
    since: datetime,
    end: TransitionRecord | None,
    generation: Sequence[GenerationRecord],
    now: datetime,
) -> Row:
    until = end.at if end else max(now, since)
    within = [each for each in generation if since < each.at < until]
    instants = [since, *(each.at for each in within), until]
    texts = ["N8N has accepted the request.", *(f"{each.note[:1].upper()}{each.note[1:]}." for each in within)]
    kinds = [Kind.WORK, *(Kind.FAILED if each.state is State.DOUBTFUL else Kind.WORK for each in within)]
    if end is None:
        kinds[-1] = Kind.NOW
    elif end.status in {Status.QUEUED, Status.FAILED}:
        kinds[-1] = Kind.FAILED
        why = end.note or request.error_message if end.status is Status.FAILED else end.note
        texts[-1] += f" It ended without a result: {why}" if why else " It ended without a result."
    bars = (Bar(*stretch, kind, text) for stretch, kind, text in zip(pairwise(instants), kinds, texts, strict=True))
    return Row("At N8N", tuple(bars))


# ---- the end, and what comes next

_END_KINDS = {Status.COMPLETED: Kind.WORK, Status.FAILED: Kind.FAILED, Status.CANCELLED: Kind.WAIT}


def _ends(request: ImageRequest, changes: Sequence[TransitionRecord]) -> Iterator[Row]:
    for each in changes:
        if each.status in FINAL:
            reasons = (request.error_code, request.error_message) if each is changes[-1] else ()
            why = ": ".join(text for text in (*reasons, each.note) if text)
            label = each.status.capitalize()
            yield Row(label, (_moment(each.at, _END_KINDS[each.status], f"{label}: {why}" if why else f"{label}."),))


def _coming(request: ImageRequest, pending: PendingWork, last: datetime, now: datetime) -> Iterator[Row]:
    """Yields what goes on now and what is planned."""
    following = upcoming(request, pending)
    planned = (Bar(now, following.at, Kind.PLANNED, following.what),) if following.at and following.at > now else ()
    entry = next((each for each in pending.entries if not each.is_dead), None)
    if entry and entry.is_leased:
        yield Row(f"{entry.step.capitalize()} {entry.attempts}", (Bar(last, now, Kind.NOW, following.what),))
    elif entry:
        wait = Bar(last, now, Kind.WAIT, following.what)
        yield Row(f"{entry.step.capitalize()} {entry.attempts + 1}", (wait, *planned))
    elif following.dead_letter:
        yield Row("Waits for you", (Bar(last, now, Kind.NOW, following.what),))
    elif planned:
        yield Row("Next", planned)
