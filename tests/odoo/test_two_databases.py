"""Two databases on one real Odoo server (dbfilter), one bridge: nothing crosses, and neither waits for the other."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from bridge_thread import Bridge, running_bridge
from execution import ACKNOWLEDGES, execution
from psycopg import sql

from aigen_bridge.sockets import bind
from processes import run
from real_odoo import COPY, DATABASE, PEOPLE, ROLE, RealOdoo, Server
from stage import CLIENTS, KEYS, REQUESTS

MODEL = "aigen.image.request"
EACH, FIRST, SECONDS = 20, 3, 120
"""Requests of each database, pictures that each has when one database stops, and how long anything may take."""
NORTH = "north"
ROLES = {DATABASE: "default", NORTH: NORTH}
"""By database, the name of its Odoo."""
OWN_UUID = "env['ir.config_parameter'].init(force=True)\n"
"""A copy has the uuid of its original, unless Odoo itself made it."""
KEYS_OF = {DATABASE: (KEYS["odoo"], "key-of-its-ops"), NORTH: ("key-of-north", "key-of-norths-ops")}
"""By database, the key of requests and the key of operations."""
OUT = "SELECT name FROM destinations WHERE opened_at IS NOT NULL"
OWN = "SELECT request_id::text, image->>'sha256' FROM requests WHERE odoo = %s AND request_id::text <> ALL(%s)"
TWICE = """
SELECT request_id FROM attempts WHERE step = 'deliver' AND outcome = 'done' GROUP BY request_id HAVING count(*) <> 1
"""
WRONG = "SELECT DISTINCT error_code FROM attempts WHERE step = 'deliver' AND outcome <> 'done'"
DEAD = "SELECT request_id, step FROM outbox WHERE state = 'dead'"


@dataclass(frozen=True)
class Company:
    """One of the databases, and a person in it."""

    odoo: RealOdoo
    session: httpx.Client

    def call(self, method: str, *args: Any) -> Any:
        """Calls a method of the model of requests, as the person's browser does."""
        params = {"model": MODEL, "method": method, "args": args, "kwargs": {}}
        answer = self.session.post("/web/dataset/call_kw", json={"params": params}).json()
        assert "error" not in answer, answer
        return answer.get("result")

    def new(self, words: str, number: int = EACH) -> list[int]:
        """Creates requests and returns the ids of their records."""
        [model] = self.odoo.as_person("ann", "aigen.image.model", "search", [], 0, 1)
        wishes = [{"prompt": f"{words} {each}", "model_id": model} for each in range(number)]
        return list(self.call("create", wishes))

    def pictures(self) -> dict[str, tuple[str, str]]:
        """Returns what became of each request: its status and the hash of its picture, from the database itself."""
        with closing(psycopg.connect(self.odoo.database_url)) as connection:
            found = connection.execute("SELECT request_id, status, image_sha256 FROM aigen_image_request").fetchall()
        return {request_id: (status, sha256) for request_id, status, sha256 in found}


