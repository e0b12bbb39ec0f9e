"""A picture that somebody asks for in Odoo arrives there and is paid for once, even if something is restarted.

Real Odoo, real N8N, and a simulated AI service, in the order in which somebody who runs them meets these things.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from compose.ai_service import KEY, URL, AiService
from compose.conftest import Images
from compose.odoo import Asked, Odoo
from compose.page import commands, spoken
from compose.project import Project, until
from stage import REQUESTS

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]
PNG = b"\x89PNG\r\n\x1a\n"
CRON_SECONDS = 300
"""A request that could not be sent is due after a minute or more, and Odoo's cron looks every minute."""


@dataclass(frozen=True)
class Chain:
    """Odoo, the bridge, N8N and the AI service, set up as the documentation says."""

    project: Project
    odoo: Odoo
    ai: AiService

    def __repr__(self) -> str:
        """Short, for pytest's output."""
        return f"<chain in {self.project}>"

    def until_generated(self, *asked: Asked) -> None:
        """Waits until N8N has reported that the AI service generates the pictures. The bridge knows their jobs then."""
        for one in asked:
            try:
                until(partial(self._is_generating, one), f"the bridge knows that {one} is generated")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self._told(one)}") from None

    def see_picture(self, asked: Asked) -> None:
        """Waits for the picture in Odoo, and sees that it was paid for once."""
        assert self.odoo.picture(asked).startswith(PNG)
        jobs = self.ai.jobs_of(asked.correlation_id)
        assert [job["billed"] for job in jobs] == [True], f"{asked} was not paid for once: {jobs}"

    def _told(self, asked: Asked) -> str:
        """Returns what happened to the request, as far as the bridge and the logs tell."""
        story = f"docker compose exec -T api aigen-bridge requests show {asked.request_id}"
        logs = "docker compose logs --tail=60 worker n8n odoo"
        return "\n".join(
            self.project.engine.try_shell(command, self.project.folder).output for command in (story, logs)
        )

    def _is_generating(self, asked: Asked) -> bool:
        with self.project.client() as api:
            found = api.get(f"{REQUESTS}/{asked.request_id}")
        return found.is_success and (found.json().get("progress") or {}).get("stage") == "generating"


@pytest.fixture(scope="module")
def chain(project: Project, images: Images) -> Iterator[Chain]:
    """The chain from nothing: what the documented commands set up, and what remains to be done in Odoo's pages."""
    images.need("odoo", "n8n", "nginx")
    project.remove()  # the requests of earlier cases would keep the AI service busy
    for command in commands("From nothing to running"):
        project.run(command)
        if command.startswith("deploy/secrets.sh"):
            project.path("secrets/ai_service_key").write_text(KEY)
            project.path("n8n/settings.local.json").write_text(json.dumps({"aiUrl": URL, "aiMode": "queue"}))
    secrets = {path.name: path.read_text() for path in project.path("secrets").iterdir()}
    odoo = Odoo(secrets["odoo_admin_password"])
    until(odoo.serves, "Odoo serves")
    odoo.configure("http://api:8000", secrets["client_key_odoo"], secrets["client_key_ops"])
    project.until_well()
    ai = AiService(project)
    ai.start()
    yield Chain(project, odoo, ai)
    ai.stop()


def test_the_first_picture_is_attached_in_odoo(chain: Chain) -> None:
    chain.see_picture(chain.odoo.ask("A lighthouse above a stormy sea at dusk, oil painting"))


def test_the_connection_test_in_odoo_and_the_doctor_find_nothing_wrong(chain: Chain) -> None:
    assert chain.odoo.connection_test() == "Everything is in order."
    chain.project.run("docker compose exec -T api aigen-bridge doctor")


def test_websockets_reach_odoo_at_the_port_of_its_pages(chain: Chain) -> None:
    assert chain.odoo.opens_websocket()


def test_after_a_restart_of_postgresql_odoo_sends_what_it_could_not_send_before(chain: Chain) -> None:
    """Odoo's cron does that. With threads (`workers = 0`) it would have ended, unnoticed."""
    chain.project.run("docker compose stop api")
    asked = chain.odoo.ask("A pier in the fog")
    assert chain.odoo.is_waiting(asked)
    chain.project.run("docker compose restart postgres")
    chain.project.run("docker compose start api")
    until(lambda: not chain.odoo.is_waiting(asked), "Odoo's cron sends the request", CRON_SECONDS)
    chain.see_picture(asked)
    chain.project.until_well()


def test_three_pictures_that_are_generated_while_n8n_restarts_arrive_and_are_paid_for_once(chain: Chain) -> None:
    with chain.ai.holding():
        asked = [chain.odoo.ask(f"Lighthouse {number} of three") for number in (1, 2, 3)]
        chain.until_generated(*asked)
        chain.project.run("docker compose restart n8n")
    for one in asked:
        chain.see_picture(one)


def test_a_picture_that_is_ready_while_odoo_restarts_arrives(chain: Chain) -> None:
    with chain.ai.holding():
        asked = chain.odoo.ask("A harbour at night")
        chain.until_generated(asked)
        chain.project.run("docker compose stop odoo")
    chain.project.run("docker compose start odoo")
    until(chain.odoo.serves, "Odoo serves")
    chain.see_picture(asked)


def test_a_picture_that_is_generated_while_everything_restarts_as_documented_arrives(chain: Chain) -> None:
    [restart] = [command for command in commands("Restarting and stopping") if " restart " in command]
    with chain.ai.holding():
        asked = chain.odoo.ask("A pilot boat")
        chain.until_generated(asked)
        chain.project.run(restart)
    until(chain.odoo.serves, "Odoo serves")
    chain.see_picture(asked)
    chain.project.until_well()


def test_an_upgrade_as_documented_brings_the_new_addon_and_keeps_the_pictures(chain: Chain) -> None:
    asked = chain.odoo.ask("A lamp, before the upgrade")
    chain.see_picture(asked)
    chain.project.publish("""sed -i 's/"version": ".*"/"version": "1.99.0"/' addons/aigen_image/__manifest__.py""")
    for command in commands("Upgrading"):
        chain.project.run(command)
    chain.project.until_well()
    assert chain.odoo.version_of_the_addon().endswith("1.99.0")
    assert chain.odoo.picture(asked).startswith(PNG)
    chain.see_picture(chain.odoo.ask("A lamp, after the upgrade"))


def test_pictures_are_in_odoo_again_after_a_restore_as_documented(chain: Chain) -> None:
    asked = chain.odoo.ask("A bell buoy")
    picture = chain.odoo.picture(asked)
    for command in commands("Backup"):
        chain.project.run(command)
    chain.ai.stop()
    chain.project.run("docker compose --profile '*' down --volumes")
    for command in commands("Restoring"):
        chain.project.run(command)
    chain.project.until_well()
    assert chain.odoo.picture(asked) == picture
    chain.ai.start()
    chain.see_picture(chain.odoo.ask("A bell buoy, after the restore"))


def test_three_pictures_arrive_although_n8n_restarts_in_queue_mode(chain: Chain, images: Images) -> None:
    images.need("redis")
    for command in commands("N8N in queue mode"):
        chain.project.run(command)
    chain.project.until_well()
    with chain.ai.holding():
        asked = [chain.odoo.ask(f"Beacon {number} of three") for number in (1, 2, 3)]
        chain.until_generated(*asked)
        chain.project.run(spoken("N8N in queue mode", "docker compose restart n8n n8n-webhook"))
    for one in asked:
        chain.see_picture(one)
