"""The code of the Code nodes that start the paid work and watch it: the grant, the submission, the job."""

import json
import time
from typing import Any

import pytest
from code_nodes import SETTINGS, run, settings

from aigen_bridge.contracts import examples

REQUESTS = f"{SETTINGS['bridgeUrl']}/api/v1/influencegen/ai-image-requests"
REQUEST, CORRELATION = examples.REQUESTED["requestId"], examples.REQUESTED["correlationId"]
CALLBACK = f"{SETTINGS['bridgeUrl']}/api/v1/influencegen/ai-image-callback"
URL = f"{REQUESTS}/{REQUEST}/generation"
QUEUE = "https://queue.fal.run/fal-ai/flux-lora"
ORDER = {"url": QUEUE, "isQueued": True}
EVENT = {
    "requestId": REQUEST,
    "correlationId": CORRELATION,
    "callbackUrl": CALLBACK,
    "url": URL,
    "passOn": {},
    "order": ORDER,
}
URLS = {"status_url": f"{QUEUE}/requests/j1/status", "response_url": f"{QUEUE}/requests/j1", "cancel_url": f"{QUEUE}/c"}
JOB = {"provider": "fal", "jobId": "j1", "statusUrl": URLS["status_url"], "responseUrl": URLS["response_url"]}
BUSY = {"detail": "No runner", "error_type": "runner_scheduling_failure"}
MODEL_ERROR = {"detail": [{"type": "content_policy_violation", "msg": "No."}]}
EXECUTION = "7"
MINUTE = 60_000


def now() -> int:
    return int(time.time() * 1000)


def answer(status: int, body: Any) -> dict[str, Any]:
    return {"statusCode": status, "body": body if isinstance(body, str) else json.dumps(body)}


def first(code: str, json_: dict[str, Any], nodes: dict[str, Any]) -> Any:
    """The JSON that a node makes, or the text of its error."""
    [made] = run(code, {"json": json_}, nodes={"Check the event": event(), **nodes}, execution=EXECUTION)
    return made if isinstance(made, str) else made["json"]


def event(**order: Any) -> dict[str, Any]:
    """What the node "Check the event" has made."""
    return {"json": {**EVENT, **settings()["json"], "order": ORDER | order}}


def next_ask(ask: dict[str, Any] | None = None) -> Any:
    made = first("main/next-ask", {} if ask is None else {"ask": ask}, {})
    return made if isinstance(made, str) else made | {"body": json.loads(made["body"])}


def asked(**changes: Any) -> dict[str, Any]:
    """What the node "The question" keeps of a question that was just asked."""
    known = {"executionId": EXECUTION, "askKey": "k", "askedAt": now(), "refusals": 0, "endedJobs": 0}
    return {"json": {"ask": known | changes}}


def decided(status: int, body: Any, **ask: Any) -> Any:
    return first("main/read-the-decision", answer(status, body), {"The question": asked(**ask)})


def submitted(said: dict[str, Any], *, is_older: bool = False, ask: dict[str, Any] | None = None, **order: Any) -> Any:
    granted = {"json": {"body": {"decision": "start", "isOlder": is_older}}}
    nodes = {"The question": asked(**(ask or {})), "Granted?": granted, "Check the event": event(**order)}
    return first("main/read-the-submission", said, nodes)


def looked(said: dict[str, Any], **changes: Any) -> Any:
    known = {"executionId": EXECUTION, "isNamed": True, "since": now(), "looks": 0}
    return first("main/read-the-status", said, {"Wait before the next look": {"json": {"job": JOB | known | changes}}})


def resulted(said: dict[str, Any], *, ask: dict[str, Any] | None = None, **job: Any) -> Any:
    status = {"json": {"job": JOB | {"executionId": EXECUTION, "isNamed": True, "since": now()} | job}}
    return first("main/read-the-ai-answer", said, {"Read the status": status, "The question": asked(**(ask or {}))})


def test_each_question_has_a_key_of_its_own_and_keeps_it_until_it_is_answered() -> None:
    one, other = next_ask(), next_ask()
    again = next_ask(one["ask"])
    assert one["url"] == URL
    assert one["body"] == {"correlationId": CORRELATION, "executionId": EXECUTION, "askKey": one["ask"]["askKey"]}
    assert again["body"] == one["body"] != other["body"]


