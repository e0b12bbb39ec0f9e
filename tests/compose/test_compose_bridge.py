"""The bridge with PostgreSQL alone, in the order in which somebody who runs it meets these things."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from compose.conftest import NAME, Images
from compose.engine import Engine
from compose.page import blocks, commands, without_odoo_and_n8n
from compose.project import Project, clone, until
from stage import REQUESTS, make_event

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]
BRIDGE = ("api", "worker", "proxy")
UP = f"docker compose up --detach --wait {' '.join(BRIDGE)}"
PER_SECOND = 20
KILLED = "137"
"""The exit code of a container that was killed because it did not end in time."""


class Callers:
    """A caller that sends requests continuously, and repeats each until it is accepted."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._ended = threading.Event()
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()

    def run(self) -> None:
        with self._project.client() as api:
            while not self._ended.is_set():
                self._one(api, make_event())
                time.sleep(1 / PER_SECOND)

    def _one(self, api: httpx.Client, event: dict[str, object]) -> None:
        while not self._ended.is_set():
            try:
                status = api.post(REQUESTS, json=event).status_code
            except httpx.HTTPError:
                status = 0
            self.answers[status] += 1
            if status in {200, 202}:
                self.accepted.append(str(event["requestId"]))
                return
            time.sleep(0.2)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Calls while the block runs."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


def known(project: Project) -> Counter[str]:
    """Returns how many entries that send it to N8N each request has. There is no N8N, so none has been sent."""
    printed = project.run(
        "docker compose exec -T postgres psql --username=postgres --dbname=aigen --no-align --tuples-only"
        " --command=\"SELECT request_id FROM outbox WHERE step = 'dispatch'\""
    )
    return Counter(printed.split())


def brought_up(project: Project, umask: str = "022") -> None:
    """Follows the page from nothing to running, without Odoo, and so with a key that it does not know."""
    for command in without_odoo_and_n8n("From nothing to running", *BRIDGE):
        project.run(f"umask {umask}; {command}")
        if command == "deploy/secrets.sh":
            project.path("secrets/AIGEN_ODOO__API_KEY").write_text("there is no Odoo yet")
    project.until_well()


def test_the_documented_commands_bring_the_bridge_up(project: Project, images: Images) -> None:
    images.need("nginx")
    brought_up(project)
    assert {"api", "worker", "proxy", "postgres"} <= {found["Service"] for found in project.containers()}
    assert project.knows(project.accept())


def test_migrate_has_no_health_check_of_an_api(project: Project) -> None:
    health = project.run("docker inspect --format '{{json .State.Health}}' $(docker compose ps --all --quiet migrate)")
    assert health == "null"


def test_the_image_is_built_once(project: Project) -> None:
    printed = project.run("docker compose --progress=plain build 2>&1")
    assert len(re.findall(r"naming to \S*aigen-bridge\S*", printed)) == 1, printed[-2000:]


def test_following_the_page_changes_no_tracked_file(project: Project) -> None:
    assert project.run("git status --porcelain") == ""


def test_three_workers_and_two_apis_run_as_documented(project: Project) -> None:
    for command in without_odoo_and_n8n("Scaling", *BRIDGE):
        project.run(command)
    project.until_well()
    assert (len(project.of("worker")), len(project.of("api"))) == (3, 2)
    assert project.knows(project.accept())


def test_an_upgrade_keeps_the_numbers_of_processes(project: Project) -> None:
    before = {found["ID"] for found in (*project.of("worker"), *project.of("api"))}
    accepted = project.accept()
    project.publish("echo '# changed' >> src/aigen_bridge/__init__.py")
    for command in without_odoo_and_n8n("Upgrading", *BRIDGE):
        project.run(command)
    project.until_well()
    assert (len(project.of("worker")), len(project.of("api"))) == (3, 2)
    after = {found["ID"] for found in (*project.of("worker"), *project.of("api"))}
    assert not before & after, "the upgrade has not replaced every process"
    assert project.knows(accepted)


@pytest.mark.parametrize("service", ["postgres", "api", "worker", "proxy"])
def test_a_restarted_service_becomes_healthy_again(project: Project, service: str) -> None:
    accepted = project.accept()
    project.run(f"docker compose restart {service}")
    project.until_well()
    assert project.knows(accepted)
    assert project.knows(project.accept())


def test_a_worker_that_is_stopped_while_it_starts_ends_by_itself(project: Project) -> None:
    project.run("docker compose up --detach --no-deps --force-recreate worker && docker compose stop worker")
    ended = project.run("docker inspect --format '{{.State.ExitCode}}' $(docker compose ps --all --quiet worker)")
    assert KILLED not in ended.split()
    project.run("docker compose start worker")
    project.until_well()