@contextmanager
def _second_database(odoo: RealOdoo) -> Iterator[RealOdoo]:
    """Makes a database from the installed one, with a uuid, people and a key of its own."""
    options = tuple(f"--database={NORTH}" if part.startswith("--database=") else part for part in odoo.options)
    [data] = [Path(part.partition("=")[2]) for part in odoo.options if part.startswith("--data-dir=")]
    shutil.copytree(data / "filestore" / COPY, data / "filestore" / NORTH)
    names = {"new": sql.Identifier(NORTH), "owner": sql.Identifier(ROLE), "of": sql.Identifier(COPY)}
    with closing(psycopg.connect(odoo.database_url, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {new} OWNER {owner} TEMPLATE {of}").format(**names))
        north = replace(odoo, options=options, database=NORTH, database_url=_url_of(odoo, NORTH), uids={})
        yield replace(north, key=north.shell(OWN_UUID + PEOPLE).partition("KEY=")[2].split()[0])
        connection.execute(sql.SQL("DROP DATABASE {new} WITH (FORCE)").format(**names))
    shutil.rmtree(data / "filestore" / NORTH)


def _url_of(odoo: RealOdoo, database: str) -> str:
    return urlunsplit(urlsplit(odoo.database_url)._replace(path=f"/{database}"))


@contextmanager
def _server_of_both(odoo: RealOdoo) -> Iterator[Server]:
    """Runs an Odoo server for both databases. The callers say which one they mean."""
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    options = tuple(part for part in odoo.options if not part.startswith("--database="))
    mode = ("--workers=0", "--max-cron-threads=0", f"--db-filter=^({DATABASE}|{NORTH})$")
    server = Server(options, port, odoo.version, mode=mode)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def odoos(real_odoo: RealOdoo) -> Iterator[dict[str, RealOdoo]]:
    """By database, the Odoo that serves it: one server for both."""
    with _second_database(real_odoo) as north, _server_of_both(real_odoo) as server:
        yield {odoo.database: replace(odoo, url=server.url, server=server) for odoo in (real_odoo, north)}


@pytest.fixture
def settings(odoos: dict[str, RealOdoo]) -> dict[str, Any]:
    """The sections of the settings of a bridge for both."""
    clients: dict[str, Any] = dict(CLIENTS)
    for database, (key, ops_key) in KEYS_OF.items():
        name = ROLES[database]
        clients |= {
            f"{name}-requests": {"keys": [key], "scopes": ["requests"], "odoo": name},
            f"{name}-ops": {"keys": [ops_key], "scopes": ["ops"], "odoo": name},
        }
    del clients["odoo"]
    quick = {"breaker": {"probe_every": "0.5s", "failures": 2}}
    return {"odoos": {NORTH: odoos[NORTH].connection | quick}, "clients": clients, "worker": {"poll": "0.2s"}}


@pytest.fixture
def configured(configured: dict[str, str], settings: dict[str, Any], odoos: dict[str, RealOdoo]) -> dict[str, str]:
    """The same settings for a command, as environment variables."""
    sections = settings | {"odoo": odoos[DATABASE].connection}
    return configured | {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}


@pytest.fixture
def bridge(database_url: str, odoos: dict[str, RealOdoo], settings: dict[str, Any]) -> Iterator[Bridge]:
    """A bridge for both. N8N makes two pictures at a time, so that there is a middle of the work."""
    with running_bridge(database_url, odoos[DATABASE], settings=settings, flux_seconds=0.6, flux_runners=2) as bridge:
        for database, odoo in odoos.items():
            odoo.configure(bridge.url, *KEYS_OF[database])
        yield bridge


@pytest.fixture
def companies(bridge: Bridge, odoos: dict[str, RealOdoo]) -> Iterator[tuple[Company, Company]]:
    """A person in each database."""
    with ExitStack() as sessions:
        yield tuple(Company(odoo, sessions.enter_context(closing(_session(odoo)))) for odoo in odoos.values())


def _session(odoo: RealOdoo) -> httpx.Client:
    client = httpx.Client(base_url=odoo.url, timeout=60)
    params = {"db": odoo.database, "login": "ann", "password": "ann"}
    client.post("/web/session/authenticate", json={"params": params}).raise_for_status()
    return client


@contextmanager
def stopped(odoo: RealOdoo) -> Iterator[None]:
    """The database accepts no connection until the block ends, as if its server were away."""
    with closing(psycopg.connect(_url_of(odoo, "postgres"), autocommit=True)) as admin:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(sql.Identifier(odoo.database), sql.SQL("false")))
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [odoo.database]
        )
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(odoo.database), sql.SQL("true")))


class Books:
    """The requests in the bridge's database, without those in `earlier`.

    Those are what other tests left waiting in Odoo: its cron sends them to the next bridge.
    """

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self.earlier: list[str] = []

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def delivered(self, odoo: str) -> int:
        found = self._connection.execute(f"{OWN} AND delivered_at IS NOT NULL", [odoo, self.earlier])
        return len(found.fetchall())

    def known(self, odoo: str) -> dict[str, tuple[str, str]]:
        found = self._connection.execute(OWN, [odoo, self.earlier]).fetchall()
        return {request_id: ("completed", sha256) for request_id, sha256 in found}

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    with closing(Books(database_url)) as books:
        yield books