def test_a_retry_by_n8n_asks_anew_and_forgets_what_the_first_execution_did() -> None:
    earlier = {"executionId": "6", "askKey": "k", "flags": {"noJob": True}, "silentSince": 1, "waitingSince": 1}
    assert next_ask(earlier)["body"]["askKey"] != "k"
    assert "noJob" not in next_ask(earlier)["body"]


def test_without_an_answer_it_asks_for_two_minutes_and_then_ends_without_submitting() -> None:
    for said in (
        answer(503, ""),
        answer(401, "{}"),
        answer(200, "<title>Back soon</title>"),
        answer(404, "<title>Not found</title>"),  # a proxy while the bridge restarts
        {"error": {"message": "x"}},
    ):
        made = first("main/read-the-decision", said, {"The question": asked()})
        assert (made["route"], made["waitSeconds"], made["ask"]["askKey"]) == ("ask", 5, "k")
    early, late = next_ask(made["ask"]), next_ask(made["ask"] | {"silentSince": now() - 3 * MINUTE})
    assert early["body"]["askKey"] == "k"
    assert "Nothing was submitted" in late
    assert "[seen to]" in late


def test_an_answer_to_the_question_of_another_execution_grants_nothing() -> None:
    assert decided(200, {"decision": "start", "validFor": 60}, executionId="6")["route"] == "ask"


def test_the_bridges_other_decisions() -> None:
    wait = decided(200, {"decision": "wait", "retryAfter": 9}, flags={"noJob": True})
    resume = decided(200, {"decision": "resume", "providerJob": JOB})
    assert (wait["route"], wait["waitSeconds"], "askKey" in wait["ask"], "flags" in wait["ask"]) == (
        "ask",
        9,
        False,
        False,
    )
    assert (resume["route"], resume["job"]["jobId"], resume["job"]["isResumed"]) == ("look", "j1", True)
    assert decided(200, {"decision": "stop", "status": "cancelled"})["route"] == "stop"
    assert decided(404, {"code": "request_unknown"})["route"] == "unknown"
    assert decided(404, {"code": "http_404"})["route"] == "older"
    assert "refused" in decided(409, {"code": "correlation_mismatch", "detail": "Another one."})


def test_it_does_not_wait_for_another_execution_for_ever() -> None:
    assert "10 minutes" in next_ask(asked(waitingSince=now() - 11 * MINUTE)["json"]["ask"])


def test_when_the_bridge_permits_no_further_submission_the_person_gets_the_services_words() -> None:
    refusal = {"code": "busy", "message": "All busy", "isUnbilled": True}
    made = decided(200, {"decision": "stop", "status": "dispatched"}, refusal=refusal)
    withdrawn = decided(200, {"decision": "stop", "status": "cancelled"}, refusal=refusal)
    assert (made["route"], made["code"], withdrawn["route"]) == ("failed", "busy", "stop")
    assert made["isUnbilled"] is True


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.com/status",
        "https://queue.fal.run.evil.example.com/status",
        "https://queue.fal.run@evil.example.com/status",
        "https://queue.fal.run:444/status",
        "http://queue.fal.run/status",
        "https://queue.fal.run\\@evil.example.com/",
        "",
        None,
    ],
)
def test_the_key_of_the_ai_service_goes_nowhere_but_to_the_origin_of_the_model(address: str | None) -> None:
    foreign = JOB | {"statusUrl": address}
    resumed = decided(200, {"decision": "resume", "providerJob": foreign})
    own = submitted(answer(200, {"request_id": "j1", **URLS, "status_url": address}))
    assert (resumed["route"], resumed["code"]) == ("failed", "job_out_of_reach")
    assert (own["route"], own["job"].get("statusUrl"), own["job"]["responseUrl"]) == ("job", None, URLS["response_url"])
    assert own["isNew"] is False


def test_a_job_has_the_origin_of_its_own_model_not_of_the_settings() -> None:
    elsewhere = {name: url.replace("queue.fal.run", "other.example.com") for name, url in URLS.items()}
    said = answer(200, {"request_id": "j1", **elsewhere})
    assert submitted(said, url="https://other.example.com:443/a")["isNew"] is True
    assert submitted(said)["isNew"] is False