def test_a_restart_of_postgresql_under_load_loses_and_doubles_nothing(project: Project) -> None:
    before = project.started()
    callers = Callers(project)
    with callers.calling():
        until(lambda: len(callers.accepted) > 40, "requests are under way")
        project.run("docker compose restart postgres")
        done = len(callers.accepted)
        until(lambda: len(callers.accepted) > done + 40, "requests are accepted again")
    stored = known(project)
    assert not set(callers.accepted) - stored.keys(), callers.answers
    assert max(stored.values()) == 1
    assert project.started() == before, "a process of the bridge has started anew"
    project.until_well()


def test_a_restart_of_everything_as_documented_loses_nothing(project: Project) -> None:
    accepted = project.accept()
    for command in without_odoo_and_n8n("Restarting and stopping", *BRIDGE):
        if "restart" in command:
            project.run(command)
    project.until_well()
    assert project.knows(accepted)
    assert project.knows(project.accept())


def test_down_leaves_nothing_and_up_finds_everything(project: Project, docker: Engine, images: Images) -> None:
    images.need("redis")
    project.run("docker compose --profile n8n-queue up --detach --wait redis")
    accepted, before = project.accept(), known(project)
    [down] = [command for command in commands("Restarting and stopping") if command.endswith(" down")]
    project.run(down)
    for kind in ("ps --all", "network ls"):
        left = docker.shell(f"docker {kind} --filter label=com.docker.compose.project={project.name} --quiet")
        assert left == "", f"docker compose down leaves {kind}: {left}"
    project.run(UP)
    assert project.knows(accepted)
    assert not before.keys() - known(project).keys()


def test_a_backup_is_restored_as_documented(project: Project) -> None:
    kept = project.accept()
    for command in without_odoo_and_n8n("Backup"):
        project.run(command)
    later = project.accept()
    project.run("docker compose down --volumes")
    for command in without_odoo_and_n8n("Restoring", *BRIDGE):
        project.run(command)
    project.until_well()
    assert project.knows(kept)
    assert not project.knows(later), "a request that came after the backup is there: nothing was restored"
    assert project.knows(project.accept())


def test_the_log_is_archived_and_restored_to_a_moment_as_documented(project: Project) -> None:
    page = "backup-and-restore.md"
    settings, archiving = blocks("The write-ahead log with compose", page)
    project.path("docker-compose.override.yml").write_text(settings)
    for command in archiving.splitlines():
        project.run(command)
    kept = project.accept()
    moment = project.run(
        "docker compose exec -T postgres psql --username=postgres --no-align --tuples-only --command='SELECT now()'"
    )
    later = project.accept()
    project.run("docker compose stop")
    [restoring] = blocks("Restoring the write-ahead log with compose", page)
    project.run(restoring.replace("2026-02-03 14:25:00+00", moment))
    rest = without_odoo_and_n8n("Restoring", *BRIDGE)
    for command in rest[rest.index("docker compose run --rm migrate") :]:
        project.run(command)
    project.until_well()
    assert project.knows(kept)
    assert not project.knows(later), "a request that came after the moment is there"
    left = project.run("docker compose exec -T postgres cat /var/lib/postgresql/18/docker/postgresql.auto.conf")
    assert not re.search("restore_command|recovery_target", left)
    assert project.knows(project.accept())


def test_the_key_file_keeps_its_content_when_the_command_fails(project: Project) -> None:
    """Odoo does not run here, so the documented command for its key fails."""
    key = project.path("secrets/AIGEN_ODOO__API_KEY")
    key.write_text("a key that works")
    [command] = [command for command in commands("From nothing to running") if re.search("bot.key", command)]
    assert project.engine.try_shell(command, project.folder).status != 0
    assert key.read_text() == "a key that works"


def test_a_clone_under_umask_077_works(project: Project, docker: Engine) -> None:
    project.run("docker compose down")
    strict = clone(docker, f"{NAME}-strict", umask="077")
    try:
        brought_up(strict, umask="077")
        assert strict.knows(strict.accept())
    finally:
        strict.remove()


BEFORE_THE_PROXY = "33890b0"
"""The last commit in which `api` and Odoo published their ports themselves, and compose made the image three times."""


def test_an_upgrade_from_before_the_proxy_keeps_what_was_accepted(project: Project, docker: Engine) -> None:
    project.run("docker compose --profile '*' down")
    earlier = clone(docker, f"{NAME}-earlier")
    try:
        for command in (
            f"git reset --quiet --hard {BEFORE_THE_PROXY}",
            "deploy/secrets.sh",
            "echo a-key >secrets/AIGEN_ODOO__API_KEY",
            "docker compose up --build --detach --wait api worker",
        ):
            earlier.run(command)
        accepted = earlier.accept()
        for command in without_odoo_and_n8n("Upgrading", *BRIDGE):
            earlier.run(command)
        earlier.until_well()
        assert earlier.of("proxy")
        assert earlier.knows(accepted)
        assert earlier.knows(earlier.accept())
    finally:
        earlier.remove()
