"""The short form of the chaos proof, and tests that its ledger detects every kind of error."""

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

import aigen_bridge
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.sim.n8n_nodes import Node
from chaos.facts import BUGS, Facts
from chaos.ground import COMPILED_ONCE
from chaos.ledger import ACCOUNTS, compare
from chaos.load_balancer import Answered
from chaos.promises import Promises
from chaos.schedule import Kind, Storage, draw
from chaos.sheet import Report, show

TESTS = Path(__file__).parents[1]
SOURCES = Path(aigen_bridge.__file__).parents[1]
SEED = 1
PHASES = 3
"""Phases of N8N's restart: closed port, start page, no webhook. A request meets each of them."""
SECONDS = 240
"""Long enough for a busy machine; an idle one takes about 35."""
GIVEN_UP_WRONGLY = "given up although N8N came back"
ID, SHA = "00000000-0000-4000-8000-000000000001", "ab" * 32

KEY = ImageRef(UUID(ID), SHA).key

REQUEST = {"status": "completed", "version": 3, "failed_by": None, "error_code": None, "delivered": True,
           "declared": SHA, "stored": SHA}  # fmt: skip
CHANGES = [{"version": 2, "status": "dispatched"}, {"version": 3, "status": "completed"}]
ENTRY = {"id": 2, "request_id": ID, "step": "deliver", "state": "done", "attempts": 1, "error_code": None}
ATTEMPT = {"entry_id": 2, "step": "deliver", "request_id": ID, "round": 0, "number": 1, "outcome": "done",
       "took": timedelta(seconds=1), "finished_at": datetime(2026, 1, 1, tzinfo=UTC)}  # fmt: skip
EFFECT = {"version": 3, "status": "completed", "image": {"sha256": SHA}}
JOB = {"id": "job-1", "request_id": ID, "submitted_at": 1.0, "billed": True,
       "ending": {"status": 200, "error_type": None}}  # fmt: skip
