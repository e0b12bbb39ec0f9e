"""What N8N asks and reports about a generation: what is refused, what is dropped, and what it becomes."""

import json
from datetime import timedelta
from typing import Any

import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.generation import GenerationAsk, GenerationJob, GenerationProgress
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.refusal import InvalidMessageError

IDS = {"correlationId": examples.CORRELATION_ID, "executionId": "231"}
JOB = IDS | {"provider": "fal", "jobId": "7"}
REPORT = IDS | {"stage": "generating"}
QUEUE = "https://queue.fal.run/fal-ai/flux-lora/requests/7"
Model = type[GenerationAsk] | type[GenerationJob] | type[GenerationProgress]


def parse(model: Model, message: Any) -> Any:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return parse_body(body, model).to_domain()


@pytest.mark.parametrize(
    ("model", "message", "field"),
    [
        (GenerationAsk, {"executionId": "231"}, "correlationId"),
        (GenerationAsk, IDS | {"executionId": 231}, "executionId"),
        (GenerationAsk, IDS | {"executionId": ""}, "executionId"),
        (GenerationAsk, IDS | {"executionId": "x" * 201}, "executionId"),
        (GenerationAsk, IDS | {"askKey": "x" * 201}, "askKey"),
        (GenerationAsk, IDS | {"quietFor": 0}, "quietFor"),
        (GenerationAsk, IDS | {"quietFor": -1}, "quietFor"),
        (GenerationAsk, IDS | {"quietFor": float("nan")}, "quietFor"),
        (GenerationAsk, IDS | {"quietFor": "60"}, "quietFor"),
        (GenerationAsk, IDS | {"noJob": "yes"}, "noJob"),
        (GenerationAsk, IDS | {"endedJob": 7}, "endedJob"),
        (GenerationJob, IDS | {"provider": "fal"}, "jobId"),
        (GenerationJob, JOB | {"jobId": "x" * 201}, "jobId"),
        (GenerationJob, JOB | {"statusUrl": "/requests/7/status"}, "statusUrl"),
        (GenerationJob, JOB | {"statusUrl": "ftp://queue.fal.run/7"}, "statusUrl"),
        (GenerationJob, JOB | {"statusUrl": "https://key@queue.fal.run/7"}, "statusUrl"),
        (GenerationJob, JOB | {"responseUrl": f"{QUEUE}\r\nX: y"}, "responseUrl"),
        (GenerationJob, JOB | {"cancelUrl": f"{QUEUE}/{'x' * 2000}"}, "cancelUrl"),
        (GenerationJob, JOB | {"statusUrl": QUEUE, "responseUrl": "https://evil.example/7"}, "responseUrl"),
        (GenerationJob, JOB | {"statusUrl": QUEUE, "cancelUrl": "https://queue.fal.run:8443/7"}, "cancelUrl"),
        (GenerationJob, JOB | {"responseUrl": QUEUE, "cancelUrl": "http://queue.fal.run/7"}, "cancelUrl"),
        (GenerationProgress, IDS, "stage"),
        (GenerationProgress, IDS | {"stage": "nearly"}, "stage"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(model: Model, message: Any, field: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        parse(model, message)
    assert [error.field for error in caught.value.errors] == [field]


def test_an_ask_says_what_it_says_and_unknown_fields_are_ignored() -> None:
    least = parse(GenerationAsk, IDS)
    most = parse(
        GenerationAsk, IDS | {"askKey": "k", "quietFor": 60.5, "noJob": True, "endedJob": "7", "model": {"of": "later"}}
    )
    assert (least.execution_id, least.key, least.quiet_for, least.no_job, least.ended_job) == (
        *("231", None, None, False, None),
    )
    assert (most.key, most.quiet_for, most.no_job, most.ended_job) == ("k", timedelta(seconds=60.5), True, "7")


def test_null_is_the_same_as_absent() -> None:
    nothing = dict.fromkeys(("askKey", "quietFor", "noJob", "endedJob"))
    assert parse(GenerationAsk, IDS | nothing) == parse(GenerationAsk, IDS)
    urls = dict.fromkeys(("statusUrl", "responseUrl", "cancelUrl"))
    assert parse(GenerationJob, JOB | urls) == parse(GenerationJob, JOB)


@pytest.mark.parametrize("model", [GenerationAsk, GenerationProgress])
@pytest.mark.parametrize("seconds", [3601, 1e300, 10**30])
def test_a_long_quiet_time_is_an_hour(model: Model, seconds: float) -> None:
    assert parse(model, REPORT | {"quietFor": seconds}).quiet_for == timedelta(hours=1)


def test_a_job_keeps_its_urls_as_they_came() -> None:
    urls = {"statusUrl": f"{QUEUE}/status?logs=1", "responseUrl": "HTTPS://Queue.fal.run:443/7", "cancelUrl": QUEUE}
    job = parse(GenerationJob, JOB | urls).job
    assert (job.status_url, job.response_url, job.cancel_url) == tuple(urls.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"queuePosition": -1},
        {"queuePosition": 1.5},
        {"queuePosition": 2**31},
        {"queuePosition": True},
        {"queuePosition": float("nan")},
        {"percent": 101},
        {"percent": "50"},
        {"percent": float("nan")},
        {"message": 7},
        {"quietFor": -1},
        {"quietFor": "soon"},
        {"quietFor": float("nan")},
    ],
    ids=str,
)
def test_a_progress_report_is_not_refused_for_a_detail(wrong: dict[str, Any]) -> None:
    assert parse(GenerationProgress, REPORT | wrong) == parse(GenerationProgress, REPORT)


def test_the_message_of_a_progress_report_can_be_stored() -> None:
    body = json.dumps(REPORT | {"message": "half \ud83d, nul \0, " + "x" * 2000}).encode()
    message = parse(GenerationProgress, body).progress.message
    assert message.startswith("half \ufffd, nul \ufffd, xxx")
    assert len(message) == 1000