def test_an_older_bridge_is_asked_whether_the_image_is_wanted() -> None:
    problem = {"headers": {"content-type": "application/problem+json"}}
    answers = {
        "start": [answer(200, {"wanted": True}), answer(404, {"code": "http_404"}) | problem],
        "stop": [answer(200, {"wanted": False, "status": "cancelled"})],
        "unknown": [answer(404, {"code": "request_unknown"}) | problem],
        "ask": [answer(404, "<title>Not found</title>"), answer(503, ""), {"error": {"message": "x"}}],
    }
    for route, given in answers.items():
        for said in given:
            assert first("main/read-whether-it-is-wanted", said, {"The question": asked()})["route"] == route


def test_only_a_sure_refusal_is_submitted_again_and_only_twice() -> None:
    refusals = [answer(code, BUSY) for code in (429, 503, 504)]
    refusals += [{"error": {"message": "connect ECONNREFUSED 1.2.3.4:443"}}, {"error": {"code": "ENOTFOUND"}}]
    for said in refusals:
        made, last = submitted(said), submitted(said, ask={"refusals": 2})
        assert (made["route"], made["waitSeconds"], made["ask"]["flags"]) == ("ask", 5, {"noJob": True})
        assert (made["ask"]["refusals"], last["route"]) == (1, "failed")
    assert submitted(answer(503, BUSY), ask={"refusals": 2})["code"] == "runner_scheduling_failure"


def test_what_may_have_been_paid_for_is_never_repeated_and_nobody_is_told() -> None:
    unsure = [
        {"error": {"message": "timeout of 30000ms exceeded", "code": "ECONNABORTED"}},
        {"error": {"message": "socket hang up", "code": "ECONNRESET"}},
        {"error": "The connection was aborted"},
        answer(502, "<html>Bad gateway</html>"),
        answer(503, "<html>Unavailable</html>"),
        answer(408, ""),
        answer(200, "<html>Login</html>"),
    ]
    for said in unsure:
        made = submitted(said)
        assert "not tried again" in made
        assert "[seen to]" in made
        assert submitted(said, is_older=True)["route"] == "failed"
        assert submitted(said, ask={"executionId": "6"})["route"] == "ask"


@pytest.mark.parametrize(
    "error",
    [
        'Invalid URL: queue.fal.run/x. URL must start with "http" or "https".',
        'Credential with ID "aigen-ai-key" does not exist for type "httpHeaderAuth".',
        {"message": "Credentials could not be decrypted."},
    ],
)
def test_a_submission_that_n8n_could_not_send_is_an_error_of_the_workflow_that_operations_hear_of(error: Any) -> None:
    made = submitted({"error": error})
    assert "nothing was submitted" in made
    assert "[seen to]" not in made
    assert submitted({"error": error}, ask={"executionId": "6"})["route"] == "ask"


def test_an_expired_grant_is_asked_for_again_with_the_same_key() -> None:
    made = submitted({"error": 'Invalid URL: no-valid-grant. URL must start with "http" or "https".'})
    assert (made["route"], made["waitSeconds"], made["ask"]["askKey"]) == ("ask", 0, "k")
    assert "flags" not in made["ask"]


def test_every_other_answer_is_an_answer() -> None:
    answers = [
        answer(422, MODEL_ERROR),
        answer(500, {"detail": "x"}),
        answer(503, {"detail": "x"}),
        answer(404, "<html>"),
        answer(200, {"images": []}),
    ]
    assert [submitted(said)["route"] for said in answers] == ["answer"] * 5
    assert submitted(answer(200, "odd"), isQueued=False)["route"] == "answer"


def test_a_job_is_named_at_once_and_signed_over_the_exact_text() -> None:
    made = submitted(answer(200, {"request_id": "j1", "status": "IN_QUEUE", "queue_position": 2, **URLS}))
    assert (made["route"], made["next"], made["isNew"]) == ("job", "look", True)
    assert made["url"] == f"{URL}/job"
    named = {"correlationId": CORRELATION, "executionId": EXECUTION, **JOB, "cancelUrl": URLS["cancel_url"]}
    assert json.loads(made["body"]) == named
    headers = json.loads(made["headers"])
    assert made["signed"] == f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{made['body']}"
    assert headers["webhook-signature"] == "v1,<signature>"


