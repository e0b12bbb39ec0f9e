"""The overview: whether all is well, in one look, and everything that needs an operator."""

from collections.abc import Callable
from typing import Any

import psycopg
from playwright.sync_api import expect

from console.operator import Operator, signed_in
from stage import Stage

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
SCRIPT = "<script>alert(1)</script>"
PAST = """
    INSERT INTO requests (request_id, correlation_id, event, status, failed_by, error_code, image, created_at,
        dispatched_at, completed_at, delivered_at)
    SELECT gen_random_uuid(), gen_random_uuid(), '{}', status, failed_by, error_code,
        CASE WHEN status = 'completed' THEN CAST('{}' AS jsonb) END, at, at + interval '0.3 s', at + interval '14 s',
        at + interval '15 s'
    FROM generate_series(0, 400) AS n, CAST(now() - interval '1 minute' - n * interval '211 s' AS timestamptz) AS at,
        LATERAL (VALUES (CASE WHEN n % 9 = 4 THEN 'failed' WHEN n % 31 = 5 THEN 'cancelled' ELSE 'completed' END,
            CASE WHEN n % 9 = 4 THEN CASE WHEN n % 27 = 4 THEN 'bridge' ELSE 'n8n' END END,
            CASE WHEN n % 9 = 4 THEN 'content_policy' END)) AS ended (status, failed_by, error_code)
"""
TROUBLE = f"""
    UPDATE destinations SET failures = 21, opened_at = now() - interval '7 min', probe_at = now(),
        error_code = 'http_503', error_detail = 'N8N answered 503: {SCRIPT}' WHERE name = 'n8n';
    INSERT INTO incidents (cause, times, opened_at, seen_at)
    VALUES ('n8n_down', 1, now() - interval '7 min', now()), ('timed_out', 3, now() - interval '2 h', now());
    INSERT INTO occurrences (incident_id, request_id, detail)
    SELECT id, (SELECT request_id FROM requests LIMIT 1), 'N8N did not report within 10 min. {SCRIPT}' FROM incidents;
    INSERT INTO outbox (request_id, step, state, attempts, finished_at, error_code, error_detail)
    SELECT request_id, 'deliver', 'dead', 3, now(), 'odoo_accesserror', 'no' FROM requests LIMIT 3;
    INSERT INTO requests (request_id, correlation_id, event, status, image, awaited)
    SELECT gen_random_uuid(), gen_random_uuid(), '{{}}', status, NULL, '{{}}'
    FROM (VALUES ('queued'), ('received')) AS open (status);
"""  # noqa: S608 - constants


def fill(stage: Stage, *statements: str) -> None:
    with psycopg.connect(stage.settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_all_is_well_says_so_and_counts(staging: Staging, visiting: Visiting, run: Run) -> None:
    stage = staging(worker=True)
    fill(stage, PAST)
    operator = visiting(stage)
    expect(operator.page.locator("#verdict")).to_have_text("All is well.")
    for words in ("17 requests in the last hour", "Workers\n1", "Slowest hop\n14 s"):
        assert words.lower() in operator.text().lower(), words
    operator.assert_accessible()
    operator.snap("overview-well")

    asked = run(stage.ask())
    run(stage.until_delivered(asked["requestId"]))
    expect(operator.page.locator(".verdict")).to_contain_text("18 requests", timeout=10_000)


def test_trouble_is_named_with_what_to_do_and_text_stays_text(staging: Staging, visiting: Visiting) -> None:
    stage = staging()
    fill(stage, PAST, TROUBLE)
    operator = visiting(stage)
    expect(operator.page.locator("#verdict")).to_have_text("4 things need you.")
    reasons = [
        "No worker is running: nothing is sent to N8N or Odoo.",
        "N8N is away (http_503): what waits for it is held.",
        "N8N accepted requests but did not report a result, 3 times.",
        "3 dead letters of kind deliver wait for a decision.",
    ]
    expect(operator.page.locator(".verdict li")).to_have_text(reasons)
    assert operator.text().count(SCRIPT) == 3, "as text, once for the destination and for each incident"
    hrefs = operator.page.locator(".verdict a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert hrefs[1:] == ["/console/destinations", "#incidents", "/console/dead-letters?kind=deliver"]
    runbook = operator.page.locator("main").get_by_role("link", name="Runbook").first
    assert runbook.get_attribute("href") == "/console/runbook#aigenworkflowfailing"
    operator.assert_accessible()
    operator.snap("overview-trouble")


def test_it_is_readable_in_the_dark_and_on_a_phone(staging: Staging, visiting: Visiting) -> None:
    stage = staging()
    fill(stage, PAST, TROUBLE)
    for name, options in {"dark": {"dark": True}, "phone": {"phone": True}}.items():
        operator = visiting(stage, **options)
        expect(operator.page.locator("#verdict")).to_be_visible()
        operator.assert_accessible()
        operator.assert_nothing_sticks_out()
        operator.snap(f"overview-{name}")


def test_a_paused_destination_is_said_and_is_no_trouble(staging: Staging, run: Run) -> None:
    stage = staging(worker=True)
    pause = stage.api.post(
        "/api/v1/ops/destinations/n8n/pause", json={"reason": "an upgrade"}, headers=stage.as_client("ops")
    )
    run(pause)
    request_id = run(stage.ask())["requestId"]
    with signed_in(stage) as console:
        page = console.get("/console").text
        assert "All is well." in page
        assert "N8N is paused by ops: an upgrade" in page
        assert "which is paused. Held since" in console.get(f"/console/requests/{request_id}").text


def test_an_empty_bridge_says_what_will_be_shown(staging: Staging) -> None:
    with signed_in(staging()) as console:
        page = console.get("/console").text
        assert "No request ended within the hour" in page
        assert "No dead letters" in page
        assert console.get("/console?no-such=parameter").status_code == 200