def until(condition: Callable[[], bool], what: str) -> float:
    """Waits until the condition holds and returns the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + SECONDS, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started


def generate_in_turns(here: Company, there: Company) -> None:
    """Both ask for their pictures, one by one in turns."""
    mine, theirs = here.new("A lighthouse"), there.new("A windmill")
    for record, other in zip(mine, theirs, strict=True):
        here.call("action_generate", [record])
        there.call("action_generate", [other])


def test_twenty_requests_each_while_one_database_stops_in_the_middle(bridge, companies, books, record_property):
    here, north = companies
    before = {company.odoo.database: set(company.pictures()) for company in companies}
    books.earlier = sorted(set.union(*before.values()))
    generate_in_turns(here, north)
    until(lambda: min(books.delivered("default"), books.delivered(NORTH)) >= FIRST, "the first pictures of both")
    with stopped(north.odoo):
        out = books.delivered(NORTH)
        assert out < EACH
        took = until(lambda: books.delivered("default") == EACH, "the pictures of the database that is there")
        until(lambda: ("odoo:north",) in books.all(OUT), "the breaker of north")
        assert ("odoo",) not in books.all(OUT)
        assert books.delivered(NORTH) < EACH
    until(lambda: books.delivered(NORTH) == EACH, "the other pictures of north, once it was back")
    record_property("seconds_while_north_was_away", took)

    for company, name in ((here, "default"), (north, NORTH)):
        known, pictures = books.known(name), company.pictures()
        assert {r: pictures[r] for r in pictures.keys() - before[company.odoo.database]} == known
        assert len(known) == len(set(known.values())) == EACH
    assert books.all(TWICE) == []
    assert books.all(DEAD) == []


def test_a_database_neither_sees_nor_cancels_the_requests_of_the_other(bridge, companies):
    here, north = companies
    [record] = here.new("A secret garden", 1)
    here.call("action_generate", [record])
    [request] = here.call("read", [record], ["request_id"])
    path = f"{REQUESTS}/{request['request_id']}"
    for key in KEYS_OF[NORTH]:
        with httpx.Client(base_url=bridge.url, headers={"X-API-Key": key}, timeout=30) as other:
            assert other.get(path).status_code == other.get(f"{path}/timeline").status_code == 404
            assert other.post(f"{path}/cancel").status_code in {403, 404}
            assert "A secret garden" not in other.get(REQUESTS).text
    assert north.call("search_count", [["request_id", "=", request["request_id"]]]) == 0


def test_a_database_with_another_uuid_neither_asks_nor_gets_until_it_is_confirmed(bridge, companies, books, configured):
    _, north = companies
    taught, waits, refused = north.new("A harbour", 3)
    north.call("action_generate", [taught])
    until(lambda: books.delivered(NORTH) == 1, "the picture that teaches the uuid")
    bridge.chain.n8n.faults.add(ACKNOWLEDGES)
    north.call("action_generate", [waits])
    n8n = execution(bridge, "A harbour 1")
    n8n.ask()
    other = str(uuid4())
    north.odoo.as_person("admin", "ir.config_parameter", "set_param", "database.uuid", other)
    n8n.name_job()
    n8n.deliver()
    until(lambda: ("odoo:north",) in books.all(OUT), "the breaker of north")
    assert books.all(WRONG) == [("wrong_database",)]
    until(lambda: status_for(bridge, other) == 403, "the API, which reads the known uuids every 5 s")
    north.call("action_generate", [refused])
    assert statuses(north, waits, refused) == ["queued", "waiting"]

    done = run("odoos", "confirm", NORTH, "--yes", environment=configured)
    assert done.returncode == 0, done.stderr
    until(lambda: books.delivered(NORTH) == 2, "the picture that was held")
    north.call("action_refresh", [refused])
    until(lambda: statuses(north, refused) != ["waiting"], "the request that was refused before")
    assert statuses(north, waits) == ["completed"]


def status_for(bridge: Bridge, uuid: str) -> int:
    """Returns the HTTP status for a call of north from a database with this uuid."""
    headers = {"X-API-Key": KEYS_OF[NORTH][0], "X-Odoo-Database": f"{uuid}; {NORTH}"}
    return httpx.get(bridge.url + REQUESTS, headers=headers, timeout=30).status_code


def statuses(company: Company, *records: int) -> list[str]:
    found = {each["id"]: each["status"] for each in company.call("read", list(records), ["status"])}
    return [found[record] for record in records]
