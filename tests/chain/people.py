"""Two people at their browsers, and what becomes of the pictures that they ask for."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from aigen_bridge.sim.flux_contract import CANCELLED
from browser import PICTURE, Person
from chain.ground import PAYS_ONCE, Ground

T = TypeVar("T")
PATIENCE = 120.0
"""Default timeout in seconds. A real N8N and a real Odoo on a busy machine are slow."""
WATCH = """selector => {
    window.shown = new Promise(resolve => {
        const timer = setInterval(() => {
            if (document.querySelector(selector)) { clearInterval(timer); resolve(Date.now() / 1000); }
        }, 10);
    });
}"""
NOTE_COMMITS = """
CREATE TABLE IF NOT EXISTS e2e_commits (request_id text, status text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION e2e_note_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO e2e_commits (request_id, status) VALUES (NEW.request_id, NEW.status); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER e2e_note_commit AFTER INSERT OR UPDATE OF status ON aigen_image_request
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION e2e_note_commit();
"""
"""Notes when Odoo commits a status. Odoo's own times are those of the start of the transaction."""


@dataclass(frozen=True)
class Asked:
    """A picture that somebody pressed *Generate* for."""

    person: Person
    prompt: str
    request_id: str
    correlation_id: str
    pressed_at: float


@dataclass(frozen=True)
class Crew:
    """The people, and a look behind the scenes at what they asked for."""

    ground: Ground
    ann: Person
    dan: Person

    def press(self, person: Person, prompt: str) -> Asked:
        """Asks for a picture: types the prompt and presses *Generate*."""
        person.wish(prompt, "Landscape (4:3)")
        person.page.evaluate(WATCH, PICTURE)
        pressed_at = time.time()
        person.generate()
        [record] = until(lambda: self.in_odoo("prompt = %s AND status <> 'draft'", prompt))
        return Asked(person, prompt, record["request_id"], record["correlation_id"], pressed_at)

    def in_odoo(self, condition: str, *values: Any) -> list[dict[str, Any]]:
        """Returns Odoo's records."""
        query = f"SELECT * FROM aigen_image_request WHERE {condition} ORDER BY id"  # noqa: S608 - our own words
        return rows(self.ground.odoo.database_url, query, *values)

    def record(self, asked: Asked) -> dict[str, Any]:
        """Returns Odoo's record of a request."""
        [record] = self.in_odoo("request_id = %s", asked.request_id)
        return record

    def commits(self, asked: Asked) -> dict[str, float]:
        """Returns when Odoo last committed each status of a request."""
        query = (
            "SELECT status, max(extract(epoch FROM at))::float AS at FROM e2e_commits WHERE request_id = %s GROUP BY 1"
        )
        return {row["status"]: row["at"] for row in rows(self.ground.odoo.database_url, query, asked.request_id)}

    def in_bridge(self, asked: Asked) -> dict[str, Any]:
        """Returns the bridge's row of a request."""
        [row] = rows(self.ground.bridge.postgres.url, "SELECT * FROM requests WHERE request_id = %s", asked.request_id)
        return row

    def asked_at(self, asked: Asked) -> float:
        """Returns when N8N first asked the bridge whether it may generate this picture."""
        query = "SELECT min(extract(epoch FROM noted_at))::float AS at FROM executions WHERE request_id = %s"
        return float(rows(self.ground.bridge.postgres.url, query, asked.request_id)[0]["at"])

    def until_in_bridge(self, asked: Asked, status: str) -> None:
        """Waits until the request has this status in the bridge."""
        until(lambda: self.in_bridge(asked)["status"] == status)

    def until_generating(self, *asked: Asked) -> None:
        """Waits until the AI service generates these pictures, and N8N waits for them."""
        ai = self.ground.ai
        for one in asked:
            until(lambda one=one: any(map(ai.is_waited_for, ai.jobs_of(one.correlation_id))))

    def until_cancelled_at_the_provider(self, asked: Asked) -> None:
        """Waits until N8N has cancelled the job, if the shipped workflow does that."""
        if PAYS_ONCE:
            until(lambda: [job for job in self.ground.ai.jobs_of(asked.correlation_id) if job.ending is CANCELLED])

    def shown_at(self, asked: Asked) -> float:
        """Waits until the person sees the picture, on the page where it was asked for, and returns when that was."""
        asked.person.page.wait_for_selector(PICTURE)
        return float(asked.person.page.evaluate("() => window.shown"))


def log_in_both(ground: Ground, browser: Any) -> Crew:
    """Logs two people in, each in a browser context of their own."""
    with closing(psycopg.connect(ground.odoo.database_url, autocommit=True)) as connection:
        connection.execute(NOTE_COMMITS)
    return Crew(ground, *(Person.log_in(browser, ground.odoo.url, login) for login in ("ann", "dan")))


def until(look: Callable[[], T], *, seconds: float = PATIENCE) -> T:
    """Calls `look` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.05)
    return found


def rows(url: str, query: str, *values: Any) -> list[dict[str, Any]]:
    """Returns the rows of a query."""
    with closing(psycopg.connect(url, row_factory=dict_row, connect_timeout=5)) as connection:
        return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
