"""The arithmetic of the ledger about the AI service's jobs and pictures."""

from collections import Counter
from dataclasses import replace

import pytest

from chaos.facts import Facts, Row
from chaos.jobs import causes_of_doubt, excuse, excused_pictures, extra_jobs, missing_pictures, unexplained

ID, OTHER_ID, SHA = "request-1", "request-2", "ab" * 32
DOUBT = {"request_id": ID, "note": "the image may have been paid for: N8N execution 7 named no job"}
COMPLETED = {"status": "completed", "failed_by": None, "error_code": None}


def _job(number: int, request_id: str = ID, *, billed: bool = True) -> Row:
    ending = {"status": 200 if billed else 503, "error_type": None}
    name = f"job-{number}"
    return {"id": name, "request_id": request_id, "submitted_at": number, "billed": billed, "ending": ending}


def _named(number: int, **more: bool) -> dict[str, Row]:
    row = {"request_id": ID, "execution_id": "7", "is_other": False, "ended": False}
    return {f"job-{number}": row | more}


def _reasons(facts: Facts) -> dict[str, str | None]:
    return {extra.job_id: extra.reason for extra in extra_jobs(facts)}


def test_a_single_job_needs_no_explanation_whether_it_was_named_or_not() -> None:
    assert not _reasons(Facts(jobs=(_job(1),), named=_named(1)))
    assert not _reasons(Facts(jobs=(_job(1), _job(2, OTHER_ID))))


def test_a_job_that_ended_unbilled_needs_no_doubt() -> None:
    facts = Facts(jobs=(_job(1, billed=False), _job(2)), named=_named(1, ended=True) | _named(2))

    assert _reasons(facts) == {"job-1": "ended unbilled"}


def test_one_doubt_explains_one_job_that_nobody_named() -> None:
    facts = Facts(jobs=(_job(1), _job(2), _job(3)), named=_named(3), doubts=[DOUBT])

    assert _reasons(facts) == {"job-1": "never named, counted as maybe paid", "job-2": None}
    assert list(unexplained(facts)) == [f"{ID}: job job-2 is one too many"]


def test_the_doubt_of_another_request_explains_nothing() -> None:
    facts = Facts(jobs=(_job(1), _job(2)), named=_named(2), doubts=[DOUBT | {"request_id": OTHER_ID}])

    assert _reasons(facts) == {"job-1": None}


def test_a_doubt_explains_a_job_that_was_named_beside_another() -> None:
    jobs, named = (_job(1), _job(2)), _named(1) | _named(2, is_other=True)

    assert _reasons(Facts(jobs=jobs, named=named, doubts=[DOUBT])) == {
        "job-2": "named beside another, counted as maybe paid"
    }
    assert _reasons(Facts(jobs=jobs, named=named)) == {"job-2": None}


def test_a_job_beside_another_is_not_explained_by_a_cancellation_in_time() -> None:
    cancelled = _job(2, billed=False) | {"ending": {"status": 499, "error_type": "client_cancelled"}}
    named = _named(1) | _named(2, is_other=True)

    assert _reasons(Facts(jobs=(_job(1), cancelled), named=named)) == {"job-2": None}
    assert list(_reasons(Facts(jobs=(_job(1), cancelled), named=named, doubts=[DOUBT])).values()) != [None]


def test_no_doubt_explains_a_billed_job_that_was_given_up() -> None:
    facts = Facts(jobs=(_job(1), _job(2)), named=_named(1, ended=True) | _named(2), doubts=[DOUBT])

    assert _reasons(facts) == {"job-1": None}


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (("completed", None, None), None),
        (("cancelled", None, None), "cancelled"),
        (("failed", "bridge", "maybe_paid"), "maybe paid"),
        (("failed", "bridge", "timed_out"), None),
        (("failed", "n8n", "content_policy"), "the AI service said no to another submission"),
        (("failed", "n8n", "ai_unreachable"), None),
    ],
)
def test_a_picture_may_be_missing_only_for_a_good_reason(ending: tuple[str | None, ...], reason: str | None) -> None:
    row = dict(zip(("status", "failed_by", "error_code"), ending, strict=True))

    assert excuse(ID, Facts(requests={ID: row}, declined=frozenset({ID}))) == reason


def test_a_no_that_the_ai_service_never_said_is_no_good_reason() -> None:
    row = {"status": "failed", "failed_by": "n8n", "error_code": "content_policy"}

    assert excuse(ID, Facts(requests={ID: row}, declined=frozenset({OTHER_ID}))) is None
    assert excuse(ID, Facts()) is None


def test_a_picture_that_is_not_the_last_in_odoo_has_not_arrived() -> None:
    image = {"version": 3, "status": "completed", "image": {"sha256": SHA}}
    facts = Facts(pictures={ID: SHA}, requests={ID: COMPLETED}, effects={ID: [image]})
    failed = {"version": 4, "status": "failed", "image": None}

    assert not list(missing_pictures(facts))
    assert list(missing_pictures(replace(facts, effects={ID: [image, failed]})))
    assert list(missing_pictures(replace(facts, requests={}, effects={})))
    cancelled = replace(
        facts, requests={ID: {"status": "cancelled", "failed_by": None, "error_code": None}}, effects={}
    )
    assert not list(missing_pictures(cancelled))
    assert excused_pictures(cancelled) == Counter(["cancelled"])


def test_the_cause_of_a_doubt_is_what_happened_to_its_execution() -> None:
    facts = Facts(doubts=[DOUBT], unanswered=frozenset({ID}), dead_executions=frozenset({"7"}))

    assert causes_of_doubt(facts) == Counter(["N8N died"])
    assert causes_of_doubt(replace(facts, dead_executions=frozenset({"77"}))) == Counter(
        ["the answer to the submission was lost"]
    )
    assert causes_of_doubt(Facts(doubts=[DOUBT])) == Counter(["another cause"])