def test_an_older_bridge_is_not_told_of_the_job() -> None:
    made = submitted(answer(200, {"request_id": "j1", **URLS}), is_older=True)
    assert (made["route"], made["job"]["isOlder"]) == ("look", True)


def test_the_looks_come_less_often_and_report_progress() -> None:
    queued = looked(answer(202, {"status": "IN_QUEUE", "queue_position": 3}))
    waits = [looked(answer(202, {"status": "IN_PROGRESS"}), looks=looks)["waitSeconds"] for looks in range(8)]
    done = looked(answer(200, {"status": "COMPLETED"}))
    failed = looked(answer(200, {"status": "COMPLETED", "error": "Gone", "error_type": "runner_disconnected"}))
    assert json.loads(queued["body"]).items() >= {"stage": "queued", "queuePosition": 3}.items()
    assert waits == [1, 1, 2, 2, 3, 4, 5, 5]
    assert done["route"] == failed["route"] == "result"
    assert (done["job"]["hasFailed"], failed["job"]["hasFailed"]) == (False, True)
    assert looked(answer(200, {"status": "COMPLETED"}), isOlder=True)["route"] == "result"


def test_progress_is_reported_when_it_changed_and_every_10_seconds() -> None:
    running = answer(202, {"status": "IN_PROGRESS"})
    first_look = looked(running)
    known = {"told": first_look["told"], "toldAt": now()}
    moved = looked(answer(202, {"status": "IN_QUEUE", "queue_position": 2}), **known)
    assert (first_look["route"], looked(running, **known)["route"], moved["route"]) == ("tell", "look", "tell")
    assert looked(running, **known | {"toldAt": now() - 11_000})["route"] == "tell"
    assert looked(running, **known | {"toldAt": now() - 6_000, "looks": 20})["route"] == "tell"  # else 11 s of silence
    taken = told(answer(200, {"wanted": True}), told="this")
    lost = told(answer(503, ""), told="this")
    assert (taken["job"]["told"], "told" in lost["job"]) == ("this", False)


def test_a_finished_job_whose_result_is_out_of_reach_is_not_silent() -> None:
    done = answer(200, {"status": "COMPLETED"})
    late = looked(done, since=now() - 20_000)
    assert (late["route"], late["next"], json.loads(late["body"])["stage"]) == ("tell", "result", "finishing")


def test_a_service_that_says_nothing_of_the_job_for_two_minutes_ends_the_execution_without_a_result() -> None:
    for said in (answer(502, "<html>"), answer(401, {"detail": "x"}), answer(404, {"detail": "x"}), {"error": "x"}):
        early, late = looked(said), looked(said, silentSince=now() - 3 * MINUTE)
        assert (early["route"], early["next"]) == ("tell", "look")
        assert "[seen to]" in late
        assert looked(said, silentSince=now() - 3 * MINUTE, executionId="6")["route"] == "tell"


def test_with_an_older_bridge_that_resumes_nothing_the_person_is_told_that_the_job_is_out_of_reach() -> None:
    silent: dict[str, Any] = {"silentSince": now() - 3 * MINUTE, "isOlder": True}
    image = {"An image?": {"json": {}}, "Read the submission": {"json": {"job": JOB | {"isOlder": True}}}}
    unfetched = first("main/look-at-the-image", {"details": {"httpCode": "502"}}, image)
    assert [made["code"] for made in (looked(answer(502, "<html>"), **silent), unfetched)] == [
        "ai_unreachable",
        "image_download_failed",
    ]
    assert resulted(answer(502, "<html>"), **silent)["code"] == "ai_unreachable"


def test_only_a_resumed_job_that_the_service_does_not_know_is_expired() -> None:
    unknown = answer(404, {"detail": "Request j1 not found"})
    resumed = looked(unknown, isResumed=True)
    assert (resumed["route"], resumed["code"]) == ("failed", "job_expired")
    assert looked(answer(404, "<html>"), isResumed=True)["route"] == looked(unknown)["route"] == "tell"


def told(said: dict[str, Any], **changes: Any) -> Any:
    sent = {"job": JOB | {"isNamed": True}, "word": "progress", "next": "look", "isHeldBack": False, "waitSeconds": 2}
    return first("main/read-the-answer-to-the-progress", said, {"Sign the word": {"json": sent | changes}})