NAMED = {"request_id": ID, "job_id": "job-1", "execution_id": "7", "is_other": False, "ended": False}
TAKEN = Answered(ID, "image", SHA, 202, {"duplicate": False})
GOOD = Facts(
    ordered=frozenset({ID}),
    accepted=frozenset({ID}),
    requests={ID: REQUEST},
    changes={ID: CHANGES},
    entries=[ENTRY],
    attempts=[ATTEMPT],
    effects={ID: [EFFECT]},
    callbacks=(TAKEN,),
    jobs=(JOB,),
    pictures={ID: SHA},
    named={"job-1": NAMED},
)
START = datetime(2026, 1, 1, tzinfo=UTC)
AWAY = (START, START + timedelta(seconds=6))
GIVEN_UP = {
    "request_id": ID,
    "error_code": "dispatch_failed",
    "cause": "connection",
    "handed_over": False,
    "began_at": START,
    "attempted_at": START + timedelta(seconds=7),
    "finished_at": START + timedelta(seconds=7),
}
TIMED_OUT = GIVEN_UP | {"error_code": "timed_out", "cause": None}
HELD = GIVEN_UP | {"cause": "destination_out", "finished_at": START + timedelta(seconds=60)}
FAILED = REQUEST | {"status": "failed", "failed_by": "n8n", "error_code": "content_policy", "declared": None}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("refused or never accepted", {"accepted": frozenset()}),
    ("refused or never accepted", {"refused": ("409",)}),
    ("lost", {"requests": {}}),
    ("from nowhere", {"ordered": frozenset()}),
    ("not ended", {"requests": {ID: REQUEST | {"status": "dispatched"}}}),
    (GIVEN_UP_WRONGLY, {"unaided": [TIMED_OUT]}),
    (GIVEN_UP_WRONGLY, {"unaided": [GIVEN_UP | {"cause": "http_404"}]}),
    (GIVEN_UP_WRONGLY, {"unaided": [GIVEN_UP | {"cause": "unexpected_answer"}]}),
    (GIVEN_UP_WRONGLY, {"unaided": [GIVEN_UP | {"attempted_at": AWAY[1]}], "away": (AWAY,)}),
    (GIVEN_UP_WRONGLY, {"unaided": [HELD], "away": (AWAY,)}),
    (GIVEN_UP_WRONGLY, {"unaided": [HELD], "away": ((START + timedelta(seconds=5), HELD["finished_at"]),)}),
    ("provider jobs beyond one, unexplained", {"jobs": (JOB, JOB | {"id": "job-2"})}),
    ("provider jobs in the bridge's books that are wrong", {"jobs": ()}),
    ("provider jobs in the bridge's books that are wrong", {"jobs": (JOB | {"request_id": "another"},)}),
    ("provider jobs in the bridge's books that are wrong", {"named": {"job-1": NAMED | {"ended": True}}}),
    ("pictures that did not arrive", {"pictures": {ID: "cd" * 32}}),
    ("pictures that did not arrive", {"effects": {}}),
    ("pictures that did not arrive", {"effects": {ID: [EFFECT | {"image": None}]}}),
    ("cancelled in vain", {"cancelled": frozenset({ID})}),
    ("Odoo never heard of", {"effects": {}}),
    ("Odoo knows other news", {"effects": {ID: [EFFECT | {"version": 2}]}}),
    ("Odoo knows other news", {"effects": {ID: [EFFECT | {"status": "failed"}]}}),
    ("duplicates", {"effects": {ID: [EFFECT, EFFECT]}}),
    ("versions that went back", {"effects": {ID: [EFFECT, EFFECT | {"version": 2}]}}),
    ("effects without a cause", {"effects": {ID: [EFFECT | {"version": 9}]}}),
    ("hashes that differ", {"effects": {ID: [EFFECT | {"image": {"sha256": "cd" * 32}}]}}),
    ("hashes that differ", {"requests": {ID: REQUEST | {"stored": "cd" * 32}}}),
    ("hashes that differ", {"torn_images": frozenset({SHA})}),
    ("images that were not moved to the image store", {"objects": {}, "waiting_images": [{"request_id": ID}]}),
    ("objects missing or damaged", {"objects": {}}),
    ("objects missing or damaged", {"objects": {KEY: "cd" * 32}, "swept": frozenset({KEY})}),
    ("objects missing or damaged", {"objects": {KEY: SHA}}),
    ("objects that nothing refers to", {"objects": {KEY: SHA}, "swept": frozenset({KEY, f"02/{ID}/{SHA}"})}),
    ("callbacks taken without effect", {"requests": {ID: FAILED}}),
    ("callbacks taken without effect", {"callbacks": (TAKEN, replace(TAKEN, says="failed", content="nsfw"))}),
    ("callbacks refused wrongly", {"callbacks": (TAKEN, replace(TAKEN, status=409))}),
    ("callbacks refused wrongly", {"callbacks": (TAKEN, replace(TAKEN, status=404))}),
    ("live entries", {"entries": [ENTRY | {"state": "pending"}]}),
    ("two live entries for one step", {"entries": [ENTRY | {"state": "pending"}] * 2}),
    ("gaps in the versions", {"changes": {ID: CHANGES[1:]}}),
    ("illegal moves", {"changes": {ID: [CHANGES[1], CHANGES[0]]}}),
    ("ended, delivery not accounted for", {"entries": []}),
    ("ended, delivery not accounted for", {"entries": [ENTRY | {"state": "dead"}]}),
    ("attempts settled twice", {"attempts": [ATTEMPT, ATTEMPT | {"took": timedelta(seconds=6)}]}),
    ("attempts recorded twice", {"attempts": [ATTEMPT, ATTEMPT]}),
    ("dead letters not listed", {"entries": [ENTRY | {"state": "dead"}]}),
    ("dead letters without an alert", {"alerted": frozenset(), "entries": [ENTRY | {"state": "dead"}]}),
    ("dead letters without an alert", {"alerted": frozenset(), "replayed": frozenset({"entry-2"})}),
    ("dead letters without an alert", {"alerted": frozenset(), "quarantine": [{"id": 1, "request_id": ID}]}),
    ("processes that fell over", {"fallen": ("worker-1",)}),
    ("bugs in the logs", {"bugs": ("step.bug",)}),
]


