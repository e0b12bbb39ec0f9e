"""The verdict of the overview: one sentence, and a reason for each thing that needs an operator."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aigen_bridge.domain.destination import N8N, ODOO, Availability, Destination, DestinationStatus, odoo_destination
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.overview import Counts, OpenIncident, OverviewFacts, Place, verdict

AT = datetime(2026, 1, 31, 18, tzinfo=UTC)
NONE = Counts(timedelta(minutes=5), ())


def facts(**changes: Any) -> OverviewFacts:
    return replace(OverviewFacts(at=AT, hour=NONE, day=None, destinations=(), workers=1, apis=1), **changes)


def destination(which: Destination = N8N, **changes: Any) -> DestinationStatus:
    quiet = DestinationStatus(
        name=which.name, label=which.label, state=Availability.CLOSED, since=None, away_since=None, probe_at=None,
        backlog=0, oldest=None, in_flight=0, concurrency=None, configured=None, allowance=None, paused_by=None,
        pause_reason=None, error_code=None, error_detail=None,
    )  # fmt: skip
    return replace(quiet, **changes)


def incident(cause: Cause, odoo: str = "default", times: int = 1) -> OpenIncident:
    return OpenIncident(cause=cause, odoo=odoo, times=times, opened_at=AT, seen_at=AT, detail=None, request_id=None)


def texts(found: OverviewFacts) -> list[str]:
    return [reason.text for reason in verdict(found).reasons]


def test_all_is_well_if_nothing_needs_anybody() -> None:
    found = verdict(
        facts(destinations=(destination(), destination(ODOO, backlog=5)), late={"odoo": timedelta(seconds=3)})
    )

    assert (found.is_well, found.sentence) == (True, "All is well.")


def test_the_sentence_counts_the_reasons() -> None:
    one = verdict(facts(dead={"dispatch": 1, "fetch": 0}))
    two = verdict(facts(dead={"dispatch": 2}, workers=0))

    assert (one.sentence, two.sentence) == ("1 thing needs you.", "2 things need you.")
    assert [(each.place, each.kind) for each in two.reasons] == [
        (Place.WORKERS, None),
        (Place.DEAD_LETTERS, "dispatch"),
    ]
    assert [each.text for each in (*one.reasons, *two.reasons)] == [
        "A dead letter of kind dispatch waits for a decision.",
        "No worker is running: nothing is sent to N8N or Odoo.",
        "2 dead letters of kind dispatch wait for a decision.",
    ]


def test_an_outage_is_one_reason_whatever_tells_of_it() -> None:
    away = destination(state=Availability.OPEN, since=AT, error_code="http_404")
    incidents = (incident(Cause.N8N_DOWN), incident(Cause.WEBHOOK_NOT_FOUND))

    assert texts(facts(destinations=(away,), incidents=incidents)) == [
        "N8N is away (http_404): what waits for it is held."
    ]


def test_the_outage_of_another_odoo_is_another_reason() -> None:
    away = destination(odoo_destination("north"), state=Availability.OPEN, since=AT)
    incidents = (incident(Cause.ODOO_DOWN, "north"), incident(Cause.ODOO_DOWN))

    assert texts(facts(destinations=(destination(ODOO), away), incidents=incidents)) == [
        "Odoo north is away: what waits for it is held.",
        "Odoo is away; results are held and delivered when it is back.",
    ]


def test_an_incident_says_how_often_and_where() -> None:
    found = facts(incidents=(incident(Cause.TIMED_OUT, times=7), incident(Cause.DELIVERY_FAILED, "north")))

    assert texts(found) == [
        "N8N accepted requests but did not report a result, 7 times.",
        "Results could not be delivered to Odoo (Odoo north).",
    ]


def test_an_incident_and_the_dead_letters_that_it_left_are_one_reason() -> None:
    incidents = (incident(Cause.CALLBACK_QUARANTINED, times=2), incident(Cause.DISPATCH_FAILED))
    found = verdict(facts(incidents=incidents, dead={"callback": 2, "n8n": 1}))

    assert [(each.text, each.place, each.kind) for each in found.reasons] == [
        ("Callbacks could not be used and are in quarantine, 2 times.", Place.DEAD_LETTERS, "callback"),
        ("N8N did not accept requests.", Place.INCIDENTS, None),
        ("A dead letter of kind n8n waits for a decision.", Place.DEAD_LETTERS, "n8n"),
    ]


def test_work_that_nobody_takes_up_is_a_reason_unless_no_worker_runs() -> None:
    late: dict[str, Any] = {"destinations": (destination(),), "late": {"n8n": timedelta(minutes=3)}}

    assert texts(facts(**late)) == ["Work for N8N is due, and nothing takes it up."]
    assert texts(facts(**late, workers=0)) == ["No worker is running: nothing is sent to N8N or Odoo."]


def test_a_paused_destination_needs_nobody_and_is_said_all_the_same() -> None:
    paused = destination(state=Availability.PAUSED, since=AT, away_since=AT, paused_by="ops", pause_reason="an upgrade")
    late = {"n8n": timedelta(hours=3)}
    found = verdict(facts(destinations=(paused,), late=late, incidents=(incident(Cause.N8N_DOWN),)))

    assert (found.sentence, [each.text for each in found.notes]) == (
        "All is well.",
        ["N8N is paused by ops: an upgrade"],
    )