def test_a_job_that_is_not_wanted_any_more_or_not_the_first_is_cancelled() -> None:
    naming = {"word": "job", "job": JOB | {"isNamed": False}}
    assert told(answer(200, {"wanted": False}))["route"] == "cancel"
    assert told({"statusCode": 200, "body": {"wanted": False}})["route"] == "cancel"
    assert told(answer(409, {"providerJob": JOB | {"jobId": "j0"}}), **naming)["route"] == "cancel"
    assert told(answer(409, {"providerJob": JOB | {"jobId": "j0"}}))["route"] == "look"


def test_a_bridge_that_takes_no_progress_stops_nothing_and_the_job_is_named_again() -> None:
    for said in (
        answer(503, ""),
        answer(401, "{}"),
        {"error": {"message": "x"}},
        answer(200, "<title>Back soon</title>"),
    ):
        unnamed = told(said, word="job", job=JOB | {"isNamed": False}, isHeldBack=True, next="result")
        assert (unnamed["route"], unnamed["job"]["isNamed"]) == ("look", False)
        assert told(said, word="job", job=JOB | {"isNamed": False}, next="result")["route"] == "result"
        assert told(said, next="result")["route"] == "result"
    named = told(answer(200, {"wanted": True}), word="job", job=JOB | {"isNamed": False}, isHeldBack=True)
    assert (named["route"], named["job"]["isNamed"]) == ("look", True)


def test_a_finished_job_waits_two_minutes_for_its_name_to_be_taken() -> None:
    done = answer(200, {"status": "COMPLETED"})
    assert looked(done, isNamed=False)["isHeldBack"] is True
    assert looked(done, isNamed=False, since=now() - 3 * MINUTE)["isHeldBack"] is False


def test_the_ai_services_own_words_are_kept() -> None:
    model, odd, empty, withheld = (
        resulted(said)
        for said in (
            answer(422, MODEL_ERROR),
            answer(500, {"detail": []}),
            answer(200, {"images": []}),
            answer(200, {"images": [{"url": "https://x/y.png"}], "has_nsfw_concepts": [True]}),
        )
    )
    page = resulted(answer(404, "<html>") | {"isSubmission": True})
    assert (model["code"], model["message"]) == ("content_policy_violation", "No.")
    assert (odd["code"], page["code"], empty["code"]) == ("ai_http_500", "ai_http_404", "ai_no_image")
    assert withheld["code"] == "nsfw_content"


def test_a_job_that_ended_unbilled_is_submitted_again_twice() -> None:
    made = resulted(answer(503, BUSY), hasFailed=True)
    assert (made["route"], made["ask"]["flags"], made["ask"]["endedJobs"]) == ("ask", {"endedJob": "j1"}, 1)
    assert resulted(answer(504, BUSY), hasFailed=True, isNamed=False)["ask"]["flags"] == {
        "endedJob": "j1",
        "noJob": True,
    }
    last = resulted(answer(503, BUSY), hasFailed=True, ask={"endedJobs": 2})
    assert (last["route"], last["code"]) == ("failed", "runner_scheduling_failure")


def failed(said: dict[str, Any], *, is_submission: bool = False, **order: Any) -> bool | None:
    """Returns whether a failure counts as not billed; None if nothing is said of it."""
    job = {"json": {"job": JOB | {"executionId": EXECUTION, "isNamed": True, "since": now(), "hasFailed": True}}}
    nodes = {"Read the status": job, "The question": asked(endedJobs=2), "Check the event": event(**order)}
    made = first("main/read-the-ai-answer", said | {"isSubmission": is_submission}, nodes)
    assert made["route"] == "failed"
    return made.get("isUnbilled")


WRONG_INPUT = {"detail": [{"type": "missing", "msg": "Field required"}, {"type": "int_parsing", "msg": "No."}]}


def test_a_job_is_unbilled_if_the_infrastructure_failed_or_its_input_was_wrong() -> None:
    cancelled = {"detail": "Cancelled", "error_type": "client_cancelled"}
    mixed = {"detail": [*MODEL_ERROR["detail"], *WRONG_INPUT["detail"]]}
    unbilled = [answer(503, BUSY), answer(504, BUSY), answer(500, {"detail": "x"}), answer(422, WRONG_INPUT)]
    unsure = [answer(422, MODEL_ERROR), answer(422, mixed), answer(499, cancelled), answer(400, MODEL_ERROR)]
    assert [failed(said) for said in unbilled] == [True] * 4
    assert [failed(said) for said in unsure] == [False] * 4
    assert failed(answer(200, {"images": []})) is None


