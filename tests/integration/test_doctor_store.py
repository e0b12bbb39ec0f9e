"""The doctor on the bridge's own side: database, clock, workers, outbox, callback URL, and checks that fail."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Finding, Mark, wrong
from aigen_bridge.doctor.replication import look_at_replication
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.settings import CALLBACK_PATH
from aigen_bridge.sim.serving import serving
from aigen_bridge.store.replication import servers
from examination import examined
from poolers import dropping_options
from restore.server import Server, installed
from silent_link import silent_link
from stage import Stage, make_settings, serve_api


def _do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


async def test_a_database_that_is_away_is_one_wrong_line_and_the_rest_is_still_looked_at() -> None:
    settings = make_settings("postgresql://aigen:pw-very-secret@127.0.0.1:9/aigen")
    found = await examined(settings)

    assert "Connection refused" in found.worst("database").found
    assert "AIGEN_DATABASE_URL" in found.worst("database").advice
    assert found.wrong() == {"database", "N8N", "Odoo", "callback URL"}, found.text()
    assert (
        found.worst("the rest").found
        == "Not checked: replication, pooler, tables, clock, worker, outbox, rows, dead letters, generations, "
        "models, budgets, image store, breakers, N8N key."
    )
    assert "pw-very-secret" not in found.text()


async def test_a_database_without_tables_needs_migrate(empty_database_url: str) -> None:
    found = await examined(make_settings(empty_database_url))

    assert found.worst("database").mark is Mark.OK
    assert found.worst("tables").mark is Mark.WRONG
    assert found.worst("tables").advice == "Run 'aigen-bridge migrate'."
    assert (
        found.worst("the rest").found
        == "Not checked: worker, outbox, rows, dead letters, generations, models, budgets, image store, "
        "breakers, N8N key."
    )


@pytest.mark.parametrize(("revision", "mark"), [("0001", Mark.WRONG), ("9999", Mark.WARNING)])
async def test_tables_of_another_version(database_url: str, revision: str, mark: Mark) -> None:
    _do(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
    line = (await examined(make_settings(database_url))).worst("tables")

    assert (line.mark, revision in line.found) == (mark, True)


async def test_an_index_whose_building_was_interrupted(database_url: str) -> None:
    _do(database_url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbox_due_idx'::regclass")
    line = (await examined(make_settings(database_url))).worst("tables")

    assert (line.mark, "outbox_due_idx" in line.found, "REINDEX" in line.advice) == (Mark.WARNING, True, True)


async def test_a_database_that_takes_no_writes(database_url: str) -> None:
    _do(database_url, f"ALTER DATABASE {_name(database_url)} SET default_transaction_read_only = on")
    line = (await examined(make_settings(database_url))).worst("database")

    assert (line.mark, "read-only" in line.found) == (Mark.WRONG, True)


async def test_a_user_without_rights_on_a_table(database_url: str) -> None:
    name, role = _name(database_url), _name(database_url) + "_role"
    grants = f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}"
    becoming = f"ALTER DATABASE {name} SET role = {role}"
    _do(database_url, f"CREATE ROLE {role}", grants, f"REVOKE INSERT ON outbox FROM {role}", becoming)
    line = (await examined(make_settings(database_url))).worst("tables")
    _do(
        database_url, "SET ROLE NONE", f"ALTER DATABASE {name} RESET role", f"DROP OWNED BY {role}", f"DROP ROLE {role}"
    )

    assert line.mark is Mark.WRONG
    assert "INSERT, UPDATE, DELETE on outbox" in line.found
    assert f"GRANT INSERT, UPDATE, DELETE ON outbox TO {role};" in line.advice


@pytest.mark.parametrize(
    ("ahead", "mark", "found"),
    [(0.0, Mark.OK, "differ"), (20.0, Mark.WARNING, "behind this"), (-600.0, Mark.WRONG, "ahead of this")],
)
async def test_clocks_that_disagree(database_url: str, ahead: float, mark: Mark, found: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead)

    line = (await examined(make_settings(database_url), now=now)).worst("clock")
    assert (line.mark, found in line.found) == (mark, True), line


async def test_entries_without_a_worker_are_said_with_their_age(idle_stage: Stage, database_url: str) -> None:
    await idle_stage.ask()
    _do(database_url, "UPDATE outbox SET due_at = now() - interval '10 minutes'")
    found = await examined(idle_stage.settings)

    assert found.worst("worker").found == "No worker is connected; 1 entry due."
    assert "aigen-bridge worker" in found.worst("worker").advice
    assert found.worst("outbox").found == "dispatch: 1 entry due, the oldest for 10 min."
    assert found.wrong() == {"worker", "outbox"}, found.text()


async def test_requests_that_no_sweep_has_failed(idle_stage: Stage, database_url: str) -> None:
    await idle_stage.ask()
    late = "UPDATE requests SET status = 'dispatched', callback_deadline_at = now() - interval '1 hour'"
    _do(database_url, "DELETE FROM outbox", late)

    assert "1 request past the callback's deadline" in (await examined(idle_stage.settings)).worst("outbox").found


async def test_api_processes_that_count_by_themselves(idle_stage: Stage, database_url: str) -> None:
    others = [psycopg.connect(database_url, application_name=f"aigen-bridge api {number}") for number in (1, 2)]
    try:
        line = (await examined(idle_stage.settings)).worst("rate limits")
    finally:
        for other in others:
            other.close()

    assert (line.mark, "AIGEN_RATE_LIMIT__STORAGE" in line.advice) == (Mark.WARNING, True)


def _request(url: str, **columns: str) -> str:
    """Writes a request with these columns. Returns its id."""
    request_id = str(uuid4())
    columns = {"request_id": request_id, "correlation_id": request_id, "event": "{}"} | columns
    names, values = ", ".join(columns), ", ".join(f"'{value}'" for value in columns.values())
    _do(url, f"INSERT INTO requests ({names}) VALUES ({values})")  # noqa: S608 - values of this test
    return request_id


class TestGenerations:
    async def test_without_a_payment_in_doubt_are_well(self, database_url: str) -> None:
        line = (await examined(make_settings(database_url))).worst("generations")

        assert (line.mark, line.found) == (Mark.OK, "No payment in doubt within 7 d.")

    async def test_that_may_have_been_paid_for_are_named_for_a_week(self, database_url: str) -> None:
        failed = _request(
            database_url, status="failed", error_code="maybe_paid", failed_by="bridge", completed_at="now"
        )
        doubted, old = _request(database_url), _request(database_url)
        change = "INSERT INTO generation_changes (request_id, state, note, at) VALUES ('{}', 'doubtful', '…', {})"
        job = "INSERT INTO provider_jobs (request_id, provider, job_id, execution_id, is_other) VALUES ('{}', {})"
        _do(
            database_url,
            change.format(doubted, "now()"),
            change.format(doubted, "now() - interval '1 hour'"),
            change.format(old, "now() - interval '8 days'"),
            job.format(doubted, "'fal', 'job-1', '7', false"),
            job.format(doubted, "'fal', 'job-2', '8', true"),
        )
        undecided, doubts, others = (await examined(make_settings(database_url))).about("generations")

        assert {line.mark for line in (undecided, doubts, others)} == {Mark.WARNING}
        assert f"maybe_paid within 7 d and wait for a decision: 1 ({failed})." in undecided.found
        assert "requests replay ID" in undecided.advice
        assert f"without a trace within 7 d: 1 ({doubted})." in doubts.found
        assert f"1 (job-2 at fal for request {doubted})." in others.found

    async def test_are_not_resumed_while_an_api_records_no_beats(self, database_url: str) -> None:
        _do(database_url, "INSERT INTO api_beats (id, at) VALUES (1, now() - interval '5 minutes')")
        without_api = (await examined(make_settings(database_url))).worst("generations")
        with psycopg.connect(database_url, application_name="aigen-bridge api 1"):
            line = (await examined(make_settings(database_url))).worst("generations")

        assert without_api.mark is Mark.OK
        assert (line.mark, "no beat for 5 min" in line.found) == (Mark.WRONG, True), line


class TestCallbackUrl:
    async def test_leads_to_the_api(self, database_url: str) -> None:
        async with serve_api(make_settings(database_url)) as api:
            settings = make_settings(database_url, public_url=str(api.base_url).rstrip("/"))
            line = (await examined(settings)).worst("callback URL")
        assert (line.mark, "leads to the API" in line.found) == (Mark.OK, True), line

    async def test_leads_nowhere(self, database_url: str) -> None:
        line = (await examined(make_settings(database_url, public_url="http://127.0.0.1:9"))).worst("callback URL")
        assert (line.mark, "aigen-bridge serve" in line.advice) == (Mark.WRONG, True)

    @pytest.mark.parametrize(
        ("status", "mark", "found"),
        [
            (404, Mark.WRONG, "not this service (404 Not Found)"),
            (405, Mark.WRONG, "not this service"),
            (502, Mark.WRONG, "does not reach the API"),
            (400, Mark.WARNING, "requires a client certificate"),
        ],
    )
    async def test_leads_elsewhere(self, database_url: str, status: int, mark: Mark, found: str) -> None:
        async def elsewhere(_request: object) -> PlainTextResponse:
            return PlainTextResponse("No required SSL certificate was sent", status)

        async with serving(Starlette(routes=[Route(CALLBACK_PATH, elsewhere)])) as url:
            line = (await examined(make_settings(database_url, public_url=url))).worst("callback URL")
        assert (line.mark, found in line.found) == (mark, True), line


class TestAnyCheck:
    async def test_may_fail_or_hang_without_the_others(self, idle_stage: Stage) -> None:
        async def breaks(_subject: Subject) -> list[Finding]:
            raise RuntimeError

        async def hangs(_subject: Subject) -> list[Finding]:
            await asyncio.sleep(3600)
            return []

        async def tells(subject: Subject) -> list[Finding]:
            [odoo] = subject.odoos.values()
            return [wrong("third", f"it said {odoo.api_key.get_secret_value()}!", "")]

        checks = [Check("first", breaks), Check("second", hangs), Check("third", tells)]
        lines = await examine(Subject.of(idle_stage.settings), checks, seconds=0.2)

        assert [line.found for line in lines] == [
            "The check itself failed (RuntimeError).",
            "No answer within 0 s.",
            "it said ***!",
        ]

    async def test_of_one_part_does_not_need_the_settings_of_another(self, stage: Stage) -> None:
        settings = stage.settings
        lines = await examine(Subject(odoos={"default": settings.odoo}, complaints=("AIGEN_N8N__API_KEY is missing.",)))
        marks = {line.about: line.mark for line in lines}

        assert (marks["settings"], marks["Odoo"], marks["the rest"]) == ("wrong", "ok", "warning")
        assert {"N8N", "database", "callback URL"}.isdisjoint(marks)


async def test_standbys_and_silent_servers_are_named(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        info = connection.info
        place = f"{quote(info.host, safe='')}:{info.port}"
        slot = info.dbname
        url = f"postgresql://{info.user}@127.0.0.1:9,{place}/{info.dbname}"
        [programs] = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone() or ("",)
    alone = await examined(make_settings(database_url))
    assert alone.worst("replication").found == "No standby is connected."
    assert alone.worst("pooler").found == "None is in between."

    receiving = [f"{programs}/pg_receivewal", "-D", str(tmp_path), "-d", database_url, "--no-loop", "--slot", slot]
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Without a slot, a checkpoint removes what the receiver has not read yet, and the receiver ends.
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
        receiver = await asyncio.create_subprocess_exec(*receiving)
        try:
            while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'").fetchone():
                assert receiver.returncode is None
                await asyncio.sleep(0.05)
            found = await examined(make_settings(url))
        finally:
            receiver.terminate()
            await receiver.wait()
            while connection.execute(
                "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", [slot]
            ).fetchone():
                await asyncio.sleep(0.05)
            connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    assert "asynchronous (synchronous_standby_names is empty)" in found.worst("replication").found
    assert "pg_receivewal" in found.worst("replication").found
    named = found.worst("servers")
    assert named.mark is Mark.WARNING
    assert named.found.startswith(f"Primary: {unquote(place)}. Standbys: none. 127.0.0.1:9 cannot be asked: ")


async def test_two_ways_to_one_server_are_no_two_servers(database_url: str) -> None:
    """Such as the IPv4 and IPv6 addresses of one name, or two poolers."""
    async with silent_link(database_url) as link:
        url = make_conninfo(database_url, **_beside(database_url, link.port))
        found = await examined(make_settings(url))
    assert found.about("servers") == []


async def test_a_server_that_answers_no_statement_is_named_beside_the_others(database_url: str) -> None:
    async with dropping_options(database_url, passes_statements=False) as hung:
        port = int(conninfo_to_dict(hung)["port"])
        url = make_conninfo(database_url, **_beside(database_url, port))
        right, silent = await servers(url, timedelta(seconds=1))
    assert (right.error, silent.error) == ("", "no answer within 1 s")


async def test_a_log_that_is_not_archived_is_wrong_until_it_is_or_need_not_be() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder) / "server", installed()[18])
        server.create()
        marker = Path(folder) / "server" / "works"
        server.configure(archive_mode="on", archive_command=f"test -e {marker}", fsync="off")
        server.start()
        try:
            server.add_database()
            failing = await _until_archive(server, is_wrong=True)
            marker.touch()
            await _until_archive(server, is_wrong=False)
            marker.unlink()
            await _until_archive(server, is_wrong=True)
            server.stop()
            server.configure(archive_mode="off")
            server.start()
            await _until_archive(server, is_wrong=False)
        finally:
            server.stop()
    assert re.match(r"PostgreSQL could not archive [0-9A-F]{24} of", failing.found)


async def _until_archive(server: Server, *, is_wrong: bool) -> Finding:
    """Waits until the finding `archive` is there, or not. Returns the last finding."""
    server.write("SELECT pg_create_restore_point('something to archive')")
    server.write("SELECT pg_switch_wal()")
    async with asyncio.timeout(90):
        while True:
            found = await examine(Subject.of(make_settings(server.url)), [Check("replication", look_at_replication)])
            if (found[-1].about == "archive") == is_wrong:
                return found[-1]
            await asyncio.sleep(0.5)


async def test_during_an_outage_the_servers_are_named() -> None:
    settings = make_settings("postgresql://u@127.0.0.1:9,127.0.0.2:9/d")
    [found] = await examine(Subject.of(settings), [Check("replication", look_at_replication)])
    assert found.found.startswith(
        "No server accepts writes. Primary: none. Standbys: none. 127.0.0.1:9 cannot be asked"
    )


def _beside(url: str, port: int) -> dict[str, str]:
    """Returns the hosts and ports of the server at this URL, and of this port."""
    with psycopg.connect(url) as connection:
        return {"host": f"{connection.info.host},127.0.0.1", "port": f"{connection.info.port},{port}"}
