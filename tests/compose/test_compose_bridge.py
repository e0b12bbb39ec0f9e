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
from compose.page import commands, spoken
from compose.project import Project, clone, until
from stage import REQUESTS, make_event

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]
BRIDGE = "api worker"
PER_SECOND = 20


class Callers:
    """Who sends requests on and on, and sends again what was not accepted."""

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
    """Returns how often each request is in the database."""
    printed = project.run(
        "docker compose exec -T postgres psql --username=postgres --dbname=aigen --no-align --tuples-only"
        " --command='SELECT request_id FROM requests'"
    )
    return Counter(printed.split())


def test_the_documented_commands_bring_the_bridge_up(project: Project) -> None:
    for command in commands("From nothing to running"):
        if command.startswith(("deploy/secrets.sh", "docker compose build")):
            project.run(command)
    assert project.run("docker images --quiet aigen-bridge"), "the documented commands have built no image"
    project.run(f"docker compose up --detach --wait {BRIDGE}")
    assert project.ready()


def test_nothing_is_unhealthy_after_a_minute(project: Project) -> None:
    project.until_well()
    time.sleep(60)
    assert not project.ailing()


def test_the_image_is_built_once(project: Project) -> None:
    printed = project.run("docker compose --progress=plain build")
    assert len(re.findall(r"naming to \S*aigen-bridge\S*", printed)) == 1, printed[-2000:]


def test_following_the_page_changes_no_tracked_file(project: Project) -> None:
    assert project.run("git status --porcelain") == ""


def test_a_request_is_accepted_and_shown(project: Project) -> None:
    assert project.knows(project.accept())


def test_three_workers_run_as_documented(project: Project) -> None:
    command = spoken("Scaling", "docker compose up --detach --scale worker=3")
    project.run(f"{command} --wait --no-deps worker")
    project.until_well()
    assert len(project.of("worker")) == 3


def test_an_upgrade_keeps_three_workers(project: Project) -> None:
    before = {found["ID"] for found in project.of("worker")}
    accepted = project.accept()
    _new_version(project)
    for command in commands("Upgrading"):
        if "odoo" not in command and "n8n" not in command:
            project.run(command)
    project.until_well()
    after = {found["ID"] for found in project.of("worker")}
    assert len(after) == 3
    assert not before & after, "the upgrade has not replaced the workers"
    assert project.knows(accepted)


def _new_version(project: Project) -> None:
    """Somebody publishes a change of the program."""
    change = "echo '# changed' >> src/aigen_bridge/__init__.py"
    person = "git -c user.name=e2e -c user.email=e2e@localhost"
    upstream = f"{project.folder}.git"
    project.run(
        f"git clone --quiet {upstream} ../{NAME}-developer && cd ../{NAME}-developer && {change}"
        f" && {person} commit --quiet --all --message=changed && git push --quiet; rm -rf ../{NAME}-developer"
    )


def test_two_apis_run(project: Project) -> None:
    project.run("docker compose up --detach --wait --no-deps --scale api=2 api")
    assert len(project.of("api")) == 2
    assert project.knows(project.accept())
    project.run("docker compose up --detach --wait --no-deps --scale api=1 api")


@pytest.mark.parametrize("service", ["postgres", "api", "worker"])
def test_a_restarted_service_becomes_healthy_again(project: Project, service: str) -> None:
    accepted = project.accept()
    project.run(f"docker compose restart {service}")
    project.until_well()
    assert project.knows(accepted)
    assert project.knows(project.accept())


def test_a_restart_of_postgresql_under_load_loses_and_doubles_nothing(project: Project) -> None:
    before = {found["ID"]: found["RunningFor"] for found in (*project.of("api"), *project.of("worker"))}
    callers = Callers(project)
    with callers.calling():
        until(lambda: len(callers.accepted) > 40, "requests are under way")
        project.run("docker compose restart postgres")
        done = len(callers.accepted)
        until(lambda: len(callers.accepted) > done + 40, "requests are accepted again")
    stored = known(project)
    assert not set(callers.accepted) - stored.keys()
    assert max(stored.values()) == 1
    assert before.keys() == {found["ID"] for found in (*project.of("api"), *project.of("worker"))}
    project.until_well()


def test_down_leaves_nothing_and_up_finds_everything(project: Project, docker: Engine) -> None:
    accepted = project.accept()
    before = known(project)
    project.run("docker compose down")
    for kind in ("ps --all", "network ls"):
        left = docker.shell(f"docker {kind} --filter label=com.docker.compose.project={project.name} --quiet")
        assert left == "", f"docker compose down leaves {kind}: {left}"
    project.run(f"docker compose up --detach --wait {BRIDGE}")
    assert project.knows(accepted)
    assert not before.keys() - known(project).keys()


def test_a_backup_is_restored_as_documented(project: Project) -> None:
    accepted = project.accept()
    [backup] = [command for command in commands("Backup") if "pg_dumpall" in command]
    project.run(backup)
    later = project.accept()
    project.run("docker compose down")
    project.run(f"docker volume rm {project.name}_postgres")
    project.run("docker compose up --detach --wait postgres")
    project.run(spoken("Backup", "gunzip <"))
    project.run(spoken("Backup", "docker compose run --rm --no-deps api restored"))
    project.run(f"docker compose up --detach --wait {BRIDGE}")
    assert project.knows(accepted)
    assert not project.knows(later), "the backup was not restored: it holds a request that came after it"
    assert project.knows(project.accept())


def test_the_key_file_keeps_its_content_when_the_command_fails(project: Project) -> None:
    """Odoo does not run here, so the documented command for its key fails."""
    key = project.path("secrets/AIGEN_ODOO__API_KEY")
    key.write_text("a key that works")
    command = next(command for command in commands("From nothing to running") if "AIGEN_ODOO__API_KEY" in command)
    done = project.engine.try_shell(command, project.folder)
    assert done.status != 0
    assert key.read_text() == "a key that works"


def test_a_clone_under_umask_077_works(project: Project, docker: Engine, images: Images) -> None:
    project.run("docker compose --profile '*' down")
    strict = clone(docker, f"{NAME}-strict", umask="077")
    try:
        for command in commands("From nothing to running"):
            if command.startswith(("deploy/secrets.sh", "docker compose build")):
                docker.shell(f"umask 077; {command}", strict.folder)
        strict.run(f"docker compose up --detach --wait {BRIDGE}")
        assert strict.knows(strict.accept())
    finally:
        docker.try_shell("docker compose --profile '*' down --volumes --timeout 10", strict.folder)