@pytest.mark.timeout(SECONDS + 30)
def test_nothing_is_lost_and_nothing_happens_twice_while_everything_is_killed_at_random() -> None:
    command = (sys.executable, "-m", "chaos", "--requests", "100", "--seconds", "15", "--seed", str(SEED))
    environment = {**os.environ, **COMPILED_ONCE, "PYTHONPATH": os.pathsep.join([str(TESTS), str(SOURCES)])}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        try:
            output, _ = running.communicate(timeout=SECONDS)
        finally:
            running.terminate()  # it leaves no process behind
    assert running.returncode == 0, output
    assert "The ledger balances." in output
    missed = re.search(r"N8N was away.* (\d+) attempts meanwhile", output)
    assert missed, output
    assert int(missed[1]) >= PHASES, "N8N's restart has met no request"
    assert re.search(r"pictures made +│ [1-9]", output), output


def test_the_ledger_balances_when_all_facts_agree() -> None:
    assert not any(compare(GOOD).values())


@pytest.mark.parametrize(("account", "difference"), WRONG)
def test_the_ledger_does_not_balance_when(account: str, difference: dict[str, Any]) -> None:
    assert compare(replace(GOOD, **difference))[account]


def test_every_account_of_the_ledger_is_seen_to_fail() -> None:
    assert ACCOUNTS.keys() == {account for account, _ in WRONG}


@pytest.mark.parametrize(
    "excuse",
    [
        {"unaided": [TIMED_OUT | {"error_code": "maybe_paid"}]},
        {"unaided": [TIMED_OUT | {"handed_over": True}]},
        {"unaided": [GIVEN_UP], "away": (AWAY,)},
        {"unaided": [GIVEN_UP | {"cause": "http_500"}]},
        {"unaided": [HELD], "away": ((START + timedelta(seconds=4), HELD["finished_at"]),)},
        {"unaided": [HELD], "away": (AWAY, (AWAY[1] + timedelta(seconds=4), HELD["finished_at"]))},
    ],
)
def test_a_failure_that_the_injected_faults_explain_is_in_order(excuse: dict[str, Any]) -> None:
    assert not any(compare(replace(GOOD, **excuse)).values())


def test_a_dead_delivery_is_in_order_when_its_dead_letter_is_listed() -> None:
    dead = replace(
        GOOD,
        requests={ID: REQUEST | {"delivered": False}},
        entries=[ENTRY | {"state": "dead"}],
        effects={},
        pictures={},
        dead_letters=frozenset({"entry-2"}),
    )

    assert not any(compare(dead).values())


def test_an_entry_that_was_held_has_all_its_attempts_again() -> None:
    again = ATTEMPT | {"round": 1, "took": timedelta(seconds=6)}

    assert not any(compare(replace(GOOD, attempts=[ATTEMPT, again])).values())


def test_a_dead_letter_with_an_alert_is_in_order() -> None:
    alerted = replace(GOOD, alerted=frozenset({ID}), replayed=frozenset({"entry-2"}))

    assert not any(compare(alerted).values())


def test_what_does_not_balance_is_printed_with_its_story(tmp_path: Path) -> None:
    wrong = replace(GOOD, effects={ID: [EFFECT, EFFECT]})
    nothing: Counter[str] = Counter()
    report = Report(seconds=1, load_seconds=1, strikes=nothing, faults=nothing, asked=nothing, replayed=nothing)
    console = Console(record=True, width=200, quiet=True)

    assert not show(wrong, report, compare(wrong), console, tmp_path / "ledger.txt")
    printed = (tmp_path / "ledger.txt").read_text()
    assert f"{ID}: version 3 2 times" in printed
    assert "entry 2 (deliver): done; attempts: 1 done" in printed
    assert printed.count("Odoo: 3 completed") == len(wrong.effects[ID])