def test_a_submission_that_the_queue_refuses_is_unbilled_but_a_synchronous_call_may_have_begun() -> None:
    refusals = [answer(403, "<html>"), answer(401, {"detail": "x"}), answer(422, WRONG_INPUT)]
    unsure = [answer(422, MODEL_ERROR), answer(400, {"detail": "x"})]
    for said in refusals:
        assert failed(said, is_submission=True)
        assert failed(said, is_submission=True, isQueued=False)
    assert all(failed(said, is_submission=True) for said in unsure)
    assert not any(failed(said, is_submission=True, isQueued=False) for said in unsure)
    assert submitted(answer(503, BUSY), ask={"refusals": 2})["isUnbilled"] is True
    assert "isUnbilled" not in submitted(answer(502, "<html>"), is_older=True)


def test_a_submission_is_not_called_unbilled_if_its_answer_may_come_from_a_proxy() -> None:
    unsure = [answer(status, {"detail": "Bad gateway"}) for status in (408, 500, 502, 503, 504)]
    for said in unsure:
        assert (failed(said, is_submission=True), failed(said, is_submission=True, isQueued=False)) == (False, False)
    sure = [answer(500, {"detail": "x", "error_type": "runner_server_error"}), answer(500, MODEL_ERROR)]
    assert all(failed(said, is_submission=True) for said in sure)


@pytest.mark.parametrize("detail", [[None], ["text"], [{}], [{"type": 7}], [{"type": "missing"}, None]])
def test_an_error_in_no_known_shape_may_be_billed(detail: Any) -> None:
    assert failed(answer(422, {"detail": detail})) is False


def test_a_result_that_cannot_be_fetched_is_fetched_again_or_left_to_the_next_execution() -> None:
    passing = [{"error": {"message": "x"}}, answer(502, "<html>"), answer(200, "<html>"), answer(401, {"detail": "x"})]
    unfinished = answer(400, {"detail": "Request is still in progress"})
    for said in (*passing, answer(503, BUSY), answer(500, BUSY), unfinished):
        assert resulted(said)["route"] == "look"
        assert "[seen to]" in resulted(said, silentSince=now() - 3 * MINUTE)
    assert resulted(answer(404, {"detail": "x"}))["code"] == "job_expired"
    assert resulted(answer(400, MODEL_ERROR))["code"] == "content_policy_violation"


def test_a_job_that_is_not_done_when_its_result_is_asked_for_at_once_is_looked_at_soon() -> None:
    submission = {"json": {"job": JOB | {"since": now(), "isNamed": False, "executionId": EXECUTION, "looks": 0}}}
    earlier = {"json": {"job": JOB | {"jobId": "j0", "since": now() - MINUTE, "isNamed": True}}}
    for looked_before in ({}, {"Read the status": earlier}):
        nodes = {"Read the submission": submission, "The question": asked(), **looked_before}
        for said in (answer(400, {"detail": "Request is still in progress"}), answer(404, {"detail": "x"})):
            made = first("main/read-the-ai-answer", said, nodes)
            assert (made["route"], made["waitSeconds"]) == ("look", 0.5)
            assert (made["job"]["jobId"], made["job"]["isNamed"]) == ("j1", True)
        assert first("main/read-the-ai-answer", answer(422, MODEL_ERROR), nodes)["code"] == "content_policy_violation"


def test_an_image_that_its_job_still_has_is_not_given_up() -> None:
    nodes = {"An image?": {"json": {}}, "Read the submission": {"json": {"job": JOB}}}
    lost = first("main/look-at-the-image", {"details": {"httpCode": "502"}}, nodes)
    gone = first("main/look-at-the-image", {"details": {"httpCode": "404"}}, nodes)
    assert "[seen to]" in lost
    synchronous = nodes | {"An image?": {"json": {"isSubmission": True}}}
    unpaired = first("main/look-at-the-image", {"details": {"httpCode": "502"}}, synchronous)
    assert gone["code"] == unpaired["code"] == "image_download_failed"