def test_a_failure_by_the_bridge_may_give_way_to_a_late_image() -> None:
    statuses = ("dispatched", "failed", "completed")
    late = replace(
        GOOD,
        requests={ID: REQUEST | {"version": 4}},
        changes={ID: [{"version": version, "status": status} for version, status in enumerate(statuses, 2)]},
        effects={ID: [EFFECT | {"status": "failed", "image": None}, EFFECT | {"version": 4}]},
    )

    assert not any(compare(late).values())


def test_a_contradiction_is_refused_rightly() -> None:
    contradicting = replace(TAKEN, says="failed", content="content_policy", status=409)

    assert not any(compare(replace(GOOD, callbacks=(TAKEN, contradicting))).values())


def test_every_log_event_that_counts_as_a_bug_is_one_that_the_bridge_writes() -> None:
    sources = "".join(path.read_text() for path in Path(aigen_bridge.__file__).parent.rglob("*.py"))
    assert [bug for bug in BUGS if f'"{bug}"' not in sources] == []


def test_a_seed_gives_the_same_schedule_every_time() -> None:
    first, again = (draw(7, requests=50, seconds=30, processes=2) for _ in range(2))

    assert first == again
    assert first.digest == again.digest
    assert first.digest != draw(8, requests=50, seconds=30, processes=2).digest


def test_even_the_shortest_schedule_does_everything_once() -> None:
    for seed in range(20):
        schedule = draw(seed, requests=50, seconds=15, processes=2)
        struck = {(strike.kind, strike.target.rstrip("-12")) for strike in schedule.strikes}

        assert {kind for kind, _ in struck} == set(Kind) - {Kind.UNMOUNT}
        assert {(Kind.KILL, name) for name in ("api", "worker", "odoo")} <= struck
        assert (Kind.PAUSE, "worker") in struck
        assert all(strike.reports == 1 for strike in schedule.strikes)
        assert schedule.strikes[0].kind is Kind.RESTART


@pytest.mark.parametrize("storage", [Storage.FILE, Storage.S3])
def test_strikes_against_the_image_store_are_added_to_the_others(storage: Storage) -> None:
    plain = draw(7, requests=50, seconds=15, processes=2)
    schedule = draw(7, requests=50, seconds=15, processes=2, storage=storage)
    added = schedule.strikes[len(plain.strikes) :]
    kinds = {Storage.FILE: {Kind.UNMOUNT}, Storage.S3: {Kind.KILL, Kind.PAUSE}}

    assert schedule.strikes[: len(plain.strikes)] == plain.strikes
    assert {(strike.kind, strike.target) for strike in added} == {(kind, "store") for kind in kinds[storage]}


def test_an_image_in_the_image_store_is_in_order() -> None:
    stored = {ID: REQUEST | {"stored": None}}

    assert not any(compare(replace(GOOD, requests=stored, objects={KEY: SHA}, swept=frozenset({KEY}))).values())


def test_a_whole_run_kills_n8n_at_every_node_of_its_workflow() -> None:
    weather = draw(7, requests=50, seconds=180, processes=2).weather

    assert {fault["route"] for each in weather for fault in each.n8n if fault["kind"] == "kill"} == set(Node)


async def test_a_strike_falls_in_the_moment_of_the_next_promise() -> None:
    promises, struck = Promises(), []
    waiting = asyncio.create_task(promises.strike(lambda: struck.append("api-2"), by="api-2"))
    await asyncio.sleep(0)

    promises.made(0)  # another process
    assert not struck
    promises.made(1)
    assert struck == ["api-2"]
    await waiting
    promises.made(1)
    assert struck == ["api-2"]
